# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a node has no network: which pods and jobs count as the cause, and when they end the wait."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import (
    HomelabError,
    Refused,
    TaskFailed,
    WaitTimeout,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import readiness
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Resource
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Clock, Deadline

Object = dict[str, t.Any]

NODES = Resource("v1", "Node", "nodes", False)
NO_CNI = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized"
SINCE = "2026-01-01T10:00:00Z"


def node(message: str = NO_CNI) -> Object:
    ready = {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": message}
    return {
        "kind": "Node",
        "metadata": {"name": "cp01"},
        "status": {"conditions": [{**ready, "lastTransitionTime": SINCE}]},
    }


def pod(reason: str, *, namespace: str = "kube-system", mirror: bool = False, **spec: t.Any) -> Object:
    waiting = {"reason": reason, "message": "the kubelet's words"}
    return {
        "kind": "Pod",
        "metadata": {
            "name": "cni-x",
            "uid": "1",
            "namespace": namespace,
            "annotations": {"kubernetes.io/config.mirror": "x"} if mirror else {},
        },
        "spec": {"hostNetwork": True, "nodeName": "cp01", **spec},
        "status": {"containerStatuses": [{"name": "c", "image": "r.invalid/cni:1", "state": {"waiting": waiting}}]},
    }


def job(at: str) -> Object:
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": at}
    return {
        "kind": "Job",
        "metadata": {"name": "cni-install", "uid": "2"},
        "spec": {"template": {"spec": {"hostNetwork": True}}},
        "status": {"conditions": [failed]},
    }


class Cluster:
    """Answers as an API server does that has one node, these pods and these jobs."""

    of = "the cluster"

    def __init__(self, *found: Object, live: Object | None = None, refuses: bool = False) -> None:
        self.found, self.live, self.refuses = found, live or node(), refuses

    def progress(self, text: str) -> None:
        """Nobody listens."""

    def get(self, _resource: Resource, _namespace: str, _name: str) -> Object:
        return self.live

    def listed(self, _resource: Resource, _namespace: str, **_query: str) -> tuple[list[Object], str]:
        return [self.live], "1"

    def watch(self, *_what: object, **_query: str) -> t.NoReturn:
        raise Refused("watch nodes", of=self.of, answer="forbidden")

    def list(self, resource: Resource, namespace: str = "", **_query: str) -> list[Object]:
        if self.refuses:
            raise Refused("list pods", of=self.of, answer="forbidden")
        members = [one for one in self.found if one["kind"] == resource.kind]
        return [one for one in members if namespace in ("", one["metadata"].get("namespace", namespace))]

    def log_line(self, *_where: str, **_which: bool) -> str:
        return "its last line"


def waited(cluster: Cluster, seconds: float = 300.0) -> tuple[HomelabError, float]:
    """How the wait ends, and after how many seconds of a clock that nobody has to wait for."""
    time = [0.0]

    def sleep(pause: float) -> None:
        time[0] += pause

    deadline = Deadline(seconds, Clock(lambda: time[0], sleep))
    with pytest.raises(HomelabError) as raised:
        readiness.wait_until_ready(t.cast(t.Any, cluster), [(NODES, "", "cp01")], deadline)
    return raised.value, time[0]


NAMED: dict[str, tuple[Object, float, tuple[str, ...]]] = {
    "image": (pod("ImagePullBackOff"), 5, ("cni-x", "r.invalid/cni:1", "ImagePullBackOff", "the kubelet's words")),
    "first pull": (pod("ErrImagePull"), 5, ("cni-x", "r.invalid/cni:1", "ErrImagePull")),
    "config": (pod("CreateContainerConfigError"), 22, ("cni-x", "CreateContainerConfigError")),
    "crash": (pod("CrashLoopBackOff"), 62, ("cni-x", "CrashLoopBackOff", "its last line")),
    "critical elsewhere": (
        pod("ImagePullBackOff", namespace="calico", priorityClassName="system-node-critical"),
        5,
        ("cni-x", "r.invalid/cni:1"),
    ),
    "job": (job("2026-01-01T10:00:30Z"), 5, ("cni-install", "BackoffLimitExceeded")),
}


@pytest.mark.parametrize("case", NAMED)
def test_what_should_bring_the_network_and_does_not_start_ends_the_wait(case: str) -> None:
    found, within, parts = NAMED[case]
    error, seconds = waited(Cluster(found))
    assert isinstance(error, TaskFailed) and seconds < within
    for part in (*parts, "Node cp01", "cni plugin not initialized"):
        assert part in error.message


OTHERS: dict[str, Cluster] = {
    "a pod that needs the network itself": Cluster(pod("ImagePullBackOff", hostNetwork=False)),
    "somebody's pod": Cluster(pod("ImagePullBackOff", namespace="media")),
    "a static pod": Cluster(pod("CrashLoopBackOff", mirror=True)),
    "a job that failed before": Cluster(job("2026-01-01T09:00:00Z")),
    "another reason": Cluster(pod("ImagePullBackOff"), live=node("PLEG is not healthy")),
    "who may not look": Cluster(pod("ImagePullBackOff"), refuses=True),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_has_nothing_to_do_with_it_does_not_end_the_wait(case: str) -> None:
    error, seconds = waited(OTHERS[case])
    assert isinstance(error, WaitTimeout) and seconds >= 300
    assert "KubeletNotReady" in error.message and "cni-x" not in error.message
