# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looking and planning have in common for VMs and containers: who is worked on now is waited for."""

from __future__ import annotations

import typing as t

from ...errors import Conflict, Refused
from ..api.attempts import ATTEMPTS, Planned
from ..api.lanes import together
from ..api.session import Session
from ..api.tasks import Tasks

#: Locks under which a configuration is not what it will be.
_UNFINISHED = ("create", "clone", "rollback")


class State(t.Protocol):
    """A guest that exists, as far as it matters here."""

    @property
    def vmid(self) -> int: ...
    @property
    def node(self) -> str: ...
    @property
    def lock(self) -> str: ...


S = t.TypeVar("S", bound=State)
P = t.TypeVar("P", bound=Planned)


class Planner(t.Generic[S, P]):
    """Looks and plans; first lets tasks end that work on what would be changed, so that a run that was cut off is
    not doubled.

    A room's kind of guest says how it is read and planned, whom an operation is about, and how it is called.
    """

    word = "VM"
    tool = "qm"

    def __init__(self, session: Session, tasks: Tasks, vmids: t.Collection[int]) -> None:
        self.session = session
        self.tasks = tasks
        self.vmids = frozenset(vmids)
        self.current: dict[int, S] = {}

    def read(self) -> dict[int, S]:
        raise NotImplementedError

    def read_again(self, vmids: frozenset[int]) -> dict[int, S]:
        """These have to be read once more; of others it may give what is in ``current``."""
        return self.read()

    def plan(self) -> P:
        """From what is in ``current``."""
        raise NotImplementedError

    def about(self, operation: t.Any) -> int:
        """The vmid that an operation of a plan is about."""
        raise NotImplementedError

    def worked_on_as(self, vmids: t.Collection[int]) -> set[int]:
        """Ids under which the node's tasks work on these guests: a clone is made under the id of its source."""
        return set(vmids)

    def look_and_plan(self) -> P:
        """Looks again when a guest went elsewhere between two reads."""
        for _attempt in range(1, ATTEMPTS):
            try:
                return self._look_and_plan()
            except Conflict as error:
                self.session.progress(f"{error.message} Looking again.")
        return self._look_and_plan()

    def _look_and_plan(self) -> P:
        """Before anything is changed, what is to be changed is looked at once more: a task may have ended between the
        first look and the list of tasks. When one was waited for, everything is.
        """
        self.current = self._complete(self.read)
        planned = self.plan()
        if planned.plan:
            changing = frozenset(self.about(change.operation) for change in planned.plan)
            waited = self._let_tasks_end(planned, changing)
            self.current = self._complete(self.read if waited else lambda: self.read_again(changing))
            planned = self.plan()
        return planned

    def _complete(self, read: t.Callable[[], dict[int, S]]) -> dict[int, S]:
        """The guests, none of them half made: what a task is just making has neither name nor disks yet."""
        current = read()
        half = _half_made(current)
        if half:
            self._outlive({state.node for state in half}, {state.vmid for state in half})
            current = self.read()
        for state in _half_made(current):
            raise Refused(
                f"judge {self.word} {state.vmid}",
                of=f"node {state.node}, {self.session.of}",
                answer=f"it is locked ({state.lock}), but no task that can be seen works on it",
                hint=f"If nothing does: {self.tool} unlock {state.vmid} on the node, then look at the {self.word}, "
                "or delete it.",
            )
        return current

    def _let_tasks_end(self, planned: P, vmids: frozenset[int]) -> bool:
        """A running task may be all that is left of an earlier run. Whether there was one."""
        return self._outlive({change.operation.node for change in planned.plan} - {""}, vmids)

    def _outlive(self, nodes: t.Collection[str], vmids: t.Collection[int]) -> bool:
        names = {str(vmid) for vmid in self.worked_on_as(vmids)}
        found = [one for running in together(self.tasks.running, sorted(nodes)) for one in running if one.id in names]
        for one in found:
            self.tasks.outlive(one)
        return bool(found)


def _half_made(current: t.Mapping[int, S]) -> list[S]:
    return [state for state in current.values() if state.lock in _UNFINISHED]
