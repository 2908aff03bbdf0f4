# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of backups, checked before anybody is asked."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import InvalidInput
from ..api.names import STORAGE
from ..facts.reading import check_vmids, checked

#: Our word -> the API's.
COMPRESSIONS = {"none": "0", "lzo": "lzo", "gzip": "gzip", "zstd": "zstd"}

_AGE = re.compile(r"(\d+)\s*([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_VOLID = re.compile(r"(?P<storage>[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]):backup/(?P<name>[^\s]+)")
_SELECTIONS = ("vmids", "pool", "all")

#: Option -> the state that it belongs to.
_ONLY = {
    **dict.fromkeys((*_SELECTIONS, "exclude", "notes_template", "protected", "fleecing", "max_age", "retention"), "present"),
    "volids": "absent",
    "restores": "restored",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Selection:
    """Guests by id, of a pool, or all but some."""

    vmids: tuple[int, ...] = ()
    pool: str = ""
    exclude: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Dump:
    """How guests are backed up. ``max_age`` in seconds (0: always), ``bandwidth`` in KiB/s. ``retention`` in the API's words."""

    storage: str
    mode: str = "snapshot"
    compress: str = "zstd"
    notes: str = ""
    protected: bool = False
    bandwidth: int = 0
    fleecing: str = ""
    max_age: int = 0
    retention: t.Mapping[str, int] = dataclasses.field(default_factory=dict)

    def form(self, vmid: int) -> dict[str, t.Any]:
        """``remove=0``: what the storage's own settings would prune is not what was planned."""
        form: dict[str, t.Any] = {
            "vmid": vmid,
            "storage": self.storage,
            "mode": self.mode,
            "compress": COMPRESSIONS[self.compress],
            "remove": 0,
        }
        more = {
            "notes-template": self.notes,
            "protected": 1 if self.protected else 0,
            "bwlimit": self.bandwidth,
            "fleecing": f"enabled=1,storage={self.fleecing}" if self.fleecing else "",
        }
        return {**form, **{key: value for key, value in more.items() if value}}


@dataclasses.dataclass(frozen=True)
class Restore:
    """``volid``, or the latest of ``source`` on ``storage``. ``target`` is where the disks go. ``start`` None: as it was."""

    vmid: int
    volid: str = ""
    source: int = 0
    storage: str = ""
    target: str = ""
    node: str = ""
    pool: str = ""
    unique: bool = False
    force: bool = False
    start: bool | None = None
    bandwidth: int = 0


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One of ``dump`` (with its selection), ``volids`` (to be deleted) and ``restores``."""

    state: str
    selection: Selection = Selection()
    dump: Dump | None = None
    volids: tuple[str, ...] = ()
    restores: tuple[Restore, ...] = ()
    nodes: tuple[str, ...] = ()


def wanted(params: t.Mapping[str, t.Any]) -> Wanted:
    """Raises :class:`InvalidInput`."""
    state = str(params.get("state") or "present")
    for option, belongs in _ONLY.items():
        if params.get(option) not in (None, False, []) and belongs != state:
            raise InvalidInput(f"{option} belongs to the state {belongs}, and the state is {state}")
    nodes = tuple(checked("node", params.get("node")))
    storage = params.get("storage") or ""
    checked("storage", [storage] if storage else [], STORAGE)
    if state == "present":
        return Wanted(state, _selection(params), _dump(params, storage), nodes=nodes)
    if state == "absent":
        return Wanted(state, volids=_volids(params.get("volids")), nodes=nodes)
    return Wanted(state, restores=_restores(params.get("restores"), storage), nodes=nodes)


def seconds(option: str, text: str | None) -> int:
    """``90``, ``45m``, ``20h``, ``7d``, ``2w``; 0 when nothing is given."""
    if text is None:
        return 0
    match = _AGE.fullmatch(str(text).strip())
    if not match or int(match[1]) == 0:
        raise InvalidInput(f"{option} {text!r} is no time", hint="Write a number of s, m, h, d or w, such as 20h.")
    return int(match[1]) * _SECONDS[match[2]]


def retention(given: t.Mapping[str, t.Any] | None) -> dict[str, int]:
    """``keep_last: 3`` is ``keep-last=3``. Raises :class:`InvalidInput` for one that keeps nothing."""
    if given is None:
        return {}
    negative = sorted(key for key, value in given.items() if value is not None and int(value) < 0)
    if negative:
        raise InvalidInput(f"retention has a negative {negative[0]}")
    kept = {key.replace("_", "-"): int(value) for key, value in given.items() if value}
    if not kept:
        raise InvalidInput("retention keeps nothing", hint="Say how many to keep, or leave retention out to keep all.")
    if kept.get("keep-all") and len(kept) > 1:
        raise InvalidInput("retention says keep_all and other things besides")
    return kept


def parse_volid(text: str) -> tuple[str, str]:
    """Storage and name of a backup."""
    match = _VOLID.fullmatch(text)
    if not match or ".." in text:
        raise InvalidInput(
            f"{text!r} is no volume id of a backup",
            hint="It looks like nas:backup/vzdump-qemu-200-2026_11_21-03_00_00.vma.zst.",
        )
    return match["storage"], match["name"]


def _selection(params: t.Mapping[str, t.Any]) -> Selection:
    given = [option for option in _SELECTIONS if params.get(option)]
    if len(given) != 1:
        what = " and ".join(given) if given else "none of vmids, pool and all"
        raise InvalidInput(f"{what} is given, and it takes one of them", hint="Say which guests are backed up.")
    vmids, exclude = params.get("vmids") or [], params.get("exclude") or []
    check_vmids([*vmids, *exclude])
    if exclude and vmids:
        raise InvalidInput("exclude is given with vmids", hint="It belongs to all and pool.")
    return Selection(tuple(dict.fromkeys(vmids)), params.get("pool") or "", frozenset(exclude))


def _dump(params: t.Mapping[str, t.Any], storage: str) -> Dump:
    if not storage:
        raise InvalidInput("storage is missing", hint="Name the storage that takes the backups.")
    fleecing = params.get("fleecing") or ""
    checked("fleecing", [fleecing] if fleecing else [], STORAGE)
    return Dump(
        storage,
        mode=params.get("mode") or "snapshot",
        compress=params.get("compress") or "zstd",
        notes=params.get("notes_template") or "",
        protected=bool(params.get("protected")),
        bandwidth=bandwidth(params.get("bandwidth_limit")),
        fleecing=fleecing,
        max_age=seconds("max_age", params.get("max_age")),
        retention=retention(params.get("retention")),
    )


def bandwidth(given: int | None) -> int:
    """KiB/s; 0 is no limit. Raises :class:`InvalidInput`."""
    if given is not None and given < 1:
        raise InvalidInput(f"bandwidth_limit is {given}", hint="Write KiB/s, 1 or more; leave it out for no limit.")
    return given or 0


def _volids(given: t.Sequence[str] | None) -> tuple[str, ...]:
    if not given:
        raise InvalidInput("volids is missing", hint="Name the backups that are to be absent.")
    for volid in given:
        parse_volid(volid)
    return tuple(dict.fromkeys(given))


def _restores(given: t.Sequence[t.Mapping[str, t.Any]] | None, storage: str) -> tuple[Restore, ...]:
    if not given:
        raise InvalidInput("restores is missing", hint="Say which guests are to be there again.")
    found = tuple(_restore(entry, storage) for entry in given)
    vmids = [one.vmid for one in found]
    for vmid in vmids:
        if vmids.count(vmid) > 1:
            raise InvalidInput(f"guest {vmid} is to be restored twice")
    return found


def _restore(entry: t.Mapping[str, t.Any], storage: str) -> Restore:
    vmid, volid, source = int(entry["vmid"]), entry.get("volid") or "", entry.get("source_vmid") or 0
    check_vmids([vmid, *([source] if source else [])])
    if bool(volid) == bool(source):
        raise InvalidInput(
            f"guest {vmid} takes one of volid and source_vmid", hint="Name a backup, or the guest whose latest it is."
        )
    if volid:
        storage = parse_volid(volid)[0]
    elif not storage:
        raise InvalidInput(
            f"storage is missing: where the latest backup of {source} lies, that guest {vmid} is restored from"
        )
    for option, pattern in (("target_storage", STORAGE), ("node", None)):
        names = [entry[option]] if entry.get(option) else []
        checked(option, names, pattern) if pattern else checked(option, names)
    return Restore(
        vmid,
        volid,
        source,
        storage,
        target=entry.get("target_storage") or "",
        node=entry.get("node") or "",
        pool=entry.get("pool") or "",
        unique=bool(entry.get("unique")),
        force=bool(entry.get("force")),
        start=entry.get("start"),
        bandwidth=bandwidth(entry.get("bandwidth_limit")),
    )
