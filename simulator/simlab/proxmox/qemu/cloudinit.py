# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud-init: what a guest would read from its drive."""

from __future__ import annotations

import hashlib
import ipaddress
import typing as t
import urllib.parse

from .. import formats, named_formats
from ..api import Call, handles
from . import drives, machine, options, pending
from .vm import Vm

_CLOUD_INIT = "/nodes/{node}/qemu/{vmid}/cloudinit"
#: What the list of values shows, whether it has changed or not (never the addresses).
_LISTED = ("cicustom", "cipassword", "citype", "ciuser", "nameserver", "searchdomain", "sshkeys")


@handles("GET", _CLOUD_INIT)
def listing(call: Call) -> list[dict[str, t.Any]]:
    """Values that are set, beside those that the drive of a running VM was written with. Of an address only its coming and
    going is listed."""
    vm = call.cluster.vm(call.node.name, call.vmid)
    now = _values(vm)
    drive = vm.cloud_init if vm.running and vm.cloud_init is not None else now
    found = [{"key": name, "pending": options.shown(name, now[name])} for name in now if name not in drive]
    for name in [name for name in _LISTED if name in now and name in drive]:
        entry = {"key": name, "value": options.shown(name, drive[name])}
        found.append(entry if now[name] == drive[name] else {**entry, "pending": options.shown(name, now[name])})
    return found + [{"key": name, "delete": 1} for name in drive if name not in now]


def _values(vm: Vm) -> dict[str, str]:
    return {name: value for name, value in vm.options.items() if pending.is_cloud_init(name)}


@handles("PUT", _CLOUD_INIT)
async def regenerate(call: Call) -> None:
    vm = call.cluster.vm(call.node.name, call.vmid)
    async with call.cluster.locked(vm):
        vm.check_lock()
        vm.cloud_init = _values(vm)
        if vm.running and call.cluster.host is not None:  # what it boots from next
            await call.cluster.host.nics_changed(machine.guest_of(call.cluster, vm))


@handles("GET", f"{_CLOUD_INIT}/dump")
def dump(call: Call) -> str:
    vm = call.cluster.vm(call.node.name, call.vmid)
    return {"user": user_data, "network": network_data, "meta": meta_data}[call.text("type")](vm)


def user_data(vm: Vm) -> str:
    values = vm.options
    name = values.get("name") or f"VM{vm.vmid}"
    host, _, domain = name.partition(".")
    domain = domain or values.get("searchdomain", "").split(" ")[0]
    lines = ["#cloud-config", f"hostname: {host}", "manage_etc_hosts: true"]
    lines.append(f"fqdn: {name if '.' in name or not domain else f'{host}.{domain}'}")
    if "ciuser" in values:
        lines.append(f"user: {values['ciuser']}")
    if "cipassword" in values:
        lines.append(f"password: {values['cipassword']}")
    if values.get("sshkeys", "").strip():
        keys = urllib.parse.unquote(values["sshkeys"]).rstrip("\n").split("\n")
        lines += ["ssh_authorized_keys:", *(f"  - {key}" for key in keys)]
    lines += ["chpasswd:", "  expire: False"]
    lines += [] if values.get("ciuser") == "root" else ["users:", "  - default"]
    if values.get("ciupgrade", "1") == "1":
        lines.append("package_upgrade: true")
    return "\n".join(lines) + "\n"


def network_data(vm: Vm) -> str:
    lines = ["version: 1", "config:"]
    for number in range(32):
        if f"net{number}" in vm.options and vm.options.get(f"ipconfig{number}", "").strip():
            lines += _interface(vm, number)
    servers = formats.split_list(vm.options.get("nameserver"))
    domains = formats.split_list(vm.options.get("searchdomain"))
    if servers or domains:
        lines += ["    - type: nameserver", "      address:", *(f"      - '{server}'" for server in servers)]
        lines += ["      search:", *(f"      - '{domain}'" for domain in domains)]
    return "\n".join(lines) + "\n"


def _interface(vm: Vm, number: int) -> list[str]:
    net = drives.parse_net(f"net{number}", vm.options[f"net{number}"])
    wanted = named_formats.PROPERTY_STRINGS["pve-qm-ipconfig"]
    addresses = formats.parse(wanted, vm.options[f"ipconfig{number}"], f"ipconfig{number}")
    lines = ["    - type: physical", f"      name: eth{number}", f"      mac_address: '{net['macaddr'].lower()}'"]
    lines.append("      subnets:")
    if "ip" in addresses:
        lines += _ipv4(addresses)
    if "ip6" in addresses:
        lines += _ipv6(addresses)
    return lines


def _ipv4(addresses: t.Mapping[str, str]) -> list[str]:
    if addresses["ip"] in ("dhcp", "manual"):
        return ["      - type: dhcp4"] if addresses["ip"] == "dhcp" else []
    interface = ipaddress.IPv4Interface(addresses["ip"])
    lines = ["      - type: static", f"        address: '{interface.ip}'", f"        netmask: '{interface.netmask}'"]
    return lines + ([f"        gateway: '{addresses['gw']}'"] if "gw" in addresses else [])


def _ipv6(addresses: t.Mapping[str, str]) -> list[str]:
    if addresses["ip6"] in ("dhcp", "auto", "manual"):
        kinds = {"dhcp": ["      - type: dhcp6"], "auto": ["      - type: ipv6_slaac"], "manual": []}
        return kinds[addresses["ip6"]]
    lines = ["      - type: static6", f"        address: '{addresses['ip6']}'"]
    return lines + ([f"        gateway: '{addresses['gw6']}'"] if "gw6" in addresses else [])


def meta_data(vm: Vm) -> str:
    digest = hashlib.sha1((user_data(vm) + network_data(vm)).encode(), usedforsecurity=False).hexdigest()
    return f"instance-id: {digest}\n"
