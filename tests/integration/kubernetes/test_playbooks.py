# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``manifests`` from playbooks: its documented examples, in the controller and as a module of its own."""

from __future__ import annotations

import datetime
import typing as t

import pytest
import yaml

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.groundwork.homelab.plugins.modules import manifests

SECRET = "hunter2-the-second"
FQCN = "groundwork.homelab.manifests"
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


def comparable(results: list[t.Any]) -> list[t.Any]:
    return [{key: value for key, value in one.items() if key not in ("ansible_facts", "exception")} for one in results]


def make_node_ready(api_server: t.Any, name: str) -> None:
    """The Node that the examples wait for, as its kubelet would report it: each time anew, or it is taken for dead."""
    transport = Client(load(str(api_server.kubeconfig), None)).transport
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    made = transport.send("POST", "/api/v1/nodes", "register", body=node)
    beat = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": beat}]}}
    patch = "application/merge-patch+json"
    path = f"/api/v1/nodes/{name}/status"
    ready = transport.send("PATCH", path, "report", body=status, content_type=patch)
    assert (made.status in (201, 409), ready.status) == (True, 200)


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
    make_node_ready(api_server, "talos-cp01")
    _text, other = play(tasks, "--check", "--diff", here=False)
    assert comparable(other) == comparable(predicted)
    make_node_ready(api_server, "talos-cp01")
    text, made = play(tasks, here=True)
    assert not any(one.get("failed") for one in made), text
    assert [one["changes"] for one in made[:3]] == [one["changes"] for one in predicted[:3]]
    repeated = [tasks[1], tasks[2], *tasks[4:7]]
    _text, again = play(repeated, here=False)
    assert [one["changed"] for one in again] == [False] * len(repeated)
    quiet, same = play(repeated, here=True)
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
