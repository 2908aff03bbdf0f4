# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of a node: from the platform, from DHCP, from the machine config."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import fnmatch
import ipaddress
import typing as t

from ..contracts import Machine, Nic
from .machineconfig import MachineConfig

#: Predictable names of virtio NICs of a Proxmox guest: net0 is the first slot.
_FIRST_SLOT = 18


@dataclasses.dataclass(frozen=True)
class Link:
    """A NIC with what it was given. ``addresses`` have a prefix (``192.168.30.50/24``)."""

    name: str
    nic: Nic
    addresses: tuple[str, ...] = ()
    gateway: str | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the network shall be: links with addresses, name servers, and the name that DHCP or the platform gave."""

    links: tuple[Link, ...]
    nameservers: tuple[str, ...] = ()
    hostname: str = ""

    @property
    def cidrs(self) -> list[str]:
        return [address for link in self.links for address in link.addresses]

    @property
    def addresses(self) -> list[str]:
        return [cidr.partition("/")[0] for cidr in self.cidrs]


def link_names(machine: Machine) -> dict[str, Nic]:
    """NICs by the kernel's name for them, in slot order."""
    return {f"ens{_FIRST_SLOT + int(nic.slot.removeprefix('net') or 0)}": nic for nic in machine.guest.nics}


def plan(machine: Machine, platform: str, config: MachineConfig | None) -> Plan:
    """The config's interfaces where it has some, else the platform's (nocloud), else DHCP on every link that is up."""
    names = {name: nic for name, nic in link_names(machine).items() if not nic.link_down}
    cloud = machine.guest.cloud_init if platform == "nocloud" else None
    configured = _configured(names, config.interfaces if config else [])
    links, nameservers, hostname = [], [], ""
    for name, nic in names.items():
        source = configured.get(name)
        if source is None:
            source = _cloud_init(nic, cloud) if cloud is not None else _Source(dhcp=not configured)
        link, lease_servers, lease_name = _resolve(machine, name, nic, source)
        links.append(link)
        nameservers += lease_servers
        hostname = hostname or lease_name
    fixed = list((config.get("machine.network.nameservers") if config else None) or [])
    if cloud is not None:
        fixed = fixed or str(cloud.get("nameserver") or "").split()
        hostname = str(cloud.get("local-hostname") or "") or hostname
    return Plan(tuple(links), tuple(fixed or nameservers), hostname)


def virtual_addresses(machine: Machine, config: MachineConfig) -> list[tuple[str, Nic]]:
    """The VIPs that this node may hold, with the NIC for each."""
    names = link_names(machine)
    found = []
    for entry in config.interfaces:
        address = (entry.get("vip") or {}).get("ip")
        for name in _matching(names, entry) if address else []:
            found.append((str(address), names[name]))
    for document in config.all_of("Layer2VIPConfig"):
        if document.get("link") in names:
            found.append((str(document.get("name")), names[document["link"]]))
    return found


def node_address(config: MachineConfig, addresses: c.Sequence[str]) -> str:
    """The first address that ``machine.kubelet.nodeIP.validSubnets`` allows (``!`` excludes)."""
    subnets = [str(entry) for entry in config.get("machine.kubelet.nodeIP.validSubnets", [])]
    for address in addresses:
        if not subnets or _allowed(address, subnets):
            return address
    return ""


async def apply(machine: Machine, wanted: Plan) -> None:
    for link in wanted.links:
        await machine.set_addresses(link.nic, link.addresses, link.gateway)


@dataclasses.dataclass(frozen=True)
class _Source:
    addresses: tuple[str, ...] = ()
    gateway: str | None = None
    dhcp: bool = False


def _resolve(machine: Machine, name: str, nic: Nic, source: _Source) -> tuple[Link, list[str], str]:
    lease = machine.lease(nic) if source.dhcp else None
    if lease is None:
        return Link(name, nic, source.addresses, source.gateway), [], ""
    addresses = (f"{lease.address}/{lease.prefix}", *source.addresses)
    return (
        Link(name, nic, addresses, source.gateway or lease.gateway),
        list(lease.nameservers),
        lease.hostname or "",
    )


def _cloud_init(nic: Nic, cloud: c.Mapping[str, str]) -> _Source:
    """``ipconfigN`` as Proxmox keeps it: ``ip=192.168.30.50/24,gw=192.168.30.1`` or ``ip=dhcp``."""
    text = str(cloud.get("ipconfig" + nic.slot.removeprefix("net")) or "")
    parts = dict(part.partition("=")[::2] for part in text.split(",") if "=" in part)
    address = parts.get("ip", "")
    if address == "dhcp":
        return _Source(dhcp=True)
    return _Source(addresses=(address,) if "/" in address else (), gateway=parts.get("gw"))


def _configured(names: c.Mapping[str, Nic], entries: c.Iterable[c.Mapping[str, t.Any]]) -> dict[str, _Source]:
    found: dict[str, _Source] = {}
    for entry in entries:
        for name in _matching(names, entry):
            if not entry.get("ignore"):
                found[name] = _interface(entry)
    return found


def _interface(entry: c.Mapping[str, t.Any]) -> _Source:
    default: c.Mapping[str, t.Any] = next(
        (r for r in entry.get("routes") or [] if r.get("network") in (None, "", "0.0.0.0/0")),
        {},
    )
    addresses = list(entry.get("addresses") or ([entry["cidr"]] if entry.get("cidr") else []))
    return _Source(
        addresses=tuple(address if "/" in address else f"{address}/32" for address in map(str, addresses)),
        gateway=default.get("gateway"),
        dhcp=bool(entry.get("dhcp")),
    )


def _matching(names: c.Mapping[str, Nic], entry: c.Mapping[str, t.Any]) -> list[str]:
    """The links that an interface entry means: by name, or by selector (hardware address, physical, driver)."""
    if entry.get("interface"):
        return [name for name in names if name == entry["interface"]]
    selector = entry.get("deviceSelector") or {}
    mac = str(selector.get("hardwareAddr") or selector.get("permanentAddr") or "*").lower()
    driver = str(selector.get("driver") or "*")
    found = [name for name in names if fnmatch.fnmatchcase(names[name].mac.lower(), mac)]
    return found if selector and fnmatch.fnmatchcase("virtio_net", driver) else []


def _allowed(address: str, subnets: c.Sequence[str]) -> bool:
    value = ipaddress.ip_address(address)
    inside = {subnet: value in ipaddress.ip_network(subnet.lstrip("!"), strict=False) for subnet in subnets}
    if any(found for subnet, found in inside.items() if subnet.startswith("!")):
        return False
    positive = [found for subnet, found in inside.items() if not subnet.startswith("!")]
    return any(positive) or not positive
