# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM from a backup: a new one, or over one that is there. (Not recorded: the recorded QEMU could not back VMs up.)"""

from __future__ import annotations

import re
import typing as t
import uuid

from .. import backup, formats, named_formats
from ..api import Call
from ..errors import ApiError, Failure, task_text
from ..sizes import format_size, parse_size
from ..storage import names
from ..storage.store import Store
from ..tasks import Task
from . import destroy, drives, options, power
from .vm import Vm

#: What a backup's configuration says of the VM that it was taken from, not of the one that is made.
_LEFT_BEHIND = re.compile(r"lock|digest|parent|snaptime|unused\d+|vmstate|running\w+")


def restore(call: Call, overrides: dict[str, str]) -> str:
    """The task of ``POST /qemu`` with ``archive``."""
    archive = call.text("archive")
    if archive != "-" and not names.is_volume_id(archive):
        raise Failure(f"can't find file '{archive}'")
    store, volume = call.cluster.storages.find(call.node.name, archive)
    if not store.has(volume):
        raise Failure(f"volume '{archive}' does not exist")
    call.cluster.storages.check_volume_access(call.allowed, call.node.name, call.vmid, archive)
    if store.parse(volume).format != "vma" and "-qemu-" not in volume:
        raise Failure(f"unable to restore VM {call.vmid} - not a backup of a VM")
    vm = _taken(call)
    return call.start("qmrestore", call.vmid, lambda task: _work(call, vm, store, volume, overrides, task))


def _taken(call: Call) -> Vm:
    """The VM that is written over, or a new one; raises Failure."""
    wording = f"unable to restore VM {call.vmid} -"
    known = call.cluster.guests.get(call.vmid)
    if known is None:
        vm = Vm(call.vmid, call.node.name, {"lock": "create"})
        call.cluster.add(vm)
        if call.params.get("pool"):
            call.cluster.pools[call.text("pool")].guests.add(vm.vmid)
        return vm
    if not call.flag("force") or not isinstance(known, Vm) or known.node != call.node.name:
        raise Failure(f"{wording} {known.word} {call.vmid} already exists on node '{known.node}'")
    known.check_lock()
    known.check_protection(wording.removesuffix(" -"))
    if known.running:
        raise Failure(f"{wording} vm is running")
    return known


async def _work(call: Call, vm: Vm, store: Store, volume: str, overrides: dict[str, str], task: Task) -> None:
    new = vm.options.get("lock") == "create"
    task.log(f"restore vma archive: {store.node_path(volume)}")
    try:
        async with call.cluster.locked(vm):
            saved = backup.read_archive(store.file(volume))
            if not new:
                destroy.free_volumes(call.cluster, vm)
            made = _build(call, vm, store, volume, saved, task)
            vm.options.clear()
            vm.options.update({**made, **overrides})
            vm.pending.clear()
            vm.deleting.clear()
            options.normalise(vm.options)
    except ApiError as error:
        if new:
            call.cluster.remove(vm.vmid)
        raise Failure(f"unable to restore VM {vm.vmid} - {task_text(error)}") from None
    if call.flag("start"):
        await power.start_vm(call.cluster, vm)


def _build(call: Call, vm: Vm, store: Store, volume: str, saved: dict[str, str], task: Task) -> dict[str, str]:
    made = {name: value for name, value in saved.items() if not _LEFT_BEHIND.fullmatch(name)}
    vm.options.clear()
    vm.options["lock"] = "create"
    for name in sorted(made):
        if drives.is_drive(name):
            made[name] = vm.options[name] = _drive(call, vm, store, volume, name, made[name], task)
    if "vmgenid" in made:
        made["vmgenid"] = str(uuid.uuid4())
    if call.flag("unique"):
        _make_unique(call, made)
    return made


def _drive(call: Call, vm: Vm, store: Store, volume: str, slot: str, value: str, task: Task) -> str:
    drive = drives.parse(slot, value)
    if drives.is_cdrom(drive, exclude_cloudinit=True) or drive.get("backup") == "0" or drive["file"] == "none":
        return value
    storage = call.text("storage") or drive["file"].partition(":")[0]
    target = call.cluster.storages.get(call.node.name, storage)
    format_ = "raw" if target.flat else call.cluster.storages.parse(call.node.name, drive["file"]).format
    size = parse_size(drive.get("size", "4M")) or 4 << 20
    kind = "cloudinit" if drives.is_cloudinit(drive) else "disk"
    made = call.cluster.storages.allocate(call.node.name, storage, target.next_name(vm.vmid, format_, kind=kind), size)
    backup.restore_data(store.file(volume), slot, target.directory(made.volid))
    made.image = backup.image_of(store.file(volume), slot)
    target.save(made)
    task.log(f"new volume ID is '{made.volid}'")
    drive["file"] = made.volid
    if "size" in drive:
        drive["size"] = format_size(size)
    return drives.render(slot, drive)


def _make_unique(call: Call, made: dict[str, str]) -> None:
    for name, value in made.items():
        if re.fullmatch(r"net\d+", name):
            net = drives.parse_net(name, value)
            net.pop("macaddr", None)
            made[name] = drives.with_mac(name, drives.render_net(name, net), call.cluster.mac_prefix())
    if "smbios1" in made:
        wanted = named_formats.PROPERTY_STRINGS["pve-qm-smbios1"]
        values = formats.parse(wanted, made["smbios1"], "smbios1")
        made["smbios1"] = formats.render(wanted, values | {"uuid": str(uuid.uuid4())})


__all__: t.Sequence[str] = ["restore"]
