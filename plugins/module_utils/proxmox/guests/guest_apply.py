# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of guests, made: what VMs and containers have in common. Every step waits for its end, and names the guest
and the step when it fails."""

from __future__ import annotations

import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ...errors import HomelabError, NotFound, Refused, TaskFailed
from ...plan import Change, Plan
from ...waiting import Pending, wait_for
from ..api.attempts import one_change
from ..api.session import Session, segment
from ..api.tasks import Tasks, Upid
from .restarts import Restarts

#: Guests that are worked on at a time: more only queue at the node's storage and locks.
WORKERS = 4

#: Kinds of task that only ask the HA manager for something.
_BY_HA = frozenset({"hastart", "hastop", "hashutdown"})


class Guest(t.Protocol):
    """``title`` is how people know it: ``VM 200 (talos-cp01)``."""

    @property
    def vmid(self) -> int: ...
    @property
    def title(self) -> str: ...


class PowerChange(t.Protocol):
    """``kill`` pulls the plug at once."""

    @property
    def node(self) -> str: ...
    @property
    def to(self) -> str: ...
    @property
    def kill(self) -> bool: ...


def apply_by_guest(
    plan: Plan,
    apply_one: t.Callable[[t.Any], None],
    *,
    workers: int = WORKERS,
    group: t.Callable[[Change], t.Hashable] = lambda change: change.resource,
) -> None:
    """The changes of one guest in their order, several guests at once. ``group`` tells what must not run side by side.

    When one fails, the others end what they have begun; the error carries what was made.
    """
    groups: dict[t.Hashable, list[Change]] = {}
    for change in plan:
        groups.setdefault(group(change), []).append(change)
    failed, made, begun, lock = threading.Event(), set[int](), set[int](), threading.Lock()

    def work(changes: list[Change]) -> None:
        for change in changes:
            if failed.is_set():
                return
            try:
                apply_one(change.operation)
            except BaseException as error:
                failed.set()
                if isinstance(error, HomelabError) and error.perhaps_done:
                    with lock:
                        begun.add(id(change))
                raise
            with lock:
                made.add(id(change))

    with ThreadPoolExecutor(max_workers=min(workers, len(groups) or 1)) as pool:
        futures = [pool.submit(work, changes) for changes in groups.values()]
        errors = [error for future in futures if (error := future.exception())]
    if errors:
        first = next((error for error in errors if not isinstance(error, HomelabError)), errors[0])
        if isinstance(first, HomelabError):
            first.made = [change.as_result() for change in plan if id(change) in made]
            first.begun = [change.as_result() for change in plan if id(change) in begun]
        raise first


def templates_last(plan: Plan) -> list[Plan]:
    """Two plans: templates with linked clones can only go when these have gone. One where that makes no difference."""
    last = [change for change in plan if getattr(change.operation, "last", False)]
    if not last:
        return [plan]
    return [Plan.of(change for change in plan if change not in last), Plan.of(last)]


def one_after_the_other(plans: t.Sequence[Plan], apply: t.Callable[[Plan], None]) -> None:
    """The error of a later plan carries what was made in those before it, too."""
    made: list[dict[str, t.Any]] = []
    for plan in plans:
        try:
            apply(plan)
        except HomelabError as error:
            error.made = made + error.made
            raise
        made += plan.as_result()


class GuestApplier:
    """``shutdown_timeout`` is how many seconds a guest has to shut down before its plug is pulled. ``restarts`` hears of
    every restart, for plans after a lost answer."""

    #: As in the API's paths: ``qemu``, ``lxc``.
    kind = "qemu"

    def __init__(
        self, session: Session, tasks: Tasks, *, shutdown_timeout: int, restarts: Restarts | None = None
    ) -> None:
        self.session = session
        self.tasks = tasks
        self.shutdown_timeout = shutdown_timeout
        self.restarts = restarts or Restarts()

    def apply(self, plan: Plan) -> None:
        one_after_the_other(templates_last(plan), lambda some: apply_by_guest(some, self._whole))

    def _whole(self, operation: t.Any) -> None:
        """One change, of which perhaps only the first steps are made."""
        with one_change(self.session):
            self.apply_one(operation)

    def apply_one(self, operation: t.Any) -> None:
        raise NotImplementedError

    def _path(self, guest: Guest, node: str) -> str:
        return f"/nodes/{segment(node)}/{self.kind}/{guest.vmid}"

    def _put_task(self, path: str, form: dict[str, t.Any], asked: str) -> None:
        """A PUT that the node works on as a task: a disk that grows."""

        def start() -> object:
            return self.session.put(path, form, asked=asked)

        self.tasks.do(start, asked=asked)

    def _switch(self, guest: Guest, operation: PowerChange) -> None:
        if operation.to == "restart":
            self.restarts.begun(guest.vmid)
            self._stop(guest, operation)
            self.restarts.was_off(guest.vmid)
        elif operation.to == "stop":
            self._stop(guest, operation)
        if operation.to in ("start", "restart"):
            self._start(guest, operation)

    def _start(self, guest: Guest, operation: PowerChange) -> None:
        """Somebody else may have started it: the task of a VM says so, and the answer itself for a container."""
        try:
            self._do(guest, operation.node, "start", "start", {})
        except (TaskFailed, Refused) as error:
            if "already running" not in error.answer:
                raise

    def _stop(self, guest: Guest, operation: PowerChange) -> None:
        """By the power button, and by the plug for guests that do not react in time or are to be deleted. A container that
        has stopped by itself is refused to be stopped."""
        form = {} if operation.kill else {"timeout": self.shutdown_timeout, "forceStop": 1}
        call, word = ("stop", "stop") if operation.kill else ("shutdown", "shut down")
        try:
            self._do(guest, operation.node, call, word, form)
        except Refused as error:
            if f"{guest.vmid} not running" not in error.answer:
                raise

    def _do(self, guest: Guest, node: str, call: str, word: str, form: dict[str, t.Any]) -> None:
        asked = f"{word} {guest.title}"
        path = f"{self._path(guest, node)}/status/{call}"
        self.session.progress(asked)
        started: list[str] = []

        def start() -> object:
            started.append(str(self.session.post(path, form, asked=asked)))
            return started[-1]

        self.tasks.do(start, asked=asked)
        if Upid.parse(started[-1], asked=asked, of=self.session.of).kind in _BY_HA:
            self._await_ha(guest, node, "running" if call == "start" else "stopped")

    def _await_ha(self, guest: Guest, node: str, status: str) -> None:
        """The HA manager's tasks end when the request is written down; what it does about it takes longer."""
        asked = f"see {guest.title} {status}"

        def look() -> bool | Pending:
            try:
                found = self.session.get(f"{self._path(guest, node)}/status/current", asked=asked)
            except NotFound:
                return Pending(f"it is not on node {node}")
            is_ = str(found.get("status"))
            return True if is_ == status else Pending(f"the HA manager is asked for it, it is {is_}")

        wait_for(
            f"{guest.title} {status}",
            look,
            deadline=self.session.deadline(),
            of=self.session.of,
            progress=self.session.progress,
            hint="See the state of the HA manager. task_timeout is the limit.",
        )

    def _delete(self, guest: Guest, node: str) -> None:
        """Purged: a new guest of this number must not inherit backup jobs or HA."""
        asked = f"delete {guest.title}"
        path = self._path(guest, node)
        self.tasks.do(lambda: self.session.delete(path, {"purge": 1}, asked=asked), asked=asked)
