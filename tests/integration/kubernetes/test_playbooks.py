# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``manifests`` from playbooks: its documented examples, in the controller and as a module of its own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.groundwork.homelab.plugins.modules import manifests

ROOT = pathlib.Path(__file__).parents[3]
SECRET = "hunter2-the-second"
FQCN = "groundwork.homelab.manifests"
FILES = {
    "crds.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: operators}\n",
    "operator.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: operator}\ndata: {a: b}\n",
    "jellyfin.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: jellyfin}\n",
}
SECRETS = [
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pw", "namespace": "default"},
        "stringData": {"password": SECRET},
    },
    "apiVersion: v1\nkind: Secret\nmetadata: {name: text, namespace: default}\nstringData: {password: "
    + SECRET
    + "}\n",
]


@pytest.fixture
def play(tmp_path: pathlib.Path, api_server: t.Any) -> t.Callable[..., tuple[str, list[t.Any]]]:
    """Run tasks; what they printed, and their results."""
    home = tmp_path / "ansible_collections/groundwork"
    home.mkdir(parents=True)
    (home / "homelab").symlink_to(ROOT)
    (tmp_path / "files").mkdir()
    for name, text in FILES.items():
        (tmp_path / "files" / name).write_text(text)
    (tmp_path / "kubeconfig").write_text(api_server.kubeconfig.read_text())
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")

    def run(tasks: list[dict[str, t.Any]], *options: str, here: bool) -> tuple[str, list[t.Any]]:
        saved = tmp_path / "results.json"
        saved.unlink(missing_ok=True)
        registered = [{**task, "register": f"r{n}", "ignore_errors": True} for n, task in enumerate(tasks)]
        content = "{{ [" + ", ".join(f"r{n}" for n in range(len(tasks))) + "] | to_json }}"
        save = {
            "ansible.builtin.copy": {"content": content, "dest": str(saved), "mode": "0600"},
            "check_mode": False,
            "diff": False,
        }
        variables = {"lab_secrets_dir": str(tmp_path), "groundwork_in_process": here}
        page = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([{**page, "tasks": [*registered, {**save, "no_log": True}]}]))
        command = [
            sys.executable,
            "-m",
            "ansible.cli.playbook",
            "-i",
            "localhost,",
            str(tmp_path / "play.yml"),
            *options,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment |= {
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_INJECT_INVOCATION": "true",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
        results = json.loads(saved.read_text()) if saved.exists() else []
        return done.stdout + done.stderr, results

    return run


def comparable(results: list[t.Any]) -> list[t.Any]:
    return [{key: value for key, value in one.items() if key not in ("ansible_facts", "exception")} for one in results]


def make_node_ready(api_server: t.Any, name: str) -> None:
    """The Node that the examples wait for, as its kubelet would register it."""
    transport = Client(load(str(api_server.kubeconfig), None)).transport
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    made = transport.send("POST", "/api/v1/nodes", "register", body=node)
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    patch = "application/merge-patch+json"
    path = f"/api/v1/nodes/{name}/status"
    ready = transport.send("PATCH", path, "report", body=status, content_type=patch)
    assert (made.status, ready.status) == (201, 200)


def test_the_documented_examples_run_and_both_ways_give_the_same(
    play: t.Callable[..., tuple[str, list[t.Any]]], api_server: t.Any
) -> None:
    examples = yaml.safe_load(manifests.EXAMPLES)
    make_node_ready(api_server, "talos-cp01")
    tasks = [
        *examples,
        {"name": "Secrets", FQCN: {"kubeconfig": "{{ lab_secrets_dir }}/kubeconfig", "definitions": SECRETS}},
    ]
    text, predicted = play(tasks, "--check", "--diff", here=True)
    assert len(predicted) == len(tasks), text
    assert not any(one.get("failed") for one in predicted), text
    _text, other = play(tasks, "--check", "--diff", here=False)
    assert comparable(other) == comparable(predicted)
    text, made = play(tasks, here=True)
    assert not any(one.get("failed") for one in made), text
    assert [one["changes"] for one in made[:3]] == [one["changes"] for one in predicted[:3]]
    _text, again = play([tasks[1], tasks[2], tasks[4]], here=False)
    assert [one["changed"] for one in again] == [False, False, False]
    quiet, same = play([tasks[1], tasks[2], tasks[4]], here=True)
    assert comparable(same) == comparable(again), quiet


@pytest.mark.parametrize("here", [True, False])
def test_no_secret_is_shown_however_loud_the_run(here: bool, play: t.Callable[..., tuple[str, list[t.Any]]]) -> None:
    kubeconfig = "{{ lab_secrets_dir }}/kubeconfig"
    wrong = [*SECRETS, {"kind": "Nothing"}, "kind: [" + SECRET]
    tasks = [
        {"name": "Apply", FQCN: {"kubeconfig": kubeconfig, "definitions": SECRETS}},
        {"name": "Wrong", FQCN: {"kubeconfig": kubeconfig, "definitions": wrong}},
    ]
    # Ansible quotes the playbook's own lines, numbered, at errors: what the user wrote there is no leak of ours.
    text, results = play(tasks, "-vvvv", "--diff", here=here)
    assert len(results) == 2
    assert SECRET not in str(results)
    shown = "\n".join(line for line in text.splitlines() if not line.lstrip()[:3].strip().isdigit())
    assert SECRET not in shown
    assert "admin-token" not in text
