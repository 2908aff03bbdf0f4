# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a guest can be reached: its addresses from its configuration and from what runs in it, the best one first."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps

Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

#: ``config``: static addresses of cloud-init and of containers' networks; ``agent``: what the guest itself tells.
SOURCES = ("config", "agent")
_CARD = re.compile(r"net(\d+)")


@dataclasses.dataclass(frozen=True)
class Interface:
    """One network interface as the guest tells of it. ``addresses`` with their prefix length: ``10.0.0.5/24``."""

    name: str
    mac: str
    addresses: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Found:
    """``card`` is the number of the guest's network card; a bridge or tunnel inside of the guest has none of these."""

    address: Address
    source: str
    card: int


_NO_CARD = 1000


def networks(texts: t.Iterable[t.Any]) -> list[Network]:
    """Raises :class:`InvalidInput` for what is no network."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(str(text), strict=False))
        except ValueError as error:
            hint = "Write for example 192.168.30.0/24."
            raise InvalidInput(f"preferred_networks: {text!r} is no network ({error})", hint=hint) from error
    return found


def interfaces(answer: t.Any) -> list[Interface]:
    """From the agent's or the container's answer; what cannot be understood is left out."""
    found = answer.get("result") if isinstance(answer, dict) else answer
    entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    return [
        Interface(
            name=str(entry.get("name") or ""),
            mac=str(entry.get("hardware-address") or entry.get("hwaddr") or "").upper(),
            addresses=tuple(_addresses_of(entry)),
        )
        for entry in entries
    ]


def _addresses_of(entry: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    listed = entry.get("ip-addresses")
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and one.get("ip-address"):
            prefix = one.get("prefix")
            yield f"{one['ip-address']}/{prefix}" if prefix is not None else str(one["ip-address"])
    if not listed:  # older containers
        yield from (str(entry[key]) for key in ("inet", "inet6") if entry.get(key))


def of_guest(
    kind: str,
    config: t.Mapping[str, t.Any],
    seen: t.Iterable[Interface],
    *,
    preferred: t.Sequence[Network] = (),
    sources: t.Sequence[str] = SOURCES,
) -> list[str]:
    """The addresses under which others can reach it, the best first.

    By: the first of ``preferred`` that it is in, the source in the order of ``sources``, the number of the network
    card (addresses of bridges and tunnels inside of the guest last), IPv4 before IPv6, the order in which they are
    told. Loopback, link-local and multicast addresses are left out.
    """
    cards = {int(found[1]): str(config[key]) for key in config if (found := _CARD.fullmatch(key))}
    everything = [*_configured(kind, config, cards), *_told(cards, seen)]
    usable = [found for found in everything if found.source in sources and _reachable(found.address)]

    def rank(found: _Found) -> tuple[int, int, int, int]:
        network = next((number for number, one in enumerate(preferred) if found.address in one), len(preferred))
        return network, sources.index(found.source), found.card, found.address.version

    return list(dict.fromkeys(str(found.address) for found in sorted(usable, key=rank)))


def _configured(kind: str, config: t.Mapping[str, t.Any], cards: t.Mapping[int, str]) -> t.Iterator[_Found]:
    for number in sorted(cards):
        text = cards[number] if kind == "lxc" else str(config.get(f"ipconfig{number}") or "")
        properties = ps.parse(text)
        for key in ("ip", "ip6"):
            address = _address(properties.get(key, ""))  # none for dhcp, auto and manual
            if address is not None:
                yield _Found(address, "config", number)


def _told(cards: t.Mapping[int, str], seen: t.Iterable[Interface]) -> t.Iterator[_Found]:
    numbers = {_mac(text): number for number, text in cards.items()}
    for interface in seen:
        for text in interface.addresses:
            address = _address(text)
            if address is not None:
                yield _Found(address, "agent", numbers.get(interface.mac, _NO_CARD))


def _mac(text: str) -> str:
    properties = ps.parse_network(text)
    return (properties.get("macaddr") or properties.get("hwaddr") or "").upper()


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("/")[0])
    except ValueError:
        return None


def _reachable(address: Address) -> bool:
    return not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)
