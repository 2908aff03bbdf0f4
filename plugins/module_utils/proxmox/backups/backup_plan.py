# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the backups that there are to those that are wanted. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import InvalidInput
from ...plan import Change, Plan
from ..api import rights
from .backup_reading import Backup, Clock, Guest, Place, StorageAt
from .backup_spec import Dump, Restore, Selection
from .retention import removed

_PLANNED = "(the new one)"


@dataclasses.dataclass(frozen=True)
class MakeDump:
    guest: Guest
    dump: Dump

    @property
    def place(self) -> Place:
        return self.guest.node, self.dump.storage

    def __str__(self) -> str:
        return f"back up {self.guest.title} to storage {self.dump.storage}"


@dataclasses.dataclass(frozen=True)
class Delete:
    """``pruned``: by the retention; ``after``: once a new one is there, if the server's dry run says so, too."""

    place: Place
    backup: Backup
    pruned: Dump | None = None
    after: bool = False
    pool: str = ""

    def __str__(self) -> str:
        return f"delete the backup {self.backup.volid}"


@dataclasses.dataclass(frozen=True)
class MakeRestore:
    """What its backup tells of a container: ``volumes`` are what is sent of them, ``storages`` those that they come to,
    ``binds`` what only root may restore; ``privileged`` when it becomes so."""

    wish: Restore
    node: str
    backup: Backup
    over: Guest | None
    start: bool
    volumes: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    storages: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    privileged: bool = False

    @property
    def word(self) -> str:
        return "VM" if self.backup.kind == "qemu" else "CT"

    def __str__(self) -> str:
        return f"restore {self.word} {self.wish.vmid} from {self.backup.volid}"


def select(selection: Selection, known: t.Mapping[int, Guest]) -> list[Guest]:
    """Raises :class:`InvalidInput` for guests that are not there, and for none at all."""
    missing = [str(vmid) for vmid in selection.vmids if vmid not in known]
    if missing:
        raise InvalidInput(
            f"These guests are not there: {', '.join(missing)}",
            hint="If they are, the right VM.Audit on them is missing. In check mode, planned_vms and planned_containers "
            "may name them.",
        )
    if selection.vmids:
        return [known[vmid] for vmid in selection.vmids]
    chosen = [
        guest
        for vmid, guest in sorted(known.items())
        if vmid not in selection.exclude and (not selection.pool or guest.pool == selection.pool)
    ]
    if not chosen and selection.pool:
        raise InvalidInput(
            f"No guest of the pool {selection.pool!r} can be seen",
            hint="Is it its name? The right Pool.Audit on it is needed as well.",
        )
    return chosen


@dataclasses.dataclass(frozen=True)
class Seen:
    """``prunable`` are what the server's dry run of the retention would remove, by place."""

    backups: t.Mapping[Place, t.Sequence[Backup]]
    clocks: t.Mapping[str, Clock] = dataclasses.field(default_factory=dict)
    prunable: t.Mapping[Place, frozenset[str]] = dataclasses.field(default_factory=dict)


def latest(guest_backups: t.Iterable[Backup]) -> Backup | None:
    """The newest whole one."""
    return max((one for one in guest_backups if not one.problem), key=lambda one: (one.time, one.volid), default=None)


def of(guest: Guest, found: t.Iterable[Backup]) -> list[Backup]:
    return [one for one in found if one.vmid == guest.vmid and one.kind in (guest.kind, "")]


def present(chosen: t.Sequence[Guest], dump: Dump, seen: Seen) -> Plan:
    changes: list[Change] = []
    for guest in chosen:
        place = (guest.node, dump.storage)
        there = of(guest, seen.backups[place])
        newest = latest(there)
        young = newest is not None and dump.max_age and newest.time >= seen.clocks[guest.node].now - dump.max_age
        if not young:
            changes.append(_dump(guest, dump, newest))
        changes += _pruning(guest, dump, there, seen, new=not young)
    return Plan.of(changes)


def _dump(guest: Guest, dump: Dump, newest: Backup | None) -> Change:
    shown = {
        "storage": dump.storage,
        "mode": dump.mode,
        "compress": dump.compress,
        "notes_template": dump.notes,
        "protected": dump.protected,
        "bandwidth_limit": dump.bandwidth,
        "fleecing": dump.fleecing,
    }
    note = f"the latest whole one is of {newest.taken}" if newest else "there is no whole one yet"
    after = {key: value for key, value in shown.items() if value}
    resource = f"backup/{guest.word}/{guest.vmid}/{dump.storage}"
    return Change(resource, "create", after=after, note=note, operation=MakeDump(guest, dump))


def _pruning(guest: Guest, dump: Dump, there: t.Sequence[Backup], seen: Seen, *, new: bool) -> list[Change]:
    if not dump.retention:
        return []
    place = (guest.node, dump.storage)
    gone = seen.prunable.get(place, frozenset())
    whole = latest(there)
    if not new and whole:
        gone -= {whole.volid}  # the node counts broken ones, too, and would sooner delete the last that is whole
    if new and guest.node:
        times = {one.volid: one.time for one in there if not one.protected}
        moment = seen.clocks[guest.node]
        ours = {} if dump.protected else {_PLANNED: max([moment.now, *(one + 1 for one in times.values())])}
        gone = frozenset(removed({**times, **ours}, dump.retention, moment.zone))
    ordered = sorted((one for one in there if one.volid in gone and not one.protected), key=lambda one: one.time)
    return [_deletion(Delete(place, one, dump, after=new, pool=guest.pool), "by the retention") for one in ordered]


def _deletion(operation: Delete, note: str = "") -> Change:
    backup = operation.backup
    before = {"taken": backup.taken, "size": backup.size, "notes": backup.notes}
    before = {key: value for key, value in before.items() if value}
    return Change(f"backup/{backup.volid}", "delete", before=before, note=note, operation=operation)


def absent(volids: t.Sequence[str], seen: Seen, known: t.Mapping[int, Guest]) -> Plan:
    changes = []
    for volid in volids:
        for place, found in seen.backups.items():
            for backup in found:
                if backup.volid != volid:
                    continue
                if backup.protected:
                    raise InvalidInput(
                        f"The backup {volid} is protected", hint="Take the protection off before it is deleted."
                    )
                pool = known[backup.vmid].pool if backup.vmid in known else ""
                changes.append(_deletion(Delete(place, backup, pool=pool)))
    return Plan.of(changes)


def restored(
    wishes: t.Sequence[Restore], seen: Seen, known: t.Mapping[int, Guest], storages: t.Sequence[StorageAt]
) -> Plan:
    changes = [
        _restoring(wish, seen, known.get(wish.vmid), storages)
        for wish in wishes
        if wish.force or wish.vmid not in known
    ]
    return Plan.of(changes)


def _restoring(wish: Restore, seen: Seen, over: Guest | None, storages: t.Sequence[StorageAt]) -> Change:
    at = over.node if over else wish.node
    shared = any(one.storage == wish.storage and one.shared for one in storages)
    (node, _storage), backup = _source(wish, seen, "" if shared else at)
    if over is not None and over.kind != backup.kind:
        raise InvalidInput(
            f"{over.title} cannot be restored from {backup.volid}, which is of a {'VM' if backup.kind == 'qemu' else 'CT'}"
        )
    node = _node(wish, node, over, storages)
    start = bool(over and over.running) if wish.start is None else wish.start
    operation = MakeRestore(wish, node, backup, over, start)
    after = {
        "restored_from": backup.volid,
        "taken": backup.taken,
        "node": node,
        "storage": wish.target,
        "pool": wish.pool,
        "unique": wish.unique,
        "running": start,
    }
    note = "lost is all that is on it now" if over else ""
    return Change(
        f"{'vm' if backup.kind == 'qemu' else 'ct'}/{wish.vmid}",
        "update" if over else "create",
        before={"running": over.running} if over else {},
        after={key: value for key, value in after.items() if value},
        note=note,
        operation=operation,
    )


def _source(wish: Restore, seen: Seen, at: str) -> tuple[Place, Backup]:
    """The backup that is asked for, and a place where it is; only on node ``at`` when nobody else sees its storage."""
    found = [
        (place, one)
        for place, backups in seen.backups.items()
        if place[1] == wish.storage and at in ("", place[0])
        for one in backups
        if (one.volid == wish.volid if wish.volid else one.vmid == wish.source and not one.problem)
    ]
    if not found:
        what = f"The backup {wish.volid}" if wish.volid else f"A whole backup of guest {wish.source} on {wish.storage}"
        where = f" on node {at}" if at else ""
        raise InvalidInput(
            f"{what}, that guest {wish.vmid} is restored from, is not there{where}",
            hint="If it is, the right VM.Backup on its guest or Datastore.AllocateSpace on its storage is missing.",
        )
    place, backup = max(found, key=lambda one: (one[1].time, one[1].volid))
    if backup.problem:
        raise InvalidInput(f"The backup {backup.volid} is not whole: {backup.problem}")
    return place, backup


def _node(wish: Restore, node: str, over: Guest | None, storages: t.Sequence[StorageAt]) -> str:
    """A guest stays on its node; a new one comes to the one that is asked for, else to that of the backup."""
    if over is not None and wish.node and wish.node != over.node:
        raise InvalidInput(f"{over.title} is on node {over.node}, and cannot be restored over on {wish.node}")
    node = over.node if over else wish.node or node
    for storage in filter(None, (wish.storage, wish.target)):
        if not any((one.storage, one.node, one.available) == (storage, node, True) for one in storages):
            raise InvalidInput(
                f"Node {node}, where guest {wish.vmid} is restored, has no storage {storage!r} that is available"
            )
    return node


def needs(plan: t.Iterable[Change]) -> list[rights.Need]:
    return [need for change in plan for need in _needs(change.operation)]


def _needs(operation: t.Any) -> list[rights.Need]:
    why = str(operation)
    if isinstance(operation, MakeDump):
        dump = operation.dump
        if not operation.guest.node:
            return [_space(storage, why) for storage in (dump.storage, dump.fleecing) if storage]
        found = [rights.Need(rights.guest_paths(operation.guest.vmid, operation.guest.pool), ("VM.Backup",), why)]
        found += [_space(storage, why) for storage in (dump.storage, dump.fleecing) if storage]
        return found + ([rights.Need(("/",), ("Sys.Modify",), f"bandwidth_limit, to {why}")] if dump.bandwidth else [])
    if isinstance(operation, Delete):
        backup = operation.backup
        return [
            rights.Need(rights.guest_paths(backup.vmid, operation.pool), ("VM.Backup",), why),
            _space(operation.place[1], why),
        ]
    wish, over = operation.wish, operation.over
    pool = over.pool if over else wish.pool
    found = [rights.Need(rights.guest_paths(wish.vmid, pool), ("VM.Backup",) if over else ("VM.Allocate",), why)]
    if over and over.running:
        found.append(rights.Need(rights.guest_paths(wish.vmid, pool), ("VM.PowerMgmt",), why))
    if not over:
        found.append(rights.Need(rights.guest_paths(operation.backup.vmid, ""), ("VM.Backup",), why))
    if operation.privileged:
        found.append(rights.Need(("/",), ("Sys.Modify",), f"make a privileged container, to {why}"))
    if "rootfs" in operation.volumes:
        found.append(rights.Need(rights.guest_paths(wish.vmid, pool), ("VM.Config.Disk",), why))
    return found + [_space(storage, why) for storage in operation.storages or filter(None, (wish.target,))]


def _space(storage: str, why: str) -> rights.Need:
    return rights.Need((f"/storage/{storage}",), ("Datastore.AllocateSpace",), why)
