# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of an existing VM: resize, move, reassign, unlink."""

from __future__ import annotations

import typing as t

from .. import formats
from ..api import Call, handles
from ..errors import Failure, ParameterError
from ..sizes import format_size, parse_size
from ..storage import names
from ..storage.storages import Storages, require_images
from ..storage.store import Volume
from ..tasks import Task
from . import boot, drives, image_logs, power, update
from .vm import Vm

_VM = "/nodes/{node}/qemu/{vmid}"
_EXTENT = 4 << 20
_CHANGED = "detected modified configuration - file changed by other user? Try again."
_PREALLOCATION = {"qcow2": "metadata", "raw": "off"}


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
    if not store.flat and volume.format not in ("raw", "qcow2"):
        raise Failure("can't resize this image format")
    if not store.flat and "/base-" in path:  # made immutable when the VM became a template
        task.log(f"qemu-img: Could not open '{path}': Could not open '{path}': Operation not permitted")
        tool = f"/usr/bin/qemu-img resize '--preallocation={_PREALLOCATION[volume.format]}' -f {volume.format}"
        raise Failure(f"command '{tool} {path} {size}' failed: exit code 1")
    call.cluster.storages.check_space(store, path)
    if store.flat:
        size = -(-size // _EXTENT) * _EXTENT
    call.cluster.storages.resize(vm.node, drive["file"], size)
    drive["size"] = format_size(size)
    vm.options[slot] = drives.render(slot, drive)
    if not vm.running and not store.flat:  # else it is the running QEMU, or the volume manager, that does it
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
    vm.check_lock()
    if call.params.get("digest") and call.params["digest"] != vm.digest():
        raise Failure(_CHANGED)
    slot = call.text("disk")
    if slot not in vm.options:
        raise Failure(f"disk '{slot}' does not exist")
    return vm, slot, drives.parse(slot, vm.options[slot])


def _move(call: Call, storage: str) -> str:
    call.allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace")
    vm, slot, drive = _checked(call)
    if drives.is_cdrom(drive, exclude_cloudinit=True):
        raise Failure("you can't move a cdrom")
    source, name = call.cluster.storages.find(vm.node, drive["file"])
    old = source.parse(name).format
    if source.name == storage and call.text("format", old) == old:
        raise Failure("you can't move to the same storage with same format")
    target = call.cluster.storages.get_active(vm.node, storage)
    require_images(target)
    volume = source.volumes.get(drive["file"])
    format_ = "raw" if target.flat else call.text("format", old)
    if volume is not None and volume.snapshots and call.flag("delete"):
        raise Failure("you can't move a disk with snapshots and delete the source")

    async def work(task: Task) -> None:
        async with call.cluster.locked(vm):
            _checked(call)
            _copy_over(call, vm, slot, storage, format_, task)

    return call.start("qmmove", vm.vmid, work)


def _copy_over(call: Call, vm: Vm, slot: str, storage: str, format_: str, task: Task) -> None:
    drive = drives.parse(slot, vm.options[slot])
    old = drive["file"]
    storages = call.cluster.storages
    source = names.split(old)[0]
    task.log(f"copying volume '{old}' from current storage '{source}' to target storage '{storage}'")
    if slot == "tpmstate0" and vm.running:
        raise Failure("storage migration failed: cannot move TPM state while VM is running")
    task.log(f"create full clone of drive {slot} ({old})")
    cloud_init = drives.is_cloudinit(drive)
    if cloud_init:
        made = _new_cloudinit(storages, vm, storage, format_)
    else:
        made = storages.copy(vm.node, old, storage, vm.vmid, format_)
    if vm.running and not cloud_init and not slot.startswith("unused"):
        image_logs.allocated(task.log, storages.get(vm.node, storage), made)
        image_logs.mirrored(task.log, slot, made.size)
        image_logs.switched(task.log, slot)
    else:
        image_logs.copied(task.log, slot, storages.get(vm.node, storage), made, cloud_init)
    if slot.startswith("unused"):
        vm.options[slot] = made.volid
    else:
        drive["file"], drive["size"] = made.volid, format_size(made.size)
        vm.options[slot] = drives.render(slot, drive)
    if not call.flag("delete"):
        _keep_source(storages, vm, old, task)
    if vm.template and not slot.startswith("unused"):
        power.to_template(call.cluster, vm, slot)
    if call.flag("delete"):
        task.log(f"removing source volume '{old}' after successful copy")
        _free_if_possible(storages, vm, old, task)
    vm.tidy()


def _keep_source(storages: Storages, vm: Vm, old: str, task: Task) -> None:
    """As an unused disk. A cloud-init drive is nothing to keep, which the log does not know."""
    if drives.is_cloudinit({"file": old}):
        task.log(f"found unused cloudinit disk '{old}', removing it")
        storages.free(vm.node, old)
        task.log(f"adding source volume '{old}' as '' to config")
    else:
        task.log(f"adding source volume '{old}' as '{vm.add_unused(old)}' to config")


def _new_cloudinit(storages: Storages, vm: Vm, storage: str, format_: str) -> Volume:
    """A cloud-init drive is not copied: it is written anew at the next start. Raises Failure when there is one already."""
    target = storages.get(vm.node, storage)
    return storages.allocate(vm.node, storage, target.next_name(vm.vmid, format_, kind="cloudinit"), 4 << 20)


def _free_if_possible(storages: Storages, vm: Vm, volid: str, task: Task) -> None:
    try:
        storages.free(vm.node, volid)
    except Failure as error:
        task.log(str(error))  # a base that linked clones need stays


def _reassign(call: Call) -> str:
    target_id, slot = int(call.params["target-vmid"]), call.text("disk")
    target = call.text("target-disk", slot)
    if not call.caller.is_root:
        call.allowed.vm(target_id, "VM.Config.Disk")
    if target_id == call.vmid:
        raise ParameterError({"target-vmid": "must be different than source VMID to reassign disk"})
    _, other, drive = _check_reassign(call, target_id, slot, target)
    call.allowed.require(f"/storage/{names.split(drive['file'])[0]}", "Datastore.AllocateSpace")

    async def work(task: Task) -> None:
        source = call.cluster.vm(call.node.name, call.vmid)
        async with call.cluster.locked(source), call.cluster.locked(other):
            vm, other_, _ = _check_reassign(call, target_id, slot, target)
            _hand_over(call, vm, other_, slot, target, task)

    return call.start("qmmove", f"{call.vmid}-{slot}>{target_id}-{target}", work)


def _check_reassign(call: Call, target_id: int, slot: str, target: str) -> tuple[Vm, Vm, drives.Drive]:
    """Both VMs and the drive; raises ApiError."""
    guests = call.cluster.guests
    for vmid, word in ((call.vmid, "VM"), (target_id, "target VM")):
        if vmid not in guests:
            raise Failure(f"could not find {word} {vmid}")
    nodes = guests[call.vmid].node, guests[target_id].node
    if nodes[0] != nodes[1]:
        raise Failure(f"Both VMs need to be on the same node ({nodes[0]} != {nodes[1]})")
    vm = call.cluster.vm(call.node.name, call.vmid)
    vm.check_lock()
    other = call.cluster.vm(call.node.name, target_id)
    other.check_lock()
    if vm.template or other.template:
        raise Failure("Can't move disks from or to template VMs")
    for one, wanted in ((vm, call.params.get("digest")), (other, call.params.get("target-digest"))):
        if wanted and wanted != one.digest():
            raise Failure(f"VM {one.vmid}: {_CHANGED}")
    if slot not in vm.options:
        raise Failure(f"Disk '{slot}' for VM '{vm.vmid}' does not exist")
    if target in other.options:
        raise Failure(f"Target disk key '{target}' is already in use for VM '{other.vmid}'")
    drive = drives.parse(slot, vm.options[slot])
    _check_movable(call, vm, slot, drive)
    _as_target(drive["file"] if target.startswith("unused") else vm.options[slot], target)
    return vm, other, drive


def _check_movable(call: Call, vm: Vm, slot: str, drive: drives.Drive) -> None:
    if drives.is_cdrom(drive, exclude_cloudinit=True):
        raise Failure("CD drive contents can't be moved to another VM")
    volid = drive["file"]
    if not names.is_volume_id(volid):
        raise Failure(f"Volume '{volid}' not managed by PVE")
    used = [d["file"] for n, d in vm.volumes() if n != slot and not drives.is_cdrom(d)]
    if volid in used or any(volid == d["file"] for s in vm.snapshots.values() for _, d in vm.volumes(s.options)):
        raise Failure("Can't move disk used by a snapshot to another VM")
    if call.cluster.storages.parse(vm.node, volid).is_base:
        raise Failure("Storage does not support moving of this disk to another VM")
    if vm.running and not slot.startswith("unused"):
        raise Failure("Cannot move disk to another VM while the source VM is running - detach first")


def _as_target(value: str, target: str) -> drives.Drive:
    """The drive at its new place, where some sub-options are not known; raises Failure."""
    try:
        return drives.parse(target, value)
    except ParameterError:
        raise Failure("failed to parse source disk for target disk format - ") from None


def _hand_over(call: Call, vm: Vm, other: Vm, slot: str, target: str, task: Task) -> None:
    task.log(f"reassign disk '{slot}' from VM '{vm.vmid}' as '{target}' to VM '{other.vmid}'")
    value = vm.options.pop(slot)
    drive = _as_target(drives.parse(slot, value)["file"] if target.startswith("unused") else value, target)
    store, volume = call.cluster.storages.find(vm.node, drive["file"])
    moved = store.rename(drive["file"], store.next_name(other.vmid, store.parse(volume).format))
    drive["file"] = moved.volid
    order = boot.parse(vm.options.get("boot"))
    if slot in order:
        task.log(f"removing disk '{slot}' from boot order config")
        vm.options["boot"] = boot.render([name for name in order if name != slot]) or " "
    task.log(f"removing disk '{slot}' from VM '{vm.vmid}' config")
    vm.tidy()
    if target.startswith("unused"):
        other.options[target] = moved.volid
        return
    drive["size"] = format_size(moved.size)
    shown = drives.render(target, drive)
    task.log(f"update VM {other.vmid}: -{target} {shown}")
    other.options[target] = shown
    other.tidy()


@handles("PUT", f"{_VM}/unlink")
async def unlink(call: Call) -> None:
    wanted = ",".join(formats.split_list(call.text("idlist")))
    params: dict[str, t.Any] = {"node": call.node.name, "vmid": call.params["vmid"], "delete": wanted}
    if call.flag("force"):
        params["force"] = "1"
    call.params = params
    await update.put(call)
