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


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    """The address of a server in its starting state, in a thread of its own."""
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    sock = socket.create_server(("127.0.0.1", 0))

    async def serve() -> None:
        root = tmp_path_factory.mktemp("proxmox")
        async with standalone.serving(sock, PASSWORD, root, "127.0.0.1:0", time_scale=0.01):
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
    return "" if same else text.getvalue()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_answer_is_the_recorded_one(address: str, section: str) -> None:
    assert _replay(address, section) == ""


def test_every_allowed_difference_still_is_one() -> None:
    if _ran != set(SECTIONS):
        pytest.skip("needs a run of all sections")
    blocks = HERE.joinpath("allow.txt").read_text("utf-8").split("\n\n")
    lines = [line for block in blocks if "runs alone" not in block for line in block.splitlines()]
    stale = [line for line in lines if line.strip() and not line.startswith("#") and line.strip() not in _used]
    assert not stale, stale
