# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup jobs: what the cluster backs up by a schedule."""

from __future__ import annotations

import re
import typing as t

from ...errors import InvalidInput
from ...task import Result, Task
from ..api import rights
from ..api.names import STORAGE
from ..api.session import Session
from ..facts.reading import check_vmids, checked, opened
from ..records.records import (
    FLAG,
    NUMBER,
    PROPERTIES,
    SET,
    TEXT,
    Current,
    Field,
    Kind,
    Operation,
    Records,
    Wish,
    is_empty,
)
from . import backup_reading as reading
from .backup_spec import COMPRESSIONS, bandwidth, retention

_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")

#: The guests of a job: who names them by one takes the others away.
_SELECTIONS = ("vmid", "pool", "all")

#: Our option -> the API's, where they differ.
_NAMES = {
    "vmids": "vmid",
    "notes_template": "notes-template",
    "retention": "prune-backups",
    "bandwidth_limit": "bwlimit",
    "repeat_missed": "repeat-missed",
    "notification_mode": "notification-mode",
}


def _needs(operation: Operation) -> list[rights.Need]:
    why = str(operation)
    found = [rights.Need(("/",), ("Sys.Modify",), why)]
    # To change a job takes the right on the storage that it has, too.
    before = operation.seen.get("storage") if operation.verb == "update" else None
    for storage in sorted({str(one) for one in (operation.send.get("storage"), before) if one}):
        found.append(rights.Need((f"/storage/{storage}",), ("Datastore.Allocate",), why))
    return found


JOB = Kind(
    word="backup-job",
    label="backup job",
    path="/cluster/backup",
    key="id",
    fields=(
        Field("schedule", TEXT),
        Field("storage", TEXT),
        Field("node", TEXT),
        Field("vmid", SET),
        Field("pool", TEXT),
        Field("all", FLAG, default=False),
        Field("exclude", SET),
        Field("mode", TEXT, default="snapshot"),
        Field("compress", TEXT, default="0"),
        Field("prune-backups", PROPERTIES),
        Field("enabled", FLAG, default=True),
        Field("notes-template", TEXT),
        Field("comment", TEXT),
        Field("protected", FLAG, default=False),
        Field("fleecing", PROPERTIES),
        Field("bwlimit", NUMBER, default=0),
        Field("repeat-missed", FLAG, default=False),
        Field("notification-mode", TEXT, default="auto"),
        Field("mailto", SET),
    ),
    digest=False,
    needs=_needs,
    hints=(("calendar event", "A schedule is written as in the web interface, such as 02:30 or sat 03:00."),),
)


def converge(task: Task) -> Result:
    """The module ``proxmox_backup_job``."""
    wishes = [_wish(entry) for entry in task.params["jobs"]]
    with opened(task) as session:
        records = Jobs(session, wishes, check=lambda session, done: _doubts(session, done, task.warn))
        plan = records.look_and_plan().plan
        if not task.check_mode:
            plan = records.carry_out()
    touched = {change.resource for change in plan}
    report = [
        {"id": wish.name, "state": "present" if wish.present else "absent", "changed": wish.resource in touched}
        for wish in wishes
    ]
    return task.result(plan, jobs=report)


class Jobs(Records):
    def refuse(self, current: t.Mapping[str, Current]) -> None:
        """A job has to know whom it backs up."""
        for wish in self.wishes:
            there = wish.name in current[JOB.path]
            if wish.present and not there and all(is_empty(wish.values.get(one)) for one in _SELECTIONS):
                raise InvalidInput(
                    f"backup job {wish.name} does not exist, and to create it vmids, pool or all must be given"
                )


def _wish(entry: t.Mapping[str, t.Any]) -> Wish:
    name = str(entry["id"])
    if not _ID.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is no id of a backup job", hint="Write two or more letters, digits, '-' or '_', a letter first."
        )
    given = {key: value for key, value in entry.items() if value is not None and key not in ("id", "state")}
    if entry.get("state") == "absent":
        if given:
            raise InvalidInput(f"backup job {name} is to be absent, and has {', '.join(sorted(given))} besides")
        return Wish(JOB, name, present=False)
    _check(name, given)
    values = {_NAMES.get(option, option): _value(option, value) for option, value in given.items()}
    values.update(_unselected(name, values))
    return Wish(JOB, name, values=values, required=("schedule", "storage"))


def _check(name: str, given: t.Mapping[str, t.Any]) -> None:
    check_vmids([*given.get("vmids", ()), *given.get("exclude", ())])
    for option in ("storage", "fleecing"):
        checked(option, [given[option]] if given.get(option) else [], STORAGE)
    checked("node", [given["node"]] if given.get("node") else [])
    for option in ("schedule", "storage", "vmids"):
        if option in given and is_empty(given[option]):
            raise InvalidInput(f"backup job {name}: {option} is empty", hint="Leave it out to keep what is there.")


def _value(option: str, value: t.Any) -> t.Any:
    """In the API's words. An empty one takes the option away."""
    if option == "compress":
        return COMPRESSIONS[value]
    if option == "retention":
        given = {key: count for key, count in value.items() if count is not None}
        return {key: str(count) for key, count in retention(given).items()} if given else {}
    if option == "fleecing":
        return {"enabled": "1", "storage": value} if value else {}
    if option == "bandwidth_limit":
        return bandwidth(value) if value else 0
    return value


def _unselected(name: str, values: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Raises :class:`InvalidInput` for two selections at once."""
    chosen = [one for one in _SELECTIONS if values.get(one)]
    if len(chosen) > 1:
        words = [{"vmid": "vmids"}.get(one, one) for one in chosen]
        raise InvalidInput(f"backup job {name} has {' and '.join(words)}, and takes one of vmids, pool and all")
    if values.get("exclude") and chosen and chosen != ["all"]:
        raise InvalidInput(f"backup job {name}: exclude belongs to all")
    if not chosen:
        return {}
    others: dict[str, t.Any] = {one: "" for one in _SELECTIONS if one not in chosen}
    return others if chosen == ["all"] else {**others, "exclude": []}


def _doubts(session: Session, operations: t.Sequence[Operation], warn: t.Callable[[str], None]) -> None:
    """The server takes jobs for storages and guests that do not exist (yet), and they fail at night."""
    sent = [one for one in operations if one.verb != "delete"]
    if any(one.send.get("storage") for one in sent):
        storages = reading.storages(session)
        for one in sent:
            name = one.send.get("storage")
            if name and not any(there.storage == name and "backup" in there.contents for there in storages):
                warn(f"{one.kind.says(one.name)}: there is no storage {name} that takes backups.")
    if any(one.send.get("vmid") or one.send.get("exclude") for one in sent):
        known = reading.guests(session)
        for one in sent:
            named = [vmid for key in ("vmid", "exclude") for vmid in str(one.send.get(key, "")).split(",") if vmid]
            missing = [vmid for vmid in named if int(vmid) not in known]
            if missing:
                warn(f"{one.kind.says(one.name)}: these guests are not there (or not seen): {', '.join(missing)}.")
