# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups from wish to reality, and what there is of them."""

from __future__ import annotations

import typing as t

from ...errors import InvalidInput
from ...plan import COMPUTED, Change, Plan
from ...task import Result, Task
from ..api import rights
from ..api.lanes import together
from ..api.names import STORAGE
from ..api.session import Session, record, segment
from ..api.tasks import Tasks
from ..facts.reading import check_vmids, checked, opened
from ..guests import planned_guests
from . import backup_plan, ct_restores
from . import backup_reading as reading
from .backup_apply import Applier
from .backup_plan import Delete, MakeDump, MakeRestore, Seen
from .backup_reading import Backup, Guest, StorageAt
from .backup_spec import Dump, Wanted, parse_volid, seconds, wanted


def converge(task: Task) -> Result:
    """The module ``proxmox_backup``."""
    wish, planned = wanted(task.params), planned_guests.kinds(task)
    with opened(task) as session:
        known = reading.guests(session)
        if wish.state == "present":
            known = {vmid: Guest(vmid, kind, node="") for vmid, kind in planned.items()} | known
        plan, report = _STATES[wish.state](session, wish, known)
        if plan:
            asked = ", ".join(str(change.operation) for change in plan)
            rights.check(rights.read(session), backup_plan.needs(plan), asked=asked)
        applier = Applier(session, Tasks(session, task.warn))
        if not task.check_mode:
            applier.apply(plan)
        for change in applier.spared:
            task.warn(f"{change.operation.backup.volid} was kept: by the node's own reckoning the retention keeps it.")
        plan = Plan.of(change for change in plan if change not in applier.spared)
        return task.result(plan, **report(plan, applier.made))


#: From what was planned and made to the result's keys.
Report = t.Callable[[Plan, t.Mapping[str, Backup]], dict[str, t.Any]]


def _present(session: Session, wish: Wanted, known: t.Mapping[int, Guest]) -> tuple[Plan, Report]:
    dump = t.cast(Dump, wish.dump)
    chosen = backup_plan.select(wish.selection, known)
    chosen = [guest for guest in chosen if not wish.nodes or guest.node in ("", *wish.nodes)]
    seen = _seen(session, chosen, dump)
    plan = backup_plan.present(chosen, dump, seen)
    if any(isinstance(change.operation, MakeDump) for change in plan):
        _check_storage(reading.storages(session), chosen, dump)

    def report(plan: Plan, made: t.Mapping[str, Backup]) -> dict[str, t.Any]:
        return {"backups": [_guest_entry(guest, dump, seen, plan, made) for guest in chosen], "guests": []}

    return plan, report


def _seen(session: Session, chosen: t.Sequence[Guest], dump: Dump) -> Seen:
    at = sorted({guest.node for guest in chosen} - {""})
    places = [(node, dump.storage) for node in at]
    nodes = at if dump.max_age or dump.retention else []
    clocks = dict(zip(nodes, together(lambda node: reading.clock(session, node), nodes), strict=True))
    pruned = places if dump.retention else []
    marks = together(lambda place: reading.to_prune(session, place, dump.retention), pruned)
    backups = {("", dump.storage): [], **reading.read(session, places)}
    return Seen(backups, clocks, dict(zip(pruned, marks, strict=True)))


def _check_storage(storages: t.Sequence[StorageAt], chosen: t.Sequence[Guest], dump: Dump) -> None:
    """A storage that takes no backups fails late and in a log."""
    for node in sorted({guest.node for guest in chosen} - {""}):
        there = [one for one in storages if (one.storage, one.node) == (dump.storage, node)]
        if there and "backup" not in there[0].contents:
            able = sorted({one.storage for one in storages if one.node == node and "backup" in one.contents})
            raise InvalidInput(
                f"The storage {dump.storage!r} of node {node} takes no backups",
                hint=f"These do: {', '.join(able) or 'none'}. Content kinds are set in the storage's definition.",
            )
        if dump.fleecing and not any((one.storage, one.node) == (dump.fleecing, node) for one in storages):
            raise InvalidInput(f"Node {node} has no storage {dump.fleecing!r} for fleecing")


def _absent(session: Session, wish: Wanted, known: t.Mapping[int, Guest]) -> tuple[Plan, Report]:
    names = {parse_volid(volid)[0] for volid in wish.volids}
    places = reading.places(reading.storages(session), names, wish.nodes)
    plan = backup_plan.absent(wish.volids, Seen(reading.read(session, places)), known)

    def report(plan: Plan, made: t.Mapping[str, Backup]) -> dict[str, t.Any]:
        return {"backups": [_gone(change.operation) for change in plan], "guests": []}

    return plan, report


def _restored(session: Session, wish: Wanted, known: t.Mapping[int, Guest]) -> tuple[Plan, Report]:
    due = [one for one in wish.restores if one.force or one.vmid not in known]
    storages = reading.storages(session) if due else []
    places = reading.places(storages, {one.storage for one in due}, wish.nodes) if due else []
    over = together(lambda vmid: reading.as_now(session, known[vmid]), [one.vmid for one in due if one.vmid in known])
    known = {**known, **{guest.vmid: guest for guest in over}}
    configs = _configs(session, over)
    plan = backup_plan.restored(wish.restores, Seen(reading.read(session, places)), known, storages)
    plan = ct_restores.completed(session, plan, storages, configs)

    def report(plan: Plan, made: t.Mapping[str, Backup]) -> dict[str, t.Any]:
        by_id = {change.operation.wish.vmid: change.operation for change in plan}
        return {
            "backups": [],
            "guests": [_restored_entry(one.vmid, known, by_id.get(one.vmid)) for one in wish.restores],
        }

    return plan, report


def _configs(session: Session, over: t.Sequence[Guest]) -> dict[int, dict[str, t.Any]]:
    """Of guests that are restored over. Raises :class:`InvalidInput` for a protected one: the server would refuse when it
    is stopped already."""

    def config(guest: Guest) -> dict[str, t.Any]:
        path = f"/nodes/{segment(guest.node)}/{guest.kind}/{guest.vmid}/config"
        return record(session, path, asked=f"read {guest.title}")

    found = dict(zip(over, together(config, over), strict=True))
    for guest, options in found.items():
        if str(options.get("protection") or "0") != "0":
            problem = f"{guest.title} is protected, and cannot be restored over"
            raise InvalidInput(problem, hint="Take its protection off first.")
    return {guest.vmid: options for guest, options in found.items()}


_STATES: dict[str, t.Callable[[Session, Wanted, t.Mapping[int, Guest]], tuple[Plan, Report]]] = {
    "present": _present,
    "absent": _absent,
    "restored": _restored,
}


def _guest_entry(guest: Guest, dump: Dump, seen: Seen, plan: Plan, made: t.Mapping[str, Backup]) -> dict[str, t.Any]:
    """The backup that the guest has now."""
    change: Change | None = next(
        (one for one in plan if isinstance(one.operation, MakeDump) and one.operation.guest == guest), None
    )
    there = backup_plan.latest(backup_plan.of(guest, seen.backups[guest.node, dump.storage]))
    backup = there if change is None else made.get(change.resource)
    return {
        "vmid": guest.vmid,
        "name": guest.name,
        "node": guest.node,
        "changed": change is not None,
        **(shown(backup) if backup else {"volid": COMPUTED}),
    }


def shown(backup: Backup) -> dict[str, t.Any]:
    return {
        "volid": backup.volid,
        "taken": backup.taken,
        "time": backup.time,
        "size": backup.size,
        "protected": backup.protected,
        "notes": backup.notes,
        "verified": backup.verified,
    }


def _gone(operation: Delete) -> dict[str, t.Any]:
    return {"vmid": operation.backup.vmid, "node": operation.place[0], "changed": True, **shown(operation.backup)}


def _restored_entry(vmid: int, known: t.Mapping[int, Guest], made: MakeRestore | None) -> dict[str, t.Any]:
    there = known.get(vmid)
    return {
        "vmid": vmid,
        "type": made.backup.kind if made else there.kind if there else "",
        "node": made.node if made else there.node if there else "",
        "volid": made.backup.volid if made else "",
        "changed": made is not None,
    }


# -- looking ---------------------------------------------------------------------------------------------------------


def look_up(task: Task) -> Result:
    """The module ``proxmox_backup_info``."""
    params = task.params
    check_vmids(params.get("vmid") or ())
    checked("storage", params.get("storage"), STORAGE)
    nodes = checked("node", params.get("node"))
    oldest = seconds("max_age", params.get("max_age"))
    with opened(task) as session:
        known = reading.guests(session)
        there = reading.storages(session)
        able = sorted({one.storage for one in there if "backup" in one.contents and one.available})
        places = reading.places(there, params.get("storage") or able, nodes)
        found = reading.read(session, places)
        now = max((reading.clock(session, node).now for node in sorted({place[0] for place in places})), default=0)
    wanted_ids = set(params.get("vmid") or ())
    entries = [
        {
            "vmid": one.vmid,
            "type": one.kind,
            "node": place[0],
            "storage": place[1],
            "age": max(0, now - one.time),
            "encrypted": one.encrypted,
            "problem": one.problem,
            **shown(one),
        }
        for place, backups in found.items()
        for one in backups
        if not wanted_ids or one.vmid in wanted_ids
    ]
    entries.sort(key=lambda entry: (entry["vmid"], -entry["time"], entry["volid"]))
    guests = [guest for vmid, guest in sorted(known.items()) if not wanted_ids or vmid in wanted_ids]
    covered = [_covered(guest, entries, oldest) for guest in guests if not nodes or guest.node in nodes]
    return {
        "changed": False,
        "backups": entries,
        "guests": covered,
        "not_covered": [one["vmid"] for one in covered if not one["covered"]],
        "missing": sorted(wanted_ids - set(known)),
    }


def _covered(guest: Guest, entries: t.Sequence[t.Mapping[str, t.Any]], oldest: int) -> dict[str, t.Any]:
    """Whether a guest has a whole backup that is young enough."""
    whole = [one for one in entries if one["vmid"] == guest.vmid and not one["problem"]]
    newest = whole[0] if whole else None
    return {
        "vmid": guest.vmid,
        "name": guest.name,
        "type": guest.kind,
        "node": guest.node,
        "latest": newest["volid"] if newest else "",
        "age": newest["age"] if newest else None,
        "count": len(whole),
        "covered": bool(newest and (not oldest or newest["age"] <= oldest)),
    }
