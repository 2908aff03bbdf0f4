# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that is started again when it ends, with back-off, as containers are."""

from __future__ import annotations

import asyncio
import collections
import collections.abc as c
import contextlib
import datetime
import signal
import typing as t

from ..contracts import Namespace

#: Lab seconds before the first restart; doubled for each more, up to the limit, as the kubelet does.
BACKOFF, BACKOFF_LIMIT = 10.0, 300.0
#: However fast the lab's time runs, a process is not started more often than this (real seconds).
SHORTEST_BACKOFF = 1.0
#: A run of this many lab seconds clears the back-off.
BACKOFF_RESET = 600.0
#: Real seconds between SIGTERM and SIGKILL.
GRACE = 2.0


class Supervised:
    """One process in a namespace. ``state`` is waiting (stopped, or in back-off), running or terminated."""

    def __init__(
        self,
        name: str,
        namespace: Namespace,
        *,
        time_scale: float = 1.0,
        on_line: c.Callable[[str], bool] | None = None,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.time_scale = time_scale
        self.restarts = 0
        self.exit_code: int | None = None
        self.finished_at: datetime.datetime | None = None
        self.started_at: datetime.datetime | None = None
        self.in_backoff = False
        self.lines: collections.deque[str] = collections.deque(maxlen=500)
        self.changed = asyncio.Event()  # set anew at each change of state
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def running(self) -> bool:
        return self.pid is not None

    @property
    def wanted(self) -> bool:
        """Whether somebody has started it and not stopped it."""
        return self._task is not None

    async def start(self, argv: t.Sequence[str], env: t.Mapping[str, str]) -> None:
        """Start, and start again whenever it ends. Returns when the first process runs (or could not be run)."""
        await self.stop(kill=True)
        self.restarts, self.exit_code, self.in_backoff = 0, None, False
        begun = asyncio.Event()
        self._task = asyncio.create_task(self._keep(list(argv), dict(env), begun), name=f"process {self.name}")
        await begun.wait()

    async def stop(self, *, kill: bool = False, grace: float = GRACE) -> None:
        """SIGTERM, then SIGKILL after ``grace`` real seconds; or SIGKILL at once. Returns when it is gone."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            await _end(process, kill, grace)
        self.in_backoff = False
        self.changed.set()

    def say(self, text: str) -> None:
        """A line of the log that the process itself could not write."""
        self.lines.append(text)

    async def _keep(self, argv: list[str], env: dict[str, str], begun: asyncio.Event) -> None:
        backoff = BACKOFF
        while True:
            self.started_at = _now()
            self.in_backoff = False
            code = await self._run(argv, env, begun)
            ran = (_now() - self.started_at).total_seconds()
            self.exit_code, self.finished_at, self.in_backoff = code, _now(), True
            begun.set()
            self._announce()
            if ran > BACKOFF_RESET * self.time_scale:
                backoff = BACKOFF
            await asyncio.sleep(max(SHORTEST_BACKOFF, backoff * self.time_scale))
            backoff = min(backoff * 2, BACKOFF_LIMIT)
            self.restarts += 1

    async def _run(self, argv: list[str], env: dict[str, str], begun: asyncio.Event) -> int:
        starting = asyncio.ensure_future(
            self.namespace.spawn(
                argv,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=1 << 20,
            )
        )
        try:
            process = await asyncio.shield(starting)
        except OSError as error:
            self.say(f"cannot start {argv[0]}: {error}")
            return 127
        except asyncio.CancelledError:  # stopped while it starts: it must not be left behind
            await _end(await starting, kill=True, grace=GRACE)
            raise
        self._process = process
        begun.set()
        self._announce()
        if process.stdout is not None:
            await self._read(process.stdout)
        return await process.wait()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # one line longer than the limit: it is dropped, the next one counts
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            if self._on_line is None or not self._on_line(text):
                self.lines.append(text)

    def _announce(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


async def _end(process: asyncio.subprocess.Process, kill: bool, grace: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), grace)
    except asyncio.TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
