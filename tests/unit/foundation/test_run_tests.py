# SPDX-License-Identifier: GPL-3.0-or-later
"""What failed beside other tests runs once more, alone, and is told."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[3] / "scripts" / "run_tests.py"
ONLY_THE_SECOND_TIME = """
import pathlib

def test_late():
    file = pathlib.Path(__file__).with_suffix(".once")
    there = file.exists()
    file.touch()
    assert there

def test_well():
    pathlib.Path(__file__).with_suffix(".runs").open("a").write("x")
"""
ALWAYS = "def test_wrong():\n    assert False\n"
MANY = "import pytest\n@pytest.mark.parametrize('number', range(6))\ndef test_wrong(number):\n    assert False\n"


def run(folder: pathlib.Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    command = [sys.executable, str(SCRIPT), "-q", "-n", "1", "-p", "no:cacheprovider", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_what_passes_alone_is_told_by_its_name(tmp_path: pathlib.Path) -> None:
    done = run(tmp_path, ONLY_THE_SECOND_TIME)
    assert done.returncode == 0, done.stdout
    assert "== 1 failed beside others; once more, alone" in done.stdout
    assert done.stdout.strip().endswith("test_it.py::test_late")
    assert (tmp_path / "test_it.runs").read_text(encoding="utf-8") == "x"


@pytest.mark.parametrize(
    ("text", "status", "again"),
    [(ALWAYS, 1, True), (MANY, 1, False), ("import nowhere_to_be_found\n", 1, False), ("", 5, False)],
    ids=["fails twice", "too many", "cannot be collected", "nothing there"],
)
def test_everything_else_is_as_pytest_says(tmp_path: pathlib.Path, text: str, status: int, again: bool) -> None:
    done = run(tmp_path, text)
    assert done.returncode == status, done.stdout
    assert ("once more, alone" in done.stdout) is again
    assert "passed only alone" not in done.stdout
