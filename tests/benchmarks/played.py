# SPDX-License-Identifier: GPL-3.0-or-later
"""A played Proxmox VE in a process of its own, and playbooks that are measured against it.

The server must not share the interpreter with what is measured. What is to be done to the server is a function of a module,
called there with the lab as its first argument.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import typing as t
from multiprocessing.connection import Connection

from rows import Cost, Json

HELPERS = pathlib.Path(__file__).resolve().parents[1] / "integration" / "proxmox"
if str(HELPERS) not in sys.path:
    sys.path.append(str(HELPERS))

import playing
from pve_lab import PveLab

USER, TOKEN, SECRET = "ansible@pve", "groundwork", "token-not-a-secret"
#: A playbook that takes longer is stopped: nothing here does on a machine that is not overloaded.
PATIENCE = 600


@dataclasses.dataclass(frozen=True)
class Ran:
    """``results`` of the tasks in order (of a loop: with its ``results``)."""

    cost: Cost
    results: list[Json]

    @property
    def message(self) -> str:
        """Of the first task that failed."""
        return next((str(one.get("msg")) for one in self.results if one.get("failed")), "")


class Played:
    """``task_seconds`` are real seconds by the kind of task, such as ``qmcreate``; others end at once."""

    def __init__(self, task_seconds: t.Mapping[str, float] | None = None) -> None:
        self.task_seconds = dict(task_seconds or {})

    def __enter__(self) -> t.Self:
        with contextlib.ExitStack() as stack:
            self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, self.folder, self.task_seconds), daemon=True)
            process.start()
            stack.callback(process.join, 10)
            stack.callback(self._pipe.send, None)
            self.port, self.ca_path = self._answer()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def call(self, what: t.Callable[..., t.Any], *arguments: t.Any) -> t.Any:
        """``what(lab, *arguments)`` in the server's process. Raises RuntimeError with its error's text."""
        self._pipe.send((what, arguments))
        return self._answer()

    def _answer(self) -> t.Any:
        if not self._pipe.poll(120):
            raise RuntimeError("the played Proxmox does not answer")
        ok, answer = self._pipe.recv()
        if not ok:
            raise RuntimeError(answer)
        return answer

    def run(self, tasks: list[Json], *arguments: str, fails: bool = False) -> Ran:
        """A playbook with these tasks. Raises RuntimeError when it fails, or when it should and does not."""
        command = playing.write_playbook(self.folder / "play.yml", tasks)
        environment = {
            **playing.environment(self.folder),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",  # it tells how long each task took
            "PROXMOX_HOST": "127.0.0.1",
            "PROXMOX_PORT": str(self.port),
            "PROXMOX_USER": USER,
            "PROXMOX_TOKEN_ID": TOKEN,
            "PROXMOX_TOKEN_SECRET": SECRET,
            "PROXMOX_CA_PATH": self.ca_path,
        }
        mark, before, started = self.call(_mark), _cpu(), time.monotonic()
        done = subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        whole, cpu = time.monotonic() - started, _cpu() - before
        if bool(done.returncode) != fails:
            raise RuntimeError(
                f"the playbook ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        report = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"]
        reads, writes = self.call(_requests, mark)
        seconds = sum(_seconds(task["task"]["duration"]) for task in report)
        cost = Cost(round(seconds, 3), round(whole, 3), round(cpu, 3), reads, writes)
        return Ran(cost, [task["hosts"]["localhost"] for task in report])


def serve(pipe: Connection, folder: pathlib.Path, task_seconds: t.Mapping[str, float]) -> None:
    """The server's process: answers calls until it is told to end."""
    lab = PveLab(folder)
    scaled = {kind: seconds / lab.config.time_scale for kind, seconds in task_seconds.items()}
    times = dict.fromkeys(lab.config.task_seconds, 0.0) | scaled
    lab.config = dataclasses.replace(lab.config, task_seconds=times)
    with lab:
        pipe.send((True, (lab.port, lab.ca_path)))
        with contextlib.suppress(EOFError):
            while (request := pipe.recv()) is not None:
                what, arguments = request
                try:
                    pipe.send((True, what(lab, *arguments)))
                except Exception as error:
                    pipe.send((False, f"{what.__name__}: {error!r}"))


# -- in the server's process -----------------------------------------------------------------------------------------


def delay(lab: PveLab, milliseconds: int) -> None:
    """Every request is answered so much later."""
    if milliseconds:
        lab.fault("delay", times=0, seconds=milliseconds / 1000)


def converge(lab: PveLab, module: str, **params: t.Any) -> Json:
    """Call a module of ours in the server's process, for preparations. Raises RuntimeError when it fails."""
    import importlib

    found = importlib.import_module(f"ansible_collections.groundwork.homelab.plugins.modules.{module}")
    result = lab.run(found, **params).result
    if result.get("failed"):
        raise RuntimeError(result["msg"])
    return result


def _mark(lab: PveLab) -> int:
    return lab.ledger.mark()


def _requests(lab: PveLab, mark: int) -> tuple[int, int]:
    mine = [entry for entry in lab.ledger.entries(mark) if entry.caller.startswith(USER)]
    return sum(not entry.write for entry in mine), sum(entry.write for entry in mine)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _seconds(duration: t.Mapping[str, str]) -> float:
    import datetime

    start, end = (datetime.datetime.fromisoformat(duration[name].replace("Z", "+00:00")) for name in ("start", "end"))
    return (end - start).total_seconds()
