# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of VMs."""

from __future__ import annotations

import shutil
import time
import typing as t
import uuid

from ..api import Call, handles
from ..errors import Failure
from ..storage.store import Store, Volume
from ..tasks import Task
from . import drives, power
from .vm import Snapshot, Vm, shown

_SNAPSHOTS = "/nodes/{node}/qemu/{vmid}/snapshot"
_ONE = f"{_SNAPSHOTS}/{{snapname}}"
_RESERVED = ("current", "pending")
#: Not part of a snapshot.
_OUTSIDE = ("lock", "parent", "description", "vmstatestorage")


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
    found: list[dict[str, t.Any]] = []
    for name, snapshot in vm.snapshots.items():
        entry: dict[str, t.Any] = {
            "name": name, "description": snapshot.description, "snaptime": snapshot.time,
            "vmstate": int(snapshot.with_memory),
        }  # fmt: skip
        found.append(entry | ({"parent": snapshot.parent} if snapshot.parent else {}))
    current: dict[str, t.Any] = {
        "name": "current", "description": "You are here!", "digest": vm.digest(), "running": int(bool(vm.running)),
    }  # fmt: skip
    return [*found, current | ({"parent": vm.parent} if vm.parent else {})]


@handles("POST", _SNAPSHOTS)
def create(call: Call) -> str:
    name = call.text("snapname")
    vm = call.cluster.vm(call.node.name, call.vmid)
    if name in _RESERVED:
        raise Failure(f"unable to use snapshot name '{name}' (reserved name)")

    async def work(task: Task) -> None:
        async with call.cluster.locked(vm):
            _create(call, vm, name, task)

    return call.start("qmsnapshot", vm.vmid, work)


def _create(call: Call, vm: Vm, name: str, task: Task) -> None:
    vm.check_lock()
    if vm.template:
        raise Failure("you can't take a snapshot if it's a template")
    if name in vm.snapshots:
        raise Failure(f"snapshot name '{name}' already used")
    if not has_feature(call.cluster, vm):
        raise Failure("snapshot feature is not available")
    for store, volume in disks(call.cluster, vm):
        directory = store.directory(volume.volid)
        shutil.copytree(directory / "data", directory / "snapshots" / name)
        volume.snapshots.append(name)
        store.save(volume)
        task.log(f"snapshotting ({volume.volid})")
    kept = {key: value for key, value in vm.options.items() if key not in _OUTSIDE and not key.startswith("unused")}
    memory = call.flag("vmstate") and vm.running is not None
    vm.snapshots[name] = Snapshot(kept, int(time.time()), call.text("description").rstrip("\n"), vm.parent, memory)
    vm.parent = name


def _snapshot(vm: Vm, name: str) -> Snapshot:
    if name not in vm.snapshots:
        raise Failure(f"snapshot '{name}' does not exist")
    return vm.snapshots[name]


@handles("GET", f"{_ONE}/config")
def config(call: Call) -> dict[str, t.Any]:
    vm = call.cluster.vm(call.node.name, call.vmid)
    snapshot = _snapshot(vm, call.text("snapname"))
    found = shown(snapshot.options) | {"snaptime": snapshot.time}
    if snapshot.description:
        found["description"] = snapshot.description
    return found | ({"parent": snapshot.parent} if snapshot.parent else {})


@handles("PUT", f"{_ONE}/config")
async def describe(call: Call) -> None:
    vm = call.cluster.vm(call.node.name, call.vmid)
    vm.check_lock()
    snapshot = _snapshot(vm, call.text("snapname"))
    snapshot.description = call.text("description", snapshot.description).rstrip("\n")


@handles("DELETE", _ONE)
def delete(call: Call) -> str:
    vm = call.cluster.vm(call.node.name, call.vmid)
    name = call.text("snapname")

    async def work(task: Task) -> None:
        async with call.cluster.locked(vm):
            _delete(call, vm, name)

    return call.start("qmdelsnapshot", vm.vmid, work)


def _delete(call: Call, vm: Vm, name: str) -> None:
    vm.check_lock()
    snapshot = _snapshot(vm, name)
    for store, volume in disks(call.cluster, vm, snapshot.options):
        shutil.rmtree(store.directory(volume.volid) / "snapshots" / name, ignore_errors=True)
        volume.snapshots = [other for other in volume.snapshots if other != name]
        store.save(volume)
    del vm.snapshots[name]
    for other in vm.snapshots.values():
        other.parent = snapshot.parent if other.parent == name else other.parent
    vm.parent = snapshot.parent if vm.parent == name else vm.parent


@handles("POST", f"{_ONE}/rollback")
def rollback(call: Call) -> str:
    vm = call.cluster.vm(call.node.name, call.vmid)
    name = call.text("snapname")

    async def work(task: Task) -> None:
        async with call.cluster.locked(vm):
            await _rollback(call, vm, name)

    return call.start("qmrollback", vm.vmid, work)


async def _rollback(call: Call, vm: Vm, name: str) -> None:
    vm.check_lock()
    snapshot = _snapshot(vm, name)
    await power.stop_vm(call.cluster, vm)
    for store, volume in disks(call.cluster, vm, snapshot.options):
        directory = store.directory(volume.volid)
        if (directory / "snapshots" / name).is_dir():
            shutil.rmtree(directory / "data", ignore_errors=True)
            shutil.copytree(directory / "snapshots" / name, directory / "data")
    outside = {key: value for key, value in vm.options.items() if key in _OUTSIDE or key.startswith("unused")}
    vm.options.clear()
    vm.options.update({**snapshot.options, **outside, "vmgenid": str(uuid.uuid4())})
    vm.pending.clear()
    vm.deleting.clear()
    vm.parent = name
    vm.tidy()
    if call.flag("start") or snapshot.with_memory:
        await power.start_vm(call.cluster, vm)


@handles("GET", "/nodes/{node}/qemu/{vmid}/feature")
def feature(call: Call) -> dict[str, t.Any]:
    vm = call.cluster.vm(call.node.name, call.vmid)
    wanted = call.text("feature")
    usable = {
        "snapshot": has_feature(call.cluster, vm) and not vm.template,
        "clone": vm.template,
        "copy": True,
    }[wanted]
    return {"hasFeature": int(usable), "nodes": list(call.cluster.nodes) if wanted != "snapshot" else [vm.node]}
