# SPDX-License-Identifier: GPL-3.0-or-later
"""Events of a played kubelet: one object for each message, counted up."""

from __future__ import annotations

import contextlib
import typing as t
import uuid

from .client import MERGE, KubeClient, KubeError
from .node_status import timestamp


class Events:
    def __init__(self, client: KubeClient, node: str) -> None:
        self._client, self._node = client, node
        self._known: dict[tuple[str, str, str], tuple[str, int]] = {}

    async def record(self, pod: t.Mapping[str, t.Any], kind: str, reason: str, message: str) -> None:
        """``kind`` is Normal or Warning. An event that cannot be written is lost, as in life."""
        meta = pod["metadata"]
        key = (meta["uid"], reason, message)
        collection = f"/api/v1/namespaces/{meta['namespace']}/events"
        with contextlib.suppress(KubeError):
            if key in self._known:
                name, count = self._known[key]
                self._known[key] = (name, count + 1)
                body = {"count": count + 1, "lastTimestamp": timestamp()}
                await self._client.call("PATCH", f"{collection}/{name}", body, content_type=MERGE)
                return
            name = f"{meta['name']}.{uuid.uuid4().hex[:16]}"
            self._known[key] = (name, 1)
            await self._client.call("POST", collection, self._event(meta, name, kind, reason, message))

    def _event(self, meta: t.Mapping[str, t.Any], name: str, kind: str, reason: str, message: str) -> dict[str, t.Any]:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
            "firstTimestamp": timestamp(),
            "lastTimestamp": timestamp(),
            "count": 1,
        }
