# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of a container plan, made."""

from __future__ import annotations

import typing as t

from ...errors import NotFound, Refused
from ...waiting import Pending, wait_for
from ..api import propertystring as ps
from ..api.session import segment
from ..api.task_start import Starter
from ..guests.guest_apply import GuestApplier
from ..vms.vm_state import read
from . import ct_difference as differ
from . import ct_options as options
from .ct_plan import CloneFrom, Create, Destroy, Migrate, Power, Update, update_of
from .ct_spec import Container


class Applier(GuestApplier):
    kind = "lxc"

    def apply_one(self, operation: t.Any) -> None:
        steps: dict[type, t.Callable[[t.Any], None]] = {
            Create: self._create,
            CloneFrom: self._clone,
            Update: self._update,
            Migrate: self._migrate,
            Power: self._power,
            Destroy: self._destroy,
        }
        steps[type(operation)](operation)

    def _create(self, operation: Create) -> None:
        asked = f"create {operation.ct.title}"
        path = f"/nodes/{segment(operation.node)}/lxc"
        self.session.progress(asked)
        self.tasks.do(lambda: self.session.post(path, operation.form, asked=asked), asked=asked)
        if operation.template:
            self._make_template(operation.ct, operation.node)

    def _make_template(self, ct: Container, node: str) -> None:
        """The answer does not name the task that does it."""
        asked = f"make {ct.title} a template"
        path = f"{self._path(ct, node)}/template"
        self.session.progress(asked)
        starter = Starter(self.session, self.tasks)
        starter.do_unnamed(node, "vztemplate", ct.vmid, lambda: self.session.post(path, {}, asked=asked), asked=asked)

    def _clone(self, operation: CloneFrom) -> None:
        """The clone first; then what it really is decides what is left to change."""
        ct, source = operation.ct, operation.clone.source
        asked = f"clone {ct.title} from CT {source}"
        path = f"/nodes/{segment(operation.node)}/lxc/{source}/clone"
        self.session.progress(asked)
        self.tasks.do(lambda: self.session.post(path, operation.form, asked=asked), asked=asked)
        state = read(self.session, {ct.vmid}, "lxc").get(ct.vmid)
        if state is None:
            raise NotFound(asked, of=self.session.of, answer="the clone was made, but cannot be seen")
        found = differ.difference(ct, state)
        if found:
            self._update(update_of(ct, state, found))

    def _update(self, operation: Update) -> None:
        """A volume that grows gets its other settings after that: on a running container they wait for a restart,
        together with the size that the volume has when they are sent."""
        ct, asked = operation.ct, f"update {operation.ct.title}"
        path = f"{self._path(ct, operation.node)}/config"
        form: dict[str, t.Any] = {key: value for key, value in operation.put.items() if key not in operation.resizes}
        late = {key: value for key, value in operation.put.items() if key in operation.resizes}
        if operation.delete:
            form["delete"] = ",".join(operation.delete)
        guard = {"digest": operation.digest} if operation.digest else {}
        self.session.progress(asked)
        unprotected = form.get("protection") == 0 or "protection" in operation.delete
        if unprotected and any(key == "rootfs" or key.startswith("mp") for key in (*operation.put, *operation.delete)):
            # The server judges the mounts that go or change by the protection from before the request.
            self._put(path, {"protection": form.pop("protection", 0), **guard}, f"{asked} (protection)")
            guard = {}
        if late and form.get("protection"):
            late["protection"] = form.pop("protection")
        if form:
            self._put(path, {**form, **guard}, f"{asked} ({', '.join(sorted(form))})")
        self._resize(ct, operation.node, operation.resizes)
        if late:
            self._put(path, late, f"{asked} ({', '.join(sorted(late))})")
        if operation.pool:
            pool = {"poolid": operation.pool, "vms": str(ct.vmid), "allow-move": 1}
            self.session.put("/pools", pool, asked=f"put {ct.title} into the pool {operation.pool}")
        if operation.leaves:
            pool = {"poolid": operation.leaves, "vms": str(ct.vmid), "delete": 1}
            self.session.put("/pools", pool, asked=f"take {ct.title} out of the pool {operation.leaves}")
        if operation.template:
            self._make_template(ct, operation.node)

    def _put(self, path: str, form: dict[str, t.Any], asked: str) -> None:
        """What a running container does not take is said with a 400. Then nothing of the request is kept, not even as
        pending; only a network card is, which is gone from the container until it is restarted."""
        try:
            self.session.put(path, form, asked=asked)
        except Refused as error:
            if "unable to hotplug" not in error.answer:
                raise
            hint = "Stop the container and run again: then nothing has to be plugged into it."
            raise Refused(error.asked, of=error.of, answer=error.answer, hint=hint, **error.details) from error

    def _resize(self, ct: Container, node: str, sizes: t.Mapping[str, int]) -> None:
        """Grow volumes to these sizes; one that has it already, from a run that was cut off, is left alone."""
        if not sizes:
            return
        config = self.session.get(f"{self._path(ct, node)}/config", {"current": 1}, asked=f"read {ct.title}")
        for slot, size in sizes.items():
            is_ = ps.size_in_bytes(options.parse_mount(config.get(slot, "")).get("size", "0"))
            if is_ < size:
                asked = f"grow {slot} of {ct.title} to {ps.size_text(size)}"
                form = {"disk": slot, "size": ps.size_text(size)}
                self._put_task(f"{self._path(ct, node)}/resize", form, asked)

    def _migrate(self, operation: Migrate) -> None:
        """HA moves a container that it looks after in its own time, after the task has ended."""
        ct, asked = operation.ct, f"move {operation.ct.title} to node {operation.target}"
        form: dict[str, t.Any] = {"target": operation.target}
        if operation.restart:
            form.update({"restart": 1, "timeout": self.shutdown_timeout})
        path = f"{self._path(ct, operation.node)}/migrate"
        self.session.progress(asked)
        self.tasks.do(lambda: self.session.post(path, form, asked=asked), asked=asked)
        status = f"{self._path(ct, operation.target)}/status/current"

        def arrived() -> bool | Pending:
            try:
                found = self.session.get(status, asked=asked)
            except NotFound:
                return Pending("it is not there yet")
            return Pending("it is locked") if found.get("lock") else True

        wait_for(
            f"{ct.title} on node {operation.target}",
            arrived,
            deadline=self.session.deadline(),
            of=self.session.of,
            progress=self.session.progress,
        )

    def _power(self, operation: Power) -> None:
        self._switch(operation.ct, operation)

    def _destroy(self, operation: Destroy) -> None:
        self._delete(operation.ct, operation.node)
