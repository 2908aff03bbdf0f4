# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated Proxmox VE answers as the recorded one did: section by section, request by request."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import io
import json
import pathlib
import socket
import sys
import threading
import time
import types
import typing as t

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "simulator"))
sys.path.append(str(HERE.parent))
sys.path.append(str(HERE))

import judgement
import task_logs

from simlab.proxmox import standalone

PASSWORD = "of-the-replay-1"
#: Every section of the recording, in its order.
SECTIONS = (
    "auth create_bad create_norm put locks power resize clone snapshot disks perms access cluster storage backup lxc "
    "firewall lxc_options storage_types access_full pools jobs reads mappings images cloudinit agent disks_put "
    "lxc_locked"
).split()


def _load() -> t.Any:
    spec = importlib.util.spec_from_file_location("proxmox_replay", HERE / "replay.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.time = types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: time.sleep(seconds / 20))
    return module


def _moment_of_the_recording() -> float:
    """What the recorded node's clock showed: the next runs of its backup jobs are counted from it."""
    lines = HERE.joinpath("answers.jsonl").read_text("utf-8").splitlines()
    answers = (answer for answer in map(json.loads, lines) if answer["request"]["path"] == "/nodes/pve1/time")
    return float(next(answer["body"]["data"]["time"] for answer in answers if answer["case"] == "time"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    """The address of a server in its starting state, in a thread of its own."""
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    sock = socket.create_server(("127.0.0.1", 0))

    async def serve() -> None:
        root = tmp_path_factory.mktemp("proxmox")
        clock = standalone.clock_from(_moment_of_the_recording())
        async with standalone.serving(sock, PASSWORD, root, "127.0.0.1:0", time_scale=0.01, clock=clock):
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(20), "the server does not start"
    yield f"https://127.0.0.1:{sock.getsockname()[1]}"
    loop.call_soon_threadsafe(done.set)
    thread.join(20)


#: Which lines of allow.txt hid something, and which sections have run.
_used: set[str] = set()
_ran: set[str] = set()
_failed: list[str] = []
_RECORDED = "pve-manager 9.1.8, qemu-server 9.1.6, pve-storage 9.1.1, pve-access-control 9.0.6, pve-container 6.1.2"


def _replay(address: str, section: str) -> str:
    """The report of the differences, empty when there are none."""
    replay = _load()
    real_allowed = replay.allowed

    def allowed(key: tuple[str, ...], what: str, patterns: list[str]) -> bool:
        _used.update(pattern for pattern in patterns if real_allowed(key, what, [pattern]))
        return bool(real_allowed(key, what, patterns))

    replay.allowed = allowed
    _ran.add(section)
    runner = replay.Runner(address, "root@pam", PASSWORD, "pve1", verify=False)
    runner.quiet, runner.section = True, section
    replay.load_cases(HERE / "cases.py")[section](runner)
    recorded = [json.loads(line) for line in (HERE / "answers.jsonl").read_text("utf-8").splitlines()]
    allow = HERE.joinpath("allow.txt").read_text("utf-8") + HERE.joinpath("artefacts.txt").read_text("utf-8")
    arguments = argparse.Namespace(
        section=[section], answers_only=False, report=None, allow=types.SimpleNamespace(read_text=lambda _: allow)
    )
    with contextlib.redirect_stdout(io.StringIO()) as text:
        same = replay.compare(recorded, runner.records, arguments)
    if not same:
        _failed.append(f"section {section}: {text.getvalue().splitlines()[0]}")
    logs = task_logs.differences([one for one in recorded if one["section"] == section], runner.records)
    if logs:
        _failed.append(f"section {section}: logs of tasks differ")
    return logs if same else text.getvalue() + logs


@pytest.mark.parametrize("section", SECTIONS)
def test_every_answer_is_the_recorded_one(address: str, section: str) -> None:
    assert _replay(address, section) == ""


def _reasons() -> t.Iterator[tuple[str, str]]:
    """The lines of the allow lists, each with the comment above it."""
    for name in ("allow.txt", "artefacts.txt"):
        why: list[str] = []
        fresh = True
        for line in HERE.joinpath(name).read_text("utf-8").splitlines():
            if line.startswith("#"):
                why = [*([] if fresh else why), line.lstrip("# ")]
                fresh = False
            elif not line.strip():
                fresh = True
            else:
                fresh = True
                yield line.strip(), " ".join(why)


def _write_judgement() -> None:
    recorded = [json.loads(line) for line in HERE.joinpath("answers.jsonl").read_text("utf-8").splitlines()]
    original = HERE.parents[3] / "shared" / "recordings" / "proxmox" / "answers.jsonl"
    if not original.exists():
        missing = "the original of the recordings (../shared); their copy in this checkout was replayed"
    elif original.read_bytes() != HERE.joinpath("answers.jsonl").read_bytes():
        missing = "an up to date copy of the recordings: ../shared has others"
    else:
        missing = ""
    judgement.Judgement(
        name="proxmox-recordings",
        judge="Proxmox VE, recorded",
        version=_RECORDED,
        judged="the simulated Proxmox VE: its answers to the recorded requests",
        cases=len(recorded),
        explained=[(pattern, why) for pattern, why in _reasons() if pattern in _used],
        unexplained=list(_failed),
        missing=missing,
        notes=[f"{len(SECTIONS)} sections, each request with its status, texts, errors, body and task."],
    ).write()


def test_every_allowed_difference_still_is_one() -> None:
    if _ran != set(SECTIONS):
        pytest.skip("needs a run of all sections")
    _write_judgement()
    blocks = HERE.joinpath("allow.txt").read_text("utf-8").split("\n\n")
    sometimes = ("runs alone", "now and then")
    lines = [line for block in blocks if not any(word in block for word in sometimes) for line in block.splitlines()]
    stale = [line for line in lines if line.strip() and not line.startswith("#") and line.strip() not in _used]
    assert not stale, stale
