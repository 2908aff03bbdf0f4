# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab's addresses say together: each in its subnet, nothing twice, nothing overlapping."""

from __future__ import annotations

import dataclasses
import ipaddress
import itertools
import re
import typing as t
import urllib.parse

from . import kinds, schema
from .inventory import Inventory
from .problems import Problem

AnyNetwork = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Span = tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]

#: Ranges whose addresses somebody else hands out, by what their names have in them.
_HANDED_OUT = {
    "dhcp": "which the DHCP server hands out",
    "balancer": "which is for load balancers",
    "lb": "which is for load balancers",
    "pool": "which is for load balancers",
}
_DEFAULTS = {"talos_pod_subnets": ["10.244.0.0/16"], "talos_service_subnets": ["10.96.0.0/12"]}
_LAB = "the lab"


@dataclasses.dataclass(frozen=True)
class Network:
    """A network as far as it can be read; what cannot be read is reported elsewhere."""

    name: str
    subnet: ipaddress.IPv4Network
    gateway: ipaddress.IPv4Address
    vlan: tuple[str, int]
    ranges: t.Mapping[str, Span]
    nameservers: tuple[ipaddress.IPv4Address, ...]

    @property
    def variable(self) -> str:
        return f"lab_networks.{self.name}"


@dataclasses.dataclass(frozen=True)
class Claim:
    """Who has an address."""

    address: ipaddress.IPv4Address
    variable: str
    host: str


def examine(inventory: Inventory) -> t.Iterator[Problem]:
    networks = read(inventory.of_lab("lab_networks"))
    for network in networks.values():
        yield from _inside(network)
        yield from _ranges(network)
    yield from _overlaps(inventory, networks)
    claims = list(_claims(inventory))
    yield from _placed(inventory, networks, claims)
    yield from _twice(claims, networks)
    yield from _endpoint(inventory)


def read(given: t.Any) -> dict[str, Network]:
    """The networks that have a readable subnet; their unreadable parts are left out."""
    found = {}
    for name, entry in given.items() if isinstance(given, t.Mapping) else ():
        subnet = kinds.subnet(entry.get("subnet")) if isinstance(entry, t.Mapping) else None
        if subnet is None:
            continue
        ranges = entry.get("ranges") if isinstance(entry.get("ranges"), t.Mapping) else {}
        servers = entry.get("nameservers") if isinstance(entry.get("nameservers"), list) else []
        found[str(name)] = Network(
            str(name),
            subnet,
            kinds.address(entry.get("gateway")) or subnet[1 if subnet.num_addresses > 1 else 0],
            (str(entry.get("bridge") or "vmbr0"), kinds.integer(entry.get("vlan")) or 0),
            {key: span for key, text in ranges.items() if (span := kinds.address_range(text)) is not None},
            tuple(server for text in servers if (server := kinds.address(text)) is not None),
        )
    return found


def _inside(network: Network) -> t.Iterator[Problem]:
    if network.gateway not in network.subnet or network.gateway in _ends(network.subnet):
        expected = f"a host's address in {network.subnet}"
        yield Problem(f"{network.variable}.gateway", _LAB, repr(str(network.gateway)), expected)
    for name, span in network.ranges.items():
        ends = _ends(network.subnet)
        if span[0] not in network.subnet or span[1] not in network.subnet or set(span) & set(ends):
            yield Problem(
                f"{network.variable}.ranges.{name}", _LAB, _text(span), f"hosts' addresses in {network.subnet}",
                f"Its first is {network.subnet[0] + 1}, its last {network.subnet[-1] - 1}.",
            )  # fmt: skip
        elif _holds(span, network.gateway):
            yield Problem(f"{network.variable}.ranges.{name}", _LAB, _text(span), f"not the gateway {network.gateway}")


def _ranges(network: Network) -> t.Iterator[Problem]:
    for (name, span), (other, second) in itertools.combinations(network.ranges.items(), 2):
        if span[0] <= second[1] and second[0] <= span[1]:
            expected = f"no address of {network.variable}.ranges.{name}, which is {_text(span)}"
            yield Problem(f"{network.variable}.ranges.{other}", _LAB, _text(second), expected)
    for server in network.nameservers:
        name, giver = _giver(network, server)
        if name:
            expected = f"no address of {network.variable}.ranges.{name}, {giver}"
            yield Problem(f"{network.variable}.nameservers", _LAB, repr(str(server)), expected)


def _overlaps(inventory: Inventory, networks: t.Mapping[str, Network]) -> t.Iterator[Problem]:
    taken: list[tuple[str, AnyNetwork]] = [(f"{net.variable}.subnet", net.subnet) for net in networks.values()]
    for name, default in _DEFAULTS.items():
        given = inventory.of_lab(name) or default
        found = (kinds.any_subnet(text) for text in (given if isinstance(given, list) else ()))
        taken += [(name, subnet) for subnet in found if subnet is not None]
    for (first, subnet), (second, other) in itertools.combinations(taken, 2):
        if subnet.version == other.version and subnet.overlaps(other):
            yield Problem(second, _LAB, repr(str(other)), f"no overlap with {first}, which is {subnet}")
    for network, another in itertools.combinations(networks.values(), 2):
        if network.vlan == another.vlan:
            bridge, vlan = network.vlan
            place = f"VLAN {vlan} of {bridge}" if vlan else f"{bridge} without a VLAN"
            yield Problem(f"{another.variable}.vlan", _LAB, place, f"another one than that of {network.variable}")


def _claims(inventory: Inventory) -> t.Iterator[Claim]:
    for variable, hosts in (("ansible_host", inventory.hypervisors), ("machine_address", inventory.machines)):
        for host in hosts:
            address = kinds.address(inventory.hosts.get(host, {}).get(variable))
            if address is not None:
                yield Claim(address, variable, host)


def _placed(inventory: Inventory, networks: t.Mapping[str, Network], claims: t.Iterable[Claim]) -> t.Iterator[Problem]:
    for claim in claims:
        network = _network(inventory, networks, claim)
        if network is None:
            continue
        problem = _misplaced(network, claim)
        if problem:
            yield Problem(claim.variable, claim.host, repr(str(claim.address)), problem)


def _network(inventory: Inventory, networks: t.Mapping[str, Network], claim: Claim) -> Network | None:
    """The network that an address must be in; a hypervisor may be outside of the lab's networks."""
    if claim.variable == "ansible_host":
        return next((network for network in networks.values() if claim.address in network.subnet), None)
    named = inventory.of_host("machine_network", claim.host)
    if named:
        return networks.get(str(named))
    return next(iter(networks.values())) if len(networks) == 1 else None


def _misplaced(network: Network, claim: Claim) -> str:
    """What was expected instead, or nothing."""
    if claim.address not in network.subnet:
        return f"an address in {network.subnet}, the subnet of its network {network.name}"
    what = {network.subnet.network_address: "network", network.subnet.broadcast_address: "broadcast"}
    if claim.address in what and network.subnet.prefixlen < 31:
        return f"another address than the {what[claim.address]} address of {network.subnet}"
    if claim.address == network.gateway:
        return f"another address than the gateway of its network {network.name}"
    name, giver = _giver(network, claim.address)
    if name:
        return f"an address outside of {network.variable}.ranges.{name}, {giver}"
    return ""


def _giver(network: Network, address: ipaddress.IPv4Address) -> tuple[str, str]:
    for name, span in network.ranges.items():
        giver = next((who for part, who in _HANDED_OUT.items() if part in re.split(r"[^a-z]+|s\b", name.lower())), "")
        if giver and _holds(span, address):
            return name, giver
    return "", ""


def _twice(claims: t.Iterable[Claim], networks: t.Mapping[str, Network]) -> t.Iterator[Problem]:
    owners = {server: f"the name server of {net.variable}" for net in networks.values() for server in net.nameservers}
    owners = {
        address: owner for address, owner in owners.items() if address not in {n.gateway for n in networks.values()}
    }
    for claim in claims:
        owner = owners.setdefault(claim.address, claim.host)
        if owner != claim.host:
            yield Problem(claim.variable, claim.host, repr(str(claim.address)), f"another address than that of {owner}")


def _endpoint(inventory: Inventory) -> t.Iterator[Problem]:
    """A cluster endpoint that is an address and nobody's: with one control plane it can only be that node's."""
    endpoint = inventory.of_lab("talos_cluster_endpoint")
    planes = inventory.groups[schema.CONTROL_PLANES]
    if not isinstance(endpoint, str) or len(planes) != 1:
        return
    try:
        host = kinds.address(urllib.parse.urlsplit(endpoint).hostname)
    except ValueError:
        return
    own = kinds.address(inventory.hosts.get(planes[0], {}).get("machine_address"))
    if host is not None and own is not None and host != own and not _is_virtual(inventory):
        hint = "Another address needs a virtual IP, which a patch gives to the control planes."
        yield Problem(
            "talos_cluster_endpoint", _LAB, repr(endpoint), f"https://{own}:6443, the only control plane", hint
        )


def _is_virtual(inventory: Inventory) -> bool:
    """Patches may give the control planes a virtual IP; what is in them is not looked into."""
    names = ("talos_patches", "talos_control_plane_patches", "talos_node_patches")
    return any(inventory.of_host(name, *inventory.machines) for name in names)


def _ends(subnet: ipaddress.IPv4Network) -> tuple[ipaddress.IPv4Address, ...]:
    return (subnet.network_address, subnet.broadcast_address) if subnet.prefixlen < 31 else ()


def _holds(span: Span, address: ipaddress.IPv4Address) -> bool:
    return span[0] <= address <= span[1]


def _text(span: Span) -> str:
    return f"{span[0]}-{span[1]}"
