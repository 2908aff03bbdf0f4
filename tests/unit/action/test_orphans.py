# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker whose ansible-playbook was killed ends: nobody would read its result, and its words would block for ever."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time

SCRIPT = """
import os, pathlib, sys, time, types
from ansible_collections.groundwork.homelab.plugins.plugin_utils.in_process import Call
said = pathlib.Path(sys.argv[1])
task = types.SimpleNamespace(args={}, no_log=False)
if os.fork():
    while not said.exists():
        time.sleep(0.01)
    os._exit(0)
call = Call(types.SimpleNamespace(_task=task), types.SimpleNamespace(SPEC=None, run=None), {})
parent = os.getppid()
call._progress("here")
said.write_text("begun")
for _ in range(1000):
    if os.getppid() != parent:
        break
    time.sleep(0.01)
said.write_text("orphan")
call._progress("gone")
said.write_text("still here")
"""


def test_a_worker_ends_when_its_playbook_was_killed(tmp_path: pathlib.Path) -> None:
    said = tmp_path / "said"
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{SCRIPT}"
    done = subprocess.run(
        [sys.executable, "-u", "-c", code, said], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and "here" in done.stdout, done.stderr
    deadline = time.monotonic() + 20
    while said.read_text() == "begun" and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    assert said.read_text() == "orphan"
