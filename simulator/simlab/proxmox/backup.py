# SPDX-License-Identifier: GPL-3.0-or-later
"""vzdump: archives that hold a guest's configuration and what lies on its disks."""

from __future__ import annotations

import dataclasses
import datetime
import io
import json
import math
import pathlib
import re
import tarfile
import typing as t

from ..contracts import BootImage
from . import backup_logs, formats
from .api import Call, handles
from .errors import ApiError, Failure, ParameterError
from .guest import GuestConfig
from .storage.store import Store
from .tasks import Task

_EXTENSION = {"0": "", "": "", "1": ".lzo", "lzo": ".lzo", "gzip": ".gz", "zstd": ".zst"}
_CONFIG = "guest.json"


@handles("GET", "/nodes/{node}/vzdump/defaults")
def defaults(call: Call) -> dict[str, t.Any]:
    return {
        "all": 0, "bwlimit": 0, "compress": "0", "dumpdir": "/var/lib/vz/dump", "fleecing": {"enabled": 0}, "ionice": 7,
        "lockwait": 180, "mailnotification": "always", "mode": "snapshot", "notification-mode": "auto",
        "performance": {"max-workers": 16, "pbs-entries-max": 1048576}, "pigz": 0, "prune-backups": "keep-all=1",
        "quiet": 0, "remove": 1, "stdexcludes": 1, "stop": 0, "stopwait": 10, "storage": "local", "zstd": 1,
    }  # fmt: skip


@handles("POST", "/nodes/{node}/vzdump")
def vzdump(call: Call) -> str:
    _check_request(call)
    if call.flag("stop"):
        call.cluster.tasks.stop_kind("vzdump")
        if not call.params.get("vmid") and not call.params.get("pool"):
            return "OK"
    wanted = _selected(call)
    if not wanted and not _takes_all(call):
        return "OK"  # nothing to do on this node
    if not call.caller.is_root:
        for name in ("dumpdir", "tmpdir", "script"):
            if name in call.params:
                raise ParameterError({name: "Only root may set this option."})
    storage = call.text("storage", "local")
    call.allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace")
    if "bwlimit" in call.params or "ionice" in call.params:
        call.allowed.require("/", "Sys.Modify")
    if not _takes_all(call):
        for vmid in wanted:
            call.allowed.require(f"/vms/{vmid}", "VM.Backup")

    async def work(task: Task) -> None:
        _run(call, wanted, storage, task)

    return call.start("vzdump", wanted[0] if len(wanted) == 1 else "", work)


def _takes_all(call: Call) -> bool:
    """Whoever excludes some means all others."""
    return call.flag("all") or ("exclude" in call.params and not call.params.get("pool"))


def _check_request(call: Call) -> None:
    for name in ("all", "exclude", "pool"):
        if call.text(name) not in ("", "0") and call.params.get("vmid"):
            raise ParameterError({name: "option conflicts with option 'vmid'"})
    template = call.text("notes-template")
    if "\n" in template:
        raise ParameterError({"notes-template": "contains a line feed\n"})
    unknown = [
        f"escape sequence '{match[0]}' at char {match.start()}"
        for match in re.finditer(r"\\(.)", template)
        if match[1] not in "n\\"
    ] + [
        f"variable '{match[1]}' at char {match.end() - len(match[1])}"
        for match in re.finditer(r"\{\{([^\s{}]+)\}\}", template)
        if match[1] not in _NOTES
    ]
    if unknown:
        raise ParameterError({"notes-template": f"found unknown: {', '.join(unknown)}\n"})


def _selected(call: Call) -> list[int]:
    if _takes_all(call):
        excluded = {int(vmid) for vmid in formats.split_list(call.text("exclude"))}
        guests = (guest for guest in call.cluster.guests.values() if guest.node == call.node.name)
        return [g.vmid for g in guests if g.vmid not in excluded and call.allowed.has(f"/vms/{g.vmid}", ["VM.Backup"])]
    if call.params.get("pool"):
        pool = call.cluster.pools.get(call.text("pool"))
        if pool is None:
            raise Failure(f"pool '{call.text('pool')}' does not exist")
        return sorted(pool.guests)
    if "vmid" not in call.params:
        raise ParameterError({"vmid": "property is missing"})
    return [int(vmid) for vmid in formats.split_list(call.text("vmid"))]


def _run(call: Call, wanted: list[int], storage: str, task: Task) -> None:
    store = _store(call, storage)
    task.log(f"INFO: starting new backup job: {backup_logs.command(call, wanted)}")
    failed = False
    for vmid in wanted:
        try:
            _dump(call, store, vmid, task)
        except ApiError as error:
            failed = True
            task.log(f"ERROR: Backup of VM {vmid} failed - {error}")
            backup_logs.stamp(task.log, "Failed at")
    if failed:
        task.log("INFO: Backup job finished with errors")
        raise Failure("job errors")
    task.log("INFO: Backup job finished successfully")


def _store(call: Call, storage: str) -> Store:
    text = f"could not get storage information for '{storage}': "
    try:
        store = call.cluster.storages.get(call.node.name, storage)
    except Failure as error:
        raise Failure(f"could not activate storage '{storage}': {error} {text}{error}") from None
    if "backup" not in store.content:
        raise Failure(f"{text}can't use storage '{storage}' for backups - wrong content type")
    return store


def _free_name(store: Store, guest: str, suffix: str) -> str:
    """Named by the second, as the real ones; those take longer than that, so that no two have the same name."""
    now = datetime.datetime.now()
    while True:
        volume = f"backup/vzdump-{guest}-{now:%Y_%m_%d-%H_%M_%S}.{suffix}"
        if not store.file(volume).exists():
            return volume
        now += datetime.timedelta(seconds=1)


def _dump(call: Call, store: Store, vmid: int, task: Task) -> None:
    guest = call.cluster.guests.get(vmid)
    if guest is None or guest.node != call.node.name:
        raise Failure(f"unable to find VM '{vmid}'")
    kind = guest.kind
    task.log(f"INFO: Starting Backup of VM {vmid} ({kind})")
    _check_limit(call, store, guest)
    backup_logs.stamp(task.log, "Backup started at")
    task.log(f"INFO: status = {'running' if guest.running else 'stopped'}")
    guest.check_lock()
    mode = backup_logs.begin(task.log, call, guest)
    suffix = ("vma" if kind == "qemu" else "tar") + _EXTENSION[call.text("compress", "0")]
    volume = _free_name(store, f"{kind}-{vmid}", suffix)
    backup_logs.left_out(task.log, guest)
    task.log(f"INFO: creating vzdump archive '{store.node_path(volume)}'")
    path = store.file(volume)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_archive(path, call, guest)
    found = [call.cluster.storages.volume(guest.node, volid) for _, volid in guest.archived()]
    backup_logs.archived(task.log, guest, mode, [volume.size for volume in found if volume is not None])
    task.log(f"INFO: archive file size: {math.ceil(path.stat().st_size / (1 << 20))}MB")
    entry = _entry(call, guest, task)
    call.cluster.extra("backups", dict)[f"{store.name}:{volume}"] = entry
    rule = retention(call, store)
    if call.flag("remove", True) and not rule.get("keep-all"):
        shown = ", ".join(f"{name}={number}" for name, number in sorted(rule.items()))
        task.log(f"INFO: prune older backups with retention: {shown}")
        marks = prune_marks(call, store, rule, vmid, kind)
        _prune(call, store, marks, task, "INFO: ")
        gone = len([one for one in marks if one["mark"] == "remove"])
        task.log(f"INFO: pruned {gone} backup(s){' not covered by keep-retention policy' if gone else ''}")
    backup_logs.finished(task.log, vmid)


def _entry(call: Call, guest: GuestConfig, task: Task) -> dict[str, t.Any]:
    """What is known of an archive beside its file."""
    entry: dict[str, t.Any] = {"subtype": guest.kind, "vmid": guest.vmid}
    if call.params.get("notes-template"):
        task.log("INFO: adding notes to backup")
        entry["notes"] = _notes(call.text("notes-template"), guest, call)
    if call.flag("protected"):
        task.log("INFO: marking backup as protected")
        entry["protected"] = 1
    return entry


def _check_limit(call: Call, store: Store, guest: GuestConfig) -> None:
    """Without pruning the numbers that are to be kept are the most that there may be."""
    rule = retention(call, store)
    most = 0 if rule.get("keep-all") else sum(rule.values())
    if call.flag("protected") or not most or call.flag("remove", True):
        return
    marks = prune_marks(call, store, {}, guest.vmid, guest.kind)
    if len([entry for entry in marks if entry["mark"] != "protected"]) >= most:
        raise Failure(
            f"There is a max backup limit of {most} enforced by the target storage or the vzdump parameters. Either increase "
            "the limit or delete old backups."
        )


_NOTES = ("cluster", "guestname", "node", "vmid")


def _notes(template: str, guest: GuestConfig, call: Call) -> str:
    cluster = call.cluster.config.cluster_name or "standalone node"
    values = {"guestname": guest.name, "vmid": guest.vmid, "node": guest.node, "cluster": cluster}
    plain = re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], template)
    return re.sub(r"\{\{(\w+)\}\}", lambda match: str(values.get(match[1], match[0])), plain)


def write_archive(path: pathlib.Path, call: Call, guest: GuestConfig) -> None:
    """A tar file with the configuration and the data of every disk that takes part."""
    with tarfile.open(path, "w:gz") as archive:
        images = {slot: dataclasses.asdict(image) for slot, image in _images(call, guest)}
        content = json.dumps({"options": guest.options, "images": images}, sort_keys=True).encode()
        entry = tarfile.TarInfo(_CONFIG)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        for slot, volid in guest.archived():
            store, _ = call.cluster.storages.find(guest.node, volid)
            if volid in store.volumes:
                archive.add(store.directory(volid) / "data", f"{slot}/data")


def _images(call: Call, guest: GuestConfig) -> t.Iterator[tuple[str, BootImage]]:
    """What is installed on the disks that take part."""
    for slot, volid in guest.archived():
        disk = call.cluster.storages.volume(guest.node, volid)
        if disk is not None and disk.image is not None:
            yield slot, disk.image


def image_of(path: pathlib.Path, slot: str) -> BootImage | None:
    """What was installed on a disk of an archive."""
    with tarfile.open(path) as archive:
        file = archive.extractfile(_CONFIG)
        found = json.load(file).get("images", {}).get(slot) if file else None
    return BootImage(**found) if found else None


def read_archive(path: pathlib.Path) -> dict[str, str]:
    """The configuration in an archive."""
    with tarfile.open(path) as archive:
        file = archive.extractfile(_CONFIG)
        return dict(json.load(file)["options"]) if file else {}


#: Python 3.11 knows the check of what an archive holds since 3.11.4; Debian 12 has an older one. The archive is our own.
_CHECKED: t.Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def restore_data(path: pathlib.Path, slot: str, target: pathlib.Path) -> None:
    """Put back what lay on a disk."""
    with tarfile.open(path) as archive:
        prefix = f"{slot}/"
        for member in archive.getmembers():
            if member.name.startswith(prefix):
                member.name = member.name[len(prefix) :]
                archive.extract(member, target, **_CHECKED)


@handles("GET", "/nodes/{node}/storage/{storage}/prunebackups")
def prune_preview(call: Call) -> list[dict[str, t.Any]]:
    """What a prune would remove."""
    return _preview(call, call.cluster.storages.get(call.node.name, call.text("storage")))


def _preview(call: Call, store: Store) -> list[dict[str, t.Any]]:
    if "backup" not in store.content:
        raise Failure(f"storage '{store.name}' does not support backups")
    if "prune-backups" not in call.params and "prune-backups" not in store.options:
        raise Failure(f"no prune-backups options configured for storage '{store.name}'")
    owner = int(call.params["vmid"]) if "vmid" in call.params else None
    return prune_marks(call, store, retention(call, store), owner, call.params.get("type"))


def retention(call: Call, store: Store) -> dict[str, int]:
    """What is to be kept: as the request says, else as the storage does."""
    wanted = str(call.params.get("prune-backups") or store.options.get("prune-backups", "keep-all=1"))
    return {name: int(count) for name, count in (part.split("=", 1) for part in wanted.split(",") if part)}


def prune_marks(
    call: Call, store: Store, rule: dict[str, int], only: int | None, only_kind: str | None
) -> list[dict[str, t.Any]]:
    """Every backup with what a prune would do to it."""
    by_guest: dict[int, list[pathlib.Path]] = {}
    for path in store.files("backup"):
        owner = store.parse(f"backup/{path.name}").owner
        kind = "qemu" if "-qemu-" in path.name else "lxc"
        if owner and only in (None, owner) and only_kind in (None, kind):
            by_guest.setdefault(owner, []).append(path)
    return [entry for owner, paths in by_guest.items() for entry in _marks(call, store, owner, paths, rule)]


#: What backups of one period have in common.
_PERIODS = {
    "keep-last": "%Y %j %H:%M:%S", "keep-hourly": "%Y %j %H", "keep-daily": "%Y %j", "keep-weekly": "%G %V",
    "keep-monthly": "%Y %m", "keep-yearly": "%Y",
}  # fmt: skip


def _marks(
    call: Call, store: Store, owner: int, paths: list[pathlib.Path], rule: dict[str, int]
) -> list[dict[str, t.Any]]:
    known, found = call.cluster.extra("backups", dict), []
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        volid = f"{store.name}:backup/{path.name}"
        entry = {"volid": volid, "ctime": _written_at(path), "type": "qemu" if "-qemu-" in path.name else "lxc"}
        mark = "protected" if known.get(volid, {}).get("protected") else ""
        found.append(entry | {"vmid": owner, "mark": mark})
    _keep([entry for entry in found if not entry["mark"]], rule)
    return found


def _written_at(path: pathlib.Path) -> int:
    match = re.search(r"-(\d{4}_\d{2}_\d{2}-\d{2}_\d{2}_\d{2})\.", path.name)
    if match is None:
        return int(path.stat().st_mtime)
    return int(datetime.datetime.strptime(match[1], "%Y_%m_%d-%H_%M_%S").timestamp())


def _keep(entries: list[dict[str, t.Any]], rule: dict[str, int]) -> None:
    """Mark backups of one guest, the newest first: each rule keeps the newest of its periods that has none yet."""
    if rule.get("keep-all") or not any(rule.values()):
        for entry in entries:
            entry["mark"] = "keep"
        return
    for name, shape in _PERIODS.items():
        periods = [datetime.datetime.fromtimestamp(entry["ctime"]).strftime(shape) for entry in entries]
        covered = {period for period, entry in zip(periods, entries, strict=True) if entry["mark"] == "keep"}
        added: set[str] = set()
        for period, entry in zip(periods, entries, strict=True):
            if entry["mark"] or period in covered:
                continue
            if period in added:
                entry["mark"] = "remove"
            elif len(added) < rule.get(name, 0):
                added.add(period)
                entry["mark"] = "keep"
            else:
                break
    for entry in entries:
        entry["mark"] = entry["mark"] or "remove"


@handles("DELETE", "/nodes/{node}/storage/{storage}/prunebackups")
def prune(call: Call) -> str:
    storage, owner = call.text("storage"), call.params.get("vmid")
    if owner is None:
        call.allowed.require(f"/storage/{storage}", "Datastore.Allocate")
    else:
        call.allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace")
        call.allowed.require(f"/vms/{owner}", "VM.Backup")

    async def work(task: Task) -> None:
        store = call.cluster.storages.get(call.node.name, storage)
        _prune(call, store, _preview(call, store), task)

    return call.start("prunebackups", f"{owner}@{storage}" if owner is not None else storage, work)


def _prune(call: Call, store: Store, marks: list[dict[str, t.Any]], task: Task, prefix: str = "") -> None:
    for entry in marks:
        if entry["mark"] == "remove":
            task.log(f"{prefix}removing backup '{entry['volid']}'")
            store.file(entry["volid"].partition(":")[2]).unlink(missing_ok=True)
            call.cluster.extra("backups", dict).pop(entry["volid"], None)


@handles("GET", "/nodes/{node}/vzdump/extractconfig")
def extract_config(call: Call) -> str:
    """The configuration file in an archive."""
    volid = call.text("volume")
    store, volume = call.cluster.storages.find(call.node.name, volid)
    if store.parse(volume).content != "backup":
        raise Failure(f"unable to use volume {volid} - content type needs to be 'backup'")
    call.cluster.storages.check_volume_access(call.allowed, call.node.name, None, volid)
    path = store.file(volume)
    if not path.is_file():
        raise Failure(f"volume '{volid}' does not exist")
    options = read_archive(path)
    notes = "".join(f"#{line}\n" for line in options.pop("description", "").split("\n") if line)
    return notes + "".join(f"{name}: {value}\n" for name, value in sorted(options.items()))


@handles("GET", "/nodes/{node}/storage/{storage}/file-restore/list")
def file_restore(call: Call) -> list[dict[str, t.Any]]:
    volume = call.text("volume").partition(":")[2] or call.text("volume")
    call.cluster.storages.get(call.node.name, call.text("storage")).parse(volume)
    raise ApiError(501, "restore of single files is not simulated")
