# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes of existing containers: resize, move; clones, templates."""

from __future__ import annotations

import re

from ..api import Call, handles
from ..errors import ApiError, Failure, Forbidden, NotSimulated
from ..sizes import format_size, parse_size
from ..tasks import Task
from . import ct as containers
from . import mounts, options
from .ct import Container

_CT = "/nodes/{node}/lxc/{vmid}"
_MISSING = "property is missing and it is not optional"


def _mount(ct: Container, slot: str) -> dict[str, str]:
    """A mount point; a missing one fails as the real parser does with nothing."""
    if slot not in ct.options:
        raise ApiError(500, "format error", {"mp": _MISSING, "volume": _MISSING})
    return options.parse_mount(slot, ct.options[slot])


@handles("PUT", f"{_CT}/resize")
def resize(call: Call) -> str:
    ct, slot = containers.find(call), call.text("disk")
    ct.check_lock()
    mount = _mount(ct, slot)
    volid = mount["volume"]
    store, _ = call.cluster.storages.find(ct.node, volid)
    call.allowed.require(f"/storage/{store.name}", "Datastore.AllocateSpace")
    old = store.volumes[volid].size
    text = call.text("size")
    size = parse_size(text.lstrip("+")) or 0
    size = old + size if text.startswith("+") else size
    if size < old:
        raise Failure("unable to shrink disk size")
    if size == old:
        raise Failure("disk is already at specified size")

    async def work(task: Task) -> None:
        async with call.cluster.locked(ct):
            call.cluster.storages.resize(ct.node, volid, size)
            mount["size"] = format_size(size)
            ct.options[slot] = options.render_mount(slot, mount)
            task.log("Image resized.")

    return call.start("resize", ct.vmid, work)


@handles("POST", f"{_CT}/move_volume")
def move(call: Call) -> str:
    ct, slot = containers.find(call), call.text("volume")
    ct.check_lock()
    if "target-vmid" in call.params:
        raise NotSimulated("POST", "move_volume to another container")
    mount = _mount(ct, slot)
    if ct.running:
        raise Failure("cannot move volumes of a running container")

    async def work(task: Task) -> None:
        storage = call.text("storage")
        call.cluster.storages.get(ct.node, storage)
        async with call.cluster.locked(ct):
            made = call.cluster.storages.copy(ct.node, mount["volume"], storage, ct.vmid, "raw")
            made.content = "rootdir"
            old, mount["volume"] = mount["volume"], made.volid
            ct.options[slot] = options.render_mount(slot, mount)
            if call.flag("delete"):
                call.cluster.storages.free(ct.node, old)
            else:
                ct.add_unused(old)

    return call.start("move_volume", ct.vmid, work)


# -- clones and templates ---------------------------------------------------------------------------------


@handles("POST", f"{_CT}/clone")
def clone(call: Call) -> str:
    ct, new = containers.find(call), int(call.params["newid"])
    pool = call.params.get("pool")
    if pool and pool not in call.cluster.pools:
        raise Forbidden(f"pool '{pool}' does not exist")
    call.allowed.vm(new, "VM.Allocate", pool=pool)
    name = call.params.get("snapname")
    if name and name not in ct.snapshots:
        raise Failure(f"snapshot '{name}' does not exist")
    full = call.flag("full", not ct.template)
    _check_clone(call, ct, full)
    target = Container(new, call.text("target", ct.node), {"lock": "create"}, node_cores=ct.node_cores)
    call.cluster.add(target)
    if pool:
        call.cluster.pools[pool].guests.add(new)
    made: list[str] = []

    async def work(task: Task) -> None:
        async with call.cluster.locked(ct):
            built = _copy(call, ct, target, made)
        target.options.clear()
        target.options.update(built)

    def undo() -> None:
        for volid in made:
            call.cluster.storages.free(target.node, volid)
        call.cluster.remove(new)

    return call.start("vzclone", ct.vmid, work, undo)


def _check_clone(call: Call, ct: Container, full: bool) -> None:
    ct.check_lock()
    storage = call.params.get("storage")
    if storage:
        mounts.check_storage(call, str(storage))
    if ct.running and not call.params.get("snapname"):
        kind = "Full" if full else "Linked"
        raise Failure(f"{kind} clone of a running container is only possible from a snapshot")
    shared, snapshot = True, call.params.get("snapname")
    for slot, volid in ct.volume_ids(ct.snapshots[snapshot].options if snapshot else None):
        if volid.startswith("/"):
            raise Failure(f"unable to clone mountpoint '{slot}' (type bind)")
        store = call.cluster.storages.get(ct.node, str(storage) if storage else volid.partition(":")[0])
        shared = shared and store.shared
        call.allowed.require(f"/storage/{store.name}", "Datastore.AllocateSpace")
        if not full:
            raise Failure(f"Linked clone feature for '{volid}' is not available")
    target = call.text("target", ct.node)
    if target != ct.node and not shared:
        raise Failure(f"can't clone CT to node '{target}' (CT uses local storage)")


def _copy(call: Call, ct: Container, target: Container, made: list[str]) -> dict[str, str]:
    name = call.params.get("snapname")
    source = ct.snapshots[name].options if name else ct.options
    built = {key: value for key, value in source.items() if not re.fullmatch(r"unused\d+|lock|template|parent", key)}
    for key, value in list(built.items()):
        if options.is_mount(key):
            mount = options.parse_mount(key, value)
            if mounts.owned(call.cluster, ct, mount["volume"]):
                storage = call.text("storage") or mount["volume"].partition(":")[0]
                volume = call.cluster.storages.copy(ct.node, mount["volume"], storage, target.vmid, "raw")
                volume.content = "rootdir"
                made.append(volume.volid)
                built[key] = options.render_mount(key, {**mount, "volume": volume.volid})
        elif options.is_net(key):
            net = ",".join(part for part in value.split(",") if not part.startswith("hwaddr="))
            built[key] = options.with_hwaddr(key, net, call.cluster.mac_prefix())
    if "hostname" in call.params:
        built["hostname"] = call.text("hostname")
    if "description" in call.params:
        built["description"] = call.text("description")
    options.normalise(built)
    return built


@handles("POST", f"{_CT}/template")
def template(call: Call) -> None:
    ct = containers.find(call)
    ct.check_lock()
    if ct.snapshots:
        raise Failure("unable to create template, because CT contains snapshots")
    if ct.template:
        raise Failure("you can't convert a template to a template")
    if ct.running:
        raise Failure("you can't convert a CT to template if the CT is running")
    ct.options["template"] = "1"
