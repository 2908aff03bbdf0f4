# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of playbooks against a played Proxmox VE, with ``ansible-playbook``, in the controller or as modules."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import yaml
from pve_lab import DISK, PveLab

from ansible_collections.groundwork.homelab.plugins import module_utils

#: Where the collections' tree begins, under whatever name the tests import it.
COLLECTIONS = pathlib.Path(next(iter(module_utils.__path__))).parents[4]
GROUP = "group/groundwork.homelab.proxmox"


def tasks_of(lab: PveLab, examples: str) -> list[dict[str, t.Any]]:
    """With the addresses and secrets of the lab in place of those of the documentation."""
    checksum = f"sha256:{hashlib.sha256(DISK).hexdigest()}"
    text = examples.replace("https://cloud.example.org/debian-13-amd64.qcow2", f"{lab.web}/debian-13-amd64.qcow2")
    text = text.replace("          version: v1.13.9", f"          version: v1.13.9\n          url: {lab.factory}")
    tasks: list[dict[str, t.Any]] = yaml.safe_load(text)
    for task in tasks:
        for name, options in task.items():
            if name.startswith("groundwork."):
                options.pop("api_host", None)
                for image in options.get("images", []):
                    image.update({"checksum": checksum} if "checksum" in image else {})
    return tasks


def environment(home: pathlib.Path) -> dict[str, str]:
    """Nothing of the machine's own Ansible; results as JSON. What is kept lies below ``home``."""
    config = home / "ansible.cfg"
    config.write_text("[defaults]\n")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = pathlib.Path(sys.prefix) / "lib" / version / "site-packages"
    others = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON", "PROXMOX"))
    }
    return {
        **others,
        "ANSIBLE_COLLECTIONS_PATH": f"{COLLECTIONS}:{site}",
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_CALLBACK_PLUGINS": str(pathlib.Path(__file__).parents[1] / "callback"),
        "ANSIBLE_STDOUT_CALLBACK": "results_json",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_HOME": str(home / "home"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }


def write_playbook(path: pathlib.Path, tasks: list[dict[str, t.Any]], **keywords: t.Any) -> list[str]:
    """A playbook of one play on localhost; the command that runs it."""
    page = {"hosts": "localhost", "connection": "local", "gather_facts": False, **keywords, "tasks": tasks}
    path.write_text(yaml.safe_dump([page]))
    return [sys.executable, "-m", "ansible.cli.playbook", "-i", "localhost,", str(path)]


def play(
    lab: PveLab, tasks: list[dict[str, t.Any]], *arguments: str, in_process: bool, **variables: t.Any
) -> list[dict[str, t.Any]]:
    """The results of the tasks, in order."""
    command = write_playbook(
        lab.root / "play.yml",
        tasks,
        vars={"groundwork_in_process": in_process, "proxmox_token_secret": "token-not-a-secret", **variables},
        module_defaults={GROUP: {"api_port": lab.port, "ca_path": lab.ca_path, "api_timeout": 10}},
    )
    login = {
        "PROXMOX_HOST": "127.0.0.1",
        "PROXMOX_TOKEN_ID": "ansible@pve!groundwork",
        "PROXMOX_TOKEN_SECRET": "token-not-a-secret",
    }
    done = subprocess.run(
        [*command, *arguments],
        env={**environment(lab.root), **login},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "token-not-a-secret" not in done.stdout + done.stderr
    assert "{" in done.stdout, done.stdout + done.stderr
    report = json.loads(done.stdout[done.stdout.index("{") :])
    return [task["hosts"]["localhost"] for task in report["plays"][0]["tasks"]]


def without_ways(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """What only one of the ways adds."""
    more = ("invocation", "ansible_facts", "_ansible_no_log", "action", "failed")
    return {key: value for key, value in result.items() if key not in more}
