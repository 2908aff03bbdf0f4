# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of containers."""

from __future__ import annotations

import time
import typing as t

from ..api import Call, handles
from ..errors import Failure
from ..guest import Snapshot
from ..qemu import snapshots as disks
from ..storage.store import Store, Volume
from ..tasks import Task
from . import ct as containers
from . import power
from .ct import Container

_CT = "/nodes/{node}/lxc/{vmid}"
_SNAPSHOTS = f"{_CT}/snapshot"
_ONE = f"{_SNAPSHOTS}/{{snapname}}"
_RESERVED = ("current", "pending")
_OUTSIDE = ("lock", "parent", "description")


def _volumes(call: Call, ct: Container, options: dict[str, str] | None = None) -> list[tuple[Store, Volume]]:
    found = []
    for _, volid in ct.volume_ids(options):
        store, _ = call.cluster.storages.find(ct.node, volid)
        if volid in store.volumes:
            found.append((store, store.volumes[volid]))
    return found


def has_feature(call: Call, ct: Container) -> bool:
    """A mount point that is no volume (a bind mount) has no snapshots."""
    if any(volid.startswith("/") for _, volid in ct.volume_ids()):
        return False
    return all(disks.can_snapshot(store, volume) for store, volume in _volumes(call, ct))


@handles("GET", _SNAPSHOTS)
def listing(call: Call) -> list[dict[str, t.Any]]:
    return disks.listed(containers.find(call))


@handles("POST", _SNAPSHOTS)
def create(call: Call) -> str:
    ct, name = containers.find(call), call.text("snapname")
    if name in _RESERVED:
        raise Failure(f"unable to use snapshot name '{name}' (reserved name)")

    async def work(task: Task) -> None:
        async with call.cluster.locked(ct):
            _create(call, ct, name)

    return call.start("vzsnapshot", ct.vmid, work)


def _create(call: Call, ct: Container, name: str) -> None:
    ct.check_lock()
    if name in ct.snapshots:
        raise Failure(f"snapshot name '{name}' already used")
    if not has_feature(call, ct):
        raise Failure("snapshot feature is not available")
    disks.freeze(_volumes(call, ct), name)
    kept = {key: value for key, value in ct.options.items() if key not in _OUTSIDE and not key.startswith("unused")}
    ct.snapshots[name] = Snapshot(kept, int(time.time()), call.text("description").rstrip("\n"), ct.parent)
    ct.parent = name


@handles("GET", f"{_ONE}/config")
def config(call: Call) -> dict[str, t.Any]:
    snapshot = disks.find(containers.find(call), call.text("snapname"))
    found = containers.shown(snapshot.options) | {"snaptime": snapshot.time}
    if snapshot.description:
        found["description"] = snapshot.description
    return found | ({"parent": snapshot.parent} if snapshot.parent else {})


@handles("PUT", f"{_ONE}/config")
def describe(call: Call) -> None:
    if "description" not in call.params:
        return
    ct = containers.find(call)
    ct.check_lock()
    snapshot = disks.find(ct, call.text("snapname"))
    snapshot.description = call.text("description").rstrip("\n")


@handles("DELETE", _ONE)
def delete(call: Call) -> str:
    ct, name = containers.find(call), call.text("snapname")

    async def work(task: Task) -> None:
        async with call.cluster.locked(ct):
            ct.check_lock()
            disks.forget(ct, _volumes(call, ct, disks.find(ct, name).options), name)

    return call.start("vzdelsnapshot", ct.vmid, work)


@handles("POST", f"{_ONE}/rollback")
def rollback(call: Call) -> str:
    ct, name = containers.find(call), call.text("snapname")

    async def work(task: Task) -> None:
        async with call.cluster.locked(ct):
            _rollback(call, ct, name)

    return call.start("vzrollback", ct.vmid, work)


def _rollback(call: Call, ct: Container, name: str) -> None:
    ct.check_lock()
    snapshot = disks.find(ct, name)
    volumes = _volumes(call, ct, snapshot.options)
    disks.refuse_older(ct, volumes, name)
    power.stop_ct(call.cluster, ct)
    disks.thaw(volumes, name)
    outside = {key: value for key, value in ct.options.items() if key in _OUTSIDE or key.startswith("unused")}
    ct.options.clear()
    ct.options.update({**snapshot.options, **outside})
    ct.pending.clear()
    ct.deleting.clear()
    ct.parent = name
    ct.tidy()
    if call.flag("start"):
        power.start_task(call)


@handles("GET", f"{_CT}/feature")
def feature(call: Call) -> dict[str, t.Any]:
    ct, wanted, name = containers.find(call), call.text("feature"), call.text("snapname")
    section = disks.find(ct, name).options if name else ct.options
    binds = any(volid.startswith("/") for _, volid in ct.volume_ids(section))
    known = {"copy": not binds, "snapshot": not binds and has_feature(call, ct), "clone": False}
    return {"hasFeature": int(known[wanted])}
