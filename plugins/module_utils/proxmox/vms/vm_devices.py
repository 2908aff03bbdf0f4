# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is plugged into a VM: a module's parameters checked and brought into the words of the API."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps
from ..api.names import STORAGE
from ..guests.guest_spec import Params, check_card, check_slot, match
from . import options
from .vm_words import BUSES, CD_BUSES, MAPPING, check_volume

Presence = t.Literal["present", "detached", "absent"]

_SERIAL = re.compile(r"[A-Za-z0-9_.\-]{1,60}")
_TRUNK = re.compile(r"\d+(-\d+)?")
_PCI = re.compile(r"([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}(\.[0-9a-f])?", re.IGNORECASE)
_USB = re.compile(r"(0x)?[0-9a-f]{4}:(0x)?[0-9a-f]{4}|\d+-\d+(\.\d+)*|spice", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Disk:
    """``size`` in bytes, None to take the image's; ``storage`` is empty when it does not matter. ``settings`` are the
    sub-keys that the module decides (``ssd: "1"``; an empty value means: absent)."""

    slot: str
    storage: str
    size: int | None
    import_from: str
    format: str
    settings: t.Mapping[str, str]
    presence: Presence = "present"


@dataclasses.dataclass(frozen=True)
class Network:
    """``mac`` is empty when the server's own is kept. ``settings`` as for disks."""

    slot: str
    model: str
    bridge: str
    mac: str
    settings: t.Mapping[str, str]
    absent: bool = False


@dataclasses.dataclass(frozen=True)
class Firmware:
    """A small disk that is made once: ``efidisk0`` or ``tpmstate0``, with the sub-keys that cannot be changed."""

    slot: t.Literal["efidisk0", "tpmstate0"]
    storage: str
    settings: t.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Cdrom:
    """``volume`` is ``none`` for an empty drive."""

    slot: str
    volume: str
    absent: bool = False


@dataclasses.dataclass(frozen=True)
class CloudInit:
    """The drive, and the password, which is never shown. ``addresses`` says that ``ipconfigN`` are all given."""

    storage: str
    slot: str
    password: str = dataclasses.field(repr=False)
    addresses: int | None


def disk(entry: Params, index: int) -> Disk:
    slot = entry.get("slot") or f"scsi{index}"
    check_slot(slot, BUSES, "disk slot")
    storage = entry.get("storage") or ""
    if storage:
        match(STORAGE, storage, f"storage of {slot}", "Give the name of a storage.")
    presence: Presence = entry.get("state") or "present"
    if presence != "present":
        return Disk(slot, storage, None, "", "", {}, presence)
    if entry.get("import_from"):
        check_volume(entry["import_from"], f"import_from of {slot}", "local:import/talos.qcow2")
    settings = _disk_settings(entry, slot)
    return Disk(slot, storage, _size(entry, slot), entry.get("import_from") or "", entry.get("format") or "", settings)


def _size(entry: Params, slot: str) -> int | None:
    if not entry.get("size"):
        return None
    size = ps.size_in_bytes(entry["size"], option=f"size of {slot}")
    if str(entry["size"]).strip().isdigit() or size < 1 << 20:
        raise InvalidInput(f"size of {slot} is {entry['size']!r}", hint="Write a unit, for example 32G.")
    return ps.rounded_up(size, "K")


def _disk_settings(entry: Params, slot: str) -> dict[str, str]:
    bus = slot.rstrip("0123456789")
    for option, buses in (("iothread", ("ide", "sata")), ("ssd", ("virtio",))):
        if entry.get(option) and bus in buses:
            raise InvalidInput(f"Disk {slot} cannot have {option}", hint=f"Proxmox VE knows no {option} on {bus}.")
    if entry.get("serial"):
        match(_SERIAL, entry["serial"], f"serial of {slot}", "Use up to 60 letters, digits and _ . -.")
    return {
        "discard": "on" if entry.get("discard") else "",
        "ssd": "1" if entry.get("ssd") else "",
        "iothread": "1" if entry.get("iothread") else "",
        "cache": "" if entry.get("cache") == "none" else entry.get("cache") or "",
        "aio": entry.get("aio") or "",
        "backup": "0" if entry.get("backup") is False else "",
        "replicate": "0" if entry.get("replicate") is False else "",
        "serial": entry.get("serial") or "",
    }


def network(entry: Params, index: int) -> Network:
    slot = entry.get("slot") or f"net{index}"
    check_slot(slot, {"net": 32}, "network slot")
    model, bridge = entry.get("model") or "virtio", entry.get("bridge") or "vmbr0"
    if entry.get("state") == "absent":
        return Network(slot, model, bridge, "", {}, absent=True)
    return Network(slot, model, bridge, check_card(entry, slot), _network_settings(entry, slot))


def _network_settings(entry: Params, slot: str) -> dict[str, str]:
    vlan, mtu, rate, queues = (entry.get(key) for key in ("vlan", "mtu", "rate", "queues"))
    if mtu is not None and mtu != 1 and not 576 <= mtu <= 65520:
        raise InvalidInput(f"mtu of {slot} is {mtu}", hint="It must be 576 to 65520, or 1 for the bridge's own.")
    if queues is not None and not 0 <= queues <= 64:
        raise InvalidInput(f"queues of {slot} is {queues}", hint="It must be 0 to 64.")
    trunks = entry.get("trunks") or []
    for trunk in trunks:
        match(_TRUNK, trunk, f"trunks of {slot}", "Write VLANs and ranges, for example [10, 20-30].")
    return {
        "tag": str(vlan or ""),
        "firewall": "1" if entry.get("firewall") else "",
        "mtu": str(mtu or ""),
        "rate": f"{rate:g}" if rate else "",
        "queues": str(queues or ""),
        "trunks": ";".join(trunks),
        **({} if entry.get("link_down") is None else {"link_down": "1" if entry["link_down"] else ""}),
    }


def efidisk(entry: Params | None) -> Firmware | None:
    if not entry:
        return None
    settings = {
        "efitype": entry.get("type") or "4m",
        "pre-enrolled-keys": str(int(bool(entry.get("pre_enrolled_keys")))),
    }
    return Firmware("efidisk0", _storage(entry, "efidisk"), settings)


def tpm(entry: Params | None) -> Firmware | None:
    if not entry:
        return None
    return Firmware("tpmstate0", _storage(entry, "tpm"), {"version": entry.get("version") or "v2.0"})


def _storage(entry: Params, of: str) -> str:
    return match(STORAGE, entry["storage"], f"storage of {of}", "Give the name of a storage.")


def cloud_init(entry: Params | None) -> CloudInit | None:
    if not entry:
        return None
    slot = entry.get("slot") or "ide2"
    check_slot(slot, CD_BUSES, "cloud_init slot")
    addresses = entry.get("ipconfig")
    count = None if addresses is None else len(addresses)
    return CloudInit(_storage(entry, "cloud_init"), slot, entry.get("password") or "", count)


def cdroms(entries: t.Sequence[Params], taken: t.Collection[str]) -> tuple[Cdrom, ...]:
    """Without a slot: the first of ``ide2`` and ``ide0`` (which all machine types have) that is not ``taken``."""
    used = set(taken) | {entry["slot"] for entry in entries if entry.get("slot")}
    found = []
    for entry in entries:
        slot = entry.get("slot") or next((one for one in ("ide2", "ide0") if one not in used), "")
        if not slot:
            raise InvalidInput("A CD drive has no slot, and ide2 and ide0 are taken", hint="Name one, such as sata0.")
        used.add(slot)
        check_slot(slot, CD_BUSES, "slot of a CD drive")
        volume = entry.get("iso") or "none"
        if volume != "none":
            check_volume(volume, f"iso of {slot}", "local:iso/debian-13.iso")
        found.append(Cdrom(slot, volume, absent=entry.get("state") == "absent"))
    return tuple(found)


def passed_through(entry: Params) -> dict[str, options.Value]:
    """``hostpciN`` and ``usbN`` as whole options; an empty text removes one."""
    found: dict[str, options.Value] = {}
    for index, device in enumerate(entry.get("pci_devices") or []):
        slot = device.get("slot") or f"hostpci{index}"
        check_slot(slot, {"hostpci": 16}, "slot of a PCI device")
        _once(slot, found)
        found[slot] = "" if device.get("state") == "absent" else _pci(device, slot, str(entry.get("machine") or ""))
    for index, device in enumerate(entry.get("usb_devices") or []):
        slot = device.get("slot") or f"usb{index}"
        check_slot(slot, {"usb": 14}, "slot of a USB device")
        _once(slot, found)
        found[slot] = "" if device.get("state") == "absent" else _usb(device, slot)
    return found


def _once(slot: str, found: t.Mapping[str, t.Any]) -> None:
    if slot in found:
        raise InvalidInput(f"The slot {slot} is used twice")


def _pci(device: Params, slot: str, machine: str) -> str:
    properties = _mapped_or_raw(device, slot, _PCI, "0000:01:00.0")
    if device.get("pcie") and machine and "q35" not in machine:
        raise InvalidInput(f"pcie of {slot} needs the machine q35, not {machine}")
    switches = {"pcie": ("pcie", True), "primary_gpu": ("x-vga", True), "rombar": ("rombar", False)}
    properties |= {
        key: str(int(written)) for option, (key, written) in switches.items() if device.get(option) is written
    }
    if device.get("mdev"):
        properties["mdev"] = device["mdev"]
    return ps.render(properties, "host")


def _usb(device: Params, slot: str) -> str:
    properties = _mapped_or_raw(device, slot, _USB, "1d6b:0002, 1-2 or spice")
    return ps.render(properties | ({"usb3": "1"} if device.get("usb3") else {}), "host")


def _mapped_or_raw(device: Params, slot: str, raw: re.Pattern[str], example: str) -> dict[str, str]:
    mapping, host = device.get("mapping"), device.get("device")
    if bool(mapping) == bool(host):
        raise InvalidInput(
            f"{slot} needs either mapping or device", hint="Only root@pam with a password may use device."
        )
    if mapping:
        return {"mapping": match(MAPPING, mapping, f"mapping of {slot}", "Give the name of a resource mapping.")}
    return {"host": match(raw, str(host), f"device of {slot}", f"Write for example {example}.")}
