# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of the tests' API server, with what a scheduler and kubelets would do to their pods."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import threading
import time
import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute

Object = dict[str, t.Any]
MERGE = "application/merge-patch+json"
JSON = "application/json"


def run(lab: t.Any, module: t.Any, *, check: bool = False, **params: t.Any) -> Object:
    """The module's core on the lab's API server."""
    defaults = {name: option.get("default") for name, option in module.SPEC.argument_spec.items()}
    given = {"kubeconfig": str(lab.server.kubeconfig)}
    task = Task(
        params={**defaults, **given, **params},
        check_mode=check,
        diff_mode=True,
        warn=lab.warnings.append,
        progress=lab.progress.append,
        secrets=lab.secrets,
    )
    return execute(module.run, task)


class Somebody:
    """Requests under a name of their own, which the ledger does not count."""

    def __init__(self, kubeconfig: t.Any) -> None:
        access = load(str(kubeconfig), None)
        self.client = Client(dataclasses.replace(access, headers={**access.headers, "user-agent": "somebody"}))

    def act(self, method: str, path: str, body: t.Any = None, kind: str = MERGE) -> Object:
        answer = self.client.transport.send(method, path, "act", body=body, content_type=kind)
        if answer.status >= 300:
            raise RuntimeError(answer.body)
        return answer.body


def until(check: t.Callable[[], t.Any], seconds: float = 60.0) -> t.Any:
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found or time.monotonic() > end:
            return found
        time.sleep(0.1)


class Kubelets:
    """Keeps ``names`` Ready, binds what the controllers make to them, starts pods, and ends those that are deleted after
    ``lasts`` seconds; never if that is nothing."""

    def __init__(self, lab: t.Any, names: t.Sequence[str], lasts: float | None = 0.2) -> None:
        self.names, self.lasts = list(names), lasts
        self.act = Somebody(lab.server.kubeconfig).act
        self.namespace = lab.namespace
        self._going: dict[str, float] = {}
        self._stop = threading.Event()
        self._beat = 0.0
        self._thread = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> Kubelets:
        for name in self.names:
            labels = {"kubernetes.io/hostname": name}
            body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
            with contextlib.suppress(RuntimeError):
                self.act("POST", "/api/v1/nodes", body, JSON)
        self._once()
        self._thread.start()
        # The real node controller takes its own taint away once a node is Ready.
        until(lambda: not any(self.act("GET", f"/api/v1/nodes/{name}")["spec"].get("taints") for name in self.names))
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(30)
        for name in self.names:
            with contextlib.suppress(RuntimeError):
                self.act("DELETE", f"/api/v1/nodes/{name}", {})

    def _live(self) -> None:
        while not self._stop.wait(0.15):
            with contextlib.suppress(RuntimeError):
                self._once()

    def _once(self) -> None:
        now = time.monotonic()
        if now - self._beat > 5:
            self._beat = now
            self._heartbeat()
        for pod in self.act("GET", f"/api/v1/namespaces/{self.namespace}/pods")["items"]:
            self._look(pod, now)

    def _heartbeat(self) -> None:
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": stamp}
        for name in self.names:
            with contextlib.suppress(RuntimeError):
                self.act("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"conditions": [ready]}}, MERGE)

    def _look(self, pod: Object, now: float) -> None:
        meta, spec = pod["metadata"], pod["spec"]
        path = f"/api/v1/namespaces/{self.namespace}/pods/{meta['name']}"
        if not spec.get("nodeName"):
            self._bind(path, pod)
        elif spec["nodeName"] not in self.names:
            return
        elif meta.get("deletionTimestamp"):
            begun = self._going.setdefault(meta["uid"], now)
            if self.lasts is not None and now - begun >= self.lasts:
                self.act("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}, JSON)
        elif pod["status"].get("phase") == "Pending":
            conditions = [{"type": "Ready", "status": "True"}]
            self.act("PATCH", f"{path}/status", {"status": {"phase": "Running", "conditions": conditions}}, MERGE)

    def _bind(self, path: str, pod: Object) -> None:
        affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
            "requiredDuringSchedulingIgnoredDuringExecution"
        )
        if affinity:
            target = affinity["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
        else:
            nodes = [self.act("GET", f"/api/v1/nodes/{name}") for name in self.names]
            free = [node["metadata"]["name"] for node in nodes if not node["spec"].get("unschedulable")]
            target = free[0] if free else ""
        if target in self.names:
            body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]}}
            self.act("POST", f"{path}/binding", {**body, "target": {"kind": "Node", "name": target}}, JSON)


def container(**more: t.Any) -> Object:
    return {"containers": [{"name": "app", "image": "example.com/app:1"}], "terminationGracePeriodSeconds": 30, **more}


def deployment(name: str, replicas: int = 1, **spec: t.Any) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": container(**spec)}
    wanted = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": wanted}


def daemon_set(name: str) -> Object:
    spec = dict(deployment(name)["spec"])
    del spec["replicas"]
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name}, "spec": spec}


def bare_pod(name: str, node: str, **meta: t.Any) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **meta}, "spec": container(nodeName=node)}


def budget(name: str, app: str, least: int = 1) -> Object:
    spec = {"minAvailable": least, "selector": {"matchLabels": {"app": app}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}
