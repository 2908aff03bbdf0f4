# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a task of a node and have its id, also when the answer that would have told it was lost."""

from __future__ import annotations

import contextlib
import typing as t

from ...waiting import Pending, wait_for
from ...web import AnswerLost
from .session import Session, listing, record, segment
from .tasks import Tasks, Upid

Start = t.Callable[[], object]

#: Seconds in which a task that was begun stands in the node's list.
_LISTED_WITHIN = 30.0
_STARTS = {"qemu": "qmstart", "lxc": "vzstart"}


class Starter:
    """For writes that must not be done twice (a rollback, a backup, a restore).

    What tasks of this kind there are is read before; after a lost answer the new one of ours is the one that was asked
    for. Costs one read a write.
    """

    def __init__(self, session: Session, tasks: Tasks) -> None:
        self.session = session
        self.tasks = tasks

    def start(self, node: str, kind: str, vmid: int, start: Start) -> Upid:
        """Raises :class:`answers.AnswerLost` when no such task can be found: it was not begun, as far as anybody can tell."""
        known = self._known(node, kind, vmid)
        asked = f"start {kind} of {vmid} on node {node}"
        try:
            return Upid.parse(start(), asked=asked, of=self.session.of)
        except AnswerLost as error:
            found = self._known(node, kind, vmid) - known
            if not found:
                raise
            self.session.progress(f"{error.message} Its task was begun all the same.")
            return Upid.parse(max(found), asked=asked, of=self.session.of)

    def do(self, node: str, kind: str, vmid: int, start: Start, *, asked: str) -> None:
        """Until it has ended well; begun again when a lock was in its way."""
        self.tasks.do(lambda: self.start(node, kind, vmid, start).text, asked=asked)

    def do_unnamed(self, node: str, kind: str, vmid: int, start: Start, *, asked: str) -> None:
        """For a request whose answer is empty, though the node begins a task: the new one of ours is waited for."""
        known = self._known(node, kind, vmid)
        start()
        begun = self._begun(
            f"the task to {asked}",
            lambda: self._new(known, node, kind, vmid),
            node,
            "The request was taken. Look at the node's tasks, then run again.",
        )
        self.tasks.wait(begun, asked=asked)

    @contextlib.contextmanager
    def start_follows(self, node: str, kind: str, vmid: int) -> t.Iterator[None]:
        """Around a request that has the guest started in the end, which is a task of its own, begun when that of the request
        ends: until the guest runs. Raises TaskFailed when it cannot be started. ``kind`` is ``qemu`` or ``lxc``."""
        task = _STARTS[kind]
        known = self._known(node, task, vmid)
        yield
        path = f"/nodes/{segment(node)}/{kind}/{vmid}/status/current"

        def look() -> str | Pending:
            found = self._new(known, node, task, vmid)
            if isinstance(found, Pending):
                status = record(self.session, path, asked=f"see whether guest {vmid} runs").get("status")
                return "" if status == "running" else found
            return found

        hint = "All else is done. Start it, or look at the node's tasks."
        begun = self._begun(f"the start of guest {vmid}", look, node, hint)
        if begun:
            self.tasks.wait(begun, asked=f"start guest {vmid}")

    def _begun(self, what: str, look: t.Callable[[], str | Pending], node: str, hint: str) -> str:
        return wait_for(
            what,
            look,
            deadline=self.session.deadline(_LISTED_WITHIN),
            of=f"node {node}, {self.session.of}",
            progress=self.session.progress,
            hint=hint,
        )

    def _new(self, known: set[str], node: str, kind: str, vmid: int) -> str | Pending:
        """The task that is listed now and was not then."""
        found = self._known(node, kind, vmid) - known
        return max(found) if found else Pending(f"no task {kind} of {vmid} is listed")

    def _known(self, node: str, kind: str, vmid: int) -> set[str]:
        query = {"vmid": vmid, "typefilter": kind, "source": "all", "limit": 50}
        asked = f"list the tasks of node {node}"
        found = listing(self.session, f"/nodes/{segment(node)}/tasks", "upid", query, asked=asked)
        # Others may have begun one of the same kind meanwhile. Listed without the "!" of a token by some versions.
        who = {self.session.connection.who, self.session.connection.user}
        return {str(entry["upid"]) for entry in found if str(entry.get("user")) in who}
