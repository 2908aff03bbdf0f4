# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies on a storage: lists, volumes, allocation, removal."""

from __future__ import annotations

import re
import typing as t

from .. import formats
from ..api import Call, handles
from ..errors import Failure, ParameterError
from ..sizes import parse_size
from ..tasks import Task
from . import names
from .store import Store

_STORAGE = "/nodes/{node}/storage/{storage}"
_VOLUME = f"{_STORAGE}/content/{{volume}}"


def _store(call: Call) -> Store:
    return call.cluster.storages.get(call.node.name, call.text("storage"))


_PARTS = """content download-url file-restore import-metadata oci-registry-pull prunebackups rrd rrddata status
    upload""".split()


@handles("GET", _STORAGE)
def index(call: Call) -> list[dict[str, str]]:
    return [{"subdir": name} for name in _PARTS]


# -- lists and status -------------------------------------------------------------------------------------


@handles("GET", "/nodes/{node}/storage")
def storages(call: Call) -> list[dict[str, t.Any]]:
    """All that are defined: those that are off, or not for this node, without values."""
    known = call.cluster.storages
    stores = {name: known.get(call.node.name, name) for name in known.definitions}
    kinds = set(formats.split_list(call.text("content")))
    if "content" in call.params:
        stores = {name: s for name, s in stores.items() if kinds & s.content and _usable(call, s)}
    if call.params.get("storage") and call.text("storage") not in stores:
        raise ParameterError({"storage": "No such storage."})
    found = []
    for name, store in stores.items():
        if call.params.get("storage", name) != name or (call.flag("enabled") and not store.enabled):
            continue
        if not _reaches(call, store):
            continue
        if call.allowed.has(f"/storage/{name}", ["Datastore.Audit", "Datastore.AllocateSpace"], True):
            found.append({"storage": name, **_values(call, store), **_fraction(call, store)})
    return found


def _usable(call: Call, store: Store) -> bool:
    return store.enabled and store.on_node(call.node.name)


def _reaches(call: Call, store: Store) -> bool:
    """Whether a storage is there on the node ``target`` too."""
    target = call.text("target", call.node.name)
    return target in (call.node.name, "localhost") or (store.shared and _usable(call, store) and store.on_node(target))


def _fraction(call: Call, store: Store) -> dict[str, float]:
    return {"used_fraction": store.used() / store.capacity} if _usable(call, store) and store.capacity else {}


def _values(call: Call, store: Store) -> dict[str, t.Any]:
    usable = _usable(call, store)
    used, total = (store.used(), store.capacity) if usable else (0, 0)
    return {
        "type": store.type, "content": ",".join(sorted(store.content)), "shared": int(store.shared),
        "enabled": int(usable), "active": int(usable), "total": total, "used": used, "avail": total - used,
    }  # fmt: skip


@handles("GET", f"{_STORAGE}/status")
def status(call: Call) -> dict[str, t.Any]:
    if call.text("storage") not in call.cluster.storages.definitions:
        raise ParameterError({"storage": "No such storage."})
    return _values(call, _store(call))


@handles("GET", f"{_STORAGE}/content")
def content(call: Call) -> list[dict[str, t.Any]]:
    store = call.cluster.storages.get_active(call.node.name, call.text("storage"))
    wanted = [call.text("content")] if call.params.get("content") else sorted(store.content)
    vmid = int(call.params["vmid"]) if "vmid" in call.params else None
    return [entry for kind in wanted if kind in store.content for entry in _of_kind(call, store, kind, vmid)]


def _of_kind(call: Call, store: Store, kind: str, vmid: int | None) -> list[dict[str, t.Any]]:
    if kind in ("images", "rootdir"):
        return _disks(call, store, kind, vmid)
    found = _files(call, store, kind) if vmid is None or kind in ("import", "backup") else []
    return [entry for entry in found if kind != "backup" or vmid in (None, entry.get("vmid"))]


def _disks(call: Call, store: Store, kind: str, vmid: int | None) -> list[dict[str, t.Any]]:
    found = []
    for volume in store.volumes.values():
        if volume.content != kind or vmid not in (None, volume.owner):
            continue
        if not _visible(call, store, volume.owner):
            continue
        entry: dict[str, t.Any] = {
            "content": kind, "ctime": volume.ctime, "format": volume.format, "parent": _parent(volume.base),
            "size": volume.size, "used": volume.size, "vmid": volume.owner, "volid": volume.volid,
        }  # fmt: skip
        found.append(entry)
    return found


def _parent(base: str | None) -> str | None:
    return f"../{base}" if base else None


def _visible(call: Call, store: Store, owner: int) -> bool:
    if call.allowed.has(f"/storage/{store.name}", ["Datastore.Allocate"]):
        return True
    audit = call.allowed.has(f"/storage/{store.name}", ["Datastore.Audit"])
    return audit and call.allowed.has(f"/vms/{owner}", ["VM.Config.Disk"])


def _files(call: Call, store: Store, kind: str) -> list[dict[str, t.Any]]:
    found = []
    for path in store.files(kind):
        try:
            parsed = store.parse(f"{kind}/{path.name}")
        except Failure:
            continue  # a file of no known name is not shown
        if kind == "backup" and not _backup_visible(call, store, parsed.owner):
            continue
        entry: dict[str, t.Any] = {
            "content": kind, "ctime": int(path.stat().st_mtime), "format": parsed.format,
            "size": path.stat().st_size, "volid": f"{store.name}:{kind}/{path.name}",
        }  # fmt: skip
        known = dict(call.cluster.extras.get("backups", {}).get(entry["volid"], {}))
        if "notes" in known:
            known["notes"] = known["notes"].partition("\n")[0]
        found.append(entry | known)
    return found


def _backup_visible(call: Call, store: Store, owner: int | None) -> bool:
    if call.allowed.has(f"/storage/{store.name}", ["Datastore.Allocate"]):
        return True
    space = call.allowed.has(f"/storage/{store.name}", ["Datastore.AllocateSpace"])
    return space and call.allowed.has(f"/vms/{owner}", ["VM.Backup"])


# -- one volume -------------------------------------------------------------------------------------------


def _volume(call: Call) -> tuple[Store, str, str]:
    """Storage, volume name and volume id of the path; raises ApiError."""
    sent, storage = call.text("volume"), call.text("storage")
    if names.is_volume_id(sent):
        named = names.split(sent)[0]
        if named != storage:
            raise ParameterError({"volume": f"storage ID mismatch ({named} != {storage})\n"})
        volume = names.split(sent)[1]
    else:
        volume = sent
    store = _store(call)
    store.parse(volume)
    return store, volume, f"{storage}:{volume}"


@handles("GET", _VOLUME)
def info(call: Call) -> dict[str, t.Any]:
    store, volume, volid = _volume(call)
    call.cluster.storages.check_volume_access(call.allowed, call.node.name, None, volid)
    size = call.cluster.storages.size_of(call.node.name, volid)
    if size is None:
        raise Failure(f"volume_size_info on '{volid}' failed - no format")
    disk = store.volumes.get(volid)
    found: dict[str, t.Any] = {
        "path": store.node_path(volume), "size": size, "used": -(-size // 4096) * 4096,
        "format": disk.format if disk else "raw",
    }  # fmt: skip
    parsed = store.parse(volume)
    if disk is None and parsed.format == "qcow2":
        found["format"] = "qcow2"
    if parsed.content == "backup":
        entry = call.cluster.extras.get("backups", {}).get(volid, {})
        found |= {"notes": entry.get("notes", ""), "protected": int(bool(entry.get("protected")))}
    return found


@handles("PUT", _VOLUME)
def attributes(call: Call) -> None:
    store, volume, volid = _volume(call)
    call.cluster.storages.check_volume_access(call.allowed, call.node.name, None, volid)
    if store.parse(volume).content != "backup":
        if "notes" in call.params:
            raise Failure("only backups can have notes")
        if "protected" in call.params:
            raise Failure("only backups support attribute 'protected'")
        return
    entry = call.cluster.extra("backups", dict).setdefault(volid, {})
    if "notes" in call.params:
        entry["notes"] = call.text("notes")
    if "protected" in call.params:
        entry["protected"] = int(call.params["protected"])
    for key in [key for key in ("notes", "protected") if not entry.get(key)]:
        entry.pop(key, None)  # a file beside the archive that is not there any more


@handles("DELETE", _VOLUME)
async def remove(call: Call) -> str | None:
    store, volume, volid = _volume(call)
    parsed = store.parse(volume)
    _check_remove(call, store, parsed)

    async def work(task: Task) -> None:
        call.cluster.storages.get_active(call.node.name, store.name)
        if parsed.content == "images":
            if volid not in store.volumes:
                task.log(f"disk image '{store.node_path(volume)}' does not exist")
            store.free(volid)
        else:
            _unlink(call, store, volume, volid, task)
        task.log(f"Removed volume '{volid}'")

    ident = f"{parsed.owner}@{store.name}" if parsed.owner else store.name
    return await call.in_time(call.start("imgdel", ident, work), "delay")


def _check_remove(call: Call, store: Store, parsed: names.VolumeName) -> None:
    path = f"/storage/{store.name}"
    if parsed.content == "backup" and parsed.owner:
        call.allowed.require(path, "Datastore.AllocateSpace")
        call.allowed.require(f"/vms/{parsed.owner}", "VM.Backup")
        return
    call.allowed.require(path, "Datastore.Allocate")


def _unlink(call: Call, store: Store, volume: str, volid: str, task: Task) -> None:
    entry = call.cluster.extras.get("backups", {}).get(volid, {})
    if entry.get("protected"):
        raise Failure(f"cannot remove protected volume '{volume}' on '{store.name}'")
    path = store.file(volume)
    if path.is_file():
        path.unlink()
    else:
        task.log(f"disk image '{store.node_path(volume)}' does not exist")
    call.cluster.extras.get("backups", {}).pop(volid, None)


@handles("POST", f"{_STORAGE}/content")
def allocate(call: Call) -> str:
    store = _store(call)
    name, owner = call.text("filename"), int(call.params["vmid"])
    named, sent = re.search(r"\.(raw|qcow2|vmdk)$", name), call.params.get("format")
    if named and sent and sent != named[1]:
        raise ParameterError({"format": f"different storage formats ({sent} != {named[1]})"})
    format_ = named[1] if named else sent or "raw"
    volume = name if store.flat else f"{owner}/{name}"
    if not store.flat:
        found = names.parse(store.type, volume).format
        if found != format_:
            raise Failure(f"illegal name '{name}' - wrong extension for format ('{found} != '{format_}')")
    size = _kilobytes(call.text("size"))
    return call.cluster.storages.allocate(call.node.name, store.name, volume, size).volid


def _kilobytes(text: str) -> int:
    """Without a unit the size is in KiB."""
    size = parse_size(text)
    if size is None:
        raise Failure(f"unable to parse size '{text}'")
    return size << 10 if text.isdigit() else size
