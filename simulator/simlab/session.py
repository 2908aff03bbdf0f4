# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens in the sandbox, from the lab's start to its end: a rehearsal, or a lab that is kept for others."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import sys
import time

from . import report, sandbox
from .control import Control
from .inventory import InventoryError
from .lab import Lab, LabOptions
from .network import NetworkError
from .playbooks import Plan
from .runs import Run, Runner


@dataclasses.dataclass(frozen=True)
class Session:
    lab: Lab
    runner: Runner
    control: Control


def begin(options: LabOptions, collection: pathlib.Path, plan: Plan | None) -> int:
    """Start the lab, rehearse or serve, stop the lab; the exit status. For the sandbox's lab process."""
    try:
        return asyncio.run(_main(options, collection, plan))
    except (InventoryError, NetworkError, FileNotFoundError, PermissionError) as error:
        print(f"rehearse: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


async def _main(options: LabOptions, collection: pathlib.Path, plan: Plan | None) -> int:
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: task.cancel() if task else None)
    lab = Lab(options)
    session: Session | None = None
    started = time.monotonic()
    try:
        await lab.start()
        runner = Runner(lab, collection)
        session = Session(lab, runner, Control(lab, runner))
        _tell_environment(runner)
        await session.control.start()
        seconds = time.monotonic() - started
        print(f"rehearse: simulated lab {lab.inventory.name} is up after {seconds:.1f} s", file=sys.stderr, flush=True)
        return await (rehearse(session, plan) if plan else serve(session))
    except asyncio.CancelledError:
        return 130
    finally:
        with contextlib.suppress(asyncio.TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(_end(lab, session), 10)


def _tell_environment(runner: Runner) -> None:
    """For ``rehearse shell`` and ``rehearse exec``."""
    path = sandbox.RUN / "environment.json"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(runner.environment(), file)


async def _end(lab: Lab, session: Session | None) -> None:
    if session is not None:
        await session.runner.kill()
        await session.control.stop()
    await lab.stop()


async def rehearse(session: Session, plan: Plan) -> int:
    """Run the playbooks one after the other; report; stay when asked to. The worst exit status."""
    runs: list[Run] = []
    try:
        for name in plan.playbooks:
            runs.append(await session.runner.playbook(name, plan.arguments))
    finally:
        if plan.report:
            report.write(plan.report, session.lab.inventory.name, runs)
    print(report.text(runs, await session.lab.status()), flush=True)
    if plan.keep:
        await _keep(session)
    return max((run.exit_status for run in runs), default=0)


async def _keep(session: Session) -> None:
    """A shell when there is a terminal; else until somebody stops the lab."""
    print("The lab goes on: rehearse shell, rehearse status, rehearse stop.", flush=True)
    if not sys.stdin.isatty():
        await session.control.stopping.wait()
        return
    print("This is a shell in it; leaving it ends the lab.", flush=True)
    shell = await session.runner.terminal([os.environ.get("SHELL", "/bin/sh")])
    waiting = [asyncio.ensure_future(shell.wait()), asyncio.ensure_future(session.control.stopping.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for future in waiting:
        future.cancel()


async def serve(session: Session) -> int:
    """Say on standard output that the lab is there, and stay until standard input ends or somebody stops it."""
    print(json.dumps({"pid": session.lab.options.outer_pid, "lab": str(session.lab.options.folder)}), flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            ended.set()

    with contextlib.suppress(PermissionError):  # a file or /dev/null: then only a stop ends the lab
        loop.add_reader(0, read)
    waiting = [asyncio.ensure_future(ended.wait()), asyncio.ensure_future(session.control.stopping.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for future in waiting:
        future.cancel()
    return 0
