# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods leave a drained node, which stay, which must not be touched, and whose budget guards them."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import drain


def pod(owner: str = "ReplicaSet", **more: t.Any) -> dict[str, t.Any]:
    owners = [{"kind": owner, "name": "app", "controller": True}] if owner else []
    meta = {"name": "app-1", "namespace": "media", "uid": "1", "labels": {"app": "x"}, "ownerReferences": owners}
    status = {"phase": more.pop("phase", "Running")}
    spec = {"volumes": more.pop("volumes", [])}
    return {"kind": "Pod", "metadata": {**meta, **more}, "spec": spec, "status": status}


def budget(name: str = "keep", allowed: int = 0, namespace: str = "media", **selector: t.Any) -> dict[str, t.Any]:
    status = {"disruptionsAllowed": allowed, "desiredHealthy": 1, "currentHealthy": 1}
    spec = {"selector": selector or {"matchLabels": {"app": "x"}}}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}


EMPTY = [{"name": "cache", "emptyDir": {}}, {"name": "config", "configMap": {}}]
GOING = "2026-11-21T18:00:00Z"


@pytest.mark.parametrize(
    ("given", "options", "fate", "why"),
    [
        (pod(), {}, "leave", ""),
        (pod("DaemonSet"), {}, "stay", "of DaemonSet app"),
        (pod("DaemonSet", phase="Failed"), {}, "leave", "it has ended"),
        (pod("", annotations={drain.MIRROR: "x"}), {}, "stay", "a static pod"),
        (pod("Node", annotations={drain.MIRROR: "x"}), {}, "stay", "a static pod"),
        (pod(""), {}, "forbidden", "nothing would make it again elsewhere (delete_unmanaged allows it)"),
        (pod(""), {"unmanaged": True}, "leave", ""),
        (pod("", phase="Succeeded"), {}, "leave", "it has ended"),
        (pod(volumes=EMPTY), {}, "forbidden", "what its emptyDir cache holds would be lost"),
        (pod(volumes=EMPTY), {"emptydir": True}, "leave", ""),
        (pod(volumes=EMPTY, phase="Failed"), {}, "leave", "it has ended"),
        (pod(deletionTimestamp=GOING), {}, "leaving", "it is terminating"),
        (pod("", deletionTimestamp=GOING), {}, "leaving", "it is terminating"),
    ],
)
def test_the_fate_of_a_pod(given: dict[str, t.Any], options: dict[str, t.Any], fate: str, why: str) -> None:
    verdict = drain.judge(given, drain.Options(**options), ())
    assert verdict.fate == fate
    assert verdict.why.startswith(why)


def test_a_pod_under_two_budgets_cannot_be_evicted_and_that_is_known_before() -> None:
    both = [budget("keep"), budget("also"), budget("other", namespace="web")]
    verdict = drain.judge(pod(), drain.Options(), both)
    assert verdict.fate == "forbidden"
    assert "2 PodDisruptionBudgets (keep, also) select it, and Kubernetes evicts no such pod" in verdict.why
    assert drain.judge(pod(), drain.Options(bypass_budgets=True), both).fate == "leave"
    assert drain.judge(pod(phase="Pending"), drain.Options(), both).fate == "leave"


def test_an_eviction_that_will_have_to_wait_names_its_budget() -> None:
    change = drain.change_of(pod(), "w1", drain.Options(), [budget()])
    assert change.as_result() == {
        "resource": "Pod/media/app-1",
        "action": "delete",
        "before": {"node": "w1", "controller": "ReplicaSet/app"},
        "note": "evicted; has to wait: PodDisruptionBudget media/keep needs 1 healthy pods and has 1",
    }
    assert drain.change_of(pod(), "w1", drain.Options(), [budget(allowed=1)]).note == "evicted"
    forced = drain.change_of(pod(), "w1", drain.Options(bypass_budgets=True), [budget()])
    assert forced.note == "deleted whatever its budget says"


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "x"}}, True),
        ({"matchLabels": {"app": "y"}}, False),
        ({"matchLabels": {"tier": "x"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "y"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
        ({"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": []}]}, False),
    ],
)
def test_selectors_are_those_of_kubernetes(selector: dict[str, t.Any] | None, matches: bool) -> None:
    assert drain.selects(selector, {"app": "x"}) is matches


def test_a_pod_that_does_not_end_says_for_how_long_and_who_holds_it() -> None:
    stamp = datetime.datetime(2026, 11, 21, 18, 0, tzinfo=datetime.timezone.utc)
    going = pod(deletionTimestamp=GOING)
    assert drain.overdue(pod(), stamp) == float("-inf")
    assert drain.terminating(going, stamp - datetime.timedelta(seconds=9)) == "is terminating, with 9 s left"
    late = stamp + datetime.timedelta(seconds=70)
    assert drain.terminating(going, late).startswith("should have ended 70 s ago: does the kubelet")
    held = pod(deletionTimestamp=GOING, finalizers=["example.com/wait"])
    assert drain.terminating(held, late) == "should have ended 70 s ago, held by example.com/wait"
