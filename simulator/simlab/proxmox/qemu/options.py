# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of each VM option: type, right that setting it needs, what a running VM does with a change."""

from __future__ import annotations

import functools
import re
import typing as t

from .. import formats, schema

_CREATE = "/nodes/{node}/qemu"
_UPDATE = "/nodes/{node}/qemu/{vmid}/config"

QEMU_VERSION = "10.0.13"
MACHINE_VERSION = f"{'.'.join(QEMU_VERSION.split('.')[:2])}+pve1"

#: Parameters of the requests that are no options of a VM.
_NOT_OPTIONS = frozenset(
    """node vmid archive storage force unique pool bwlimit start live-restore import-working-storage ha-managed digest
    delete revert skiplock background_delay cdrom""".split()
)


@functools.cache
def properties() -> schema.Properties:
    """The options of a VM, with their schemas (``net[n]`` for numbered ones)."""
    methods = schema.load().paths
    found = dict(methods[_CREATE]["POST"]["parameters"]["properties"])
    found.update(methods[_UPDATE]["PUT"]["parameters"]["properties"])
    found["unused[n]"] = {"type": "string", "format": {"file": {"default_key": 1, "type": "string"}}}
    found["meta"] = found["vmstate"] = found["parent"] = {"type": "string", "optional": 1}
    return {name: spec for name, spec in found.items() if name not in _NOT_OPTIONS}


def exists(name: str) -> bool:
    return schema.property_of(properties(), name) is not None


def spec_of(name: str) -> dict[str, t.Any]:
    return schema.property_of(properties(), name) or {}


@functools.lru_cache(maxsize=1024)
def kind_of(name: str) -> str:
    return str(spec_of(name).get("type", "string"))


def shown(name: str, value: str) -> t.Any:
    """An option's value as the API shows it: integers and booleans as numbers."""
    if name == "cipassword":
        return "**********"
    return int(value) if kind_of(name) in ("integer", "boolean") and re.fullmatch(r"[+-]?\d+", value) else value


_RIGHTS: dict[str, tuple[str, ...]] = {
    "VM.Config.CPU": ("cores", "sockets", "cpu", "smp", "numa", "cpulimit", "cpuunits", "vcpus"),
    "VM.Config.Memory": ("memory", "balloon", "shares", "hugepages", "keephugepages", "allow-ksm"),
    "VM.Config.HWType": (
        "acpi", "hotplug", "kvm", "machine", "scsihw", "smbios1", "tablet", "vga", "watchdog", "audio0", "rng0",
        "amd-sev", "arch", "intel-tdx",
    ),
    "VM.Config.Options": (
        "agent", "autostart", "bios", "description", "keyboard", "localtime", "migrate_downtime", "migrate_speed",
        "name", "onboot", "ostype", "protection", "reboot", "startdate", "startup", "tdf", "template", "tags",
    ),
    "VM.PowerMgmt": ("freeze",),
    "VM.Config.Disk": ("boot", "bootdisk", "vmstatestorage"),
}  # fmt: skip
_RIGHT_OF = {name: right for right, names in _RIGHTS.items() for name in names}
_NUMBERED_RIGHTS = {"numa": "VM.Config.CPU", "net": "VM.Config.Network", "virtiofs": "VM.Config.Disk"}
CLOUD_INIT = ("cicustom", "cipassword", "citype", "ciuser", "ciupgrade", "nameserver", "searchdomain", "sshkeys")


def base_of(name: str) -> str:
    return name.rstrip("0123456789")


def rights(name: str) -> tuple[str, ...]:
    """The privileges of which one is needed to set or delete an option; empty: only root may."""
    if name in CLOUD_INIT or re.fullmatch(r"ipconfig\d+", name):
        return ("VM.Config.Cloudinit", "VM.Config.Network")
    right = _RIGHT_OF.get(name) or (_NUMBERED_RIGHTS.get(base_of(name)) if name != base_of(name) else None)
    return (right,) if right else ()


#: Options whose right depends on the value: checked where they are set.
def checked_by_value(name: str) -> bool:
    return name == "cdrom" or re.fullmatch(r"(?:unused|serial|usb|hostpci)\d+", name) is not None


#: A running VM takes these at once, because they are nothing that it sees.
FAST_PLUG = frozenset(
    """description freeze hookscript lock migrate_downtime migrate_speed name onboot protection shares startup tags
    vmstatestorage""".split()
)


def canonical_machine(value: str) -> str:
    """``type=q35,viommu=virtio`` → ``q35,viommu=virtio``."""
    wanted = spec_of("machine")["format"]
    return formats.render(wanted, formats.parse(wanted, value, "machine"))


def pinned_machine(machine: str | None, ostype: str | None) -> str | None:
    """The machine of a Windows VM with the version of the QEMU that is there; None when it stays as it is."""
    wanted = spec_of("machine")["format"]
    parts = formats.parse(wanted, machine, "machine") if machine else {}
    family = {"pc": "i440fx", "q35": "q35"}.get(parts.get("type", "pc"))
    if not family or not (ostype or "").startswith("w"):
        return None
    return formats.render(wanted, {**parts, "type": f"pc-{family}-{MACHINE_VERSION}"})


def normalise(values: dict[str, str]) -> None:
    """What a configuration file does to texts: no trailing line feeds, a space for nothing, no empty notes."""
    if "description" in values:
        values["description"] = values["description"].rstrip("\n")
        if not values["description"]:
            del values["description"]
    for name, value in values.items():
        if value == "":
            values[name] = " "
