# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that hold secrets: whole or not at all, for their owner only, and nothing of them left beside."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.errors import HomelabError, InvalidInput

KILLED = """
import os, signal, sys
from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
def killed(*_): os.kill(os.getpid(), signal.SIGKILL)
os.link = os.replace = killed
import pathlib
getattr(private_files, sys.argv[1])(pathlib.Path(sys.argv[2]), "secret")
"""


def beside(path: pathlib.Path) -> list[str]:
    return sorted(name for name in os.listdir(path.parent) if name != path.name)


@pytest.mark.parametrize("way", ["write_new", "replace"])
def test_what_a_killed_writer_left_is_cleared_away_by_the_next(way: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "own" / "bundle [1].yaml"
    done = subprocess.run([sys.executable, "-c", KILLED, way, str(path)], env={"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == -signal.SIGKILL
    assert len(beside(path)) == 1
    assert (path.parent / beside(path)[0]).stat().st_mode & 0o777 == 0o600
    getattr(private_files, way)(path, "secret")
    assert beside(path) == []
    assert path.read_text() == "secret"


def test_what_a_living_writer_is_writing_is_left_alone(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bundle.yaml"
    others = [f".bundle.yaml.{os.getppid()}-abc", ".bundle.yaml.backup", ".bundle.yaml.old-1"]
    for name in others:
        (tmp_path / name).touch()
    private_files.replace(path, "secret")
    assert beside(path) == sorted(others)


def test_a_file_that_is_there_is_not_overwritten_as_new(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "own" / "bundle.yaml"
    assert private_files.write_new(path, "first")
    assert not private_files.write_new(path, "second")
    assert path.read_text() == "first"
    assert private_files.mode_of(path) == "0600"
    assert private_files.mode_of(path.parent) == "0700"
    assert beside(path) == []


def test_a_file_that_others_may_read_is_refused_with_what_to_do(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bundle.yaml"
    path.write_text("secret")
    path.chmod(0o640)
    with pytest.raises(InvalidInput, match="has the mode 0640.*\n?.*chmod 600"):
        private_files.refuse_open(path)


def test_a_path_that_cannot_be_written_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomelabError, match=r"write .*file/bundle.yaml"):
        private_files.replace(tmp_path / "file" / "bundle.yaml", "secret")
