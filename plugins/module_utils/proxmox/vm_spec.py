# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs as they are wanted: a module's parameters checked and brought into the words of the API."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ..errors import InvalidInput
from . import options
from . import propertystring as ps

State = t.Literal["started", "stopped", "present", "absent"]
Params = t.Mapping[str, t.Any]

#: Buses and how many disks PVE allows on each.
BUSES = {"scsi": 31, "virtio": 16, "sata": 6, "ide": 4}

_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-+.]*")
_MAC = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_STORAGE = re.compile(r"[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]")
_NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_STARTUP = re.compile(r"(order=)?\d+(,(up|down)=\d+)*|(up|down)=\d+(,(up|down|order)=\d+)*")

#: Parameters that are sent as they are, by their name there and in the API.
_PLAIN = ("cores", "sockets", "cpu", "machine", "bios", "scsihw", "ostype", "startup", "balloon")


@dataclasses.dataclass(frozen=True)
class Disk:
    """``size`` in bytes, None to take the image's. ``settings`` are the sub-keys that the module decides
    (``ssd: "1"``; an empty value means: absent)."""

    slot: str
    storage: str
    size: int | None
    import_from: str
    format: str
    settings: t.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Network:
    """``mac`` is empty when the server's own is kept. ``settings`` as for disks."""

    slot: str
    model: str
    bridge: str
    mac: str
    settings: t.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class EfiDisk:
    storage: str
    type: str
    pre_enrolled_keys: bool


@dataclasses.dataclass(frozen=True)
class CloudInit:
    """The drive, and the password, which cannot be compared. ``addresses`` says that ``ipconfigN`` are all given."""

    storage: str
    slot: str
    password: str = dataclasses.field(repr=False)
    addresses: int | None


@dataclasses.dataclass(frozen=True)
class Vm:
    """``options`` are whole values; an empty text removes the option. ``agent`` is None when left alone."""

    vmid: int
    name: str
    node: str
    state: State
    options: t.Mapping[str, options.Value]
    disks: tuple[Disk, ...] = ()
    networks: tuple[Network, ...] = ()
    efidisk: EfiDisk | None = None
    cloud_init: CloudInit | None = None
    agent: bool | None = None
    pool: str = ""
    allow_restart: bool = False

    @property
    def title(self) -> str:
        return f"VM {self.vmid} ({self.name})" if self.name else f"VM {self.vmid}"


def wanted(entries: t.Iterable[Params]) -> list[Vm]:
    """All entries checked; raises one :class:`InvalidInput` that names every problem with its place."""
    vms: list[Vm] = []
    problems: list[str] = []
    for index, entry in enumerate(entries):
        try:
            vms.append(_vm(entry))
        except InvalidInput as error:
            problems.append(f"vms[{index}]: {error.message}")
    problems += _doubles(vms)
    if problems:
        raise InvalidInput(" ".join(problems))
    return vms


def _doubles(vms: t.Sequence[Vm]) -> list[str]:
    """Two entries must not mean one guest, or claim one MAC."""
    macs = [(nic.mac, vm.title) for vm in vms for nic in vm.networks if nic.mac and vm.state != "absent"]
    claims = [("vmid", str(vm.vmid), vm.title) for vm in vms]
    claims += [("name", vm.name.lower(), vm.title) for vm in vms if vm.name and vm.state != "absent"]
    claims += [("MAC", mac, title) for mac, title in macs]
    first: dict[tuple[str, str], str] = {}
    problems = []
    for kind, value, title in claims:
        if (kind, value) in first:
            problems.append(f"The {kind} {value} is given twice: to {first[kind, value]} and to {title}.")
        first.setdefault((kind, value), title)
    return problems


def _vm(entry: Params) -> Vm:
    vmid = int(entry["vmid"])
    if not 100 <= vmid <= 999999999:
        raise InvalidInput(f"vmid {vmid} is out of range", hint="Proxmox VE takes 100 to 999999999.")
    state: State = entry.get("state") or "started"
    name = entry.get("name") or ""
    if name:
        _match(_NAME, name, "name", "Use letters, digits, hyphens and dots, as in a DNS name.")
    if state == "absent":
        return Vm(vmid, name, entry.get("node") or "", state, {})
    if not name or not entry.get("node"):
        raise InvalidInput(
            f"{'node' if name else 'name'} is missing for vmid {vmid}", hint="Only absent VMs go without."
        )
    cloud_init = _cloud_init(entry.get("cloud_init"))
    vm = Vm(
        vmid=vmid,
        name=name,
        node=_match(_NODE, entry["node"], "node", "Give the name that the web interface shows."),
        state=state,
        options=_options(entry),
        disks=tuple(_disk(disk, index) for index, disk in enumerate(entry.get("disks") or [])),
        networks=tuple(_network(nic, index) for index, nic in enumerate(entry.get("networks") or [])),
        efidisk=_efidisk(entry.get("efidisk")),
        cloud_init=cloud_init,
        agent=entry.get("agent"),
        pool=entry.get("pool") or "",
        allow_restart=bool(entry.get("allow_restart")),
    )
    _consistent(vm)
    return vm


def _consistent(vm: Vm) -> None:
    """What no single option can know."""
    slots = [disk.slot for disk in vm.disks] + ([vm.cloud_init.slot] if vm.cloud_init else [])
    slots += [nic.slot for nic in vm.networks]
    twice = sorted({slot for slot in slots if slots.count(slot) > 1})
    if twice:
        raise InvalidInput(f"{vm.title} uses the slot {', '.join(twice)} twice")
    if vm.options.get("bios") == "seabios" and vm.efidisk:
        raise InvalidInput(f"{vm.title} has an efidisk, but bios is seabios", hint="Set bios to ovmf.")
    memory, balloon = vm.options.get("memory"), vm.options.get("balloon")
    if memory is not None and balloon is not None and int(balloon) > int(memory):
        raise InvalidInput(f"{vm.title}: balloon {balloon} is above memory {memory}")


def _options(entry: Params) -> dict[str, options.Value]:
    found: dict[str, options.Value] = {"name": entry["name"]}
    found.update({key: entry[key] for key in _PLAIN if entry.get(key) is not None})
    found.update({key: int(entry[key]) for key in ("onboot", "protection") if entry.get(key) is not None})
    for key, least in (("cores", 1), ("sockets", 1), ("memory", 16), ("balloon", 0)):
        if entry.get(key) is not None and entry[key] < least:
            raise InvalidInput(f"{key} is {entry[key]}", hint=f"It must be at least {least}.")
    if entry.get("memory") is not None:
        found["memory"] = str(entry["memory"])
    if entry.get("description") is not None:
        found["description"] = entry["description"].rstrip("\n")
    if entry.get("tags") is not None:
        found["tags"] = _tags(entry["tags"])
    if entry.get("serial") is not None:
        found["serial0"] = "socket" if entry["serial"] else ""
    if entry.get("startup"):
        _match(_STARTUP, entry["startup"], "startup", "Write for example order=2,up=30,down=60.")
    if entry.get("boot_order") is not None:
        found["boot"] = _boot(entry["boot_order"])
    found.update(_cloud_init_options(entry.get("cloud_init") or {}))
    return found


def _boot(slots: t.Sequence[str]) -> str:
    if not slots:
        raise InvalidInput("boot_order is empty", hint="Leave it out to let the server choose.")
    for slot in slots:
        _slot(slot, {**BUSES, "net": 32}, "slot to boot from")
    return "order=" + ";".join(slots)


def _tags(tags: t.Sequence[str]) -> str:
    for tag in tags:
        _match(_TAG, tag, "tag", "Use letters, digits and _ - + . only.")
    return ";".join(options.tags(";".join(tags)))


def _disk(disk: Params, index: int) -> Disk:
    slot = disk.get("slot") or f"scsi{index}"
    _slot(slot, BUSES, "disk slot")
    size = ps.size_in_bytes(disk["size"], option=f"size of {slot}") if disk.get("size") else None
    if size is not None and (str(disk["size"]).strip().isdigit() or size < 1 << 20):
        raise InvalidInput(f"size of {slot} is {disk['size']!r}", hint="Write a unit, for example 32G.")
    if size is None and not disk.get("import_from"):
        raise InvalidInput(f"Disk {slot} has neither size nor import_from")
    if disk.get("format") and disk["format"] not in ("qcow2", "raw", "vmdk"):
        raise InvalidInput(f"format of {slot} is {disk['format']!r}", hint="Known: qcow2, raw, vmdk.")
    bus = slot.rstrip("0123456789")
    if (disk.get("iothread") and bus in ("ide", "sata")) or (disk.get("ssd") and bus == "virtio"):
        option = "ssd" if bus == "virtio" else "iothread"
        raise InvalidInput(f"Disk {slot} cannot have {option}", hint=f"Proxmox VE knows no {option} on {bus}.")
    _match(_STORAGE, disk["storage"], f"storage of {slot}", "Give the name of a storage.")
    if disk.get("import_from"):
        _volid(disk["import_from"], f"import_from of {slot}")
    settings = {
        "discard": "on" if disk.get("discard") else "",
        "ssd": "1" if disk.get("ssd") else "",
        "iothread": "1" if disk.get("iothread") else "",
        "cache": disk.get("cache") or "",
    }
    settings = {key: "" if (key, value) == ("cache", "none") else value for key, value in settings.items()}
    return Disk(slot, disk["storage"], size, disk.get("import_from") or "", disk.get("format") or "", settings)


def _network(nic: Params, index: int) -> Network:
    slot = nic.get("slot") or f"net{index}"
    _slot(slot, {"net": 32}, "network slot")
    vlan, mtu, rate = nic.get("vlan"), nic.get("mtu"), nic.get("rate")
    if vlan is not None and not 1 <= vlan <= 4094:
        raise InvalidInput(f"vlan of {slot} is {vlan}", hint="It must be 1 to 4094.")
    if mtu is not None and mtu != 1 and not 576 <= mtu <= 65520:
        raise InvalidInput(f"mtu of {slot} is {mtu}", hint="It must be 576 to 65520, or 1 for the bridge's own.")
    if rate is not None and rate < 0:
        raise InvalidInput(f"rate of {slot} is {rate:g}", hint="It is in MB/s.")
    mac = (nic.get("mac") or "").upper()
    if mac:
        _match(_MAC, mac, f"mac of {slot}", "Write for example BC:24:11:00:00:50.")
        if int(mac[:2], 16) & 1:
            raise InvalidInput(f"mac of {slot} is the multicast address {mac}", hint="Its first byte must be even.")
    settings = {
        "tag": str(vlan or ""),
        "firewall": "1" if nic.get("firewall") else "",
        "mtu": str(mtu or ""),
        "rate": f"{rate:g}" if rate else "",
    }
    return Network(slot, nic.get("model") or "virtio", nic.get("bridge") or "vmbr0", mac, settings)


def _efidisk(efidisk: Params | None) -> EfiDisk | None:
    if not efidisk:
        return None
    storage = _match(_STORAGE, efidisk["storage"], "storage of efidisk", "Give the name of a storage.")
    return EfiDisk(storage, efidisk.get("type") or "4m", bool(efidisk.get("pre_enrolled_keys")))


def _cloud_init(cloud_init: Params | None) -> CloudInit | None:
    if not cloud_init:
        return None
    slot = cloud_init.get("slot") or "ide2"
    _slot(slot, BUSES, "cloud_init slot")
    _match(_STORAGE, cloud_init["storage"], "storage of cloud_init", "Give the name of a storage.")
    addresses = cloud_init.get("ipconfig")
    count = None if addresses is None else len(addresses)
    return CloudInit(cloud_init["storage"], slot, cloud_init.get("password") or "", count)


def _cloud_init_options(cloud_init: Params) -> dict[str, options.Value]:
    found: dict[str, options.Value] = {}
    for index, text in enumerate(cloud_init.get("ipconfig") or []):
        found[f"ipconfig{index}"] = _ipconfig(text, f"ipconfig[{index}]")
    if cloud_init.get("nameservers") is not None:
        found["nameserver"] = " ".join(_address(server, "nameserver") for server in cloud_init["nameservers"])
    for key, ours in (("searchdomain", "searchdomain"), ("ciuser", "user")):
        if cloud_init.get(ours) is not None:
            found[key] = cloud_init[ours]
    if cloud_init.get("ssh_keys") is not None:
        found["sshkeys"] = options.encode_ssh_keys(cloud_init["ssh_keys"])
    return found


def _ipconfig(text: str, place: str) -> str:
    """``ip=192.168.30.50/24,gw=192.168.30.1``, ``ip=dhcp``, ``ip6=auto``."""
    hint = "Write for example ip=192.168.30.50/24,gw=192.168.30.1, or ip=dhcp."
    for key, value in ps.parse(text).items():
        if key not in ("ip", "ip6", "gw", "gw6"):
            raise InvalidInput(f"{place} has the unknown key {key!r}", hint=hint)
        if value in ("dhcp", "auto", "manual") and key in ("ip", "ip6"):
            continue
        try:
            if key in ("ip", "ip6"):
                ipaddress.ip_interface(value if "/" in value else "no prefix")
            else:
                ipaddress.ip_address(value)
        except ValueError:
            raise InvalidInput(f"{place}: {key}={value} is no {'address with prefix' if key[:2] == 'ip' else 'address'}",
                               hint=hint) from None  # fmt: skip
    return text


def _address(text: str, option: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InvalidInput(f"{option} {text!r} is no IP address") from None


def _slot(slot: str, buses: t.Mapping[str, int], what: str) -> None:
    bus = slot.rstrip("0123456789")
    number = slot[len(bus) :]
    if bus not in buses or not number or int(number) >= buses[bus]:
        known = ", ".join(f"{bus}0 to {bus}{count - 1}" for bus, count in buses.items())
        raise InvalidInput(f"{slot!r} is no {what}", hint=f"Known: {known}.")


def _volid(text: str, option: str) -> None:
    if text.startswith("/"):
        raise InvalidInput(f"{option} is the path {text}", hint="Only root@pam may use paths; name a volume.")
    if not ps.storage_of(text) or not text.partition(":")[2]:
        raise InvalidInput(f"{option} {text!r} is no volume", hint="Write for example local:import/talos.qcow2.")


def _match(pattern: re.Pattern[str], text: str, option: str, hint: str) -> str:
    if not pattern.fullmatch(text):
        raise InvalidInput(f"{option} {text!r} is not valid", hint=hint)
    return text
