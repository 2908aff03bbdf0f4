# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs from wish to reality: read, plan, apply, and look again when an answer was lost on the way."""

from __future__ import annotations

import typing as t

from ..task import Result, Task
from . import guest_run
from .connection import Connection
from .session import Session
from .tasks import Tasks
from .vm_apply import Applier
from .vm_plan import Planned, needs, plan
from .vm_spec import Vm, wanted
from .vm_state import VmState, look_around, read

#: How often an interrupted or overtaken run looks and plans again.
ATTEMPTS = guest_run.ATTEMPTS


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
            guest_run.carry_out(planner, applier.apply, planned, attempts=ATTEMPTS)
        return task.result(planned.plan, vms=_report(vms, planner.current, planned))


class _Planner(guest_run.Planner[VmState, Planned]):
    def __init__(self, session: Session, tasks: Tasks, vms: list[Vm], planned_images: t.Collection[str]) -> None:
        super().__init__(session, tasks, {vm.vmid for vm in vms})
        self.vms = vms
        self.planned_images = planned_images

    def read(self) -> dict[int, VmState]:
        return read(self.session, self.vmids)

    def plan(self) -> Planned:
        around = look_around(self.session, needs(self.vms, self.current))
        return plan(self.vms, self.current, around, self.planned_images)

    def about(self, operation: t.Any) -> int:
        return int(operation.vm.vmid)


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
