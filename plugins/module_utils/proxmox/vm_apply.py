# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of a VM plan, made. Every step waits for its end, and names the VM and the step when it fails."""

from __future__ import annotations

import typing as t

from ..errors import Refused
from . import propertystring as ps
from .guest_apply import GuestApplier
from .session import segment
from .vm_plan import Create, Destroy, Power, Update
from .vm_spec import Vm


class Applier(GuestApplier):
    kind = "qemu"

    def apply_one(self, operation: t.Any) -> None:
        steps: dict[type, t.Callable[[t.Any], None]] = {
            Create: self._create,
            Update: self._update,
            Power: self._power,
            Destroy: self._destroy,
        }
        steps[type(operation)](operation)

    def _create(self, operation: Create) -> None:
        asked = f"create {operation.vm.title}"
        path = f"/nodes/{segment(operation.node)}/qemu"
        self.session.progress(asked)
        self.tasks.do(lambda: self.session.post(path, operation.form, asked=asked), asked=asked)
        self._resize(operation.vm, operation.node, operation.resizes)

    def _update(self, operation: Update) -> None:
        """Options first, guarded by the digest that was read; then disk work, whose errors are a task's.

        A disk that grows gets its other settings after that: on a running VM they wait for a restart, together with
        the size that the disk has when they are sent.
        """
        vm, asked = operation.vm, f"update {operation.vm.title}"
        path = f"{self._path(vm, operation.node)}/config"
        form: dict[str, t.Any] = {key: value for key, value in operation.put.items() if key not in operation.resizes}
        late = {key: value for key, value in operation.put.items() if key in operation.resizes}
        if operation.delete:
            form["delete"] = ",".join(operation.delete)
        guard = {"digest": operation.digest} if operation.digest else {}
        self.session.progress(asked)
        if form:
            self.session.put(path, {**form, **guard}, asked=f"{asked} ({', '.join(sorted(form))})")
            guard = {}
        if operation.allocate:
            disks = f"add {', '.join(operation.allocate)} to {vm.title}"
            self.tasks.do(lambda: self.session.post(path, {**operation.allocate, **guard}, asked=disks), asked=disks)
        self._resize(vm, operation.node, operation.resizes)
        if late:
            self.session.put(path, late, asked=f"{asked} ({', '.join(sorted(late))})")
        if operation.pool:
            pool = {"poolid": operation.pool, "vms": str(vm.vmid), "allow-move": 1}
            self.session.put("/pools", pool, asked=f"put {vm.title} into the pool {operation.pool}")

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

    def _power(self, operation: Power) -> None:
        self._switch(operation.vm, operation)

    def _destroy(self, operation: Destroy) -> None:
        self._delete(operation.vm, operation.node)
