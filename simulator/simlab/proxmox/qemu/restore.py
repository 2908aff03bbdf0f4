# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM from a backup: a new one, or over one that is there. (Not recorded: the recorded QEMU could not back VMs up.)"""

from __future__ import annotations

import contextlib
import pathlib
import re
import typing as t
import uuid

from .. import backup, formats, named_formats
from ..api import Call
from ..errors import ApiError, Failure, ParameterError
from ..sizes import format_size, parse_size
from ..storage import names
from ..tasks import Task
from . import drives, options, pending, power
from .vm import Vm

#: What a backup's configuration says of the VM that it was taken from, not of the one that is made.
_LEFT_BEHIND = re.compile(r"lock|digest|parent|snaptime|unused\d+|vmstate|running\w+")


def check_archive(call: Call, overrides: dict[str, str]) -> None:
    """What is looked at before anything else. Raises ApiError."""
    for name in sorted(overrides):
        if drives.is_drive(name):
            raise ParameterError({name: "option conflicts with option 'archive'"})
    archive = call.text("archive")
    if archive == "-":
        raise Failure("pipe requires cli environment")
    if names.is_volume_id(archive) and call.cluster.storages.parse(call.node.name, archive).content != "backup":
        raise Failure(f"unable to use volume {archive} - content type needs to be 'backup'")
    call.cluster.storages.check_volume_access(call.allowed, call.node.name, call.vmid, archive)
    _file(call)


def _file(call: Call) -> tuple[pathlib.Path, str]:
    """The archive here and its path on the node."""
    archive = call.text("archive")
    if not names.is_volume_id(archive):
        found = call.cluster.storages.local_file(call.node.name, archive)
        if found is None:
            raise Failure(f"can't find file '{archive}'")
        return found, archive
    store, volume = call.cluster.storages.find(call.node.name, archive)
    if not store.has(volume):
        raise Failure(f"volume '{archive}' does not exist")
    return store.file(volume), store.node_path(volume)


def restore(call: Call, overrides: dict[str, str]) -> str:
    """The task of ``POST /qemu`` with ``archive``."""
    new = call.vmid not in call.cluster.guests
    vm = _taken(call)
    return call.start("qmrestore", call.vmid, lambda task: _guarded(call, vm, overrides, new, task))


def _taken(call: Call) -> Vm:
    """The VM that is written over, or a new one, locked; raises Failure."""
    wording = f"unable to restore VM {call.vmid} -"
    known = call.cluster.guests.get(call.vmid)
    if known is None:
        vm = Vm(call.vmid, call.node.name, {"lock": "create"})
        call.cluster.add(vm)
        return vm
    if not call.flag("force") or not isinstance(known, Vm) or known.node != call.node.name:
        raise Failure(f"{wording} {known.word} {call.vmid} already exists on node '{known.node}'")
    if "lock" in known.options:
        raise Failure(f"{wording} {known.word} is locked ({known.options['lock']})")
    known.options["lock"] = "create"
    return known


async def _guarded(call: Call, vm: Vm, overrides: dict[str, str], new: bool, task: Task) -> None:
    """A restore that fails leaves what is there, without its lock."""
    try:
        async with call.cluster.locked(vm):
            vm.check_protection(f"unable to restore VM {vm.vmid}")
            if vm.running:
                raise Failure(f"unable to restore VM {vm.vmid} - vm is running")
            _work(call, vm, overrides, new, task)
    except ApiError:
        vm.options.pop("lock", None)
        task.log("error before or during data restore, some or all disks were not completely restored.")
        task.log(f"VM {vm.vmid} state is NOT cleaned up.")
        raise
    power.finish_creation(call, task)


def _work(call: Call, vm: Vm, overrides: dict[str, str], new: bool, task: Task) -> None:
    file, shown = _file(call)
    if re.search(r"\.tar(\.\w+)?$", shown):
        _refuse_tar(shown, overrides)
    task.log(f"restore vma archive: {shown}")
    saved = backup.read_archive(file)
    kept = [] if new else _clear(call, vm, saved)
    made = _build(call, vm, file, saved, task)
    vm.options.clear()
    vm.options.update({**made, **overrides})
    options.normalise(vm.options)
    for volid in kept:
        vm.add_unused(volid)
    if call.params.get("pool"):
        call.cluster.pools[call.text("pool")].guests.add(vm.vmid)
    if vm.template:
        power.to_template(call.cluster, vm)


def _refuse_tar(archive: str, overrides: dict[str, str]) -> t.NoReturn:
    """Archives of this kind are those of containers: those of VMs from long ago are not played."""
    if overrides:
        raise Failure(f"cannot pass along options ({' '.join(sorted(overrides))}) when restoring from tar archive")
    raise Failure(f"ERROR: file '{archive}' does not look like a QemuServer vzdump backup")


def _clear(call: Call, vm: Vm, saved: dict[str, str]) -> list[str]:
    """Make room: disks that come back from the backup go, the VM's other ones are kept as unused. Snapshots are lost."""
    storages, kept = call.cluster.storages, []
    for slot, drive in vm.volumes():
        if drives.is_cdrom(drive, exclude_cloudinit=True) or not pending.owns(call.cluster, vm, drive["file"]):
            continue
        if slot in saved and _comes_back(slot, saved[slot]):
            with contextlib.suppress(Failure):
                storages.free(vm.node, drive["file"])
        else:
            kept.append(drive["file"])
    kept += [value for name, value in vm.options.items() if re.fullmatch(r"unused\d+", name)]
    vm.pending.clear()
    vm.deleting.clear()
    vm.snapshots.clear()
    vm.parent = None
    return kept


def _comes_back(slot: str, value: str) -> bool:
    drive = drives.parse(slot, value)
    return not drives.is_cdrom(drive, exclude_cloudinit=True) and drive.get("backup") != "0"


def _build(call: Call, vm: Vm, file: pathlib.Path, saved: dict[str, str], task: Task) -> dict[str, str]:
    made = {name: value for name, value in saved.items() if not _LEFT_BEHIND.fullmatch(name)}
    vm.options.clear()
    vm.options["lock"] = "create"
    for name in sorted(made):
        if drives.is_drive(name) and drives.parse(name, made[name]).get("backup") == "0":
            line = f"{name}: {made.pop(name)}"  # becomes a comment of the file, which is where the notes stand
            made["description"] = f"{made['description']}\n{line}" if made.get("description") else line
        elif drives.is_drive(name):
            made[name] = vm.options[name] = _drive(call, vm, file, name, made[name], task)
    if made.get("vmgenid", "0") != "0":
        made["vmgenid"] = str(uuid.uuid4())
    if call.flag("unique"):
        _make_unique(call, made)
    return made


def _drive(call: Call, vm: Vm, file: pathlib.Path, slot: str, value: str, task: Task) -> str:
    drive = drives.parse(slot, value)
    if drives.is_cdrom(drive, exclude_cloudinit=True):
        return value
    storage = call.text("storage") or drive["file"].partition(":")[0]
    target = call.cluster.storages.get(call.node.name, storage)
    if "images" not in target.content:
        raise Failure(f"Content type 'images' is not available on storage '{storage}'")
    format_ = "raw" if target.flat else call.cluster.storages.parse(call.node.name, drive["file"]).format
    size = parse_size(drive.get("size", "4M")) or 4 << 20
    kind = "cloudinit" if drives.is_cloudinit(drive) else "disk"
    made = call.cluster.storages.allocate(call.node.name, storage, target.next_name(vm.vmid, format_, kind=kind), size)
    backup.restore_data(file, slot, target.directory(made.volid))
    made.image = backup.image_of(file, slot)
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
