# SPDX-License-Identifier: GPL-3.0-or-later
"""Played Talos nodes in a process of their own, and playbooks that are measured against them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from multiprocessing.connection import Connection

from played import PATIENCE, Ran, _cpu, _seconds, playing
from rows import Cost, Json

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests/integration/talos"), str(ROOT / "tests/simulator/talos")]

from talos_lab import PlayedLab

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import secrets_bundle
from simlab.faults import Fault

#: Preparing many nodes takes minutes on a busy machine.
PREPARATION = 900


class PlayedTalos:
    """``nodes`` are a control plane ``cp1``, bootstrapped, and workers ``w1``…; all are configured."""

    def __init__(self, nodes: int) -> None:
        self.names = ["cp1", *(f"w{number}" for number in range(1, nodes))]

    def __enter__(self) -> t.Self:
        with contextlib.ExitStack() as stack:
            self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, self.folder, self.names), daemon=True)
            process.start()
            stack.callback(process.join, 20)
            stack.callback(self._pipe.send, None)
            self.cluster: Json = self._answer()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def call(self, what: t.Callable[..., t.Any], *arguments: t.Any) -> t.Any:
        """``what(lab, *arguments)`` in the nodes' process. Raises RuntimeError with its error's text."""
        self._pipe.send((what, arguments))
        return self._answer()

    def _answer(self) -> t.Any:
        if not self._pipe.poll(PREPARATION):
            raise RuntimeError("the played nodes do not answer")
        ok, answer = self._pipe.recv()
        if not ok:
            raise RuntimeError(answer)
        return answer

    def run(self, task: Json, *arguments: str) -> Ran:
        """A playbook of one task. Raises RuntimeError when it fails."""
        command = playing.write_playbook(self.folder / "play.yml", [task])
        environment = {
            **playing.environment(self.folder),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "TALOS_SECRETS": str(self.folder / "secrets/talos-secrets.yaml"),
        }
        mark, before, started = self.call(_mark), _cpu(), time.monotonic()
        done = subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        whole, cpu = time.monotonic() - started, _cpu() - before
        if done.returncode:
            raise RuntimeError(f"the playbook failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        (told,) = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"]
        reads, writes = self.call(_requests, mark)
        seconds = _seconds(told["task"]["duration"])
        cost = Cost(round(seconds, 3), round(whole, 3), round(cpu, 3), reads, writes)
        return Ran(cost, [told["hosts"]["localhost"]])


def serve(pipe: Connection, folder: pathlib.Path, names: t.Sequence[str]) -> None:
    """The nodes' process: answers calls until it is told to end."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    lab = PlayedLab(folder, loop, f"127.{64 + os.getpid() % 128}.{os.getpid() % 250}")
    try:
        pipe.send((True, _prepared(lab, names)))
    except Exception as error:
        pipe.send((False, repr(error)))
        return
    with contextlib.suppress(EOFError):
        while (request := pipe.recv()) is not None:
            what, arguments = request
            try:
                pipe.send((True, what(lab, *arguments)))
            except Exception as error:
                pipe.send((False, f"{what.__name__}: {error!r}"))
    lab.close()


# -- in the nodes' process -------------------------------------------------------------------------------------------


def delay(lab: PlayedLab, milliseconds: int) -> None:
    """Every call is answered so much later."""
    lab.faults.clear()
    if milliseconds:
        lab.faults.add(Fault("delay", api="talos", times=0, args={"seconds": milliseconds / 1000}))


def _prepared(lab: PlayedLab, names: t.Sequence[str]) -> Json:
    secrets_bundle.create(lab.secrets_path, secrets_bundle.generate())
    lab.power_on(*names)
    cluster = lab.cluster(*names)
    first = lab.address(names[0])
    steps: list[tuple[str, Json]] = [
        ("apply_config", {**cluster, "wait_timeout": PREPARATION}),
        ("bootstrap", {"node": first, "cluster_name": "lab", "wait_timeout": PREPARATION}),
    ]
    for module, params in steps:
        made = lab.run(module, **params)
        if made.get("failed"):
            raise RuntimeError(made["msg"])
    return cluster


def _mark(lab: PlayedLab) -> int:
    return lab.ledger.mark()


def _requests(lab: PlayedLab, mark: int) -> tuple[int, int]:
    mine = lab.ledger.entries(mark)
    return sum(not entry.write for entry in mine), sum(entry.write for entry in mine)
