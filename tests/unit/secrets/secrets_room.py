# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module of the secrets room in this process, its parameters checked as Ansible does it."""

from __future__ import annotations

import copy
import os
import pathlib
import subprocess
import sys
import types
import typing as t

import yaml
from ansible.module_utils.common.arg_spec import ModuleArgumentSpecValidator

from ansible_collections.groundwork.homelab.plugins.module_utils import task as tasks

ROOT = pathlib.Path(__file__).parents[3]


def run(module: types.ModuleType, check: bool = False, **params: t.Any) -> dict[str, t.Any]:
    """The result, with ``warnings`` and the ``secrets`` that would be masked. What is wrong with the parameters fails."""
    checked = ModuleArgumentSpecValidator(**module.SPEC.keywords()).validate(copy.deepcopy(params))
    if checked.error_messages:
        return {"failed": True, "changed": False, "changes": [], "msg": checked.error_messages[0]}
    warnings: list[str] = []
    secrets = set(checked._no_log_values)
    task = tasks.Task(checked.validated_parameters, check, True, warnings.append, secrets=secrets)
    return {**tasks.execute(module.run, task), "warnings": warnings, "secrets": secrets}


def contents(folder: pathlib.Path) -> dict[str, tuple[bytes, int, int]]:
    """All files below a folder: their bytes, modes and times of writing."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o777, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def play(
    folder: pathlib.Path, tasks_of: list[dict[str, t.Any]], *options: str, **variables: t.Any
) -> subprocess.CompletedProcess[str]:
    """ansible-playbook with these tasks in a folder."""
    playbook, config = folder / "play.yml", folder / "ansible.cfg"
    page = {
        "hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks_of,
    }  # fmt: skip
    playbook.write_text(yaml.safe_dump([page]))
    config.write_text("[defaults]\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SOPS_"))}
    environment |= {
        "ANSIBLE_COLLECTIONS_PATH": str(pathlib.Path(tasks.__file__).parents[4]),
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_HOME": str(folder / ".home"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    command = [sys.executable, "-m", "ansible.cli.playbook", "-i", "localhost,", str(playbook), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
