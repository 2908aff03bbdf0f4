# SPDX-License-Identifier: GPL-3.0-or-later
"""A collection tree with the plugins of this one and one more module, ``probe``; and ansible-playbook on it."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
ACTION = """
import os

from ansible_collections.groundwork.homelab.plugins.plugin_utils.in_process import InProcess


LOADED_IN = os.getpid()


class ActionModule(InProcess, group="{group}"):
    pass
"""
RUNTIME = {
    "requires_ansible": ">=2.19.0",
    "action_groups": {"proxmox": ["groundwork.homelab.probe"], "kubernetes": ["groundwork.homelab.other"]},
}


@dataclasses.dataclass
class Outcome:
    """What a playbook printed, and the results that it registered, by name."""

    text: str
    code: int
    results: dict[str, dict[str, t.Any]]


@pytest.fixture(scope="session")
def collections(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """``ansible_collections/groundwork/homelab`` with ``probe``, and ``other``, the same in another group."""
    root = tmp_path_factory.mktemp("collections")
    home = root / "ansible_collections/groundwork/homelab"
    for folder in ("plugins/modules", "plugins/action", "meta"):
        (home / folder).mkdir(parents=True)
    (home / "plugins/module_utils").symlink_to(ROOT / "plugins/module_utils")
    (home / "plugins/plugin_utils").symlink_to(ROOT / "plugins/plugin_utils")
    (home / "meta/runtime.yml").write_text(yaml.safe_dump(RUNTIME))
    for name, group in (("probe", "proxmox"), ("other", "kubernetes")):
        (home / f"plugins/modules/{name}.py").write_text((HERE / "probe.py").read_text())
        (home / f"plugins/action/{name}.py").write_text(ACTION.format(group=group))
    (root / "ansible.cfg").write_text("[defaults]\n")
    return root


@pytest.fixture
def play(collections: pathlib.Path, tmp_path: pathlib.Path) -> t.Callable[..., Outcome]:
    """Run tasks (a task's ``name`` names its result) on localhost; ``options`` go to ansible-playbook."""

    def run(tasks: list[dict[str, t.Any]], *options: str, env: dict[str, str] | None = None, **keys: t.Any) -> Outcome:
        saved = tmp_path / "results.json"
        names = [task["name"] for task in tasks]
        registered = [{"ignore_errors": True, "register": task["name"], **task} for task in tasks]
        values = "{" + ", ".join(f"'{name}': {name}" for name in names) + "}"
        save = {
            "ansible.builtin.copy": {"content": "{{ " + values + " | to_json }}", "dest": str(saved), "mode": "0600"},
            "check_mode": False,
            "diff": False,
            "no_log": True,
        }
        playbook = tmp_path / "play.yml"
        page = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [*registered, save]}
        playbook.write_text(yaml.safe_dump([{**page, **keys}]))
        done = subprocess.run(
            [sys.executable, "-m", "ansible.cli.playbook", "-i", "localhost,", str(playbook), *options],
            env={**os.environ, **environment(collections, tmp_path), **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        results = json.loads(saved.read_text()) if saved.exists() else {}
        return Outcome(done.stdout + done.stderr, done.returncode, results)

    return run


def environment(collections: pathlib.Path, home: pathlib.Path) -> dict[str, str]:
    return {
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_CONFIG": str(collections / "ansible.cfg"),
        "ANSIBLE_HOME": str(home / "home"),
        # Ansible writes to $HOME and looks in the home directory of the user, which may differ.
        "ANSIBLE_ASYNC_DIR": str(home / "async"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_INJECT_INVOCATION": "true",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_NOCOLOR": "1",
        "COLUMNS": "200",
    }
