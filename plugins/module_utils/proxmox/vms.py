# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs from wish to reality: read, plan, apply, and look again when an answer was lost on the way."""

from __future__ import annotations

import typing as t

from ..errors import Conflict, HomelabError, Refused
from ..task import Result, Task
from .answers import AnswerLost, Locked
from .connection import Connection
from .session import Session
from .tasks import Tasks
from .vm_apply import Applier
from .vm_plan import Planned, needs, plan
from .vm_spec import Vm, wanted
from .vm_state import VmState, look_around, read, together

#: How often an interrupted or overtaken run looks and plans again.
ATTEMPTS = 4

#: Locks under which a configuration is not what it will be.
_UNFINISHED = ("create", "clone", "rollback")


def converge(task: Task) -> Result:
    """The module ``proxmox_vm``."""
    vms = wanted(task.params["vms"])
    connection = Connection.of(task.params)
    task.secret(connection.password, connection.token_secret)
    with Session(connection, progress=task.progress) as session:
        tasks = Tasks(session, task.warn)
        planner = _Planner(session, tasks, vms, task.params.get("planned_images") or ())
        planned = planner.look_and_plan()
        for warning in planned.warnings:
            task.warn(warning)
        if not task.check_mode:
            applier = Applier(session, tasks, shutdown_timeout=task.params.get("shutdown_timeout") or 180)
            _carry_out(planner, applier, planned, session)
        return task.result(planned.plan, vms=_report(vms, planner.current, planned))


class _Planner:
    """Looks and plans; first lets tasks end that work on what would be changed, so that a run that was cut off is
    not doubled."""

    def __init__(self, session: Session, tasks: Tasks, vms: list[Vm], planned_images: t.Collection[str]) -> None:
        self.session = session
        self.tasks = tasks
        self.vms = vms
        self.planned_images = planned_images
        self.current: dict[int, VmState] = {}

    def look_and_plan(self) -> Planned:
        planned = self._once()
        if planned.plan and self._let_tasks_end(planned):
            planned = self._once()
        return planned

    def _once(self) -> Planned:
        self.current = self._complete()
        around = look_around(self.session, needs(self.vms, self.current))
        return plan(self.vms, self.current, around, self.planned_images)

    def _complete(self) -> dict[int, VmState]:
        """The VMs, none of them half made: what a task is just making has neither name nor disks yet."""
        vmids = {vm.vmid for vm in self.vms}
        current = read(self.session, vmids)
        half = _half_made(current)
        if half:
            self._outlive({state.node for state in half}, {state.vmid for state in half})
            current = read(self.session, vmids)
        for state in _half_made(current):
            raise Refused(
                f"judge VM {state.vmid}",
                of=f"node {state.node}, {self.session.of}",
                answer=f"it is locked ({state.lock}), but no task that can be seen works on it",
                hint=f"If nothing does: qm unlock {state.vmid} on the node, then look at the VM, or delete it.",
            )
        return current

    def _let_tasks_end(self, planned: Planned) -> bool:
        """True when there were any. A running task may be all that is left of an earlier run."""
        operations = [change.operation for change in planned.plan]
        return self._outlive({one.node for one in operations}, {one.vm.vmid for one in operations})

    def _outlive(self, nodes: t.Collection[str], vmids: t.Collection[int]) -> bool:
        names = {str(vmid) for vmid in vmids}
        found = [one for running in together(self.tasks.running, sorted(nodes)) for one in running if one.id in names]
        for one in found:
            self.tasks.outlive(one)
        return bool(found)


def _half_made(current: t.Mapping[int, VmState]) -> list[VmState]:
    return [state for state in current.values() if state.lock in _UNFINISHED]


def _carry_out(planner: _Planner, applier: Applier, planned: Planned, session: Session) -> None:
    """A lost answer may have been a success, and somebody else may have been faster: look, and plan what is left."""
    made: list[dict[str, t.Any]] = []
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return applier.apply(planned.plan)
        except HomelabError as error:
            made += error.made
            error.made = made
            if isinstance(error, Locked) or not isinstance(error, (AnswerLost, Conflict)) or attempt == ATTEMPTS:
                raise
            session.progress(f"{error.message} Looking again.")
        try:
            planned = planner.look_and_plan()
        except HomelabError as error:
            error.made = made
            raise
    return None


def _report(vms: list[Vm], current: t.Mapping[int, VmState], planned: Planned) -> list[dict[str, t.Any]]:
    """One entry a VM, the same in check mode and in a run: how it is when the plan is done."""
    touched = {change.resource for change in planned.plan}
    return [
        {
            "vmid": vm.vmid,
            "node": current[vm.vmid].node if vm.vmid in current else vm.node,
            "name": vm.name or (current[vm.vmid].name if vm.vmid in current else ""),
            "status": _status(vm, current.get(vm.vmid)),
            "changed": f"vm/{vm.vmid}" in touched,
            "pending": list(planned.pending.get(vm.vmid, ())),
        }
        for vm in vms
    ]


def _status(vm: Vm, state: VmState | None) -> str:
    if vm.state == "present":
        return "running" if state and state.running else "stopped"
    return {"started": "running", "stopped": "stopped", "absent": "absent"}[vm.state]
