# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for objects: real controllers make the pods, the test plays the kubelet."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest

Object = dict[str, t.Any]


def deployment(name: str = "web", replicas: int = 1, **container: t.Any) -> Object:
    labels = {"app": name}
    pod = {"containers": [{"name": "main", "image": "registry.invalid/web:1", **container}]}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def job() -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def waiting(reason: str, message: str = "", **more: t.Any) -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [status(state=state, ready=False, **more)]}


def status(**more: t.Any) -> Object:
    return {"name": "main", "image": "registry.invalid/web:1", "imageID": "", "restartCount": 0, "ready": True, **more}


READY: Object = {
    "phase": "Running",
    "conditions": [
        {"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "PodScheduled", "Initialized")
    ],
    "containerStatuses": [status(state={"running": {}})],
}


class Kubelet(threading.Thread):
    """Gives every pod of a namespace this status, within a bounded time."""

    def __init__(self, lab: t.Any, pod_status: Object, seconds: float = 30.0) -> None:
        super().__init__(daemon=True)
        self.lab, self.pod_status = lab, pod_status
        self.end = time.monotonic() + seconds
        self.seen: dict[str, float] = {}
        self.done = threading.Event()

    def run(self) -> None:
        client = self.lab.client
        pods = client.resource("v1", "Pod")
        while time.monotonic() < self.end and not self.done.wait(0.2):
            for pod in client.list(pods, self.lab.namespace):
                name = pod["metadata"]["name"]
                if name not in self.seen:
                    path = f"/api/v1/namespaces/{self.lab.namespace}/pods/{name}/status"
                    self.lab.act("PATCH", path, {"status": self.pod_status})
                    self.seen[name] = time.monotonic()

    def __enter__(self) -> Kubelet:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.done.set()
        self.join(10)


def test_a_deployment_is_waited_for_until_its_pods_are_ready(lab: t.Any) -> None:
    with Kubelet(lab, READY) as kubelet:
        done = lab.run([deployment(replicas=2)], wait=True, wait_timeout=40.0)
    assert "msg" not in done
    assert len(kubelet.seen) == 2
    assert any(line.startswith(f"waiting for Deployment {lab.namespace}/web ready: ") for line in lab.progress)
    assert lab.run([deployment(replicas=2)], wait=True, wait_timeout=5.0)["changed"] is False


FAILING: dict[str, tuple[Object, list[str]]] = {
    "image": (
        waiting("ImagePullBackOff", "Back-off pulling image registry.invalid/web:1: no such host"),
        ["container main: image registry.invalid/web:1 ImagePullBackOff", "no such host"],
    ),
    "bad image name": (waiting("InvalidImageName", "couldn't parse"), ["InvalidImageName: couldn't parse"]),
    "crash": (
        waiting(
            "CrashLoopBackOff",
            "back-off 10s",
            restartCount=2,
            lastState={"terminated": {"exitCode": 3, "reason": "Error", "message": "cannot open /data: denied\n"}},
        ),
        [
            "container main starts and ends again (CrashLoopBackOff, exit code 3)",
            "its last words: cannot open /data: denied",
        ],
    ),
    "out of memory": (
        waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
        ["exit code 137 (OOMKilled)"],
    ),
}


@pytest.mark.parametrize("case", FAILING)
def test_what_will_not_start_is_told_within_seconds_with_its_cause(case: str, lab: t.Any) -> None:
    pod_status, words = FAILING[case]
    with Kubelet(lab, pod_status) as kubelet:
        failed = lab.run([deployment()], wait=True, wait_timeout=60.0)
    known = min(kubelet.seen.values())
    assert time.monotonic() - known < 10
    assert failed["error"]["kind"] == "TaskFailed"
    assert f"see Deployment {lab.namespace}/web ready" in failed["msg"]
    for word in words:
        assert word in failed["msg"]
    assert failed["changes"][0]["action"] == "create", "what was made before is told"


def test_a_failure_that_passes_in_time_is_no_failure(lab: t.Any) -> None:
    def mend() -> None:
        time.sleep(1.5)
        for name in list(kubelet.seen):
            lab.act("PATCH", f"/api/v1/namespaces/{lab.namespace}/pods/{name}/status", {"status": READY})

    with Kubelet(lab, waiting("ErrImagePull", "toomanyrequests")) as kubelet:
        healer = threading.Thread(target=lambda: [time.sleep(0.05) for _ in range(200) if not kubelet.seen] and mend())
        healer.start()
        done = lab.run([deployment()], wait=True, wait_timeout=40.0)
        healer.join(20)
    assert "msg" not in done


def test_the_pods_of_the_release_before_do_not_count(lab: t.Any) -> None:
    with Kubelet(lab, waiting("ImagePullBackOff", "old")) as kubelet:
        lab.run([deployment()])
        end = time.monotonic() + 15
        while not kubelet.seen and time.monotonic() < end:
            time.sleep(0.1)
        kubelet.pod_status = READY
        done = lab.run([deployment(image="registry.invalid/web:2")], wait=True, wait_timeout=40.0)
    assert "msg" not in done


def test_a_pod_that_cannot_be_scheduled_is_told_at_the_deadline(lab: t.Any) -> None:
    unscheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available",
    }
    with Kubelet(lab, {"conditions": [unscheduled]}):
        failed = lab.run([deployment()], wait=True, wait_timeout=4.0)
    assert failed["error"]["kind"] == "WaitTimeout"
    assert "cannot be scheduled: 0/1 nodes are available" in failed["msg"]


def test_an_exceeded_quota_is_told_within_seconds(lab: t.Any) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"pods": "0"}},
    }
    lab.run([quota])
    end = time.monotonic() + 15
    while not (lab.live("v1", "ResourceQuota", "small").get("status") or {}).get("hard") and time.monotonic() < end:
        time.sleep(0.1)
    began = time.monotonic()
    failed = lab.run([deployment()], wait=True, wait_timeout=60.0)
    assert time.monotonic() - began < 15
    assert "exceeded quota: small" in failed["msg"]


def test_a_job_that_fails_is_told_with_its_reason(lab: t.Any) -> None:
    ended = {"phase": "Failed", "containerStatuses": [status(ready=False, state={"terminated": {"exitCode": 1}})]}
    with Kubelet(lab, ended):
        failed = lab.run([job()], wait=True, wait_timeout=40.0)
    assert "BackoffLimitExceeded" in failed["msg"]


def test_other_kinds_are_waited_for_by_their_status(lab: t.Any) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "lb"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "none",
        },
    }
    failed = lab.run([service, claim], wait=True, wait_timeout=1.0)
    assert f"Service {lab.namespace}/lb: it has no load balancer address" in failed["msg"]
    assert f"PersistentVolumeClaim {lab.namespace}/data:" in failed["msg"]
    path = f"/api/v1/namespaces/{lab.namespace}/services/lb/status"
    lab.act("PATCH", path, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
    assert "msg" not in lab.run([service], wait=True, wait_timeout=5.0)


def test_a_claim_that_waits_for_its_first_pod_is_ready(lab: t.Any) -> None:
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": f"lazy-{lab.namespace}"},
        "provisioner": "example.com/none",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": f"lazy-{lab.namespace}",
    }
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "lazy"}, "spec": spec}
    assert "msg" not in lab.run([storage, claim], wait=True, wait_timeout=5.0)


def test_ready_in_check_mode_looks_once_and_says_what_a_run_would_wait_for(lab: t.Any) -> None:
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
    unknown = {"apiVersion": "example.com/v1", "kind": "Nothing", "metadata": {"name": "x"}}
    lab.run([settings, deployment()])
    started = time.monotonic()
    looked = lab.run([settings, deployment(), unknown], state="ready", check=True, wait_timeout=60.0)
    assert time.monotonic() - started < 10
    assert looked["objects"] == [f"ConfigMap/{lab.namespace}/settings"]
    assert f"Deployment/{lab.namespace}/web is not ready, a run would wait for it: " in "\n".join(lab.warnings)
    assert "Nothing" in "\n".join(lab.warnings)
    waited = lab.run([settings, deployment()], state="ready", wait_timeout=1.0)
    assert f"Deployment {lab.namespace}/web" in waited["msg"]
    with Kubelet(lab, READY):
        assert "msg" not in lab.run([settings, deployment()], state="ready", wait_timeout=20.0)
