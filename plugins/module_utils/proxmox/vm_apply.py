# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of a VM plan, made. Every step waits for its end, and names the VM and the step when it fails."""

from __future__ import annotations

import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ..errors import HomelabError, Refused, TaskFailed
from ..plan import Change, Plan
from . import propertystring as ps
from .session import Session, segment
from .tasks import Tasks
from .vm_plan import Create, Destroy, Power, Update
from .vm_spec import Vm

#: VMs that are worked on at a time: more only queue at the node's storage and locks.
WORKERS = 4


class Applier:
    """``shutdown_timeout`` is how many seconds a guest has to shut down before its plug is pulled."""

    def __init__(self, session: Session, tasks: Tasks, *, shutdown_timeout: int) -> None:
        self.session = session
        self.tasks = tasks
        self.shutdown_timeout = shutdown_timeout

    def apply(self, plan: Plan) -> None:
        """The changes of one VM in their order, several VMs at once.

        When one fails, the others end what they have begun; the error carries what was made.
        """
        groups: dict[str, list[Change]] = {}
        for change in plan:
            groups.setdefault(change.resource, []).append(change)
        failed, made, lock = threading.Event(), set[int](), threading.Lock()

        def work(changes: list[Change]) -> None:
            for change in changes:
                if failed.is_set():
                    return
                try:
                    self.apply_one(change.operation)
                except BaseException:
                    failed.set()
                    raise
                with lock:
                    made.add(id(change))

        with ThreadPoolExecutor(max_workers=min(WORKERS, len(groups) or 1)) as pool:
            futures = [pool.submit(work, changes) for changes in groups.values()]
            errors = [error for future in futures if (error := future.exception())]
        if errors:
            first = next((error for error in errors if not isinstance(error, HomelabError)), errors[0])
            if isinstance(first, HomelabError):
                first.made = [change.as_result() for change in plan if id(change) in made]
            raise first

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
                self._grow(f"{self._path(vm, node)}/resize", {"disk": slot, "size": ps.size_text(size)}, asked)

    def _grow(self, path: str, form: dict[str, str], asked: str) -> None:
        def start() -> object:
            return self.session.put(path, form, asked=asked)

        self.tasks.do(start, asked=asked)

    def _power(self, operation: Power) -> None:
        if operation.to in ("stop", "restart"):
            self._stop(operation)
        if operation.to in ("start", "restart"):
            self._start(operation)

    def _start(self, operation: Power) -> None:
        try:
            self._do(operation, "start", "start", {})
        except TaskFailed as error:
            if "already running" not in error.answer:
                raise

    def _stop(self, operation: Power) -> None:
        """By the power button, and by the plug for guests that do not react in time or are to be deleted."""
        if operation.kill:
            self._do(operation, "stop", "stop", {})
        else:
            form = {"timeout": self.shutdown_timeout, "forceStop": 1}
            self._do(operation, "shutdown", "shut down", form)

    def _do(self, operation: Power, call: str, word: str, form: dict[str, t.Any]) -> None:
        asked = f"{word} {operation.vm.title}"
        path = f"{self._path(operation.vm, operation.node)}/status/{call}"
        self.session.progress(asked)
        self.tasks.do(lambda: self.session.post(path, form, asked=asked), asked=asked)

    def _destroy(self, operation: Destroy) -> None:
        """Purged: a new guest of this number must not inherit backup jobs or HA."""
        asked = f"delete {operation.vm.title}"
        path = self._path(operation.vm, operation.node)
        self.tasks.do(lambda: self.session.delete(path, {"purge": 1}, asked=asked), asked=asked)

    def _path(self, vm: Vm, node: str) -> str:
        return f"/nodes/{segment(node)}/qemu/{vm.vmid}"
