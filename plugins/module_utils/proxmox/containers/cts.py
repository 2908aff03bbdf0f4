# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers from wish to reality: read, plan, apply, and look again when an answer was lost on the way."""

from __future__ import annotations

import dataclasses
import typing as t

from ...plan import Plan
from ...task import Result, Task
from ..api import attempts
from ..api.connection import Connection
from ..api.session import Session, segment
from ..api.tasks import Tasks
from ..guests.guest_names import with_new_numbers
from ..guests.guest_plan import Planned, runs_then
from ..guests.guest_planner import GuestPlanner, becoming_templates
from ..guests.guest_spec import check_shutdown_timeout
from ..vms.vm_state import VmState, read
from .ct_apply import Applier
from .ct_plan import needs, plan
from .ct_spec import Clone, Container, wanted

#: How often an interrupted or overtaken run looks and plans again.
ATTEMPTS = attempts.ATTEMPTS


def converge(task: Task) -> Result:
    """The module ``proxmox_lxc``."""
    containers = wanted(task.params["containers"])
    shutdown_timeout = check_shutdown_timeout(task.params)
    connection = Connection.of(task.params)
    task.secret(connection.password, connection.token_secret, *(ct.password for ct in containers))
    with Session(connection, progress=task.progress) as session:
        tasks = Tasks(session, task.warn)
        planner = Planner(session, tasks, containers, task.params.get("planned_images") or ())
        planned = planner.look_and_plan()
        done = planned.plan
        if not task.check_mode:
            applier = Applier(session, tasks, shutdown_timeout=shutdown_timeout, restarts=planner.restarts)
            planned, done = attempts.carry_out(planner, applier.apply, planned, attempts=ATTEMPTS)
        return task.result(done, containers=planner.report(planned, done))


class Planner(GuestPlanner[Planned]):
    kind = "lxc"
    word = "CT"
    words = "containers"
    tool = "pct"

    def __init__(
        self, session: Session, tasks: Tasks, containers: list[Container], planned_images: t.Collection[str]
    ) -> None:
        super().__init__(session, tasks, {ct.vmid for ct in containers} - {0})
        self.containers = containers
        #: The same, with the numbers of containers and sources that were given by their names.
        self.found = containers
        self.planned_images = planned_images
        self.sources: dict[tuple[int, str], VmState] = {}

    def look(self, only: frozenset[int] | None) -> dict[int, VmState]:
        """The sources of clones only where there is something to clone."""
        meant = [self.numbered(ct, ct.hostname) for ct in self.containers]
        whole = any(ct.pool is not None for ct in meant)
        found = self.states({ct.vmid: ct.node for ct in meant if ct.vmid}, whole=whole, only=only)
        found = self.with_clones(self.with_snapshots(found, becoming_templates(meant, found)), meant)
        meant = with_new_numbers(self.session, meant)
        self.found = [ct if ct.vmid in found else self._with_source(ct) for ct in meant]
        making = [ct for ct in self.found if ct.state != "absent" and ct.vmid not in found]
        clones = [ct.clone for ct in making if ct.clone and ct.clone.source]
        known = self.sources if only is not None else {}
        clones_unread = [clone for clone in clones if (clone.source, clone.snapshot) not in known]
        more = {clone.source for clone in clones_unread} - set(found)
        sources = {**found, **read(self.session, more, "lxc", self.lists.find(more, (), whole=True) if more else ())}
        self.sources = known | {
            (clone.source, clone.snapshot): self._at_snapshot(sources[clone.source], clone)
            for clone in clones_unread
            if clone.source in sources
        }
        return found

    def _with_source(self, ct: Container) -> Container:
        """With the number of the container that it is cloned from, if there is one of this name."""
        if not ct.clone or ct.clone.source or ct.state == "absent":
            return ct
        entry = self.only_one(ct.clone.hostname, f"{ct.title} is to be cloned by name")
        number = int(entry["vmid"]) if entry else 0
        return dataclasses.replace(ct, clone=dataclasses.replace(ct.clone, source=number))

    def _at_snapshot(self, source: VmState, clone: Clone) -> VmState:
        if not clone.snapshot or source.kind != "lxc":
            return source
        path = f"/nodes/{segment(source.node)}/lxc/{source.vmid}/config"
        asked = f"read the snapshot {clone.snapshot} of CT {source.vmid}"
        return dataclasses.replace(source, config=self.session.get(path, {"snapshot": clone.snapshot}, asked=asked))

    def plan(self) -> Planned:
        wishes = [self._left(ct) for ct in self.found]
        need = needs(wishes, self.current)
        if need.rights:
            self.current, self.sources = self.completed(self.current), self.completed(self.sources)
        who = self.session.connection.who
        return plan(wishes, self.current, self.around(need), self.planned_images, sources=self.sources, who=who)

    def _left(self, ct: Container) -> Container:
        """The wish without what this run has done of it already."""
        return dataclasses.replace(ct, state="started") if self.restarts.only_to_run(ct, self.current) else ct

    def about(self, operation: t.Any) -> int:
        return int(operation.ct.vmid)

    def worked_on_as(self, vmids: t.Collection[int]) -> set[int]:
        sources = {ct.clone.source for ct in self.found if ct.clone and ct.vmid in vmids}
        return {*vmids, *sources} - {0}

    def report(self, planned: Planned, done: Plan) -> list[dict[str, t.Any]]:
        """One entry a container, the same in check mode and in a run: how it is when the plan is done, the last one if there
        were several. ``done`` is all that was changed."""
        touched = {change.resource for change in done}
        moved = {change.operation.ct.vmid for change in planned.plan if change.after.get("node")}
        return [self._told(ct, planned, f"ct/{ct.vmid}" in touched, ct.vmid in moved) for ct in self.found]

    def _told(self, ct: Container, planned: Planned, changed: bool, moved: bool) -> dict[str, t.Any]:
        state = self.current.get(ct.vmid) or (self.seen.get(ct.vmid) if ct.state == "absent" else None)
        return {
            "vmid": ct.vmid or None,
            "node": state.node if state and not moved else ct.node,
            "hostname": ct.hostname or (state.name if state else ""),
            "status": _status(ct, state, planned.plan),
            "template": bool(ct.template or (state and state.template)) and ct.state != "absent",
            "changed": changed,
            "pending": list(planned.pending.get(ct.vmid, ())),
        }


def _status(ct: Container, state: VmState | None, plan: Plan) -> str:
    if ct.state == "present":
        return "running" if runs_then(plan, f"ct/{ct.vmid}", bool(state and state.running)) else "stopped"
    return "running" if ct.runs else ct.state
