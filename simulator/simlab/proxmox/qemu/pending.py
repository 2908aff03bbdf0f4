# SPDX-License-Identifier: GPL-3.0-or-later
"""Pending changes: applying them to a stopped VM, hotplugging them into a running one."""

from __future__ import annotations

import re
import typing as t

from ..errors import ApiError, Failure, ParameterError, Skip
from . import drives, hotplug, options
from .vm import Vm

if t.TYPE_CHECKING:
    from ..cluster import Cluster


Log = t.Callable[[str], None]


def unheard(line: str) -> None:
    """The log of what is no task."""


def log_cloud_init(vm: Vm, drives_: t.Mapping[str, str], log: Log) -> bool:
    """Whether a cloud-init drive is among these options, which is written."""
    found = any(drives.is_cloudinit(drive) for _, drive in vm.volumes(dict(drives_)))
    if found:
        log("generating cloud-init ISO")
    return found


_ON_DRIVE = re.compile(r"(ipconfig|net)\d+|name")


def forget_drive_changes(vm: Vm) -> None:
    """The cloud-init drive is written: it knows all."""
    vm.drive_old.clear()
    vm.drive_added.clear()


def note_drive_change(vm: Vm, name: str, new: str | None) -> None:
    """Remember what the cloud-init drive of a running VM still says. To be called before the option is changed."""
    old = vm.options.get(name)
    if name not in options.CLOUD_INIT and not _ON_DRIVE.fullmatch(name):
        return
    if name in vm.drive_old:
        if new == vm.drive_old[name]:
            del vm.drive_old[name]
    elif name in vm.drive_added:
        if new is None:
            vm.drive_added.discard(name)
    elif old is not None:
        vm.drive_old[name] = old
    elif new is not None:
        vm.drive_added.add(name)


def register_unused(cluster: Cluster, vm: Vm, value: str, name: str) -> None:
    """What happens to the volume of a drive that is taken away: kept as ``unusedN`` (a cloud-init drive is removed)."""
    drive = drives.parse(name, value)
    if drives.is_cloudinit(drive):
        cluster.storages.free(vm.node, drive["file"])
    elif not drives.is_cdrom(drive) and owns(cluster, vm, drive["file"]):
        vm.add_unused(drive["file"])


def owns(cluster: Cluster, vm: Vm, volid: str) -> bool:
    """Whether a volume is named after this VM."""
    if volid.startswith("/") or volid.partition(":")[0] not in cluster.storages.definitions:
        return False
    parsed = cluster.storages.parse(vm.node, volid)
    return parsed.content == "images" and parsed.owner == vm.vmid


def detach(cluster: Cluster, vm: Vm, name: str, force: bool) -> None:
    """Take a drive away; with ``force`` its volume goes too."""
    value = vm.options[name]
    drive = drives.parse(name, value)
    if force:
        deallocate(cluster, vm, name, drive)
    else:
        register_unused(cluster, vm, value, name)


def deallocate(cluster: Cluster, vm: Vm, name: str, drive: drives.Drive) -> None:
    """Remove a volume, if it is this VM's and nothing else names it."""
    volid = drive["file"]
    if volid.startswith("/") or drives.is_cdrom(drive, exclude_cloudinit=True) or not owns(cluster, vm, volid):
        return
    if vm.uses(volid):
        raise Failure(f"unable to delete '{volid}' - volume is still in use (snapshot?)")
    if any(n != name and other["file"] == volid for n, other in vm.volumes() if not drives.is_cdrom(other)):
        raise Failure(f"unable to delete '{volid}' - volume is still in use (snapshot?)")
    cluster.storages.free(vm.node, volid)


def apply(cluster: Cluster, vm: Vm, log: Log = unheard) -> None:
    """All pending changes of a VM that does not run. Raises ParameterError naming those that failed."""
    errors: dict[str, str] = {}
    for name, force in sorted(vm.deleting.items()):
        try:
            if name in vm.options and drives.is_drive(name):
                detach(cluster, vm, name, force)
        except ApiError as error:
            errors[name] = f"unable to apply pending change {name} : {error}\n"
            continue
        vm.options.pop(name, None)
        vm.deleting.pop(name)
    written = dict(vm.pending)
    for name, value in sorted(vm.pending.items()):
        if name in vm.options and drives.is_drive(name):
            register_unused(cluster, vm, vm.options[name], name)
        vm.options[name] = value
        del vm.pending[name]
    vm.tidy()
    if log_cloud_init(vm, written, log):
        forget_drive_changes(vm)
    if errors:
        raise ParameterError(errors)


async def plug(cluster: Cluster, vm: Vm, changed: t.Collection[str]) -> None:
    """What a running VM can take at once; the rest stays pending. Raises ParameterError for what failed."""
    for name in [name for name in vm.pending if name in options.FAST_PLUG]:
        note_drive_change(vm, name, vm.pending[name])
        vm.options[name] = vm.pending.pop(name)
    errors: dict[str, str] = {}
    plugger = hotplug.Plugger(cluster, vm)
    for name, force in sorted(vm.deleting.items()):
        if name in changed and await _try(plugger.remove(name, force), name, errors):
            note_drive_change(vm, name, None)
            vm.options.pop(name, None)
            del vm.deleting[name]
    for name, value in sorted(vm.pending.items()):
        if name in changed and await _try(plugger.change(name, value), name, errors):
            note_drive_change(vm, name, value)
            vm.options[name] = value
            del vm.pending[name]
    vm.tidy()
    if plugger.nics_changed:
        await plugger.tell_host()
    if errors:
        raise ParameterError(errors)


async def _try(step: t.Awaitable[None], name: str, errors: dict[str, str]) -> bool:
    try:
        await step
    except Skip:
        return False
    except ApiError as error:
        errors[name] = f"hotplug problem - {error.text}\n"
        return False
    return True


def entries(vm: Vm) -> list[dict[str, t.Any]]:
    """``GET pending``: current and pending values side by side."""
    found: list[dict[str, t.Any]] = []
    for name, value in vm.options.items():
        entry: dict[str, t.Any] = {"key": name, "value": options.shown(name, value)}
        if name in vm.pending:
            entry["pending"] = options.shown(name, vm.pending[name])
        elif name in vm.deleting:
            entry["delete"] = 2 if vm.deleting[name] else 1
        found.append(entry)
    for name, value in vm.pending.items():
        if name not in vm.options:
            found.append({"key": name, "pending": options.shown(name, value)})
    return found


_CLOUD_INIT = re.compile(r"ipconfig\d+")


def is_cloud_init(name: str) -> bool:
    return name in options.CLOUD_INIT or _CLOUD_INIT.fullmatch(name) is not None
