# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of played controllers do to a cluster: apply objects, look at their conditions."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from clusterlab import Cluster, Loop
from netlab import Network

from simlab.authority import Authority
from simlab.cluster import KubernetesNode
from simlab.cluster.client import APPLY, MERGE, KubeClient, KubeError
from simlab.cluster.pki import KeyPair

Object = dict[str, t.Any]
_NUMBERS = itertools.count(1)


class PlayedCluster(Cluster):
    """A one-node cluster with helpers."""

    def __init__(self, loop: Loop, network: Network, number: int, config: Object) -> None:
        super().__init__(loop, network, number, config)
        self.node = dataclasses.replace(self.node, authority=_authority(network))
        self.kubernetes = KubernetesNode(self.node, self.behaviours)
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}

    def path(self, found: Object) -> str:
        return self.loop.run(self._path(self.client, found))

    async def _path(self, client: KubeClient, found: Object) -> str:
        version, kind = found["apiVersion"], found["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._plurals:
            for one in (await client.call("GET", root))["resources"]:
                if "/" not in one["name"]:
                    self._plurals[(version, one["kind"])] = (one["name"], one["namespaced"])
        plural, namespaced = self._plurals[(version, kind)]
        meta = found["metadata"]
        inside = f"/namespaces/{meta.get('namespace', 'default')}" if namespaced else ""
        return f"{root}{inside}/{plural}/{meta['name']}"

    def apply(self, *objects: Object) -> None:
        query = {"fieldManager": "test", "force": "true"}
        for one in objects:
            self.call("PATCH", self.path(one), one, content_type=APPLY, query=query)

    def patch(self, found: Object, body: Object) -> None:
        self.call("PATCH", self.path(found), body, content_type=MERGE)

    def delete(self, *objects: Object) -> None:
        for one in objects:
            try:
                self.call("DELETE", self.path(one))
            except KubeError as error:
                if error.code != 404:
                    raise

    def live(self, found: Object) -> Object:
        return self.call("GET", self.path(found))

    def until_gone(self, found: Object, timeout: float = 20.0) -> None:
        path = self.path(found)

        async def gone() -> bool:
            return await self.client.get(path) is None

        self.loop.until(gone, f"{path} gone", timeout)

    def until(self, found: Object, condition: t.Callable[[Object], t.Any], what: str, timeout: float = 20.0) -> Object:
        """Wait until the object is as wanted; returns it."""
        path = self.path(found)
        last: Object = {}

        async def look() -> Object | None:
            nonlocal last
            last = await self.client.get(path) or {}
            return last if last and condition(last) else None

        try:
            return t.cast("Object", self.loop.until(look, what, timeout))
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from None

    def namespace(self, **labels: str) -> str:
        """A new namespace."""
        name = f"t{next(_NUMBERS)}"
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        return name

    def events(self, namespace: str, name: str) -> list[tuple[str, str, str]]:
        """(type, reason, message) of an object's events."""
        found = self.call("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
        mine = [one for one in found if one["involvedObject"]["name"] == name]
        return [(one["type"], one["reason"], one["message"]) for one in mine]

    def until_event(self, namespace: str, name: str, reason: str, timeout: float = 20.0) -> str:
        """Wait for an event; returns its message."""

        async def look() -> str | None:
            found = (await self.client.call("GET", f"/api/v1/namespaces/{namespace}/events"))["items"]
            told = [e["message"] for e in found if e["involvedObject"]["name"] == name and e["reason"] == reason]
            return told[-1] if told else None

        return str(self.loop.until(look, f"event {reason} of {name}", timeout))

    def mark(self) -> int:
        self.kubernetes.sync_ledger()
        return self.network.ledger.mark()

    def writes_since(self, mark: int, agent: str) -> list[str]:
        """What a program (a part of its user agent) has written since a mark."""
        self.kubernetes.sync_ledger()
        found = [one for one in self.network.ledger.entries(mark) if one.write]
        return [f"{one.verb} {one.path}" for one in found if agent in str(one.detail.get("user_agent"))]


def _authority(network: Network) -> KeyPair:
    """As the lab's test CA."""
    return KeyPair(*Authority(network.directory).pair())


def told(found: Object, kind: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition of the object's status."""
    return of_list((found.get("status") or {}).get("conditions"), kind)


def of_list(conditions: list[Object] | None, kind: str) -> tuple[str, str, str]:
    for one in conditions or ():
        if one["type"] == kind:
            return one["status"], one.get("reason", ""), one.get("message", "")
    return "", "", ""
