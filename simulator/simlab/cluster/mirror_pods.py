# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirror pods: how the API shows a node's static pods."""

from __future__ import annotations

import copy
import hashlib
import json
import typing as t

from .client import STRATEGIC, KubeClient, KubeError
from .control_plane import StaticPod
from .node_status import timestamp
from .pod_status import Container, container_id, for_patch, pod_status, running, terminated, waiting

MIRROR = "kubernetes.io/config.mirror"
Pod = t.Mapping[str, t.Any]


class MirrorPods:
    """Keeps one mirror pod for each static pod."""

    def __init__(self, client: KubeClient, node: str, address: str) -> None:
        self._client, self._node, self._address = client, node, address
        self._last: dict[str, dict[str, t.Any]] = {}

    async def reconcile(
        self, static: t.Sequence[StaticPod], shown: t.Sequence[Pod], owner: t.Mapping[str, t.Any] | None
    ) -> None:
        """Create, replace, update, delete. Raises KubeError; it is called again anyway."""
        if owner is None:
            return
        wanted = {f"{pod.name}-{self._node}": pod for pod in static}
        present = {pod["metadata"]["name"]: pod for pod in shown}
        for name in present.keys() - wanted.keys():
            await self._delete(present[name])
        for name, pod in wanted.items():
            mirror = present.get(name)
            if mirror is not None and mirror["metadata"]["annotations"][MIRROR] != fingerprint(pod):
                await self._delete(mirror)
                mirror = None
            if mirror is None:
                try:
                    mirror = await self._client.call(
                        "POST", "/api/v1/namespaces/kube-system/pods", mirror_pod(pod, self._node, owner)
                    )
                except KubeError as error:
                    if error.code == 409:  # the watch has not shown it yet
                        continue
                    raise
            await self._update(mirror, pod)

    async def _delete(self, mirror: Pod) -> None:
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": mirror["metadata"]["uid"]}}
        path = f"/api/v1/namespaces/kube-system/pods/{mirror['metadata']['name']}"
        try:
            await self._client.call("DELETE", path, body)
        except KubeError as error:
            if error.code not in (404, 409):
                raise

    async def _update(self, mirror: Pod, pod: StaticPod) -> None:
        since = timestamp(pod.started_at)
        status = pod_status(
            mirror,
            [_container(mirror, pod, since)],
            host=self._address,
            address=self._address,
            started=since,
            sandbox=True,
        )
        uid = mirror["metadata"]["uid"]
        if self._last.get(uid) == status:
            return
        path = f"/api/v1/namespaces/kube-system/pods/{mirror['metadata']['name']}/status"
        body = {"metadata": {"uid": uid}, "status": for_patch(status)}
        await self._client.call("PATCH", path, body, content_type=STRATEGIC)
        self._last[uid] = status


def fingerprint(pod: StaticPod) -> str:
    return hashlib.md5(json.dumps(pod.manifest, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def mirror_pod(pod: StaticPod, node: str, owner: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The mirror of a static pod, as a kubelet makes it."""
    made = copy.deepcopy(dict(pod.manifest))
    meta = made["metadata"]
    meta["name"] = f"{pod.name}-{node}"
    meta["ownerReferences"] = [dict(owner) | {"controller": True}]
    own = fingerprint(pod)
    meta["annotations"] = dict(meta.get("annotations") or {}) | {
        MIRROR: own,
        "kubernetes.io/config.hash": own,
        "kubernetes.io/config.seen": timestamp(pod.started_at),
        "kubernetes.io/config.source": "http",
    }
    made["spec"] |= {"nodeName": node, "tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}
    return made


def _container(mirror: Pod, pod: StaticPod, since: str) -> Container:
    container = Container(pod.name, pod.manifest["spec"]["containers"][0]["image"])
    container.restarts, container.ready = pod.restarts, pod.ready
    if pod.exit_code is not None:
        container.last = terminated(pod.exit_code, "Error" if pod.exit_code else "Completed", since)
        container.last["terminated"]["finishedAt"] = since
        container.last["terminated"]["containerID"] = container_id(mirror, container)
    if pod.state == "running":
        container.state = running(since)
    else:
        container.state = waiting(pod.reason or "ContainerCreating", _why(pod))
    return container


def _why(pod: StaticPod) -> str:
    if pod.reason != "CrashLoopBackOff":
        return ""
    return f"back-off restarting failed container={pod.name} (exit code {pod.exit_code}, {pod.restarts} restarts)"
