# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of running clusters share: an event loop with time limits, and a node."""

from __future__ import annotations

import asyncio
import collections.abc as c
import typing as t

from netlab import Network

from simlab.cluster import Behaviours, KubernetesNode
from simlab.cluster.client import KubeClient, talos_client

T = t.TypeVar("T")


class Loop:
    """An event loop that fixtures and tests share; everything in it has a time limit."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def run(self, coroutine: c.Coroutine[t.Any, t.Any, T], timeout: float = 60.0) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, timeout))

    def until(self, condition: c.Callable[[], t.Any], what: str, timeout: float = 30.0) -> t.Any:
        """Wait for a condition (a function, or one that gives a coroutine)."""

        async def wait() -> t.Any:
            while True:
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.1)

        try:
            return self.run(wait(), timeout)
        except asyncio.TimeoutError:
            raise AssertionError(f"after {timeout} s: not {what}") from None


class Cluster:
    """A node and what tests ask of it."""

    def __init__(self, loop: Loop, network: Network, number: int, config: dict[str, t.Any]) -> None:
        self.loop, self.network = loop, network
        self.behaviours = Behaviours()
        self.node = network.node(number, config)
        self.kubernetes = KubernetesNode(self.node, self.behaviours)
        self.client: KubeClient = talos_client(self.node)

    async def start(self) -> None:
        assert self.kubernetes.etcd is not None
        await self.kubernetes.start_kubelet()
        await asyncio.gather(self.kubernetes.etcd.start_new(), self.kubernetes.start_control_plane())

    def ready(self) -> bool:
        return bool(self.kubernetes.describe()["kubelet"]["ready"])

    def call(self, method: str, path: str, body: t.Any = None, **keywords: t.Any) -> dict[str, t.Any]:
        return self.loop.run(self.client.call(method, path, body, **keywords))

    def pod(self, name: str, namespace: str = "default") -> dict[str, t.Any]:
        return self.call("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")

    def create_pod(self, name: str, spec: dict[str, t.Any], **metadata: t.Any) -> None:
        self.loop.until(lambda: self._has_account(), "service account default there")
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}
        self.call("POST", "/api/v1/namespaces/default/pods", body)

    async def _has_account(self) -> bool:
        return await self.client.get("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def events_of(self, name: str) -> list[tuple[str, str]]:
        found = self.call("GET", "/api/v1/namespaces/default/events")["items"]
        return [(e["reason"], e["message"]) for e in found if e["involvedObject"]["name"] == name]

    def close(self) -> None:
        self.loop.run(self.client.close())
        self.loop.run(self.kubernetes.power_off())
