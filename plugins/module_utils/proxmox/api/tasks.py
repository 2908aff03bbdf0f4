# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that a node has accepted (a UPID): wait for its end, and say why it failed.

``UPID:pve1:000018AF:000B41C0:6B015CC2:qmcreate:200:root@pam:``; the status is ``running`` or ``stopped`` with an
``exitstatus``: ``OK``, ``WARNINGS: n`` or the error.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import HomelabError, ServerFault, TaskFailed
from ...waiting import Backoff, Deadline, Pending, wait_for
from ...web import AnswerLost
from .answers import Locked
from .session import Session, listing, segment

#: How often a deletion is sent whose answer is lost.
_DELETIONS = 4

#: Lines of a task's log that an error shows.
LOG_LINES = 8

#: Lines that are asked for at once, and how often at most (a backup of a large guest logs a line every few seconds).
LOG_PAGE, LOG_PAGES = 5000, 20


@dataclasses.dataclass(frozen=True)
class _Looks(Backoff):
    """When a running task is looked at: its end is seen at once if it is short, else late by at most 0.3 s or a fifteenth
    of its time, and by no more than a second.
    """

    factor: float = 1.2
    slow: float = 0.3

    def pauses(self) -> t.Iterator[float]:
        pause, waited = self.first, 0.0
        while True:
            yield pause
            waited += pause
            pause = min(self.most, max(min(self.slow, pause * self.factor), waited / 15))


_LOOKS = _Looks()

#: Kinds of task that change nothing and last as long as somebody looks on: an open console of a guest or a node.
CONSOLES = frozenset({"vncproxy", "vncshell", "spiceproxy", "spiceshell", "termproxy"})


@dataclasses.dataclass(frozen=True)
class Upid:
    text: str
    node: str
    kind: str  # "qmcreate", "download"
    id: str  # "200", "talos.qcow2"
    user: str

    @classmethod
    def parse(cls, text: object, *, asked: str, of: str) -> Upid:
        parts = text.split(":") if isinstance(text, str) else []
        if len(parts) < 8 or parts[0] != "UPID":
            raise ServerFault(asked, of=of, answer=f"a task was expected, not {text!r}")
        return cls(str(text), parts[1], parts[5], parts[6], parts[7])


class Tasks:
    """The tasks of a session. ``warn`` hears of tasks that ended with warnings."""

    def __init__(self, session: Session, warn: t.Callable[[str], None]) -> None:
        self.session = session
        self.warn = warn

    def wait(self, upid: object, *, asked: str, deadline: Deadline | None = None) -> None:
        """Until the task has ended well. Raises :class:`TaskFailed` with the log's last lines as soon as it has
        failed, :class:`Locked` when it failed because of a lock, :class:`WaitTimeout` past ``task_timeout``.
        """
        task = Upid.parse(upid, asked=asked, of=self.session.of)
        status = wait_for(
            f"the end of the task to {asked}",
            lambda: self._ended(task, asked),
            deadline=deadline or self.session.deadline(),
            of=f"node {task.node}, {self.session.of}",
            progress=self.session.progress,
            backoff=_LOOKS,
            hint=f"The task goes on there; its id is {task.text}. task_timeout is the limit.",
        )
        self._judge(task, status, asked)

    def do(self, start: t.Callable[[], object], *, asked: str) -> None:
        """Start a task and wait for it; start it again when a lock was in its way."""
        from .session import while_locked

        while_locked(
            lambda: self.wait(start(), asked=asked), deadline=self.session.deadline(), progress=self.session.progress
        )

    def running(self, node: str) -> list[Upid]:
        """What a node is working on now. Open consoles are no work."""
        asked = f"read the running tasks of node {node}"
        found = listing(self.session, f"/nodes/{segment(node)}/tasks", "upid", {"source": "active"}, asked=asked)
        running = [
            Upid.parse(entry["upid"], asked=asked, of=self.session.of) for entry in found if not entry.get("endtime")
        ]
        return [task for task in running if task.kind not in CONSOLES]

    def outlive(self, task: Upid) -> None:
        """Wait until somebody's task has ended, however it ended."""
        asked = f"see the running task {task.kind} {task.id} end"
        wait_for(
            f"the end of the running task {task.kind} {task.id} of {task.user}",
            lambda: self._ended(task, asked),
            deadline=self.session.deadline(),
            of=f"node {task.node}, {self.session.of}",
            progress=self.session.progress,
        )

    def _ended(self, task: Upid, asked: str) -> dict[str, t.Any] | Pending:
        status = self.session.get(f"{_path(task)}/status", asked=asked)
        if isinstance(status, dict) and status.get("status") == "stopped":
            return status
        return Pending(f"{task.kind} is running")

    def _judge(self, task: Upid, status: dict[str, t.Any], asked: str) -> None:
        verdict = str(status.get("exitstatus") or "the node does not say how it ended").strip()
        if verdict == "OK":
            return
        log = self.log(task)
        if verdict.startswith("WARNINGS"):
            self.warn(f"Task {task.kind} to {asked} ended with warnings: " + "; ".join(_warnings(log) or log[-3:]))
            return
        kind = Locked if "is locked (" in verdict or "can't lock file" in verdict else TaskFailed
        raise kind(asked, of=f"node {task.node}, {self.session.of}", answer=_explained(verdict, log), log=log)

    def log(self, task: Upid, lines: int = LOG_LINES) -> list[str]:
        """The last lines; that they cannot be read must not hide the verdict."""
        kept: list[str] = []
        for page in range(LOG_PAGES):
            query = {"start": page * LOG_PAGE, "limit": LOG_PAGE}
            try:
                found = self.session.get(f"{_path(task)}/log", query, asked=f"read the log of {task.kind}") or []
            except HomelabError as error:
                return [*kept, f"(the log could not be read: {error.answer})"]
            kept = [*kept, *(str(line.get("t", "")) for line in found)][-lines:]
            if len(found) < LOG_PAGE:
                break
        return kept


def delete_volume(session: Session, tasks: Tasks, node: str, volid: str, *, asked: str) -> None:
    """A file on a storage. Deleting what is gone succeeds, so it is sent again when its answer was lost."""
    path = f"/nodes/{segment(node)}/storage/{segment(volid.partition(':')[0])}/content/{segment(volid)}"
    upid = _deleted(session, path, asked)
    if upid:
        tasks.wait(upid, asked=asked)


def _deleted(session: Session, path: str, asked: str) -> object:
    for _attempt in range(1, _DELETIONS):
        try:
            return session.delete(path, asked=asked)
        except AnswerLost as error:
            session.progress(f"{error.message} Sending it again.")
    return session.delete(path, asked=asked)


def _path(task: Upid) -> str:
    return f"/nodes/{segment(task.node)}/tasks/{segment(task.text)}"


def _warnings(log: list[str]) -> list[str]:
    return [line for line in log if "warn" in line.lower() and not line.startswith("TASK")]


def _explained(verdict: str, log: list[str]) -> str:
    """The verdict, and what stood before it in the log where the verdict alone says little."""
    before = [line.strip() for line in log if line.strip() and not line.startswith("TASK ")]
    if "exit code" in verdict and before:
        return f"{verdict} ({before[-1]})"
    return verdict
