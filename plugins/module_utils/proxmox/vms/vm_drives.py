# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the drives of a VM that is wanted and those of one that is there. Pure."""

from __future__ import annotations

import re
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps
from . import options
from .vm_change import Difference
from .vm_form import allocation, cdrom, firmware_allocation, shown_disk, shown_firmware
from .vm_spec import Cdrom, Disk, Firmware, Vm
from .vm_state import VmState

DRIVE = re.compile(r"(scsi|virtio|sata|ide)\d+|efidisk0|tpmstate0")

#: What the sub-keys of firmware's drives mean when they are absent.
_FIRMWARE_DEFAULTS = {"efitype": "2m", "pre-enrolled-keys": "0", "version": "v1.2"}


def drives(vm: Vm, state: VmState, found: Difference) -> None:
    """Raises :class:`InvalidInput` for what cannot be done."""
    for disk in vm.disks:
        if disk.presence == "present":
            _disk(vm, disk, state, found)
        elif disk.slot in state.config:
            _gone(vm, disk, state, found)
    for firmware in filter(None, (vm.efidisk, vm.tpm)):
        _firmware(vm, firmware, state, found)
    for drive in vm.cdroms:
        _cdrom(vm, drive, state, found)
    _cloud_init(vm, state, found)


def is_cloud_init(key: str, value: options.Value) -> bool:
    return bool(re.fullmatch(r"(ide|sata|scsi)\d+", key)) and "cloudinit" in ps.parse_disk(str(value)).get("file", "")


def elsewhere(disk: Disk, text: str) -> bool:
    """Whether a disk that is there lies on another storage than it should."""
    current = ps.parse_disk(text)
    return (
        bool(disk.storage)
        and current.get("media") != "cdrom"
        and ps.storage_of(current.get("file", "")) != disk.storage
    )


def _disk(vm: Vm, disk: Disk, state: VmState, found: Difference) -> None:
    text = state.config.get(disk.slot)
    if text is None:
        check_new_disk(vm, disk)
        found.allocate[disk.slot] = allocation(disk)
        if disk.import_from and disk.size:
            found.resizes[disk.slot] = disk.size
        found.show(disk.slot, None, shown_disk(disk))
        return
    current = ps.parse_disk(str(text))
    wanted = {**current, **disk.settings}
    wanted = {key: value for key, value in wanted.items() if value != ""}
    _move(vm, disk.slot, disk.storage, state, found)
    size = _grown(vm, disk, current)
    if options.without_defaults(current) != options.without_defaults(wanted):
        found.put[disk.slot] = ps.render_disk(wanted)
    if size:
        found.resizes[disk.slot] = size
        wanted["size"] = ps.size_text(size)
    if disk.slot in found.moves:
        wanted["file"] = disk.storage
    if {disk.slot} & {*found.resizes, *found.moves, *found.put}:
        found.show(disk.slot, text, ps.render_disk(wanted))


def check_new_disk(vm: Vm, disk: Disk) -> None:
    if disk.storage and (disk.size is not None or disk.import_from):
        return
    lacks = "no storage" if not disk.storage else "neither size nor import_from"
    raise InvalidInput(f"Disk {disk.slot} of {vm.title} is to be made, but has {lacks}")


def _gone(vm: Vm, disk: Disk, state: VmState, found: Difference) -> None:
    text = state.config[disk.slot]
    _no_cd(vm, disk.slot, ps.parse_disk(str(text)))
    if disk.presence == "detached":
        found.delete += (disk.slot,)
    else:
        found.destroy += (disk.slot,)
    found.show(disk.slot, text, None)


def _grown(vm: Vm, disk: Disk, current: t.Mapping[str, str]) -> int | None:
    """The size that a disk must grow to, None when it has it."""
    is_ = ps.size_in_bytes(current.get("size", "0"), option=f"size of {disk.slot} as the server has it")
    if disk.size is None or disk.size == is_:
        return None
    if disk.size < is_:
        raise InvalidInput(
            f"Disk {disk.slot} of {vm.title} has {ps.size_text(is_)}, wanted are {ps.size_text(disk.size)}",
            hint="Disks only grow: set the size that it has, or make a new disk.",
        )
    return disk.size


def _no_cd(vm: Vm, slot: str, current: t.Mapping[str, str]) -> None:
    volume = current.get("file", "")
    if current.get("media") == "cdrom" or volume == "none":
        raise InvalidInput(f"The slot {slot} of {vm.title} holds a CD drive ({volume})", hint="Choose another slot.")


def _move(vm: Vm, slot: str, storage: str, state: VmState, found: Difference) -> None:
    """Raises :class:`InvalidInput` for a disk that lies elsewhere and may not or cannot be moved."""
    current = ps.parse_disk(str(state.config[slot]))
    _no_cd(vm, slot, current)
    lies = ps.storage_of(current.get("file", ""))
    if not storage or lies == storage:
        return
    if not vm.move_disks:
        raise InvalidInput(
            f"Disk {slot} of {vm.title} lies on the storage {lies!r}, wanted is {storage!r}",
            hint="Set move_disks to let this module move it, or set the storage that it has.",
        )
    if slot == "tpmstate0" and state.running and vm.state != "stopped":
        raise InvalidInput(f"{slot} of {vm.title} cannot be moved while the VM runs", hint="Stop the VM first.")
    found.moves[slot] = storage


def _firmware(vm: Vm, firmware: Firmware, state: VmState, found: Difference) -> None:
    slot, text = firmware.slot, state.config.get(firmware.slot)
    if text is None:
        found.allocate[slot] = firmware_allocation(firmware)
        found.show(slot, None, shown_firmware(firmware))
        return
    current = ps.parse_disk(str(text))
    is_ = {key: ps.flag(current.get(key, _FIRMWARE_DEFAULTS[key])) for key in firmware.settings}
    if is_ != dict(firmware.settings):
        has = ", ".join(f"{key} {value}" for key, value in sorted(is_.items()))
        raise InvalidInput(
            f"{slot} of {vm.title} has {has}; this cannot be changed",
            hint="Set what it has, or delete it in Proxmox VE first, which loses what it keeps.",
        )
    _move(vm, slot, firmware.storage, state, found)
    if slot in found.moves:
        found.show(slot, text, ps.render_disk({**current, "file": firmware.storage}))


def _cdrom(vm: Vm, drive: Cdrom, state: VmState, found: Difference) -> None:
    text = state.config.get(drive.slot)
    if text is not None:
        _only_cd(vm, drive.slot, str(text))
    if drive.absent:
        if text is not None:
            found.delete += (drive.slot,)
            found.show(drive.slot, text, None)
        return
    if text is None or ps.parse_disk(str(text)).get("file") != drive.volume:
        found.put[drive.slot] = cdrom(drive)
        found.show(drive.slot, text, cdrom(drive))


def _only_cd(vm: Vm, slot: str, text: str) -> None:
    if ps.parse_disk(text).get("media") != "cdrom":
        raise InvalidInput(f"The slot {slot} of {vm.title} holds a disk ({text})", hint="Choose another slot.")
    if is_cloud_init(slot, text):
        raise InvalidInput(f"The slot {slot} of {vm.title} holds its cloud-init drive", hint="Choose another slot.")


def _cloud_init(vm: Vm, state: VmState, found: Difference) -> None:
    if vm.cloud_init is None or any(is_cloud_init(key, value) for key, value in state.config.items()):
        return
    slot = vm.cloud_init.slot
    current = state.config.get(slot)
    if current is not None and ps.parse_disk(str(current)).get("file") != "none":
        raise InvalidInput(
            f"The slot {slot} of {vm.title} is in use ({current})", hint="Choose another cloud_init slot."
        )
    found.allocate[slot] = f"{vm.cloud_init.storage}:cloudinit"
    found.show(slot, current, found.allocate[slot])
