# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for ``machine.network.interfaces``: addresses and routes, bonds, bridges, VLANs, WireGuard."""

from __future__ import annotations

import base64
import typing as t

from .forms import Problems, is_address, is_interface, is_network, listed, mapping
from .identity import Document

_BALANCED = ("balance-tlb", "balance-alb")
_BOND_WORDS: dict[str, tuple[str, ...]] = {
    "mode": ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", *_BALANCED),
    "xmitHashPolicy": ("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4"),
    "lacpRate": ("slow", "fast"),
    "arpValidate": ("none", "active", "backup", "all", "filter", "filter-active", "filter-backup"),
    "arpAllTargets": ("any", "all"),
    "primaryReselect": ("always", "better", "failure"),
    "failOverMac": ("none", "active", "follow"),
    "adSelect": ("stable", "bandwidth", "count"),
}
_ARP = ("balance-rr", "active-backup", "balance-xor", "broadcast")
#: Options that only some modes have; a number counts from the one that stands here.
_BOND_MODES: dict[str, tuple[int, tuple[str, ...]]] = {
    "lacpRate": (1, ("802.3ad",)),
    "arpValidate": (1, _ARP),
    "arpInterval": (1, _ARP),
    "primary": (1, ("active-backup", *_BALANCED)),
    "packetsPerSlave": (2, ("balance-rr",)),
    "tlbDynamicLb": (1, _BALANCED),
    "adActorSysPrio": (1, ("802.3ad",)),
    "adUserPortKey": (1, ("802.3ad",)),
}


def problems(interfaces: list[t.Any], *, controls: bool) -> Problems:
    owners: dict[str, str] = {}
    for index, interface in enumerate(interfaces):
        for link in _members(mapping(interface)):
            owner = str(interface.get("interface") or "")
            if owners.setdefault(link, owner) != owner:
                yield f"machine.network.interfaces[{index}] has {link!r}, which is a part of {owners[link]!r}"
    for index, interface in enumerate(interfaces):
        where = f"machine.network.interfaces[{index}]"
        if interface is None:
            yield f"{where} has nothing in it"
        elif not interface.get("ignore"):
            yield from _interface(interface, where, controls, owners)


def _members(interface: Document) -> list[str]:
    section = mapping(interface.get("bridge")) or mapping(interface.get("bond"))
    return [str(link) for link in listed(section.get("interfaces"))]


def _interface(interface: Document, path: str, controls: bool, owners: t.Mapping[str, str]) -> Problems:
    selector = interface.get("deviceSelector")
    if not interface.get("interface") and selector is None:
        yield f"{path} needs interface or deviceSelector"
    if interface.get("interface") and selector is not None:
        yield f"{path} has both interface and deviceSelector"
    if selector is not None and not any(value not in (None, "") for value in selector.values()):
        yield f"{path}.deviceSelector is empty"
    if interface.get("bond") is not None and interface.get("bridge") is not None:
        yield f"{path} has both bond and bridge"
    yield from _bond(mapping(interface.get("bond")), f"{path}.bond")
    yield from _wireguard(interface.get("wireguard"), f"{path}.wireguard")
    if interface.get("interface") in owners and any(interface.get(key) for key in ("dhcp", "cidr", "addresses", "vip")):
        yield f"{path} is a part of {owners[interface['interface']]!r} and must have no addresses"
    yield from _addresses(interface, path, controls)
    for index, vlan in enumerate(listed(interface.get("vlans"))):
        yield from _addresses(mapping(vlan), f"{path}.vlans[{index}]", controls)


def _addresses(link: Document, path: str, controls: bool) -> Problems:
    if link.get("addresses") and link.get("cidr"):
        yield f"{path} has both cidr and addresses"
    if link.get("cidr") and not is_interface(link["cidr"]):
        yield f"{path}.cidr is {link['cidr']!r}, which is no address with a prefix"
    for index, address in enumerate(listed(link.get("addresses"))):
        if not is_interface(address):
            yield f"{path}.addresses[{index}] is {address!r}, which is no address with a prefix"
    for index, route in enumerate(listed(link.get("routes"))):
        yield from _route(mapping(route), f"{path}.routes[{index}]")
    virtual = link.get("vip")
    if virtual is not None:
        if not controls:
            yield f"{path}.vip is for control plane nodes only"
        if not is_address(virtual.get("ip")):
            yield f"{path}.vip.ip is {virtual.get('ip')!r}, which is no address"


def _route(route: Document, path: str) -> Problems:
    if not route.get("network") and not route.get("gateway"):
        yield f"{path} needs network or gateway"
    if route.get("network") and not is_network(route["network"], bare=False, negated=False):
        yield f"{path}.network is {route['network']!r}, which is no network"
    for key in ("gateway", "source"):
        if route.get(key) and not is_address(route[key]):
            yield f"{path}.{key} is {route[key]!r}, which is no address"


def _bond(bond: Document, path: str) -> Problems:
    if bond.get("interfaces") and bond.get("deviceSelectors"):
        yield f"{path} has both interfaces and deviceSelectors"
    for key, words in _BOND_WORDS.items():
        if bond.get(key) and bond[key] not in words:
            yield f"{path}.{key} is {bond[key]!r} and not one of {', '.join(words)}"
    mode = bond.get("mode") or "balance-rr"
    for key, (least, modes) in _BOND_MODES.items():
        value = bond.get(key)
        if (value >= least if isinstance(value, int) else value) and mode not in modes:
            yield f"{path}.{key} is only for the mode {' or '.join(modes)}"
    for key in ("updelay", "downdelay"):
        delay, interval = bond.get(key) or 0, bond.get("miimon") or 0
        if delay and (not interval or delay % interval):
            yield f"{path}.{key} is no multiple of miimon"
    for key in ("arpIPTarget", "adActorSystem"):
        if bond.get(key):
            yield f"{path}.{key} is not supported by Talos"


def _wireguard(section: t.Any, path: str) -> Problems:
    if section is None:
        return
    if not _is_key(section.get("privateKey")):
        yield f"{path}.privateKey is no key of WireGuard"
    for index, peer in enumerate(listed(section.get("peers"))):
        where, peer = f"{path}.peers[{index}]", mapping(peer)
        if not _is_key(peer.get("publicKey")):
            yield f"{where}.publicKey is no key of WireGuard"
        host, colon, port = str(peer.get("endpoint") or "").rpartition(":")
        if peer.get("endpoint") and not (colon and port and (":" not in host or host.startswith("["))):
            yield f"{where}.endpoint is {peer['endpoint']!r} and not such as 192.168.1.10:51820"
        for number, network in enumerate(listed(peer.get("allowedIPs"))):
            if not is_network(network, bare=False, negated=False):
                yield f"{where}.allowedIPs[{number}] is {network!r}, which is no network"


def _is_key(value: t.Any) -> bool:
    try:
        return len(base64.b64decode(str(value or ""), validate=True)) == 32
    except ValueError:
        return False
