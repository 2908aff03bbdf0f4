# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks: work that goes on after the answer, known by its UPID."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import itertools
import re
import time
import typing as t

from .errors import ApiError, task_text

Work = t.Callable[["Task"], t.Awaitable[None]]
Undo = t.Callable[[], None]
UPID = re.compile(
    r"UPID:([a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):"
    r"([0-9A-Fa-f]{8}):([^:\s]+):([^:\s]*):([^:\s]+):"
)


#: What some tasks make of being stopped.
_INTERRUPTED = {
    "qmclone": "clone failed: interrupted by signal",
    "qmmove": "storage migration failed: interrupted by signal",
    "vzdump": "interrupted by signal",
}


@dataclasses.dataclass
class Task:
    upid: str
    node: str
    type: str
    id: str
    user: str
    pid: int
    pstart: int
    start: int
    end: int | None = None
    exit_status: str | None = None
    lines: list[str] = dataclasses.field(default_factory=list)
    warnings: int = 0
    runner: asyncio.Task[None] | None = None
    #: Seconds that its work still takes: :meth:`spend` lets them pass.
    to_spend: float = 0.0

    def log(self, line: str) -> None:
        self.lines += line.split("\n")

    def warn(self, line: str) -> None:
        self.warnings += 1
        self.lines.append(f"WARN: {line}")

    @property
    def running(self) -> bool:
        return self.end is None

    @property
    def failed(self) -> bool:
        return not self.running and re.fullmatch(r"OK|WARNINGS: \d+", self.exit_status or "") is None

    async def spend(self) -> None:
        """Let the time of the task's work pass; once."""
        seconds, self.to_spend = self.to_spend, 0.0
        await asyncio.sleep(seconds)

    def finish(self, status: str) -> None:
        status = status.replace("\n", " ")  # one line of the log
        self.exit_status, self.end = status, int(time.time())
        self.lines.append(f"TASK {status}" if status == "OK" else f"TASK ERROR: {status}")

    def summary(self) -> dict[str, t.Any]:
        """As the task lists show it."""
        shown: dict[str, t.Any] = {
            "upid": self.upid, "node": self.node, "type": self.type, "id": self.id, "user": self.user,
            "pid": self.pid, "pstart": self.pstart, "starttime": self.start,
        }  # fmt: skip
        if not self.running:
            shown |= {"endtime": self.end, "status": self.exit_status}
        return shown


#: Tasks that do their work under the lock of their guest, so that others wait for all of it.
UNDER_LOCK = frozenset(
    """qmstart qmstop qmshutdown qmreboot qmtemplate qmsnapshot qmdelsnapshot qmrollback qmdestroy qmmove qmconfig
    qmigrate resize move_volume vzstart vzstop vzshutdown vzreboot vzsnapshot vzdelsnapshot vzrollback vztemplate
    vzmigrate""".split()
)
#: The task as whose worker the code runs.
current: contextvars.ContextVar[Task | None] = contextvars.ContextVar("current", default=None)


class Tasks:
    """All tasks of all nodes. ``seconds`` are task times, scaled by ``scale``."""

    def __init__(self, seconds: t.Mapping[str, float], scale: float) -> None:
        self.by_upid: dict[str, Task] = {}
        self._seconds = seconds
        self._scale = scale
        self._pids = itertools.count(1000)
        self._boot = time.time()
        #: Faults for the next task of a request: fixed error, extra seconds.
        self.fault_text: str | None = None
        self.fault_seconds: float | None = None

    def start(self, node: str, kind: str, ident: str, user: str, work: Work, undo: Undo | None = None) -> str:
        """Start a task; its UPID. ``undo`` takes back what was done before the task when it fails or is stopped."""
        pid, now = next(self._pids), int(time.time())
        pstart = int((time.time() - self._boot) * 100) + pid
        upid = f"UPID:{node}:{pid:08X}:{pstart:08X}:{now:08X}:{kind}:{ident}:{user}:"
        task = Task(upid, node, kind, ident, user, pid, pstart, now)
        self.by_upid[upid] = task
        faults, self.fault_text, self.fault_seconds = (self.fault_text, self.fault_seconds), None, None
        task.runner = asyncio.create_task(self._run(task, work, undo, *faults), name=upid)
        return upid

    async def _run(self, task: Task, work: Work, undo: Undo | None, text: str | None, seconds: float | None) -> None:
        current.set(task)
        task.to_spend = self._seconds.get(task.type, 0) * self._scale if seconds is None else seconds
        try:
            if text is not None or task.type not in UNDER_LOCK:
                await task.spend()
            if text is not None:
                raise ApiError(500, text)
            await work(task)
            await task.spend()  # that of work which found nothing to lock
        except asyncio.CancelledError:
            _take_back(undo)
            task.finish(_INTERRUPTED.get(task.type, "received interrupt"))
        except ApiError as error:
            _take_back(undo)
            task.finish(task_text(error))
        except Exception as error:
            # A defect of the simulator must be seen, not hang a client that polls.
            task.finish(f"simulator error: {error!r}")
            raise
        else:
            self._succeed(task)

    @staticmethod
    def _succeed(task: Task) -> None:
        if task.warnings:
            task.exit_status, task.end = f"WARNINGS: {task.warnings}", int(time.time())
            task.lines.append(f"TASK WARNINGS: {task.warnings}")
        else:
            task.finish("OK")

    async def ended_within(self, upid: str, seconds: float) -> Task | None:
        """A task that ends within this time (of the lab), None when it goes on."""
        task = self.by_upid[upid]
        if task.runner is not None:
            await asyncio.wait([task.runner], timeout=max(1.0, seconds * self._scale))
        return None if task.running else task

    def stop(self, task: Task) -> None:
        if task.running and task.runner is not None:
            task.runner.cancel()

    def stop_all(self, kind: str, ident: str) -> None:
        for task in self.by_upid.values():
            if task.type == kind and task.id == ident:
                self.stop(task)

    def stop_kind(self, kind: str) -> None:
        for task in self.by_upid.values():
            if task.type == kind:
                self.stop(task)

    async def close(self) -> None:
        """Interrupt what runs and wait for it."""
        runners = [task.runner for task in self.by_upid.values() if task.runner and task.running]
        for runner in runners:
            runner.cancel()
        for runner in runners:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await runner


def _take_back(undo: Undo | None) -> None:
    if undo is not None:
        undo()
