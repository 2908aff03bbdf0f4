# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of a VM plan, made. Every step waits for its end, and names the VM and the step when it fails."""

from __future__ import annotations

import collections
import threading
import typing as t

from ...errors import Conflict, NotFound, Refused
from ...plan import Plan
from ...waiting import Pending, wait_for
from ..api import propertystring as ps
from ..api.session import Session, segment
from ..api.task_start import Starter
from ..api.tasks import Tasks
from ..guests.guest_apply import GuestApplier, apply_by_guest, one_after_the_other, templates_last
from ..guests.guest_lists import GuestLists
from ..guests.restarts import Restarts
from .vm_difference import difference
from .vm_operations import Clone, Create, Destroy, Migrate, Power, Update
from .vm_spec import Vm
from .vm_state import VmState, read

#: VMs that are worked on at a time.
WORKERS = 8

#: Copies of one VM or template at a time: they read the same disks, and the source is locked while one begins.
CLONES = 2


class Applier(GuestApplier):
    kind = "qemu"

    def __init__(
        self, session: Session, tasks: Tasks, *, shutdown_timeout: int, restarts: Restarts | None = None
    ) -> None:
        super().__init__(session, tasks, shutdown_timeout=shutdown_timeout, restarts=restarts)
        self._cloning: dict[int, threading.BoundedSemaphore] = collections.defaultdict(
            lambda: threading.BoundedSemaphore(CLONES)
        )

    def apply(self, plan: Plan) -> None:
        for change in plan:
            if isinstance(change.operation, Clone):
                self._cloning[change.operation.source.vmid]  # made here, where nobody else looks
        plans = templates_last(plan)
        one_after_the_other(plans, lambda some: apply_by_guest(some, self._whole, workers=WORKERS))

    def apply_one(self, operation: t.Any) -> None:
        steps: dict[type, t.Callable[[t.Any], None]] = {
            Create: self._create,
            Clone: self._clone,
            Update: self._update,
            Migrate: self._migrate,
            Power: self._power,
            Destroy: self._destroy,
        }
        steps[type(operation)](operation)

    # -- making -------------------------------------------------------------------------------------------------------

    def _create(self, operation: Create) -> None:
        vm, asked = operation.vm, f"create {operation.vm.title}"
        path = f"/nodes/{segment(operation.node)}/qemu"
        self.session.progress(asked)
        self.tasks.do(lambda: self.session.post(path, operation.form, asked=asked), asked=asked)
        self._resize(vm, operation.node, operation.resizes)
        if operation.template:
            self._make_template(vm, operation.node)

    def _clone(self, operation: Clone) -> None:
        vm, source = operation.vm, operation.source
        asked = f"clone VM {source.vmid} ({source.name}) as {vm.title}"
        path = f"/nodes/{segment(operation.node)}/qemu/{source.vmid}/clone"
        with self._cloning[source.vmid]:
            self.session.progress(asked)
            self.tasks.do(lambda: self.session.post(path, operation.form, asked=asked), asked=asked)
        node = operation.update.node
        if operation.move_to:
            self._migrate(Migrate(vm, node, operation.move_to, online=False, with_local_disks=False))
            node = operation.move_to
        self._reconcile(vm, node)

    def _make_template(self, vm: Vm, node: str) -> None:
        asked = f"make {vm.title} a template"
        self.tasks.do(lambda: self.session.post(f"{self._path(vm, node)}/template", {}, asked=asked), asked=asked)

    # -- changing -----------------------------------------------------------------------------------------------------

    def _reconcile(self, vm: Vm, node: str, *, seeds: bool = False) -> None:
        """Look at what came before, and change what differs from what is wanted."""
        state = self._state(vm, node)
        found = difference(vm, state)
        if found:
            self._update(Update(vm, node, state.digest, found, seeds=seeds))

    def _state(self, vm: Vm, node: str) -> VmState:
        lists = GuestLists(self.session, "qemu")
        found = read(self.session, {vm.vmid}, "qemu", lists.find({vm.vmid}, {node}, whole=vm.pool is not None))
        if vm.vmid not in found:
            raise NotFound(f"read {vm.title}", of=f"node {node}, {self.session.of}", answer="it is not there any more")
        return found[vm.vmid]

    def _update(self, operation: Update) -> None:
        """Options first, guarded by the digest that was read; then drives; then what needs them.

        A disk that grows or moves gets its other settings after that: on a running VM they wait for a restart, together
        with the size and the volume that the disk has when they are sent.
        """
        vm, node, found = operation.vm, operation.node, operation.found
        if operation.late:
            self._reconcile(vm, node, seeds=operation.seeds)
            return
        asked = f"update {vm.title}"
        self.session.progress(asked)
        changing = {*found.resizes, *found.moves}
        waits = {*changing, "boot"} if found.allocate else set(changing)
        if found.put.get("protection") and (found.delete or found.destroy):
            waits.add("protection")  # a protected VM lets nothing go
        now = {key: value for key, value in found.put.items() if key not in waits}
        self._put(operation, now, found.delete, asked, operation.digest)
        for slot in found.destroy:
            self._put(operation, {"force": 1}, (slot,), f"remove {slot} of {vm.title}", "")
        if found.allocate:
            first = not (now or found.delete or found.destroy)
            self._allocate(operation, {key: found.put[key] for key in ("boot",) if key in found.put}, first)
        for slot, storage in found.moves.items():
            self._move(vm, node, slot, storage)
        self._resize(vm, node, found.resizes)
        self._set_drives(operation, {key: str(value) for key, value in found.put.items() if key in changing})
        if "protection" in waits:
            self._put(operation, {"protection": 1}, (), asked, "")
        if operation.seeds:
            asked = f"write the cloud-init drive of {vm.title} anew"
            self.session.put(f"{self._path(vm, node)}/cloudinit", {}, asked=asked)
        if found.pool or found.leaves:
            self._pool(vm, found.pool, found.leaves)
        if found.template:
            self._make_template(vm, node)

    def _put(
        self, operation: Update, form: t.Mapping[str, t.Any], delete: t.Sequence[str], asked: str, digest: str
    ) -> None:
        """Drives that are protected by the very option that is changed go in a request of their own."""
        if "protection" in form and delete:
            self._put(operation, form, (), asked, digest)
            form, digest = {}, ""
        whole = {**form, **({"delete": ",".join(delete)} if delete else {})}
        if not whole:
            return
        guard = {"digest": digest} if digest else {}
        path = f"{self._path(operation.vm, operation.node)}/config"
        told = asked if "force" in whole else f"{asked} ({', '.join(sorted(whole))})"
        try:
            self.session.put(path, {**whole, **guard}, asked=told)
        except Refused as error:
            if "hotplug problem" in error.answer and operation.vm.allow_restart:
                # The change waits now, and a restart, which is allowed, makes it true.
                waits = Conflict(error.asked, of=error.of, answer=error.answer, hint="A restart applies it.")
                waits.perhaps_done = True
                raise waits from error
            raise

    def _allocate(self, operation: Update, more: t.Mapping[str, t.Any], first: bool) -> None:
        vm, allocate = operation.vm, operation.found.allocate
        asked = f"add {', '.join(allocate)} to {vm.title}"
        guard = {"digest": operation.digest} if first and operation.digest else {}
        path = f"{self._path(vm, operation.node)}/config"
        form = {**allocate, **more, **guard}
        self.tasks.do(lambda: self.session.post(path, form, asked=asked), asked=asked)

    def _move(self, vm: Vm, node: str, slot: str, storage: str) -> None:
        asked = f"move {slot} of {vm.title} to the storage {storage}"
        path = f"{self._path(vm, node)}/move_disk"
        form = {"disk": slot, "storage": storage, "delete": 1}
        self.session.progress(asked)
        self.tasks.do(lambda: self.session.post(path, form, asked=asked), asked=asked)

    def _set_drives(self, operation: Update, wanted: t.Mapping[str, str]) -> None:
        """Settings of disks whose size or volume has just changed."""
        if not wanted:
            return
        vm = operation.vm
        config = self.session.get(f"{self._path(vm, operation.node)}/config", asked=f"read {vm.title}")
        form = {}
        for slot, text in wanted.items():
            is_ = ps.parse_disk(str(config.get(slot, "")))
            settings = {key: value for key, value in ps.parse_disk(text).items() if key not in ("file", "size")}
            form[slot] = ps.render_disk({**{key: is_[key] for key in ("file", "size") if key in is_}, **settings})
        self._put(operation, form, (), f"update {vm.title}", "")

    def _pool(self, vm: Vm, pool: str, leaves: str) -> None:
        if pool:
            form = {"poolid": pool, "vms": str(vm.vmid), "allow-move": 1}
            self.session.put("/pools", form, asked=f"put {vm.title} into the pool {pool}")
        else:
            form = {"poolid": leaves, "vms": str(vm.vmid), "delete": 1}
            self.session.put("/pools", form, asked=f"take {vm.title} out of the pool {leaves}")

    def _resize(self, vm: Vm, node: str, sizes: t.Mapping[str, int]) -> None:
        """Grow disks to these sizes. What an image brought is only known now."""
        if not sizes:
            return
        config = self.session.get(f"{self._path(vm, node)}/config", asked=f"read {vm.title}")
        for slot, size in sizes.items():
            is_ = ps.size_in_bytes(ps.parse_disk(str(config.get(slot, ""))).get("size", "0"))
            asked = f"grow disk {slot} of {vm.title} to {ps.size_text(size)}"
            if is_ > size:
                raise Refused(
                    asked, of=f"node {node}", answer=f"its image has {ps.size_text(is_)}", hint="Disks only grow."
                )
            if is_ < size:
                self._put_task(f"{self._path(vm, node)}/resize", {"disk": slot, "size": ps.size_text(size)}, asked)

    # -- elsewhere, on and off ----------------------------------------------------------------------------------------

    def _migrate(self, operation: Migrate) -> None:
        """The HA manager, which moves what it manages, only takes the request: the VM is waited for."""
        vm, asked = operation.vm, f"move {operation.vm.title} to node {operation.target}"
        form: dict[str, t.Any] = {"target": operation.target}
        if operation.online:
            form |= {"online": 1} | ({"with-local-disks": 1} if operation.with_local_disks else {})
        self.session.progress(asked)
        path = f"{self._path(vm, operation.node)}/migrate"
        self.tasks.do(lambda: self.session.post(path, form, asked=asked), asked=asked)
        wait_for(
            f"{vm.title} on node {operation.target}",
            lambda: self._arrived(vm, operation.target),
            deadline=self.session.deadline(),
            of=self.session.of,
            progress=self.session.progress,
            hint="task_timeout is the limit.",
        )

    def _arrived(self, vm: Vm, node: str) -> bool | Pending:
        entries = GuestLists(self.session, "qemu").cluster()
        here = next((str(entry["node"]) for entry in entries if int(entry["vmid"]) == vm.vmid), "")
        return True if here == node else Pending(f"it is on node {here}")

    def _power(self, operation: Power) -> None:
        if operation.to == "reset":
            return self._reset(operation.vm, operation.node)
        return self._switch(operation.vm, operation)

    def _reset(self, vm: Vm, node: str) -> None:
        """A VM does not show that it was reset; the node's list of tasks does, when the answer was lost."""
        asked = f"reset {vm.title}"
        path = f"{self._path(vm, node)}/status/reset"
        self.session.progress(asked)
        starter = Starter(self.session, self.tasks)
        starter.do(node, "qmreset", vm.vmid, lambda: self.session.post(path, {}, asked=asked), asked=asked)
        self.restarts.was_off(vm.vmid)

    def _destroy(self, operation: Destroy) -> None:
        self._delete(operation.vm, operation.node)
