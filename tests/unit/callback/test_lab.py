# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback ``lab`` in runs of ansible-playbook, with our modules and with others."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[3]
SECRET = "hunter2-the-second"
MANIFESTS = "groundwork.homelab.manifests"
SECRET_OBJECT = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pw"}, "stringData": {"password": SECRET}}
TASKS: list[dict[str, t.Any]] = [
    {"name": "Say hello", "ansible.builtin.debug": {"msg": "hello\nworld"}},
    {"name": "Quiet", "ansible.builtin.set_fact": {"quiet_fact": 1}},
    {"name": "Loop", "ansible.builtin.debug": {"msg": "item"}, "changed_when": True, "loop": ["one", "two"]},
    {"name": "Plan", MANIFESTS: {"planned": True, "definitions": [SECRET_OBJECT]}, "check_mode": True},
    {"name": "Hide", "ansible.builtin.debug": {"msg": SECRET}, "no_log": True, "changed_when": True},
    {"name": "Ignored", "ansible.builtin.fail": {"msg": "no matter"}, "ignore_errors": True},
    {"name": "Broken", MANIFESTS: {"kubeconfig": "/nonexistent", "definitions": [SECRET_OBJECT]}},
]


@pytest.fixture
def show(tmp_path: pathlib.Path) -> t.Callable[..., str]:
    home = tmp_path / "ansible_collections/groundwork"
    home.mkdir(parents=True)
    (home / "homelab").symlink_to(ROOT)
    (tmp_path / "ansible.cfg").write_text("[defaults]\nstdout_callback = groundwork.homelab.lab\n")

    def run(tasks: list[dict[str, t.Any]], *options: str, hosts: str = "localhost") -> str:
        playbook = tmp_path / "lab.yml"
        play = {"name": "A play", "hosts": "all", "connection": "local", "gather_facts": False, "tasks": tasks}
        playbook.write_text(yaml.safe_dump([play]))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment |= {
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
            "ANSIBLE_HOME": str(tmp_path / "home"),
        }
        command = [sys.executable, "-m", "ansible.cli.playbook", "-i", f"{hosts},", str(playbook), *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        assert "callback" not in done.stderr, done.stderr
        return done.stdout

    return run


def test_a_run_shows_changes_failures_and_how_to_go_on(show: t.Callable[..., str]) -> None:
    text = show(TASKS)
    lines = [line.strip() for line in text.splitlines()]
    assert "-- A play" in text
    assert "hello" in lines and "world" in lines
    assert "Quiet" not in text
    assert "~ change Loop (one)" in lines and "~ change Loop (two)" in lines
    assert "+ would create Secret/default/pw" in lines
    assert "~ change Hide" in lines
    assert "failed (ignored)" in lines
    assert "wrong:     The kubeconfig /nonexistent does not exist" in lines
    assert any(line.startswith("try:       Set kubeconfig") for line in lines)
    assert "Changed: 3 changed." in lines
    assert "Failed: A play: Broken" in lines
    assert lines[-1] == "Correct the cause above, then run it again: it goes on from here."
    assert "\x1b[" not in text
    assert SECRET not in text


def test_check_mode_says_would_and_diff_shows_the_diff(show: t.Callable[..., str]) -> None:
    text = show(TASKS[:5], "--check", "--diff")
    assert "(check mode: nothing is written)" in text
    assert "~ would change Loop (one)" in text
    assert "+  password: (hidden)" in text
    assert "Check mode wrote nothing: 1 would be created, 3 would be changed." in text
    assert text.rstrip().endswith("Run it without --check to make these changes.")
    assert SECRET not in text


def test_several_hosts_are_named_and_a_quiet_run_says_so(show: t.Callable[..., str]) -> None:
    text = show([TASKS[1]], hosts="one,two")
    assert "Nothing to change." in text
    loud = show([TASKS[1]], "-v", hosts="one,two")
    assert "ok [one]" in loud and "ok [two]" in loud
