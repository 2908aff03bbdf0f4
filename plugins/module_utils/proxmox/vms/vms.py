# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs from wish to reality: read, plan, apply, and look again when an answer was lost on the way."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import AccessDenied, Refused
from ...plan import Plan
from ...task import Result, Task
from ..api import attempts
from ..api.connection import Connection
from ..api.lanes import together
from ..api.session import Session, segment
from ..api.tasks import Tasks
from ..guests.guest_names import with_new_numbers
from ..guests.guest_plan import runs_then
from ..guests.guest_planner import GuestPlanner, becoming_templates
from ..guests.guest_spec import check_shutdown_timeout
from . import vm_clone
from .vm_apply import Applier
from .vm_operations import Clone
from .vm_plan import Planned, needs, plan
from .vm_spec import CloneOf, Vm, wanted
from .vm_state import VmState, read

#: How often an interrupted or overtaken run looks and plans again.
ATTEMPTS = attempts.ATTEMPTS


def converge(task: Task) -> Result:
    """The module ``proxmox_vm``."""
    vms = wanted(task.params["vms"])
    shutdown_timeout = check_shutdown_timeout(task.params)
    connection = Connection.of(task.params)
    task.secret(connection.password, connection.token_secret)
    task.secret(*(vm.cloud_init.password for vm in vms if vm.cloud_init))
    with Session(connection, progress=task.progress) as session:
        tasks = Tasks(session, task.warn)
        planner = _Planner(session, tasks, vms, task.params.get("planned_images") or ())
        planned = planner.look_and_plan()
        done = planned.plan
        if not task.check_mode:
            applier = Applier(session, tasks, shutdown_timeout=shutdown_timeout, restarts=planner.restarts)
            planned, done = attempts.carry_out(planner, applier.apply, planned, attempts=ATTEMPTS)
        return task.result(done, vms=planner.report(planned, done))


class _Planner(GuestPlanner[Planned]):
    """``vms`` are those of the input; ``found`` the same with the numbers of those that were given by their names."""

    def __init__(self, session: Session, tasks: Tasks, vms: list[Vm], planned_images: t.Collection[str]) -> None:
        super().__init__(session, tasks, {vm.vmid for vm in vms})
        self.vms = vms
        self.planned_images = planned_images
        self.found = vms
        self.sources: dict[int, VmState] = {}
        #: Copies that this run makes on the node of their source, and moves from there.
        self._to_be_moved: dict[int, str] = {}

    def look(self, only: frozenset[int] | None) -> dict[int, VmState]:
        """Those that are cloned are read as well, when there is something to clone."""
        self.found = [self.numbered(vm, vm.name) for vm in self.vms]
        whole = any(vm.pool is not None for vm in self.found)
        current = self.states({vm.vmid: vm.node for vm in self.found if vm.vmid}, whole=whole, only=only)
        self.found = with_new_numbers(self.session, self.found)
        self._read_sources(current, known=self.sources if only is not None else {})
        current = self.with_snapshots(current, becoming_templates(self.found, current))
        current = self.with_clones(current, self.found)
        return self._with_password_hashes(current)

    def plan(self) -> Planned:
        wishes = [self._left(vm) for vm in self.found]
        need = needs(wishes, self.current, self.sources)
        if need.rights:
            self.current, self.sources = self.completed(self.current), self.completed(self.sources)
        planned = plan(wishes, self.current, self.around(need), self.planned_images, self.sources)
        clones = [change.operation for change in planned.plan if isinstance(change.operation, Clone)]
        self._to_be_moved |= {clone.vm.vmid: clone.update.node for clone in clones if clone.move_to}
        return planned

    def _left(self, vm: Vm) -> Vm:
        """The wish without what this run has done of it already. A copy that is still where it was made has to move, as it
        would have without the answer that was lost: ``migrate`` is about VMs of others."""
        if self.restarts.only_to_run(vm, self.current):
            vm = dataclasses.replace(vm, state="started")
        state = self.current.get(vm.vmid)
        left_behind = state is not None and self._to_be_moved.get(vm.vmid) == state.node
        return dataclasses.replace(vm, migrate=True) if left_behind else vm

    def about(self, operation: t.Any) -> int:
        return int(operation.vm.vmid)

    def worked_on_as(self, vmids: t.Collection[int]) -> set[int]:
        """A clone is made under the number of its source, which may be known by its name only."""
        making = [vm for vm in self.found if vm.clone and vm.vmid in vmids and vm.vmid not in self.current]
        return set(vmids) | {source for vm in making if vm.clone and (source := self._source(vm, vm.clone))}

    def _source(self, vm: Vm, clone: CloneOf) -> int:
        """The number of what it is cloned from; 0 when there is none."""
        if clone.vmid:
            return clone.vmid
        entry = self.only_one(clone.name, f"{vm.title} is to be cloned by name")
        return int(entry["vmid"]) if entry else 0

    # -- what else has to be read --------------------------------------------------------------------------------------

    def _read_sources(self, current: t.Mapping[int, VmState], known: dict[int, VmState]) -> None:
        making = [vm for vm in self.found if vm.clone and vm.vmid not in current]
        for vm in making:
            if vm.clone and not vm.clone.vmid:
                self.found[self.found.index(vm)] = vm_clone.resolved(vm, self._source(vm, vm.clone))
        vmids = {vm.clone.vmid for vm in self.found if vm.clone and vm.vmid not in current and vm.clone.vmid}
        self.sources = {vmid: state for vmid, state in known.items() if vmid in vmids}
        if vmids - set(known):
            nodes = {vm.node for vm in making}
            self.sources |= read(
                self.session, vmids - set(known), "qemu", self.lists.find(vmids - set(known), nodes, whole=False)
            )

    def _with_password_hashes(self, current: dict[int, VmState]) -> dict[int, VmState]:
        """Of the VMs whose password is given and set: the only way to see whether it is the same."""
        asking = [
            current[vm.vmid]
            for vm in self.found
            if vm.cloud_init and vm.cloud_init.password and vm.vmid in current
            and current[vm.vmid].config.get("cipassword") and not current[vm.vmid].password_hash
        ]  # fmt: skip
        for state, known in zip(asking, together(self._password_hash, asking), strict=True):
            current[state.vmid] = dataclasses.replace(state, password_hash=known)
        return current

    def _password_hash(self, state: VmState) -> str:
        """Empty when the server does not tell."""
        path = f"/nodes/{segment(state.node)}/qemu/{state.vmid}/cloudinit/dump"
        try:
            text = self.session.get(path, {"type": "user"}, asked=f"read the cloud-init data of VM {state.vmid}")
        except (AccessDenied, Refused):
            return ""
        found = re.search(r"^password: *(\S+)$", str(text), re.MULTILINE)
        return found[1].strip("'\"") if found else ""

    # -- what is told --------------------------------------------------------------------------------------------------

    def report(self, planned: Planned, done: Plan) -> list[dict[str, t.Any]]:
        """One entry a VM, the same in check mode and in a run: how it is when the plan is done, the last one if there were
        several. ``done`` is all that was changed."""
        touched = {change.resource for change in done}
        moved = {change.operation.vm.vmid for change in planned.plan if change.after.get("node")}
        return [self._told(vm, planned, f"vm/{vm.vmid}" in touched, vm.vmid in moved) for vm in self.found]

    def _told(self, vm: Vm, planned: Planned, changed: bool, moved: bool) -> dict[str, t.Any]:
        state = self.current.get(vm.vmid) or (self.seen.get(vm.vmid) if vm.state == "absent" else None)
        return {
            "vmid": vm.vmid or None,
            "node": state.node if state and not moved else vm.node,
            "name": vm.name or (state.name if state else ""),
            "status": _status(vm, state, planned.plan),
            "template": bool(vm.template or (state and state.template)) and vm.state != "absent",
            "changed": changed,
            "pending": list(planned.pending.get(vm.vmid, ())),
        }


def _status(vm: Vm, state: VmState | None, plan: Plan) -> str:
    if vm.state == "present":
        return "running" if runs_then(plan, f"vm/{vm.vmid}", bool(state and state.running)) else "stopped"
    return "running" if vm.runs else vm.state
