# SPDX-License-Identifier: GPL-3.0-or-later
"""What the file ``interfaces`` of a node may say, and how it is read back."""

from __future__ import annotations

import re
import typing as t

from . import formats
from .errors import Failure, ParameterError

Interface = dict[str, t.Any]
Interfaces = dict[str, Interface]
_PORTS = ("bridge_ports", "ovs_ports", "slaves", "ovs_bonds")
_PARENTS = ("eth", "bridge", "bond", "vlan")
_HIGHEST_VLAN = 4094


def with_addresses(sent: Interface) -> Interface:
    """``cidr`` as address and netmask; raises ParameterError when both are there."""
    found = dict(sent)
    for suffix in ("", "6"):
        cidr = found.pop(f"cidr{suffix}", None)
        if not cidr:
            continue
        for name in (f"address{suffix}", f"netmask{suffix}"):
            if found.get(name):
                raise ParameterError({name: f"{name} conflicts with cidr{suffix}"})
        found[f"address{suffix}"], _, found[f"netmask{suffix}"] = str(cidr).rpartition("/")
    return found


def check_unique(known: Interfaces, name: str, sent: Interface) -> None:
    """There is one gateway, and a port belongs to one interface. Raises ParameterError."""
    others = {other: values for other, values in known.items() if other != name}
    for key, word in (("gateway", "Default gateway"), ("gateway6", "Default ipv6 gateway")):
        owner = next((other for other, values in others.items() if values.get(key)), None)
        if sent.get(key) and owner:
            raise ParameterError({key: f"{word} already exists on interface '{owner}'."})
    ports = _ports(sent)
    key = next((key for key in _PORTS if sent.get(key)), "")
    for other, values in others.items():
        for port in _ports(values):
            if port in ports:
                raise ParameterError({key: f"{port} is already used on interface '{other}'."})


def _ports(interface: Interface) -> list[str]:
    return [port for key in _PORTS for port in formats.split_list(str(interface.get(key) or ""))]


def settle(name: str, interface: Interface) -> None:
    """How an interface gets its addresses follows from whether it has some; without, its gateway is no use."""
    families = []
    for suffix in ("", "6"):
        fixed = bool(interface.get(f"address{suffix}"))
        interface[f"method{suffix}"] = "static" if fixed else "manual"
        families += [f"inet{suffix}"] if fixed else []
    interface["families"] = families or ["inet"]


def check(interfaces: Interfaces) -> None:
    """What cannot be written; raises Failure."""
    used: dict[str, str] = {}
    for name, interface in sorted(interfaces.items()):
        for port in _ports(interface):
            if port in used:
                raise Failure(f"port '{port}' is already used on interface '{used[port]}'")
            used[port] = name
    for name, interface in sorted(interfaces.items()):
        if interface["type"] == "bond":
            _check_bond(interfaces, name, interface)
    for name, interface in sorted(interfaces.items()):
        if interface["type"] == "vlan":
            _check_vlan(interfaces, name, interface)
    for name, interface in sorted(interfaces.items()):
        if interface["type"] == "bridge":
            _check_bridge(interfaces, name, interface)


def _check_bond(interfaces: Interfaces, name: str, bond: Interface) -> None:
    for slave in formats.split_list(str(bond.get("slaves") or "")):
        if slave not in interfaces:
            raise Failure(f"bond '{name}' - unable to find slave '{slave}'")
        kind = interfaces[slave]["type"]
        if kind not in ("eth", "bond"):
            raise Failure(f"bond '{name}' - wrong interface type on slave '{slave}' ('{kind}' != 'eth or bond')")


def _parent(name: str, vlan: Interface) -> tuple[str, int]:
    """The interface below a VLAN, and its tag; raises Failure when they are not told."""
    match = re.fullmatch(r"(\S+)\.(\d+)", name)
    if match:
        return match[1], int(match[2])
    if not vlan.get("vlan-raw-device"):
        raise Failure("missing vlan-raw-device option at /usr/share/perl5/PVE/INotify.pm line 1693.")
    match = re.fullmatch(r"vlan(\d+)", name)
    if match is None and not vlan.get("vlan-id"):
        raise Failure("missing vlan-id option at /usr/share/perl5/PVE/INotify.pm line 1701.")
    return str(vlan["vlan-raw-device"]), int(match[1] if match else vlan["vlan-id"])


def _check_vlan(interfaces: Interfaces, name: str, vlan: Interface) -> None:
    parent, tag = _parent(name, vlan)
    if tag > _HIGHEST_VLAN:
        raise Failure(f"vlan '{name}' - vlan-id {tag} should be <= {_HIGHEST_VLAN}")
    if parent not in interfaces:
        raise Failure(f"vlan '{name}' - unable to find parent '{parent}'")
    kind = interfaces[parent]["type"]
    if kind not in _PARENTS:
        raise Failure(
            f"vlan '{name}' - wrong interface type on parent '{parent}' ('{kind}' != 'eth|bond|bridge|vlan' )"
        )


def _check_bridge(interfaces: Interfaces, name: str, bridge: Interface) -> None:
    for port in formats.split_list(str(bridge.get("bridge_ports") or "")):
        if port not in interfaces and re.fullmatch(r"\S+\.\d+", port):
            continue  # a VLAN comes by being used
        if port not in interfaces:
            raise Failure(f"bridge '{name}' - unable to find bridge port '{port}'")
        if interfaces[port].get("method") == "static" or interfaces[port].get("method6") == "static":
            raise Failure(f"iface {port} - ip address can't be set on interface if bridged in {name}")


def read_back(name: str, interface: Interface) -> Interface:
    """The interface as the file tells it."""
    found = dict(interface)
    for suffix in ("", "6"):
        if found.get(f"method{suffix}") != "static":
            for key in ("address", "netmask", "cidr", "gateway"):
                found.pop(f"{key}{suffix}", None)
        else:
            found[f"cidr{suffix}"] = f"{found[f'address{suffix}']}/{found[f'netmask{suffix}']}"
    if found["type"] == "bridge":
        found = {"bridge_fd": "0", "bridge_ports": "", "bridge_stp": "off"} | found
        found["bridge_ports"] = " ".join(formats.split_list(str(found["bridge_ports"])))
        if found.get("bridge_vlan_aware"):
            found.setdefault("bridge_vids", "2-4094")
    if found["type"] == "bond":
        found = {"bond_miimon": "100", "bond_mode": "balance-rr"} | found
        found["slaves"] = " ".join(formats.split_list(str(found.get("slaves") or "none")))
        if found["bond_mode"] not in ("balance-xor", "802.3ad"):
            found.pop("bond_xmit_hash_policy", None)
        if found["bond_mode"] != "active-backup":
            found.pop("bond-primary", None)
    if found["type"] == "vlan":
        parent, tag = _parent(name, found)
        found |= {"vlan-raw-device": parent, "vlan-id": str(tag), "exists": None}
    if "comments" in found:
        found["comments"] = str(found["comments"]).rstrip("\n") + "\n"
    for flag in ("autostart", "bridge_vlan_aware"):
        if str(found.pop(flag, "0")) == "1":
            found[flag] = 1
    return found
