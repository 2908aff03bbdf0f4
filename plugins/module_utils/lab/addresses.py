# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of a lab's machines: MAC addresses that follow from names, and IP addresses that are still free."""

from __future__ import annotations

import hashlib
import ipaddress
import typing as t

from ..errors import InvalidInput
from . import kinds


def mac_for(host: str, lab: str) -> str:
    """The MAC address of a lab's host: always the same for the same two names.

    It begins with 02: unicast, locally administered, and in the quadrant that IEEE 802c leaves to local
    administrators. So it can be no vendor's and none that Proxmox VE makes up (BC:24:11, its own OUI). 40 bits of
    SHA-256 follow, so two of a thousand hosts are the same once in two million labs.
    """
    for what, name in (("host", host), ("lab", lab)):
        if not isinstance(name, str) or not name:
            raise InvalidInput(f"mac_for needs the name of a {what}, not {name!r}")
    digest = hashlib.sha256(f"{lab}/{host}".encode()).digest()
    return ":".join(f"{byte:02X}" for byte in (0x02, *digest[:5]))


def next_free_address(network: t.Mapping[str, t.Any], taken: t.Iterable[str], within: str | None = None) -> str:
    """The lowest address of a lab's network that is not in ``taken``.

    ``within`` names one of the network's ranges. Without it, no range is used at all, nor are the gateway, the name
    servers, the network's and the broadcast address. Raises :class:`InvalidInput` when nothing is free.
    """
    subnet = kinds.subnet(network.get("subnet"))
    if subnet is None:
        raise InvalidInput(f"The subnet {network.get('subnet')!r} is no network such as 192.168.30.0/24")
    ranges = {name: kinds.address_range(text) for name, text in (network.get("ranges") or {}).items()}
    if within is not None and ranges.get(within) is None:
        raise InvalidInput(f"The network has no range {within!r}", hint=f"It has: {', '.join(ranges) or 'none'}.")
    kept = {str(network.get("gateway") or subnet[1]), *map(str, network.get("nameservers") or ()), *map(str, taken)}
    low, high = (ranges[within] if within else None) or (subnet.network_address + 1, subnet.broadcast_address - 1)
    blocked = [span for name, span in ranges.items() if span and not within]
    for number in range(int(low), int(high) + 1):
        found = str(ipaddress.IPv4Address(number))
        if found not in kept and not any(int(first) <= number <= int(last) for first, last in blocked):
            return found
    raise InvalidInput(f"No address of {subnet} is free" + (f" within {within}" if within else ""))


def address_range(text: t.Any) -> dict[str, t.Any]:
    """``first``, ``last`` and ``count`` of a range in a lab's networks. Raises :class:`InvalidInput`."""
    found = kinds.address_range(text)
    if found is None or found[0] > found[1]:
        hint = "Write for example 192.168.30.60-192.168.30.80, or 192.168.30.60-80."
        raise InvalidInput(f"{text!r} is no range of addresses", hint=hint)
    first, last = found
    return {"first": str(first), "last": str(last), "count": int(last) - int(first) + 1}


def in_network(address: t.Any, network: t.Any, within: str | None = None) -> bool:
    """Whether an address is in a network: a subnet as text, or an entry of a lab's networks; or in a range of this.

    An address may have a prefix length (``192.168.30.5/24``). Raises :class:`InvalidInput` for what is neither.
    """
    try:
        found = ipaddress.ip_interface(address).ip if isinstance(address, str) else None
    except ValueError:
        found = None
    if found is None:
        raise InvalidInput(f"{address!r} is no address", hint="Write for example 192.168.30.5.")
    whole = isinstance(network, t.Mapping)
    subnet = kinds.any_subnet(network.get("subnet") if whole else network)
    if subnet is None:
        raise InvalidInput(f"{network!r} is no network", hint="Give a subnet, or an entry of lab_networks.")
    if within is None:
        return found in subnet
    ranges = dict(network.get("ranges") or {}) if whole else {}
    if within not in ranges:
        raise InvalidInput(f"The network has no range {within!r}", hint=f"It has: {', '.join(ranges) or 'none'}.")
    span = address_range(ranges[within])
    return found.version == 4 and ipaddress.IPv4Address(span["first"]) <= found <= ipaddress.IPv4Address(span["last"])
