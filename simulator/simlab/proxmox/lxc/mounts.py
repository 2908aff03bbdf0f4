# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes of containers: checking, allocating, detaching."""

from __future__ import annotations

import re
import typing as t

from ..api import Call
from ..cluster import Cluster
from ..errors import Failure, Forbidden, ParameterError
from ..sizes import format_size
from ..storage import names
from ..storage.storages import NEW_DISK
from . import options
from .ct import Container


def check_access(call: Call, vmid: int, params: t.Mapping[str, str]) -> None:
    """Rights on storages and volumes; bind mounts are root's."""
    for name in sorted(params):
        if options.is_mount(name):
            _check_volume(call, vmid, options.parse_mount(name, params[name])["volume"])


def _check_volume(call: Call, vmid: int, volume: str) -> None:
    match = NEW_DISK.fullmatch(volume)
    if match:
        call.allowed.require(f"/storage/{match[1] or 'local'}", "Datastore.AllocateSpace")
    elif volume.startswith("/"):
        if not call.caller.is_root:
            raise Forbidden(f"mount point type {kind_of(volume)} is only allowed for root@pam")
    else:
        call.cluster.storages.check_volume_access(call.allowed, call.node.name, vmid, volume)


def kind_of(path: str) -> str:
    """What a path in the place of a volume is."""
    return "device" if path.startswith("/dev/") else "bind"


def check_content(call: Call, volume: str) -> None:
    """Raises Failure for a volume of a storage that takes no containers."""
    if not volume.startswith("/"):
        storage = (NEW_DISK.fullmatch(volume) or re.match("([^:]+):", volume) or [None, ""])[1] or "local"
        if "rootdir" not in call.cluster.storages.get(call.node.name, storage).content:
            raise Failure(f"storage '{storage}' does not allow content type 'rootdir' (Container)")


def check_storages(call: Call, params: t.Mapping[str, str]) -> None:
    """The storages of a container that is to be made."""
    for name in sorted(params):
        if options.is_mount(name):
            volume = options.parse_mount(name, params[name])["volume"]
            if not volume.startswith("/"):
                match = NEW_DISK.fullmatch(volume)
                check_storage(call, (match[1] or "local") if match else names.split(volume)[0])


def check_storage(call: Call, storage: str) -> None:
    """Raises ApiError for a storage on which no container can be made."""
    store = call.cluster.storages.get_active(call.node.name, storage)
    if "rootdir" not in store.content:
        raise ParameterError({"storage": f"storage '{storage}' does not support container directories"})
    call.allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace")


def allocate(cluster: Cluster, ct: Container, name: str, value: str, made: list[str]) -> str:
    """The value as it goes into the configuration; new volumes are added to ``made``. Raises Failure."""
    mount = options.parse_mount(name, value)
    match = NEW_DISK.fullmatch(mount["volume"])
    storages = cluster.storages
    if match:
        store = storages.get_active(ct.node, match[1] or "local")
        kind = "subvol" if store.type == "zfspool" else "vm"
        volume = store.next_name(ct.vmid, "raw", prefix=kind)
        made_size = int(float(match[2]) * 1024) << 20  # whole MiB, rounded down
        disk = storages.allocate(ct.node, store.name, volume, made_size)
        disk.content = "rootdir"
        made.append(disk.volid)
        mount["volume"], mount["size"] = disk.volid, format_size(disk.size)
    elif names.is_volume_id(mount["volume"]):
        there = storages.size_of(ct.node, mount["volume"])
        if there is not None:
            mount["size"] = format_size(there)
    return options.render_mount(name, mount)


def check_sources(call: Call, params: t.Mapping[str, str]) -> None:
    """Raises Failure for a bind mount of a directory that the node has not got."""
    for name in sorted(params):
        if options.is_mount(name):
            source = options.parse_mount(name, params[name])["volume"]
            if source.startswith("/") and source not in call.node.config.directories:
                raise Failure(f"directory '{source}' does not exist")


def owned(cluster: Cluster, ct: Container, volid: str) -> bool:
    if not names.is_volume_id(volid) or names.split(volid)[0] not in cluster.storages.definitions:
        return False
    parsed = cluster.storages.parse(ct.node, volid)
    return parsed.content == "images" and parsed.owner == ct.vmid


def detach(cluster: Cluster, ct: Container, value: str, name: str) -> None:
    """Keep the volume of a mount point that is taken away as ``unusedN``."""
    volid = options.parse_mount(name, value)["volume"]
    if owned(cluster, ct, volid):
        ct.add_unused(volid)
