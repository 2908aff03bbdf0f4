# SPDX-License-Identifier: GPL-3.0-or-later
"""Events of a played component: one object for each message, counted up."""

from __future__ import annotations

import contextlib
import typing as t
import uuid

from .client import MERGE, KubeClient, KubeError
from .node_status import timestamp


class Events:
    """``component`` is who says it; ``node`` where that runs, "" for controllers."""

    def __init__(self, client: KubeClient, node: str, component: str = "kubelet") -> None:
        self._client, self._node, self._component = client, node, component
        self._known: dict[tuple[str, str, str], tuple[str, int]] = {}

    async def record(self, about: t.Mapping[str, t.Any], kind: str, reason: str, message: str) -> None:
        """``kind`` is Normal or Warning; ``about`` a Pod, or an object that says its kind. An event that cannot be written
        is lost, as in life."""
        meta = about["metadata"]
        key = (meta["uid"], reason, message)
        collection = f"/api/v1/namespaces/{meta.get('namespace') or 'default'}/events"
        with contextlib.suppress(KubeError):
            if key in self._known:
                name, count = self._known[key]
                self._known[key] = (name, count + 1)
                body = {"count": count + 1, "lastTimestamp": timestamp()}
                await self._client.call("PATCH", f"{collection}/{name}", body, content_type=MERGE)
                return
            name = f"{meta['name']}.{uuid.uuid4().hex[:16]}"
            self._known[key] = (name, 1)
            await self._client.call("POST", collection, self._event(about, name, kind, reason, message))

    def _event(self, about: t.Mapping[str, t.Any], name: str, kind: str, reason: str, message: str) -> dict[str, t.Any]:
        meta = about["metadata"]
        where = {"namespace": meta["namespace"]} if meta.get("namespace") else {}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta.get("namespace") or "default"},
            "involvedObject": {
                "apiVersion": about.get("apiVersion", "v1"),
                "kind": about.get("kind", "Pod"),
                "name": meta["name"],
                "uid": meta["uid"],
                **where,
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": self._component} | ({"host": self._node} if self._node else {}),
            "reportingComponent": self._component,
            "reportingInstance": self._node,
            "firstTimestamp": timestamp(),
            "lastTimestamp": timestamp(),
            "count": 1,
        }
