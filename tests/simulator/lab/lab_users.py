# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the lab share: users, and what a lab could leave behind."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys

import pytest

from simlab import binaries

SIMULATOR = pathlib.Path(__file__).parents[3] / "simulator"
NOBODY = 65534


def as_nobody(tmp_path: pathlib.Path) -> list[str]:
    """What stands before a command so that it runs as a plain user. When the interpreter lies in root's home, its
    folder and the lab's programs are shown to it by bind mounts in a mount namespace of its own."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is missing")
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    interpreter = pathlib.Path(os.path.realpath(sys.executable))
    hidden = next((parent for parent in reversed(interpreter.parents) if not os.stat(parent).st_mode & 0o001), None)
    if hidden is None:
        return drop
    view = tmp_path / "view"
    shown = [interpreter.relative_to(hidden).parts[0]]
    programs = binaries.cache_directory()
    if programs.is_relative_to(hidden) and programs.is_dir():
        shown.append(str(programs.relative_to(hidden)))
    for inside in shown:
        (view / inside).mkdir(parents=True)
    mounts = [f"mount --bind {hidden / inside} {view / inside}" for inside in shown]
    script = " && ".join([*mounts, f"mount --rbind {view} {hidden}", 'exec "$@"'])
    return ["unshare", "--mount", "sh", "-c", script, "sh", *drop]
