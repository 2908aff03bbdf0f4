# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud-init: what a guest would read from its drive."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import typing as t
import urllib.parse

from .. import formats, named_formats, node_settings
from ..api import Call, handles
from . import drives, machine, options, pending
from .vm import Vm

_CLOUD_INIT = "/nodes/{node}/qemu/{vmid}/cloudinit"
#: What the list of values shows, whether it has changed or not (never the addresses).
_LISTED = ("cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "nameserver", "searchdomain", "sshkeys")


@handles("GET", _CLOUD_INIT)
def listing(call: Call) -> list[dict[str, t.Any]]:
    """Values that are set, beside those that the drive was written with. Of an address, a card and the name only the coming
    and going is listed."""
    vm = call.cluster.vm(call.node.name, call.vmid)
    now, old = vm.options, vm.drive_old
    found = [{"key": name, "pending": _shown(name, now)} for name in sorted(vm.drive_added)]
    for name in [name for name in _LISTED if _is_set(now.get(name)) and name not in vm.drive_added]:
        entry = {"key": name, "value": options.shown(name, old.get(name, now[name]))}
        found.append({**entry, "pending": options.shown(name, now[name])} if name in old else entry)
    return found + [{"key": name, "delete": 1} for name in old if not _is_set(now.get(name))]


def _shown(name: str, values: t.Mapping[str, str]) -> t.Any:
    """None for what was added and is gone since the VM stopped."""
    return options.shown(name, values[name]) if name in values else None


def _is_set(value: str | None) -> bool:
    return value not in (None, "", "0")


def _values(vm: Vm) -> dict[str, str]:
    return {name: value for name, value in vm.options.items() if pending.is_cloud_init(name)}


@handles("PUT", _CLOUD_INIT)
async def regenerate(call: Call) -> None:
    vm = call.cluster.vm(call.node.name, call.vmid)
    async with call.cluster.locked(vm):
        vm.check_lock()
        if not any(drives.is_cloudinit(drive) for _, drive in vm.volumes()):
            return
        vm.cloud_init = _values(vm)
        pending.forget_drive_changes(vm)
        if vm.running and call.cluster.host is not None:  # what it boots from next
            await call.cluster.host.nics_changed(machine.guest_of(call.cluster, vm))


@handles("GET", f"{_CLOUD_INIT}/dump")
def dump(call: Call) -> str:
    vm = call.cluster.vm(call.node.name, call.vmid)
    names = _names(vm, node_settings.resolvers(call))
    make = {
        "user": lambda: user_data(vm),
        "network": lambda: network_data(vm, names),
        "meta": lambda: meta_data(vm, names),
    }
    return make[call.text("type")]()


def _names(vm: Vm, resolvers: t.Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Name servers and search domains: the VM's, else those of its node."""
    servers = [resolvers[key] for key in ("dns1", "dns2", "dns3") if resolvers.get(key)]
    if "nameserver" in vm.options:
        servers = vm.options["nameserver"].split()
    return servers, vm.options.get("searchdomain", resolvers.get("search", "")).split()


def _is_nocloud(vm: Vm) -> bool:
    windows = re.match(r"w(xp|vista|2k|in)", vm.options.get("ostype", ""))
    return vm.options.get("citype", "configdrive2" if windows else "nocloud") == "nocloud"


def user_data(vm: Vm) -> str:
    values = vm.options
    name = values.get("name") or f"VM{vm.vmid}"
    full = f"{name}.{values['searchdomain']}" if "." not in name and values.get("searchdomain") else name
    lines = ["#cloud-config", f"hostname: {name.partition('.')[0]}", "manage_etc_hosts: true", f"fqdn: {full}"]
    if "ciuser" in values:
        lines.append(f"user: {values['ciuser']}")
    if values.get("ciuser") == "root":
        lines.append("disable_root: False")
    if "cipassword" in values:
        lines.append(f"password: {values['cipassword']}")
    if "sshkeys" in values:
        keys = urllib.parse.unquote(values["sshkeys"]).split("\n")
        lines += ["ssh_authorized_keys:", *(f"  - {key}" for key in keys if key.strip())]
    lines += ["chpasswd:", "  expire: False"]
    lines += [] if values.get("ciuser") == "root" else ["users:", "  - default"]
    if values.get("ciupgrade", "1") != "0":
        lines.append("package_upgrade: true")
    return "\n".join(lines) + "\n"


def network_data(vm: Vm, names: tuple[list[str], list[str]]) -> str:
    return _version_1(vm, *names) if _is_nocloud(vm) else _debian(vm, *names)


def _addresses(vm: Vm) -> t.Iterator[tuple[str, dict[str, str]]]:
    """The numbers of cards that have addresses, in the order of their names."""
    wanted = named_formats.PROPERTY_STRINGS["pve-qm-ipconfig"]
    for name in sorted(vm.options):
        value = vm.options.get(f"ipconfig{name[3:]}", "")
        if re.fullmatch(r"net\d+", name) and value:
            found = formats.parse(wanted, value.strip(), f"ipconfig{name[3:]}")
            yield name[3:], found if "ip" in found or "ip6" in found else {"ip": "dhcp", "ip6": "dhcp"}


def _version_1(vm: Vm, servers: list[str], domains: list[str]) -> str:
    lines = ["version: 1", "config:"]
    for number, addresses in _addresses(vm):
        lines += _interface(vm, number, addresses)
    lines.append("    - type: nameserver")
    lines += ["      address:", *(f"      - '{server}'" for server in servers)] if servers else []
    lines += ["      search:", *(f"      - '{domain}'" for domain in domains)] if domains else []
    return "\n".join(lines) + "\n"


def _debian(vm: Vm, servers: list[str], domains: list[str]) -> str:
    """The network as Debian's ``interfaces`` has it, for drives of the other kinds."""
    lines = ["auto lo", "iface lo inet loopback", ""]
    lines += [f"        dns_nameservers {' '.join(servers)}"] if servers else []
    lines += [f"        dns_search {' '.join(domains)}"] if domains else []
    for number, addresses in _addresses(vm):
        lines.append(f"auto eth{number}")
        for key, gateway, family in (("ip", "gw", "inet"), ("ip6", "gw6", "inet6")):
            if key in addresses:
                lines += _stanza(f"eth{number} {family}", addresses[key], addresses.get(gateway))
    return "\n".join(lines) + "\n"


def _stanza(where: str, address: str, gateway: str | None) -> list[str]:
    if address in ("dhcp", "auto"):
        return [f"iface {where} {address}"]
    host, _, mask = address.partition("/")
    mask = str(ipaddress.IPv4Interface(address).netmask) if where.endswith("inet") else mask
    lines = [f"iface {where} static", f"        address {host}", f"        netmask {mask}"]
    return lines + ([f"        gateway {gateway}"] if gateway else [])


def _interface(vm: Vm, number: str, addresses: t.Mapping[str, str]) -> list[str]:
    net = drives.parse_net(f"net{number}", vm.options[f"net{number}"])
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


def meta_data(vm: Vm, names: tuple[list[str], list[str]]) -> str:
    digest = hashlib.sha1((user_data(vm) + network_data(vm, names)).encode(), usedforsecurity=False).hexdigest()
    if _is_nocloud(vm):
        return f"instance-id: {digest}\n"
    return f'{{\n     "uuid": "{digest}",\n     "network_config": {{ "content_path": "/content/0000" }}\n}}\n'
