# SPDX-License-Identifier: GPL-3.0-or-later
"""Pod statuses as the kubelet writes them: pure functions from what a played pod does to what the API shows."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

from .node_status import timestamp

Pod = t.Mapping[str, t.Any]
ContainerState = dict[str, dict[str, t.Any]]


@dataclasses.dataclass
class Container:
    """One container as it is just now."""

    name: str
    image: str
    init: bool = False
    sidecar: bool = False  # an init container that goes on running
    state: ContainerState = dataclasses.field(default_factory=lambda: waiting("PodInitializing"))
    last: ContainerState = dataclasses.field(default_factory=dict)
    restarts: int = 0
    ready: bool = False

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def succeeded(self) -> bool:
        return self.state.get("terminated", {}).get("exitCode") == 0


def waiting(reason: str, message: str = "") -> ContainerState:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def running(since: str) -> ContainerState:
    return {"running": {"startedAt": since}}


def terminated(code: int, reason: str, started: str, container_id: str = "") -> ContainerState:
    detail = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": timestamp()}
    return {"terminated": detail | ({"containerID": container_id} if container_id else {})}


def containers_of(pod: Pod) -> list[Container]:
    """All containers of a new pod, in the order in which they start."""
    spec = pod["spec"]
    first = "PodInitializing" if spec.get("initContainers") else "ContainerCreating"
    found = [
        Container(c["name"], c["image"], init=True, sidecar=c.get("restartPolicy") == "Always")
        for c in spec.get("initContainers") or ()
    ]
    return found + [Container(c["name"], c["image"], state=waiting(first)) for c in spec["containers"]]


def pod_status(
    pod: Pod, containers: t.Sequence[Container], *, host: str, address: str | None, started: str, sandbox: bool
) -> dict[str, t.Any]:
    """The whole status of a pod. ``sandbox``: whether its sandbox with the network stands."""
    main = [c for c in containers if not c.init]
    phase = phase_of(pod, containers)
    initialized = all(c.succeeded or (c.sidecar and c.running) for c in containers if c.init)
    ready = bool(main) and all(c.ready for c in main) and phase == "Running"
    old = {c["type"]: c for c in pod.get("status", {}).get("conditions") or ()}
    done = phase == "Succeeded"
    unready = _unready(main)
    conditions = [
        _condition(old, "PodReadyToStartContainers", sandbox and phase in ("Pending", "Running")),
        _condition(old, "Initialized", initialized, "PodCompleted" if done else "ContainersNotInitialized"),
        _condition(old, "Ready", ready, "PodCompleted" if done else "ContainersNotReady", unready),
        _condition(old, "ContainersReady", ready, "PodCompleted" if done else "ContainersNotReady", unready),
        _condition(old, "PodScheduled", True),
    ]
    status: dict[str, t.Any] = {
        "phase": phase,
        "conditions": conditions,
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "startTime": started,
        "qosClass": pod.get("status", {}).get("qosClass") or "BestEffort",
        "containerStatuses": [_container_status(pod, c) for c in main],
    }
    if any(c.init for c in containers):
        status["initContainerStatuses"] = [_container_status(pod, c) for c in containers if c.init]
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    return status


def for_patch(status: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A whole status as a strategic merge patch: addresses replace those of an earlier sandbox."""
    replaced = {name: [{"$patch": "replace"}, *status.get(name, ())] for name in ("podIPs", "hostIPs")}
    return {"podIP": None, **status, **replaced}


def phase_of(pod: Pod, containers: t.Sequence[Container]) -> str:
    """Pending until the main containers have started, as the kubelet counts."""
    main = [c for c in containers if not c.init]
    policy = pod["spec"].get("restartPolicy", "Always")
    if policy != "Always" and all("terminated" in c.state for c in main):
        if all(c.succeeded for c in main):
            return "Succeeded"
        return "Failed" if policy == "Never" else "Running"
    if policy == "Never" and any(c.init and "terminated" in c.state and not c.succeeded for c in containers):
        return "Failed"
    begun = all(c.running or "terminated" in c.state or c.last for c in main)
    return "Running" if begun else "Pending"


def container_id(pod: Pod, container: Container) -> str:
    text = f"{pod['metadata']['uid']}/{container.name}/{container.restarts}"
    return "containerd://" + hashlib.sha256(text.encode()).hexdigest()


def _container_status(pod: Pod, c: Container) -> dict[str, t.Any]:
    begun = c.running or "terminated" in c.state
    digest = hashlib.sha256(c.image.encode()).hexdigest()
    status: dict[str, t.Any] = {
        "name": c.name,
        "image": c.image,
        "imageID": f"{c.image.partition('@')[0].rpartition(':')[0] or c.image}@sha256:{digest}" if begun else "",
        "ready": c.ready or (c.init and c.succeeded),
        "started": c.running,
        "restartCount": c.restarts,
        "state": c.state,
        "lastState": c.last,
    }
    if begun:
        status["containerID"] = container_id(pod, c)
    return status


def _unready(main: t.Sequence[Container]) -> str:
    names = [c.name for c in main if not c.ready]
    return f"containers with unready status: [{' '.join(names)}]" if names else ""


def _condition(
    old: t.Mapping[str, t.Any], kind: str, holds: bool, reason: str = "", message: str = ""
) -> dict[str, t.Any]:
    status = "True" if holds else "False"
    before = old.get(kind, {})
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    found = {"type": kind, "status": status, "lastTransitionTime": since or timestamp()}
    # an absent key is kept by a strategic merge: what no longer holds must be taken away
    found |= {"reason": reason or None, "message": message or None} if not holds else {"reason": None, "message": None}
    return t.cast("dict[str, t.Any]", found)
