# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots from wish to reality: read, plan, apply, and look again when an answer was lost on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ...errors import HomelabError, TaskFailed
from ...plan import Plan
from ...task import Result, Task
from ..api import attempts, rights
from ..api.lanes import together
from ..api.session import Session, listing, record, segment
from ..api.task_start import Starter
from ..api.tasks import Tasks
from ..facts.reading import opened
from ..guests import guest_run, planned_guests
from ..guests.guest_apply import apply_by_guest
from .snapshot_plan import Guest, Operation, Planned, Snapshot, needs, plan
from .snapshot_spec import Wish, wanted

#: (verb, kind of guest) -> kind of task.
_KINDS = {
    ("take", "qemu"): "qmsnapshot",
    ("delete", "qemu"): "qmdelsnapshot",
    ("roll back to", "qemu"): "qmrollback",
    ("take", "lxc"): "vzsnapshot",
    ("delete", "lxc"): "vzdelsnapshot",
    ("roll back to", "lxc"): "vzrollback",
}

#: Text of a failed task -> what to try.
_HINTS = (
    ("snapshot feature is not available", "Snapshots take qcow2, or storages such as LVM-thin and ZFS."),
    (
        "not most recent snapshot",
        "ZFS goes back only to the latest snapshot: delete those that were taken later first.",
    ),
    ("does not exist", "Somebody else has deleted it meanwhile. Run the task again."),
    ("already used", "Somebody else has taken one of this name meanwhile. Run the task again."),
)


def converge(task: Task) -> Result:
    """The module ``proxmox_snapshot``."""
    wishes = wanted(task.params["snapshots"])
    with opened(task) as session:
        tasks = Tasks(session, task.warn)
        planner = _Planner(session, tasks, wishes, planned_guests.kinds(task))
        planned = planner.look_and_plan()
        done = planned.plan
        if not task.check_mode:
            planned, done = attempts.carry_out(planner, planner.apply, planned)
        return task.result(done, snapshots=_report(wishes, planned, done))


def read(session: Session, wishes: t.Sequence[Wish]) -> dict[int, Guest]:
    """The guests that are there, one list for all, and the snapshots of each."""
    vmids = {wish.vmid for wish in wishes}
    asked = "list the guests of the cluster"
    resources = listing(session, "/cluster/resources", "vmid", {"type": "vm"}, asked=asked)
    entries = [entry for entry in resources if int(entry.get("vmid", 0)) in vmids]
    taking = {(wish.vmid, wish.name) for wish in wishes if wish.state == "present"}
    guests = together(lambda entry: _guest(session, entry, taking), entries)
    return {guest.vmid: guest for guest in guests}


def _guest(session: Session, entry: t.Mapping[str, t.Any], taking: t.Collection[tuple[int, str]]) -> Guest:
    vmid, kind, node = int(entry["vmid"]), str(entry["type"]), str(entry["node"])
    path = f"/nodes/{segment(node)}/{kind}/{vmid}"
    listed = listing(session, f"{path}/snapshot", "name", asked=f"list the snapshots of guest {vmid}")
    now: t.Mapping[str, t.Any] = next((one for one in listed if one["name"] == "current"), {})
    found = {one["name"]: _snapshot(one) for one in listed if one["name"] != "current"}
    guest = Guest(
        vmid,
        kind,
        node,
        name=str(entry.get("name") or ""),
        pool=str(entry.get("pool") or ""),
        template=bool(int(entry.get("template") or 0)),
        running=bool(int(now.get("running") or 0)),
        parent=str(now.get("parent") or ""),
        snapshots=found,
    )
    if any(vmid == other and name not in found for other, name in taking):
        query, asked = {"feature": "snapshot"}, f"see whether guest {vmid} can have snapshots"
        feature = record(session, f"{path}/feature", query, asked=asked)
        guest = dataclasses.replace(guest, able=bool(int(feature.get("hasFeature") or 0)))
    return guest


def _snapshot(entry: t.Mapping[str, t.Any]) -> Snapshot:
    return Snapshot(
        str(entry["name"]),
        str(entry.get("description") or "").rstrip("\n"),
        int(entry.get("snaptime") or 0),
        str(entry.get("parent") or ""),
        bool(int(entry.get("vmstate") or 0)),
    )


class _Planner(guest_run.Planner[Guest, Planned]):
    word = "guest"

    def __init__(self, session: Session, tasks: Tasks, wishes: t.Sequence[Wish], planned: t.Mapping[int, str]) -> None:
        super().__init__(session, tasks, {wish.vmid for wish in wishes})
        self.wishes = list(wishes)
        #: Those that are yet to be made will run, without a snapshot.
        self.planned = {vmid: Guest(vmid, kind, node="", running=True) for vmid, kind in planned.items()}
        self.starter = Starter(session, tasks)
        #: Wishes that are fulfilled and would not show it: who has gone back must not go back again.
        self.gone_back: set[Wish] = set()

    def read(self) -> dict[int, Guest]:
        return {**self.planned, **read(self.session, self.wishes)}

    def plan(self) -> Planned:
        planned = plan([wish for wish in self.wishes if wish not in self.gone_back], self.current)
        if planned.plan:
            asked = ", ".join(str(change.operation) for change in planned.plan)
            rights.check(rights.read(self.session), needs(planned.plan), asked=asked)
        return planned

    def about(self, operation: t.Any) -> int:
        return int(operation.guest.vmid)

    def apply(self, made: Plan) -> None:
        """Serial for a guest, which has one lock; several guests at once."""
        apply_by_guest(made, self._apply, group=lambda change: change.operation.guest.vmid)

    def _apply(self, operation: Operation) -> None:
        self.session.progress(str(operation))
        try:
            self._do(operation)
        except TaskFailed as error:
            raise _explained(error) from error
        if operation.verb == "roll back to" and operation.wish:
            self.gone_back.add(operation.wish)

    def _do(self, operation: Operation) -> None:
        guest, asked = operation.guest, str(operation)
        path = f"/nodes/{segment(guest.node)}/{guest.kind}/{guest.vmid}/snapshot"
        one = f"{path}/{segment(operation.name)}"
        calls: dict[str, t.Callable[[], object]] = {
            "take": lambda: self.session.post(path, operation.form, asked=asked),
            "delete": lambda: self.session.delete(one, asked=asked),
            "roll back to": lambda: self.session.post(f"{one}/rollback", operation.form, asked=asked),
        }
        if operation.verb == "describe":
            self.session.put(f"{one}/config", operation.form, asked=asked)
            return
        kind = _KINDS[operation.verb, guest.kind]
        follows = self.starter.start_follows(guest.node, guest.kind, guest.vmid)
        with follows if operation.form.get("start") else contextlib.nullcontext():
            self.starter.do(guest.node, kind, guest.vmid, calls[operation.verb], asked=asked)


def _explained(error: TaskFailed) -> HomelabError:
    hint = next((hint for text, hint in _HINTS if text in error.answer), "")
    return TaskFailed(error.asked, of=error.of, answer=error.answer, hint=hint, **error.details)


def _report(wishes: t.Sequence[Wish], planned: Planned, done: Plan) -> list[dict[str, t.Any]]:
    """One entry a wish, the same in check mode and in a run. ``done`` is all that was changed, ``planned`` the last plan."""
    touched = {(change.operation.guest.vmid, change.operation.name) for change in done}
    return [_entry(wish, planned.after.get(wish.vmid), (wish.vmid, wish.name) in touched) for wish in wishes]


def _entry(wish: Wish, guest: Guest | None, changed: bool) -> dict[str, t.Any]:
    there = guest.snapshots.get(wish.name) if guest else None
    return {
        "vmid": wish.vmid,
        "type": guest.kind if guest else "",
        "node": guest.node if guest else "",
        "name": wish.name,
        "state": wish.state,
        "description": there.description if there else "",
        "vmstate": bool(there and there.vmstate),
        "parent": there.parent if there else "",
        "children": guest.children(wish.name) if guest and there else [],
        "current": bool(guest and there and guest.parent == wish.name),
        "changed": changed,
    }
