# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of VMs, and what those of containers have in common with them."""

from __future__ import annotations

import shutil
import time
import typing as t
import uuid

from ..api import Call, handles
from ..errors import Failure
from ..guest import GuestConfig
from ..storage.store import Store, Volume
from ..tasks import Task
from . import drives, memory_state, power
from .vm import Snapshot, Vm, shown

_SNAPSHOTS = "/nodes/{node}/qemu/{vmid}/snapshot"
_ONE = f"{_SNAPSHOTS}/{{snapname}}"
#: Not part of a snapshot.
_OUTSIDE = ("lock", "parent", "description")


def can_snapshot(store: Store, volume: Volume) -> bool:
    """Whether a storage can snapshot this disk."""
    if store.flat:
        return store.type in ("lvmthin", "zfspool", "rbd")
    return volume.format == "qcow2"


def disks(cluster: t.Any, vm: Vm, options: dict[str, str] | None = None) -> list[tuple[Store, Volume]]:
    found = []
    for _, drive in vm.volumes(options):
        if drives.is_cdrom(drive):
            continue
        store, _ = cluster.storages.find(vm.node, drive["file"])
        if drive["file"] in store.volumes:
            found.append((store, store.volumes[drive["file"]]))
    return found


def has_feature(cluster: t.Any, vm: Vm) -> bool:
    return all(can_snapshot(store, volume) for store, volume in disks(cluster, vm))


@handles("GET", _SNAPSHOTS)
def listing(call: Call) -> list[dict[str, t.Any]]:
    vm = call.cluster.vm(call.node.name, call.vmid)
    memory = {name: {"vmstate": int(snapshot.with_memory)} for name, snapshot in vm.snapshots.items()}
    return [entry | memory.get(entry["name"], {}) for entry in listed(vm)]


def listed(guest: GuestConfig) -> list[dict[str, t.Any]]:
    """Snapshots of a VM or container, and ``current`` as the last."""
    found: list[dict[str, t.Any]] = []
    for name, snapshot in guest.snapshots.items():
        entry = {"name": name, "description": snapshot.description, "snaptime": snapshot.time}
        found.append(entry | ({"parent": snapshot.parent} if snapshot.parent else {}))
    current: dict[str, t.Any] = {
        "name": "current", "description": "You are here!", "digest": guest.digest(), "running": int(bool(guest.running)),
    }  # fmt: skip
    return [*found, current | ({"parent": guest.parent} if guest.parent else {})]


@handles("POST", _SNAPSHOTS)
def create(call: Call) -> str:
    name = call.text("snapname")
    vm = call.cluster.vm(call.node.name, call.vmid)
    if name == "current" or name.lower() == "pending":
        raise Failure(f"unable to use snapshot name '{name.lower()}' (reserved name)")

    async def work(task: Task) -> None:
        async with call.cluster.locked(vm):
            _create(call, vm, name, task)

    return call.start("qmsnapshot", vm.vmid, work)


def _create(call: Call, vm: Vm, name: str, task: Task) -> None:
    if vm.template:
        raise Failure("you can't take a snapshot if it's a template")
    vm.check_lock()
    if call.flag("vmstate"):
        memory_state.check(vm)
    if name in vm.snapshots:
        raise Failure(f"snapshot name '{name}' already used")
    if not has_feature(call.cluster, vm):
        raise Failure("snapshot feature is not available")
    kept = {key: value for key, value in vm.options.items() if key not in _OUTSIDE and not key.startswith("unused")}
    if call.flag("vmstate") and vm.running is not None:
        storage = memory_state.storage_of(call.cluster, vm)
        kept |= memory_state.save(call.cluster, vm, storage, name)
        task.log(f"saving VM state and RAM using storage '{storage}'")
        task.log("completed saving the VM state in 0s, saved 0.00 B")
    for slot, drive in vm.volumes():
        if not drives.is_cdrom(drive):
            task.log(f"snapshotting 'drive-{slot}' ({drive['file']})")
    freeze(disks(call.cluster, vm), name)
    vm.snapshots[name] = Snapshot(kept, int(time.time()), call.text("description").rstrip("\n"), vm.parent)
    vm.parent = name


def freeze(volumes: list[tuple[Store, Volume]], name: str) -> None:
    for store, volume in volumes:
        directory = store.directory(volume.volid)
        shutil.copytree(directory / "data", directory / "snapshots" / name)
        volume.snapshots.append(name)
        volume.snapshot_sizes[name] = volume.size
        store.save(volume)


def thaw(volumes: list[tuple[Store, Volume]], name: str) -> None:
    """The disks hold again what they held, and are as large as they were."""
    for store, volume in volumes:
        directory = store.directory(volume.volid)
        if (directory / "snapshots" / name).is_dir():
            shutil.rmtree(directory / "data", ignore_errors=True)
            shutil.copytree(directory / "snapshots" / name, directory / "data")
            volume.size = volume.snapshot_sizes.get(name, volume.size)
            store.save(volume)


def forget(guest: GuestConfig, volumes: list[tuple[Store, Volume]], name: str) -> None:
    """Take a snapshot out of the disks and out of the line of snapshots."""
    for store, volume in volumes:
        shutil.rmtree(store.directory(volume.volid) / "snapshots" / name, ignore_errors=True)
        volume.snapshots = [other for other in volume.snapshots if other != name]
        volume.snapshot_sizes.pop(name, None)
        store.save(volume)
    gone = guest.snapshots.pop(name)
    for other in guest.snapshots.values():
        other.parent = gone.parent if other.parent == name else other.parent
    guest.parent = gone.parent if guest.parent == name else guest.parent


def refuse_older(guest: GuestConfig, volumes: list[tuple[Store, Volume]], name: str) -> None:
    """ZFS goes back only to the latest."""
    for store, volume in volumes:
        if store.type == "zfspool" and volume.snapshots and volume.snapshots[-1] != name:
            text = f"can't rollback, '{name}' is not most recent snapshot on '{volume.volid}'"
            raise Failure(text)


def find(guest: GuestConfig, name: str) -> Snapshot:
    if name not in guest.snapshots:
        raise Failure(f"snapshot '{name}' does not exist")
    return guest.snapshots[name]


@handles("GET", f"{_ONE}/config")
def config(call: Call) -> dict[str, t.Any]:
    vm = call.cluster.vm(call.node.name, call.vmid)
    snapshot = find(vm, call.text("snapname"))
    found = shown(snapshot.options) | {"snaptime": snapshot.time}
    if snapshot.description:
        found["description"] = snapshot.description
    return found | ({"parent": snapshot.parent} if snapshot.parent else {})


@handles("PUT", f"{_ONE}/config")
async def describe(call: Call) -> None:
    if "description" not in call.params:
        return
    vm = call.cluster.vm(call.node.name, call.vmid)
    vm.check_lock()
    snapshot = find(vm, call.text("snapname"))
    snapshot.description = call.text("description", snapshot.description).rstrip("\n")


@handles("DELETE", _ONE)
def delete(call: Call) -> str:
    name = call.text("snapname")

    async def work(task: Task) -> None:
        vm = call.cluster.vm(call.node.name, call.vmid)
        async with call.cluster.locked(vm):
            _delete(call, vm, name)

    return call.start("qmdelsnapshot", call.vmid, work)


def _delete(call: Call, vm: Vm, name: str) -> None:
    snapshot = find(vm, name)
    vm.check_lock()
    volumes = disks(call.cluster, vm, snapshot.options)
    if snapshot.with_memory:
        call.cluster.storages.free(vm.node, snapshot.options["vmstate"])
    forget(vm, volumes, name)
    for _, volume in volumes:
        vm.add_unused(volume.volid)
    vm.tidy()


@handles("POST", f"{_ONE}/rollback")
def rollback(call: Call) -> str:
    name = call.text("snapname")

    async def work(task: Task) -> None:
        vm = call.cluster.vm(call.node.name, call.vmid)
        async with call.cluster.locked(vm):
            await _rollback(call, vm, name)
        if call.flag("start") and vm.running is None:
            power.start_task(call)

    return call.start("qmrollback", call.vmid, work)


async def _rollback(call: Call, vm: Vm, name: str) -> None:
    if vm.template:
        raise Failure("you can't rollback if vm is a template")
    snapshot = find(vm, name)
    volumes = disks(call.cluster, vm, snapshot.options)
    refuse_older(vm, volumes, name)
    vm.check_lock()
    await power.stop_vm(call.cluster, vm)
    thaw(volumes, name)
    later = _not_in(call.cluster, vm, snapshot)
    outside = {key: value for key, value in vm.options.items() if key in _OUTSIDE or key.startswith("unused")}
    then = {key: value for key, value in snapshot.options.items() if key not in memory_state.OPTIONS}
    vm.options.clear()
    vm.options.update({**then, **outside})
    for volid in later:
        vm.add_unused(volid)
    if vm.options.get("vmgenid", "0") != "0":
        vm.options["vmgenid"] = str(uuid.uuid4())
    vm.pending.clear()
    vm.deleting.clear()
    vm.parent = name
    vm.tidy()
    if snapshot.with_memory:
        await power.start_vm(call.cluster, vm)


def _not_in(cluster: t.Any, vm: Vm, snapshot: Snapshot) -> list[str]:
    """The disks that came after a snapshot: they are kept as unused. (A cloud-init drive is made again, so it goes.)"""
    known = {drive["file"] for _, drive in vm.volumes(snapshot.options)}
    found = [drive for _, drive in vm.volumes() if drive["file"] not in known]
    for drive in [drive for drive in found if drives.is_cloudinit(drive)]:
        cluster.storages.free(vm.node, drive["file"])
    return [drive["file"] for drive in found if not drives.is_cdrom(drive)]


@handles("GET", "/nodes/{node}/qemu/{vmid}/feature")
def feature(call: Call) -> dict[str, t.Any]:
    vm = call.cluster.present_vm(call.node.name, call.vmid)
    name = call.params.get("snapname")
    values = find(vm, name).options if name else vm.options
    found = disks(call.cluster, vm, values)
    usable = all(storage_feature(call.text("feature"), *one, snapshot=bool(name)) for one in found)
    everywhere = all(store.shared for store, _ in found)
    return {"hasFeature": int(usable), "nodes": list(call.cluster.nodes) if everywhere else [vm.node]}


def storage_feature(wanted: str, store: Store, volume: Volume, snapshot: bool = False) -> bool:
    """Whether a disk (or a snapshot of it) can be snapshotted, cloned by reference or copied."""
    base = store.parse(volume.volid.partition(":")[2]).is_base
    if wanted == "snapshot":
        return can_snapshot(store, volume) and not base
    if wanted == "clone":
        return (base and not snapshot) or (snapshot and store.type in ("lvmthin", "rbd"))
    return not snapshot or can_snapshot(store, volume)
