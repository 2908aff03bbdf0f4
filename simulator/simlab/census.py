# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the lab's Kubernetes clusters, asked of a control plane node in its own network, so that it is never
taken for a request of a playbook.
"""

from __future__ import annotations

import asyncio
import contextlib
import typing as t

from .cluster import EtcdError, KubernetesNode, credentials, pki
from .cluster.client import KubeClient, KubeError

_TIMEOUT = 3.0
_AT_ONCE = 8


async def take(kubernetes: KubernetesNode) -> dict[str, t.Any]:
    """``members`` of etcd, ``nodes`` (name to readiness), ``objects`` (counts by kind), each as far as it answers, and
    ``problem`` when something does not."""
    found: dict[str, t.Any] = {"members": [], "nodes": {}, "objects": {}, "problem": None}
    if kubernetes.etcd is None or kubernetes.etcd.pid is None:
        return {**found, "problem": "etcd does not run"}
    try:
        members = await asyncio.wait_for(kubernetes.etcd.members(linearizable=False), _TIMEOUT)
        found["members"] = [member.name for member in members]
        await asyncio.wait_for(_objects(kubernetes, found), _TIMEOUT)
    except asyncio.TimeoutError:
        found["problem"] = f"no answer within {_TIMEOUT:g} s"
    except (EtcdError, KubeError, OSError, ValueError) as error:
        found["problem"] = str(error)
    return found


async def _objects(kubernetes: KubernetesNode, found: dict[str, t.Any]) -> None:
    client = _client(kubernetes)
    try:
        nodes = await client.call("GET", "/api/v1/nodes")
        found["nodes"] = {node["metadata"]["name"]: _ready(node) for node in nodes["items"]}
        resources = await _resources(client)
        gate = asyncio.Semaphore(_AT_ONCE)
        counts = await asyncio.gather(*(_count(client, path, gate) for _, path in resources))
        for (kind, _), count in zip(resources, counts, strict=True):
            if count:
                found["objects"][kind] = found["objects"].get(kind, 0) + count
    finally:
        await client.close()


def _client(kubernetes: KubernetesNode) -> KubeClient:
    config = kubernetes.node.config
    pair = credentials.cluster_authority(config).issue(*credentials.TALOS_ADMIN)
    context = pki.client_context(credentials.accepted_authorities(config), pair, kubernetes.node.runtime)
    return KubeClient(kubernetes.node, lambda: [("127.0.0.1", credentials.local_port(config))], context, agent="simlab")


def _ready(node: t.Mapping[str, t.Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


async def _resources(client: KubeClient) -> list[tuple[str, str]]:
    """Kinds that can be listed, with their paths; the preferred version of each group only."""
    groups = (await client.call("GET", "/apis"))["groups"]
    bases = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    lists = await asyncio.gather(*(client.call("GET", base) for base in bases))
    return [
        (resource["kind"], f"{base}/{resource['name']}")
        for base, answer in zip(bases, lists, strict=True)
        for resource in answer["resources"]
        if "list" in resource["verbs"] and resource["kind"] != "Event"
    ]


async def _count(client: KubeClient, path: str, gate: asyncio.Semaphore) -> int:
    async with gate:
        with contextlib.suppress(KubeError):  # a CRD that has just gone
            answer = await client.call("GET", path, query={"limit": "1"})
            return len(answer["items"]) + int(answer["metadata"].get("remainingItemCount", 0))
    return 0
