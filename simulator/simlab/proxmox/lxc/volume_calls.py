# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes of existing containers: resize, move; clones, templates."""

from __future__ import annotations

import re
import typing as t

from ..api import Call, handles
from ..errors import ApiError, Failure, Forbidden, ParameterError
from ..firewall import CHANGED
from ..sizes import format_size, parse_size
from ..storage.store import copy_data
from ..tasks import Task
from . import ct as containers
from . import mounts, options, reassigning
from .ct import Container

if t.TYPE_CHECKING:
    from ..cluster import Cluster
    from ..storage.store import Volume

_CT = "/nodes/{node}/lxc/{vmid}"
#: Types of storage on which a container's volume can be a linked clone.
_LINKING = frozenset(("lvmthin", "zfspool", "rbd", "btrfs"))
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
    chosen = [name for name in ("storage", "target-vmid") if call.params.get(name)]
    if len(chosen) == 2:
        raise Failure("either set storage or target-vmid, but not both")
    if not chosen:
        text = "both 'storage' and 'target-vmid' missing, either needs to be set"
        raise ParameterError({"storage": text, "target-vmid": text})
    return reassigning.reassign(call) if chosen == ["target-vmid"] else _move(call)


def _move(call: Call) -> str:
    slot, storage = call.text("volume"), call.text("storage")
    call.allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace")
    ct = containers.find(call)
    ct.check_lock()
    if ct.running:
        raise Failure("cannot move volumes of a running container")
    if slot.startswith("unused"):
        raise Failure(f"cannot move volume '{slot}', only configured volumes can be moved to another storage")
    mount = _mount(ct, slot)
    if call.params.get("digest") not in (None, ct.digest()):
        raise Failure(CHANGED)

    async def work(task: Task) -> None:
        call.cluster.storages.get_active(ct.node, storage)
        async with call.cluster.locked(ct):
            made = call.cluster.storages.copy(ct.node, mount["volume"], storage, ct.vmid, "raw")
            made.content = "rootdir"
            if ct.template:
                made = make_base(call.cluster, ct, made.volid)
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
    if call.params.get("storage"):
        call.cluster.storages.get_active(ct.node, call.text("storage"))
    ct.check_lock()
    if new in call.cluster.guests:
        other = call.cluster.guests[new]
        raise Failure(f"{other.word} {new} already exists on node '{other.node}'")
    _check_clone(call, ct, call.flag("full", not ct.template))
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
    storage, snapshot = call.params.get("storage"), call.params.get("snapname")
    if storage and not full:
        raise Failure("parameter 'storage' not allowed for linked clones")
    if snapshot and snapshot not in ct.snapshots:
        raise Failure(f"snapshot '{snapshot}' does not exist")
    shared = True
    for slot, volid in ct.volume_ids(ct.snapshots[snapshot].options if snapshot else None):
        if volid.startswith("/"):
            raise Failure(f"unable to clone mountpoint '{slot}' (type {mounts.kind_of(volid)})")
        store = call.cluster.storages.get(ct.node, str(storage) if storage else volid.partition(":")[0])
        shared = shared and store.shared
        call.allowed.require(f"/storage/{store.name}", "Datastore.AllocateSpace")
        if full and ct.running and not snapshot:
            raise Failure("Full clone of a running container is only possible from a snapshot")
        if not full and not _linkable(call, ct, volid):
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
                if call.flag("full", not ct.template):
                    storage = call.text("storage") or mount["volume"].partition(":")[0]
                    volume = call.cluster.storages.copy(ct.node, mount["volume"], storage, target.vmid, "raw")
                else:
                    volume = _linked(call, ct, target, mount["volume"])
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


def _linkable(call: Call, ct: Container, volid: str) -> bool:
    """Files are not: their linked clones are qcow2, which no container can have."""
    store, volume = call.cluster.storages.find(ct.node, volid)
    return store.type in _LINKING and store.parse(volume).is_base


def _linked(call: Call, ct: Container, target: Container, volid: str) -> Volume:
    store, volume = call.cluster.storages.find(ct.node, volid)
    base = store.volumes[volid]
    name = store.next_name(target.vmid, "raw", prefix="subvol" if store.type == "zfspool" else "vm")
    linked = name if store.type == "lvmthin" else f"{volume}/{name}"
    made = call.cluster.storages.allocate(ct.node, store.name, linked, base.size)
    copy_data(store.directory(volid), store.directory(made.volid))
    return made


def make_base(cluster: Cluster, ct: Container, volid: str) -> Volume:
    """A template's volume has another name, which linked clones stand on."""
    store, volume = cluster.storages.find(ct.node, volid)
    return store.rename(volid, re.sub(r"\b(vm|subvol)-", lambda m: _BASES[m[1]], volume, count=1))


_BASES = {"vm": "base-", "subvol": "basevol-"}


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

    async def work(task: Task) -> None:
        for _, volid in ct.volume_ids():
            if volid.startswith("/") or call.cluster.storages.find(ct.node, volid)[0].type == "lvm":
                raise Failure(f"Template feature is not available for '{volid}'")
        for slot, mount in list(ct.mounts()):
            made = make_base(call.cluster, ct, mount["volume"])
            ct.options[slot] = options.render_mount(slot, {**mount, "volume": made.volid})
        ct.options["template"] = "1"

    call.start("vztemplate", ct.vmid, work)  # the answer does not tell its UPID
