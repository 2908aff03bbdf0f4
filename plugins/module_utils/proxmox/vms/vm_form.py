# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words in which a VM is created and shown: the form that is sent, and what a plan says of it."""

from __future__ import annotations

import typing as t

from ...plan import COMPUTED, HIDDEN
from ..api import propertystring as ps
from . import options
from .vm_spec import Cdrom, Disk, Firmware, Network, Vm

Form = dict[str, options.Value]

#: Not worth showing: the server's own, or secret.
_UNSHOWN = ("digest", "meta", "smbios1", "vmgenid")


def creation(vm: Vm) -> tuple[Form, dict[str, t.Any], dict[str, int]]:
    """The form, what a plan shows of it, and the sizes that imported disks are to have after it."""
    form: Form = {"vmid": vm.vmid, **{key: value for key, value in vm.options.items() if value != ""}}
    if vm.agent:
        form["agent"] = agent(vm)
    shown = {"node": vm.node, **shown_config({key: value for key, value in form.items() if key != "vmid"})}
    for nic in (one for one in vm.networks if not one.absent):
        form[nic.slot] = ps.render_network(network(nic))
        shown[nic.slot] = shown_network(nic)
    disks = [disk for disk in vm.disks if disk.presence == "present"]
    for disk in disks:
        form[disk.slot] = allocation(disk)
        shown[disk.slot] = shown_disk(disk)
    for firmware in filter(None, (vm.efidisk, vm.tpm)):
        form[firmware.slot] = firmware_allocation(firmware)
        shown[firmware.slot] = shown_firmware(firmware)
    for drive in (one for one in vm.cdroms if not one.absent):
        form[drive.slot] = shown[drive.slot] = cdrom(drive)
    if vm.cloud_init:
        form[vm.cloud_init.slot] = shown[vm.cloud_init.slot] = f"{vm.cloud_init.storage}:cloudinit"
        if vm.cloud_init.password:
            form["cipassword"] = vm.cloud_init.password
            shown["cipassword"] = HIDDEN
    if vm.pool:
        form["pool"] = shown["pool"] = vm.pool
    return form, shown, {disk.slot: disk.size for disk in disks if disk.import_from and disk.size}


def agent(vm: Vm, current: str | None = None) -> str:
    """The wanted sub-keys, with what else there is."""
    properties = {**ps.parse(current or "", "enabled"), **vm.agent}
    return ps.render(properties, "enabled") if current is not None else ps.render(properties)


def cdrom(drive: Cdrom) -> str:
    return f"{drive.volume},media=cdrom"


def allocation(disk: Disk) -> str:
    """``local:32`` or ``local:0,import-from=local:import/x.qcow2``, with the disk's settings."""
    properties = {key: value for key, value in disk.settings.items() if value}
    if disk.format:
        properties["format"] = disk.format
    if disk.import_from:
        properties["import-from"] = disk.import_from
    size = "0" if disk.import_from else ps.gibibytes(disk.size or 0)
    return ps.render({"file": f"{disk.storage}:{size}", **properties}, "file")


def firmware_allocation(firmware: Firmware) -> str:
    """The size does not matter: the server takes that of its template."""
    return ps.render({"file": f"{firmware.storage}:1", **firmware.settings}, "file")


def network(nic: Network, current: t.Mapping[str, str] | None = None) -> ps.Properties:
    """What a network is to be: sub-keys that the module does not know, and a MAC that is not given, are kept."""
    properties = {**(current or {}), "model": nic.model, "bridge": nic.bridge, **nic.settings}
    if nic.mac:
        properties["macaddr"] = nic.mac
    return {key: value for key, value in properties.items() if value != ""}


def shown_network(nic: Network, current: t.Mapping[str, str] | None = None) -> str:
    properties = network(nic, current)
    return ps.render_network({**properties, "macaddr": properties.get("macaddr") or COMPUTED})


def shown_disk(disk: Disk) -> str:
    properties = {key: value for key, value in disk.settings.items() if value}
    more = (
        ("size", ps.size_text(disk.size) if disk.size else ""),
        ("import-from", disk.import_from),
        ("format", disk.format),
    )
    properties.update({key: value for key, value in more if value})
    return ps.render({"file": disk.storage, **properties}, "file")


def shown_firmware(firmware: Firmware) -> str:
    return ps.render({"file": firmware.storage, **firmware.settings}, "file")


def shown_config(config: t.Mapping[str, options.Value]) -> dict[str, t.Any]:
    """A configuration as a plan shows it."""
    return {key: shown(key, value) for key, value in sorted(config.items()) if key not in _UNSHOWN}


def shown(key: str, value: options.Value) -> t.Any:
    if key == "cipassword":
        return HIDDEN
    if key == "tags":
        return options.tags(str(value))
    if key == "sshkeys":
        return options.ssh_keys(str(value))
    if key == "memory" and str(value).isdigit():
        return int(value)
    return value
