# SPDX-License-Identifier: GPL-3.0-or-later
"""When objects are ready, and why they are not."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import readiness
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.conditions import Failure
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.readiness_wants import State, Want


def live(kind: str, status: t.Any = None, spec: t.Any = None, **meta: t.Any) -> dict[str, t.Any]:
    return {
        "kind": kind,
        "metadata": {"name": "a", "generation": 2, **meta},
        "spec": spec or {},
        "status": status or {},
    }


def true(name: str, value: str = "True", **more: str) -> dict[str, t.Any]:
    return {"conditions": [{"type": name, "status": value, **more}]}


FULL = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2}
DAEMONS = {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}
CASES: list[tuple[dict[str, t.Any], str]] = [
    (live("Deployment", FULL, {"replicas": 2}), ""),
    (live("Deployment", {**FULL, "observedGeneration": 1}, {"replicas": 2}), "its controller has not seen it yet"),
    (live("Deployment", {**FULL, "updatedReplicas": 1}, {"replicas": 2}), "1 of 2 replicas updated"),
    (
        live("Deployment", {**FULL, "updatedReplicas": 1}, {"replicas": 2, "paused": True}),
        "1 of 2 replicas updated (its rollout is paused)",
    ),
    (live("Deployment", FULL, {"replicas": 2, "paused": True}), ""),
    (live("Deployment", {**FULL, "availableReplicas": 0}, {"replicas": 2}), "0 of 2 replicas available"),
    (live("Deployment", {**FULL, "replicas": 3}, {"replicas": 2}), "1 old replicas are still there"),
    (live("Deployment", {"observedGeneration": 2}, {"replicas": 0}), ""),
    (live("StatefulSet", FULL, {"replicas": 2}), ""),
    (live("StatefulSet", {**FULL, "readyReplicas": 1}, {"replicas": 2}), "1 of 2 replicas ready"),
    (live("StatefulSet", {**FULL, "updatedReplicas": 1}, {"replicas": 2}), "1 of 2 replicas updated"),
    (live("StatefulSet", {**FULL, "updatedReplicas": 0}, {"replicas": 2, "updateStrategy": {"type": "OnDelete"}}), ""),
    (live("DaemonSet", DAEMONS), ""),
    (live("DaemonSet", {**DAEMONS, "numberAvailable": 1}), "1 of 3 pods available"),
    (live("DaemonSet", {**DAEMONS, "updatedNumberScheduled": 1}), "1 of 3 pods updated"),
    (live("Job", true("Complete")), ""),
    (live("Job", {"succeeded": 1}, {"completions": 3}), "1 of 3 completions"),
    (live("Job", {}, {"suspend": True}), ""),
    (live("Pod", true("Ready")), ""),
    (live("Pod", {"phase": "Succeeded"}), ""),
    (live("Pod", {"phase": "Pending"}), "its phase is Pending"),
    (live("PersistentVolumeClaim", {"phase": "Bound"}), ""),
    (live("PersistentVolumeClaim", {"phase": "Pending"}), "its phase is Pending"),
    (live("Service", {}, {"type": "ClusterIP"}), ""),
    (live("Service", {"loadBalancer": {}}, {"type": "LoadBalancer"}), "it has no load balancer address"),
    (live("Service", {"loadBalancer": {"ingress": [{"ip": "1"}]}}, {"type": "LoadBalancer"}), ""),
    (live("Namespace", {"phase": "Active"}), ""),
    (live("Namespace", {"phase": "Terminating"}), "its phase is Terminating"),
    (live("CustomResourceDefinition", true("Established")), ""),
    (live("CustomResourceDefinition"), "it has no condition Established yet"),
    (live("Node", true("Ready", "False", reason="KubeletNotReady", message="no CNI")), "KubeletNotReady: no CNI"),
    (live("APIService", true("Available")), ""),
    (live("Certificate", true("Ready", "False", reason="Issuing")), "Issuing"),
    (live("Certificate", true("Ready")), ""),
    (live("Certificate", {"observedGeneration": 1, **true("Ready")}), "its controller has not seen it yet"),
    (live("ConfigMap"), ""),
    (live("ConfigMap", deletionTimestamp="x"), "it is being deleted"),
]


@pytest.mark.parametrize(("given", "reason"), CASES, ids=[f"{one['kind']}-{why or 'ready'}" for one, why in CASES])
def test_an_object_is_ready_or_says_why_not(given: dict[str, t.Any], reason: str) -> None:
    assert readiness.reason_of(given) == reason


DEADLINE = true("Progressing", "False", reason="ProgressDeadlineExceeded", message="timed out")
QUOTA = true("ReplicaFailure", "True", reason="FailedCreate", message="exceeded quota: small")
FAILURES = [
    (
        live("Deployment", {**FULL, "availableReplicas": 0, **DEADLINE}, {"replicas": 2}),
        "ProgressDeadlineExceeded: timed out",
    ),
    (live("Deployment", {"observedGeneration": 2, **QUOTA}, {"replicas": 1}), "FailedCreate: exceeded quota: small"),
    (live("Job", true("Failed", reason="BackoffLimitExceeded", message="no luck")), "BackoffLimitExceeded: no luck"),
    (live("Pod", {"phase": "Failed", "reason": "Evicted", "message": "disk"}), "Evicted: disk"),
    (live("PersistentVolumeClaim", {"phase": "Lost"}), "the volume that it was bound to is lost"),
    (live("CustomResourceDefinition", true("NamesAccepted", "False", reason="Taken")), "Taken"),
]


@pytest.mark.parametrize(("given", "cause"), FAILURES, ids=[one["kind"] + cause for one, cause in FAILURES])
def test_what_will_not_become_ready_is_a_failure_with_its_cause(given: dict[str, t.Any], cause: str) -> None:
    with pytest.raises(readiness.Failure, match=cause):
        readiness.reason_of(given)


def judged(*moments: tuple[float, Failure | str]) -> list[tuple[str, bool]]:
    """What one want says at each moment, when its check says this."""
    words: list[Failure | str] = []

    def check(_live: dict[str, t.Any]) -> str:
        if isinstance(words[-1], Failure):
            raise words[-1]
        return words[-1]

    state = State(Want("Thing", "example.com/v1", name="a", checks=(check,)))
    store = {("", "a"): live("Thing", uid="1")}
    told = []
    for now, said in moments:
        words.append(said)
        state.judge(store, now)
        told.append((state.reason, state.failed))
    return told


def test_a_grace_begins_anew_when_the_failure_has_passed() -> None:
    refused = Failure("refused", 10.0)
    told = judged((0, refused), (5, "working"), (9, refused), (12, refused), (20, refused))
    assert [failed for _reason, failed in told] == [False, False, False, False, True]


def test_a_failure_whose_words_change_each_time_lasts_all_the_same() -> None:
    told = judged(*((now, Failure(f"tried {now} times", 10.0, "refused")) for now in (0, 4, 8, 12)))
    assert told == [
        ("tried 0 times", False),
        ("tried 4 times", False),
        ("tried 8 times", False),
        ("tried 12 times", True),
    ]


def test_another_failure_has_a_grace_of_its_own() -> None:
    told = judged((0, Failure("a", 10.0, "one")), (8, Failure("b", 10.0, "two")), (12, Failure("b", 10.0, "two")))
    assert [failed for _reason, failed in told] == [False, False, False]
