# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of an existing VM: resize, move, reassign, unlink."""

from __future__ import annotations

import re
import typing as t

from .. import formats
from ..api import Call, handles
from ..errors import Failure, ParameterError
from ..sizes import format_size, parse_size
from ..storage import names
from ..storage.storages import require_images
from ..tasks import Task
from . import boot, drives, pending, update
from .vm import Vm

_VM = "/nodes/{node}/qemu/{vmid}"
_EXTENT = 4 << 20
_PREALLOCATION = {"qcow2": "metadata", "raw": "off", "vmdk": "off"}


@handles("PUT", f"{_VM}/resize")
def resize(call: Call) -> str:
    if call.flag("skiplock"):
        call.allowed.only_root("skiplock")

    async def work(task: Task) -> None:
        vm = call.cluster.vm(call.node.name, call.vmid)
        async with call.cluster.locked(vm):
            _resize(call, vm, task)

    return call.start("resize", call.vmid, work)


def _resize(call: Call, vm: Vm, task: Task) -> None:
    slot = call.text("disk")
    if call.params.get("digest") and call.params["digest"] != vm.digest():
        raise Failure("checksum mismatch (file change by other user?)")
    if not call.flag("skiplock"):
        vm.check_lock()
    if slot not in vm.options:
        raise Failure(f"disk '{slot}' does not exist")
    drive = drives.parse(slot, vm.options[slot])
    store, _ = call.cluster.storages.find(vm.node, drive["file"])
    if drives.is_cdrom(drive):
        raise Failure("you can't resize a cdrom")
    call.allowed.require(f"/storage/{store.name}", "Datastore.AllocateSpace")
    volume = store.volumes.get(drive["file"])
    if volume is None:
        raise Failure(f"volume '{drive['file']}' does not exist")
    if volume.snapshots and volume.format == "qcow2" and store.type == "lvm":
        raise Failure("can't resize a disk with snapshots")
    size = _new_size(call.text("size"), volume.size)
    if size < volume.size:
        raise Failure("shrinking disks is not supported")
    if size == volume.size:
        return
    path = store.node_path(drive["file"].partition(":")[2])
    if not store.flat and "/base-" in path:  # made immutable when the VM became a template
        tool = f"/usr/bin/qemu-img resize '--preallocation={_PREALLOCATION[volume.format]}' -f {volume.format}"
        raise Failure(f"command '{tool} {path} {size}' failed: exit code 1")
    call.cluster.storages.check_space(store, path)
    if store.flat:
        size = -(-size // _EXTENT) * _EXTENT
    call.cluster.storages.resize(vm.node, drive["file"], size)
    drive["size"] = format_size(size)
    vm.options[slot] = drives.render(slot, drive)
    task.log("Image resized.")


def _new_size(text: str, old: int) -> int:
    size = parse_size(text.lstrip("+")) or 0
    return old + size if text.startswith("+") else size


@handles("POST", f"{_VM}/move_disk")
def move(call: Call) -> str:
    storage, target = call.params.get("storage"), call.params.get("target-vmid")
    if storage and target:
        both = "either set 'storage' or 'target-vmid', but not both"
        raise ParameterError({"target-vmid": both, "storage": both})
    if not storage and not target:
        neither = "both 'storage' and 'target-vmid' missing, either needs to be set"
        raise ParameterError({"target-vmid": neither, "storage": neither})
    return _move(call, storage) if storage else _reassign(call)


def _checked(call: Call) -> tuple[Vm, str, drives.Drive]:
    vm = call.cluster.vm(call.node.name, call.vmid)
    if call.params.get("digest") and call.params["digest"] != vm.digest():
        raise Failure("detected modified configuration - file changed by other user? Try again.")
    vm.check_lock()
    slot = call.text("disk")
    if slot not in vm.options:
        raise Failure(f"disk '{slot}' does not exist")
    return vm, slot, drives.parse(slot, vm.options[slot])


def _move(call: Call, storage: str) -> str:
    call.allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace")
    vm, slot, drive = _checked(call)
    source, _ = call.cluster.storages.find(vm.node, drive["file"])
    if drives.is_cdrom(drive, exclude_cloudinit=True):
        raise Failure("you can't move a cdrom")
    target = call.cluster.storages.get(vm.node, storage)
    require_images(target)
    volume = source.volumes.get(drive["file"])
    format_ = str(call.params.get("format") or (volume.format if volume else "raw"))
    format_ = "raw" if target.flat else format_
    if source.name == storage and volume is not None and volume.format == format_:
        raise Failure("you can't move to the same storage with same format")
    if volume is not None and volume.snapshots and call.flag("delete"):
        raise Failure("you can't move a disk with snapshots and delete the source")

    async def work(task: Task) -> None:
        async with call.cluster.locked(vm):
            _copy_over(call, vm, slot, storage, format_, task)

    return call.start("qmmove", vm.vmid, work)


def _copy_over(call: Call, vm: Vm, slot: str, storage: str, format_: str, task: Task) -> None:
    drive = drives.parse(slot, vm.options[slot])
    old = drive["file"]
    made = call.cluster.storages.copy(vm.node, old, storage, vm.vmid, format_)
    task.log(f"create full clone of drive {slot} ({old})")
    if slot.startswith("unused"):
        vm.options[slot] = made.volid
    else:
        drive["file"], drive["size"] = made.volid, format_size(made.size)
        vm.options[slot] = drives.render(slot, drive)
    if call.flag("delete"):
        call.cluster.storages.free(vm.node, old)
    elif pending.owns(call.cluster, vm, old):
        vm.add_unused(old)
    vm.tidy()


def _reassign(call: Call) -> str:
    target_id, slot = int(call.params["target-vmid"]), call.text("disk")
    call.allowed.vm(target_id, "VM.Config.Disk")
    vm = call.cluster.vm(call.node.name, call.vmid)
    other = call.cluster.guests.get(target_id)
    if not isinstance(other, Vm):
        raise Failure(f"could not find target VM {target_id}")
    target_slot = call.text("target-disk", slot)
    _, _, drive = _checked(call)
    _check_reassign(call, vm, other, slot, target_slot, drive)

    async def work(task: Task) -> None:
        async with call.cluster.locked(vm), call.cluster.locked(other):
            _hand_over(call, vm, other, slot, target_slot)

    return call.start("qmmove", f"{vm.vmid}-{slot}>{target_id}-{target_slot}", work)


def _check_reassign(call: Call, vm: Vm, other: Vm, slot: str, target: str, drive: drives.Drive) -> None:
    if other.node != vm.node:
        raise Failure("Moving disks between nodes is not supported")
    if not target.startswith("unused") and slot.startswith("unused") and "target-disk" not in call.params:
        raise Failure(f"could not parse target disk '{target}'")
    if vm is other:
        raise ParameterError({"target-vmid": "must be different than source VMID to reassign disk"})
    other.check_lock()
    wanted = call.params.get("target-digest")
    if wanted and wanted != other.digest():
        raise Failure("detected modified configuration - file changed by other user? Try again.")
    if target in other.options:
        raise Failure(f"Target disk key '{target}' is already in use for VM '{other.vmid}'")
    if drives.is_cdrom(drive):
        raise Failure("CD drive contents can't be moved to another VM" if drive["file"] != "none" else "no medium")
    if vm.running and not slot.startswith("unused"):
        raise Failure("Cannot move disk of running VM to another VM")
    storage = names.split(drive["file"])[0]
    call.allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace")


def _hand_over(call: Call, vm: Vm, other: Vm, slot: str, target: str) -> None:
    drive = drives.parse(slot, vm.options.pop(slot))
    store, volume = call.cluster.storages.find(vm.node, drive["file"])
    format_ = store.parse(volume).format
    drive["file"] = store.rename(drive["file"], store.next_name(other.vmid, format_)).volid
    order = boot.parse(vm.options.get("boot"))
    if slot in order:
        vm.options["boot"] = boot.render([name for name in order if name != slot]) or " "
    other.options[target] = drive["file"] if target.startswith("unused") else drives.render(target, drive)


@handles("PUT", f"{_VM}/unlink")
async def unlink(call: Call) -> None:
    wanted = ",".join(formats.split_list(call.text("idlist")))
    params: dict[str, t.Any] = {"node": call.node.name, "vmid": call.params["vmid"], "delete": wanted}
    if call.flag("force"):
        params["force"] = "1"
    bad = [name for name in wanted.split(",") if not (drives.is_drive(name) or re.fullmatch(r"unused\d+", name))]
    if bad:
        raise Failure(f"unable to unlink '{bad[0]}'")
    call.params = params
    await update.put(call)
