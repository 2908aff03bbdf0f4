# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``node`` on a real API server with real controllers; scheduler and kubelets are the test's."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import typing as t

import pytest
from k8s_played_nodes import Kubelets, Somebody, bare_pod, budget, daemon_set, deployment, run, until

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import (
    drain,
    drain_run,
    node_changes,
    node_run,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client
from ansible_collections.groundwork.homelab.plugins.modules import node

Object = dict[str, t.Any]


@pytest.fixture
def nodes(lab: t.Any) -> t.Iterator[Kubelets]:
    with Kubelets(lab, [f"w1-{lab.namespace}", f"w2-{lab.namespace}"]) as played:
        yield played


def made(lab: t.Any, *objects: Object) -> None:
    done = lab.run(list(objects))
    assert "msg" not in done, done


def pods(lab: t.Any, name: str) -> list[Object]:
    found = Somebody(lab.server.kubeconfig).act("GET", f"/api/v1/namespaces/{lab.namespace}/pods")["items"]
    return [one for one in found if one["spec"].get("nodeName") == name]


def running(lab: t.Any, name: str, number: int) -> bool:
    def check() -> bool:
        found = pods(lab, name)
        return len(found) == number and all(one["status"].get("phase") == "Running" for one in found)

    return bool(until(check))


def resources(result: Object) -> list[str]:
    return [change["resource"] for change in result["changes"]]


def test_labels_taints_and_scheduling_of_many_nodes_are_one_read_and_one_write_each(
    lab: t.Any, nodes: Kubelets
) -> None:
    first, second = nodes.names
    params: Object = {
        "nodes": [first, {"name": second, "labels": {"rack": "2"}, "schedulable": False}],
        "labels": {"zone": "a"},
        "annotations": {"example.com/owner": "Ünïcode & more"},
        "taints": [{"key": "gpu", "value": "x", "effect": "NoSchedule", "state": "present"}],
    }
    before = lab.server.mark()
    predicted = run(lab, node, check=True, **params)
    assert lab.writes(before) == []
    before = lab.server.mark()
    done = run(lab, node, **params)
    assert done["changes"] == predicted["changes"]
    assert done["diff"] == predicted["diff"]
    assert resources(done) == [f"Node/{first}", f"Node/{second}"]
    assert done["changes"][1]["note"] == "cordoned"
    assert [verb for verb, _ in lab.writes(before)] == ["patch", "patch"]
    assert [verb for verb, _ in lab.server.requests(before)].count("list") == 1
    live = lab.act("GET", f"/api/v1/nodes/{second}", None)
    assert live["metadata"]["labels"]["rack"] == "2"
    assert live["metadata"]["annotations"]["example.com/owner"] == "Ünïcode & more"
    assert {"key": "gpu", "value": "x", "effect": "NoSchedule"} in live["spec"]["taints"]
    assert live["spec"]["unschedulable"] is True
    told = {one["name"]: one for one in done["nodes"]}
    assert (told[first]["schedulable"], told[second]["schedulable"]) == (True, False)
    before = lab.server.mark()
    again = run(lab, node, **params)
    assert (again["changed"], again["changes"]) == (False, [])
    assert [verb for verb, _ in lab.server.requests(before)] == ["list"]


def test_what_is_null_goes_and_purged_taints_are_not_the_clusters_own(lab: t.Any, nodes: Kubelets) -> None:
    name = nodes.names[0]
    own = {"key": "node.kubernetes.io/out-of-service", "value": "x", "effect": "NoExecute", "state": "present"}
    mine = {"key": "gpu", "effect": "NoSchedule", "state": "present", "value": None}
    assert run(lab, node, nodes=[name], labels={"a": "1"}, taints=[mine, own])["changed"]
    done = run(lab, node, nodes=[name], labels={"a": None}, purge_taints=True)
    live = lab.act("GET", f"/api/v1/nodes/{name}", None)
    assert "a" not in live["metadata"]["labels"]
    kept = {taint["key"] for taint in live["spec"]["taints"]}
    assert "gpu" not in kept
    assert own["key"] in kept
    assert done["changes"][0]["before"]["metadata.labels.a"] == "1"


def test_a_taint_that_somebody_else_set_meanwhile_is_kept(lab: t.Any, nodes: Kubelets) -> None:
    name = nodes.names[0]
    wanted = node_changes.Wanted(name, taints=(node_changes.Taint("gpu", "", "NoSchedule"),))
    work = node_run.Nodes(lab.client, [wanted], drain.Options(), lab.warnings.append)
    plan = work.plan()
    now = lab.act("GET", f"/api/v1/nodes/{name}", None)["spec"].get("taints") or []
    theirs = {"key": "theirs", "effect": "NoSchedule"}
    lab.act("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": [*now, theirs]}})
    work.apply(plan, 10)
    taints = {one["key"] for one in lab.act("GET", f"/api/v1/nodes/{name}", None)["spec"]["taints"]}
    assert {"gpu", "theirs"} <= taints


def test_a_drain_evicts_what_may_go_and_leaves_what_belongs_to_the_node(lab: t.Any, nodes: Kubelets) -> None:
    first, second = nodes.names
    made(lab, deployment("web", 2), daemon_set("agent"), budget("web", "web", 1))
    mirror = bare_pod("static", first, annotations={drain.MIRROR: "x"})
    assert running(lab, first, 3)
    made(lab, mirror)
    assert running(lab, first, 4)
    params: Object = {"nodes": [first], "state": "drained", "timeout": 120.0}
    before = lab.server.mark()
    predicted = run(lab, node, check=True, **params)
    assert lab.writes(before) == []
    done = run(lab, node, **params)
    assert "msg" not in done, done
    assert done["changes"] == predicted["changes"]
    assert resources(done)[0] == f"Node/{first}"
    assert all(name.startswith(f"Pod/{lab.namespace}/web-") for name in resources(done)[1:])
    assert len(resources(done)) == 3
    left = {one["metadata"]["name"].split("-")[0] for one in pods(lab, first)}
    assert left == {"agent", "static"}
    reasons = {one["pod"].split("/")[1].split("-")[0]: one["reason"] for one in done["stayed"]}
    assert reasons == {"agent": "of DaemonSet agent", "static": "a static pod"}
    assert running(lab, second, 3), "its pods run elsewhere now, with the other node's agent"
    before = lab.server.mark()
    again = run(lab, node, **params)
    assert (again["changed"], again["changes"]) == (False, [])
    assert [verb for verb, _ in lab.server.requests(before)] == ["get", "list"]
    back = run(lab, node, nodes=[first], schedulable=True)
    assert back["changes"][0]["note"] == "uncordoned"


def test_a_budget_that_blocks_is_named_with_its_pod_and_the_time_and_the_node_stays_cordoned(
    lab: t.Any, nodes: Kubelets
) -> None:
    first = nodes.names[0]
    made(lab, deployment("db"), budget("keep-db", "db", 1))
    assert running(lab, first, 1)
    until(
        lambda: (lab.live("policy/v1", "PodDisruptionBudget", "keep-db") or {}).get("status", {}).get("currentHealthy")
    )
    predicted = run(lab, node, check=True, nodes=[first], state="drained")
    words = f"has to wait: PodDisruptionBudget {lab.namespace}/keep-db needs 1 healthy pods and has 1"
    assert words in predicted["changes"][1]["note"]
    failed = run(lab, node, nodes=[first], state="drained", timeout=2.0)
    assert failed["error"]["kind"] == "WaitTimeout"
    assert f"pod {lab.namespace}/db-" in failed["msg"]
    assert f"in namespace {lab.namespace}, the disruption budget keep-db needs 1 healthy pods" in failed["msg"]
    assert "times refused in" in failed["msg"]
    assert "stays cordoned" in failed["msg"]
    assert failed["error"]["blocked"][0]["seconds"] >= 0
    assert resources(failed) == [f"Node/{first}"]
    assert failed["changed"]
    assert any("the disruption budget keep-db" in text for text in lab.progress)


def test_a_drain_goes_on_as_soon_as_the_budget_allows_it(lab: t.Any, nodes: Kubelets) -> None:
    first = nodes.names[0]
    made(lab, deployment("db"), budget("keep-db", "db", 1))
    assert running(lab, first, 1)
    path = f"/apis/policy/v1/namespaces/{lab.namespace}/poddisruptionbudgets/keep-db"
    until(lambda: lab.act("GET", path, None).get("status", {}).get("currentHealthy"))
    somebody = Somebody(lab.server.kubeconfig)
    later = threading.Timer(2.0, lambda: somebody.act("PATCH", path, {"spec": {"minAvailable": 0}}))
    later.start()
    done = run(lab, node, nodes=[first], state="drained", timeout=120.0)
    later.join()
    assert "msg" not in done, done
    assert pods(lab, first) == []


def test_a_pod_that_comes_meanwhile_and_must_not_go_is_told(lab: t.Any, nodes: Kubelets) -> None:
    first = nodes.names[0]
    made(lab, deployment("web"))
    assert running(lab, first, 1)
    wanted = [node_changes.Wanted(first, schedulable=False)]
    work = node_run.Nodes(lab.client, wanted, drain.Options(), lab.warnings.append)
    plan = work.plan_drain()
    made(lab, bare_pod("late", first))
    done = work.apply(plan, 120)
    assert done == plan
    assert [one["metadata"]["name"] for one in pods(lab, first)] == ["late"]
    assert any(
        f"Pod {lab.namespace}/late came to node {first} meanwhile and stays there" in one for one in lab.warnings
    )


def test_budgets_can_be_bypassed_when_that_is_asked_for(lab: t.Any, nodes: Kubelets) -> None:
    first = nodes.names[0]
    made(lab, deployment("db"), budget("one", "db", 1), budget("two", "db", 1))
    assert running(lab, first, 1)
    failed = run(lab, node, nodes=[first], state="drained", timeout=30.0)
    assert "2 PodDisruptionBudgets (one, two) select it, and Kubernetes evicts no such pod" in failed["msg"]
    done = run(lab, node, nodes=[first], state="drained", bypass_budgets=True, grace_period=1, timeout=120.0)
    assert "msg" not in done, done
    assert done["changes"][1]["note"] == "deleted whatever its budget says"
    assert pods(lab, first) == []


def test_pods_that_would_be_lost_are_named_before_anything_is_done(lab: t.Any, nodes: Kubelets) -> None:
    first = nodes.names[0]
    cache = {"volumes": [{"name": "cache", "emptyDir": {}}]}
    made(lab, deployment("web", 1, **cache), bare_pod("alone", first))
    assert running(lab, first, 2)
    before = lab.server.mark()
    failed = run(lab, node, nodes=[first], state="drained")
    assert failed["error"]["kind"] == "Refused"
    assert f"pod {lab.namespace}/alone: nothing would make it again elsewhere" in failed["msg"]
    assert "what its emptyDir cache holds would be lost (delete_emptydir_data allows it)" in failed["msg"]
    assert len(failed["error"]["forbidden"]) == 2
    assert [verb for verb, uri in lab.writes(before)] == []
    assert not failed["changed"]
    done = run(
        lab, node, nodes=[first], state="drained", delete_emptydir_data=True, delete_unmanaged=True, timeout=120.0
    )
    assert "msg" not in done, done
    assert pods(lab, first) == []


def test_several_nodes_are_all_cordoned_before_the_first_is_drained(lab: t.Any, nodes: Kubelets) -> None:
    first, second = nodes.names
    made(lab, deployment("web", 2))
    assert running(lab, first, 2)
    before = lab.server.mark()
    done = run(lab, node, nodes=[second, first], state="drained", timeout=120.0)
    assert "msg" not in done, done
    assert resources(done)[:2] == [f"Node/{second}", f"Node/{first}"]
    written = [uri.split("?")[0].rsplit("/", 1)[-1] for _, uri in lab.writes(before)]
    assert written.index(first) < written.index("eviction")
    assert pods(lab, first) == pods(lab, second) == []


def test_pods_can_be_chosen_by_labels(lab: t.Any, nodes: Kubelets) -> None:
    first = nodes.names[0]
    made(lab, deployment("web"), deployment("storage"))
    assert running(lab, first, 2)
    done = run(lab, node, nodes=[first], state="drained", pod_selectors=["app!=storage"], timeout=120.0)
    assert len(done["changes"]) == 2
    assert [one["metadata"]["labels"]["app"] for one in pods(lab, first)] == ["storage"]


def test_a_pod_that_does_not_end_is_named_and_can_be_left_behind(lab: t.Any) -> None:
    name = f"dead-{lab.namespace}"
    with Kubelets(lab, [name], lasts=None) as dead:
        made(lab, deployment("web", 1, terminationGracePeriodSeconds=1))
        assert running(lab, name, 1)
        dead.lasts = None
        failed = run(lab, node, nodes=[name], state="drained", timeout=4.0)
        assert failed["error"]["kind"] == "WaitTimeout"
        assert "should have ended" in failed["msg"]
        assert len(resources(failed)) == 2, "the eviction was made"
        done = run(lab, node, nodes=[name], state="drained", skip_terminating_after=1.0, timeout=60.0)
        assert "msg" not in done, done
        assert done["changes"] == []
        assert any("should have ended" in text for text in lab.warnings)
        dead.lasts = 0.0


def test_a_successor_of_the_same_name_is_not_evicted_in_its_place(lab: t.Any, nodes: Kubelets) -> None:
    first = nodes.names[0]
    made(lab, bare_pod("db-0", first))
    assert running(lab, first, 1)
    old = pods(lab, first)[0]
    stale = {**old, "metadata": {**old["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}}
    drain_run.evict(lab.client, stale, drain.Options())
    assert "deletionTimestamp" not in pods(lab, first)[0]["metadata"]


def test_a_node_object_is_deleted_and_what_is_still_on_it_is_told(lab: t.Any, nodes: Kubelets) -> None:
    first, second = nodes.names
    made(lab, bare_pod("alone", first))
    assert running(lab, first, 1)
    params: Object = {"nodes": [first, second, "never-was"], "state": "absent"}
    before = lab.server.mark()
    predicted = run(lab, node, check=True, **params)
    assert lab.writes(before) == []
    assert any(f"Node {first} still has 1 pods ({lab.namespace}/alone)" in text for text in lab.warnings)
    done = run(lab, node, **params)
    assert "msg" not in done, done
    assert done["changes"] == predicted["changes"]
    assert resources(done) == [f"Node/{first}", f"Node/{second}"]
    before = lab.server.mark()
    assert run(lab, node, **params)["changes"] == []
    assert [verb for verb, _ in lab.server.requests(before)] == ["list"]


def test_a_node_that_is_not_there_is_said_with_those_that_are(lab: t.Any, nodes: Kubelets) -> None:
    failed = run(lab, node, nodes=["nobody"], labels={"a": "b"})
    assert failed["error"]["kind"] == "NotFound"
    assert "Could not find node nobody" in failed["msg"]
    assert nodes.names[0] in failed["msg"]


RIGHTS: list[tuple[str, list[Object], Object, str]] = [
    (
        "look",
        [{"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["get", "list"]}],
        {"labels": {"a": "b"}},
        'cannot patch resource "nodes"',
    ),
    (
        "cordon",
        [{"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["get", "list", "patch"]}],
        {"state": "drained", "delete_unmanaged": True},
        "may not create pods/eviction in namespace {namespace}",
    ),
    (
        "nodes",
        [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "patch"]}],
        {"state": "drained"},
        'cannot list resource "pods"',
    ),
    (
        "keep",
        [{"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["get", "list"]}],
        {"state": "absent"},
        'cannot delete resource "nodes"',
    ),
]


@pytest.mark.parametrize(("name", "rules", "params", "message"), RIGHTS, ids=[one[0] for one in RIGHTS])
def test_a_right_that_is_missing_is_said_before_anything_is_written(
    name: str, rules: list[Object], params: Object, message: str, lab: t.Any, nodes: Kubelets, tmp_path: pathlib.Path
) -> None:
    first = nodes.names[0]
    made(lab, bare_pod("alone", first))
    assert running(lab, first, 1)
    group = "rbac.authorization.k8s.io"
    meta = {"name": f"{name}-{lab.namespace}"}
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": meta["name"]},
        "subjects": [{"kind": "User", "name": "reader", "apiGroup": group}],
    }
    made(lab, role, binding)
    version = lab.act("GET", f"/api/v1/nodes/{first}", None)["spec"]
    reader = str(lab.server.write_kubeconfig(tmp_path / "reader", "reader"))
    try:
        for check in (True, False):
            failed = run(lab, node, check=check, kubeconfig=reader, nodes=[first], **params)
            assert failed["error"]["kind"] == "AccessDenied", failed
            assert message.format(namespace=lab.namespace) in failed["msg"]
            assert failed["changes"] == []
    finally:
        with contextlib.suppress(RuntimeError):
            lab.run([role, binding], state="absent")
    live = lab.act("GET", f"/api/v1/nodes/{first}", None)["spec"]
    assert live.get("unschedulable") == version.get("unschedulable")
    assert running(lab, first, 1)


def test_the_server_judges_before_the_first_node_is_changed(lab: t.Any, nodes: Kubelets) -> None:
    first, second = nodes.names
    long = "x" * 300000
    failed = run(lab, node, nodes=[first, {"name": second, "annotations": {"big": long}}], labels={"a": "b"})
    assert failed["error"]["kind"] == "Refused"
    assert "must have at most" in failed["msg"] or "Too long" in failed["msg"]
    assert "a" not in lab.act("GET", f"/api/v1/nodes/{first}", None)["metadata"]["labels"]


def test_a_node_that_registers_anew_is_told_and_not_waited_for(
    lab: t.Any, nodes: Kubelets, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = nodes.names[0]
    original = Client.delete

    def delete(self: Client, *given: t.Any, **more: t.Any) -> None:
        original(self, *given, **more)
        if not more.get("dry_run"):
            again = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
            Somebody(lab.server.kubeconfig).act("POST", "/api/v1/nodes", again, "application/json")

    monkeypatch.setattr(Client, "delete", delete)
    lab.warnings.clear()
    done = run(lab, node, nodes=[name], state="absent", timeout=5.0)
    assert "msg" not in done, done["msg"]
    assert resources(done) == [f"Node/{name}"]
    assert f"{name} registered anew since: a kubelet that still runs there does that." in lab.warnings
