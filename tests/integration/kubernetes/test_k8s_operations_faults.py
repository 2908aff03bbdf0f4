# SPDX-License-Identifier: GPL-3.0-or-later
"""``node``, ``kubernetes_info`` and ``gitops_sync`` behind a server or network that fails: done after all, or said in words,
with what was done; a second run goes on."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from k8s_faults import LASTING, PASSING, Relay
from k8s_played_gitops import flux
from k8s_played_nodes import JSON, Somebody, run

from ansible_collections.groundwork.homelab.plugins.modules import gitops_sync, kubernetes_info, node

Object = dict[str, t.Any]

OBJECT = {"namespace": None, "revision": None, "prune": False, "sync_options": None}
OBJECT |= {"with_source": False, "force": False, "reset": False}


class Case(t.NamedTuple):
    """A module, what it is asked, and how many requests that is when all goes well."""

    module: t.Any
    params: t.Callable[[str], Object]
    requests: int


def suspended(namespace: str) -> Object:
    return {
        "objects": [{**OBJECT, "kind": "Kustomization", "name": "apps", "namespace": namespace}],
        "state": "suspended",
    }


CASES: dict[str, Case] = {
    "node": Case(node, lambda name: {"nodes": [f"broken-{name}"], "labels": {"zone": "a"}}, 3),
    "kubernetes_info": Case(kubernetes_info, lambda name: {"kind": "Namespace", "name": name}, 1),
    "gitops_sync": Case(gitops_sync, suspended, 4),
}
POINTS = [(name, point) for name, case in CASES.items() for point in range(case.requests)]


@pytest.fixture
def relay(published: None, second_lab: t.Any, tmp_path: pathlib.Path) -> t.Iterator[Relay]:
    name = second_lab.namespace
    assert "msg" not in second_lab.run([flux("Kustomization", "apps")])
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"broken-{name}"}}
    somebody = Somebody(second_lab.server.kubeconfig)
    somebody.act("POST", "/api/v1/nodes", body, JSON)
    with Relay(second_lab.server.kubeconfig, tmp_path) as one:
        yield one
    somebody.act("DELETE", f"/api/v1/nodes/broken-{name}")


def go(lab: t.Any, relay: Relay, name: str) -> Object:
    case = CASES[name]
    return run(lab, case.module, kubeconfig=str(relay.kubeconfig), api_timeout=1.0, **case.params(lab.namespace))


@pytest.mark.parametrize(("name", "point"), POINTS)
def test_what_passes_does_not_stop_anything(name: str, point: int, second_lab: t.Any, relay: Relay) -> None:
    for fault in {list(PASSING)[point % len(PASSING)], "cut off in the middle"}:
        relay.breaks(PASSING[fault], point, 1)
        done = go(second_lab, relay, name)
        assert "msg" not in done, (fault, done)
        assert len(relay.asked) == CASES[name].requests + 1 or not done["changed"]
    assert not go(second_lab, relay, name)["changed"]


@pytest.mark.parametrize("fault", LASTING)
@pytest.mark.parametrize("name", CASES)
def test_what_lasts_is_said_and_a_second_run_goes_on(
    name: str, fault: str, second_lab: t.Any, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = "ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client"
    monkeypatch.setattr(f"{client}.PATIENCE", 0.3)
    broken, kind, words = LASTING[fault]
    last = CASES[name].requests - 1
    for point in {0, last}:
        relay.breaks(broken, point)
        failed = go(second_lab, relay, name)
        assert failed["failed"]
        assert failed["error"]["kind"] == kind, failed
        assert words in failed["msg"]
        assert "relayed-token" not in str(failed)
        assert failed["changes"] == [], "the last request is the one that would have changed something"
    relay.breaks(None)
    done = go(second_lab, relay, name)
    assert "msg" not in done, done
    assert done["changed"] is (name != "kubernetes_info")
