# SPDX-License-Identifier: GPL-3.0-or-later
"""The program ``ip``: what it refuses and what it never ends is told with the command."""

from __future__ import annotations

import asyncio
import pathlib

import pytest

from simlab import iproute


def fake(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "ip"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_refused_command_is_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "echo 'Cannot find device \"x\"' >&2; echo 'Command failed -:2' >&2; exit 1")
    with pytest.raises(iproute.NetworkError, match='^ip link del x in namespace vm1: Cannot find device "x"$'):
        asyncio.run(iproute.ip(["link set lo up", "link del x"], "vm1"))


def test_a_command_that_does_not_end_is_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(iproute, "_PATIENCE", 0.3)
    with pytest.raises(iproute.NetworkError, match=r"^ip link del x: not done after 0\.3 s$"):
        asyncio.run(iproute.ip(["link del x"]))


def test_without_the_program_it_says_what_to_install(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(iproute.NetworkError, match="install iproute2"):
        asyncio.run(iproute.ip(["link set lo up"]))
