# SPDX-License-Identifier: GPL-3.0-or-later
"""HealthCheck of the ClusterService: the checks of the real node in its order and words."""

from __future__ import annotations

import asyncio
import collections.abc as c
import dataclasses
import time
import typing as t

from grpclib import Status

from ... import cluster
from .. import publish
from ..calls import Call, Reply, streams
from ..refusals import Refusal
from .lifecycle import control_plane_only

if t.TYPE_CHECKING:
    from ..node import TalosNode

_INTERVAL = 0.5
_POD_NAMES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


@dataclasses.dataclass
class _Cluster:
    """The nodes that are checked, by address."""

    asked: TalosNode
    control_planes: list[str]
    workers: list[str]

    def node(self, address: str) -> TalosNode | None:
        return self.asked.settings.registry.by_address(address)

    @property
    def all(self) -> list[str]:
        return self.control_planes + self.workers


#: Answers what is wrong, an empty text if nothing is, SKIP if the check does not apply.
_Check = t.Callable[[_Cluster], c.Awaitable[str]]
_SKIP = "SKIP"


@streams("/cluster.ClusterService/HealthCheck")
async def health_check(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    control_plane_only(node, "cluster health check")
    found = _discover(node, call.request.cluster_info)
    quoted = " ".join(f'"{address}"' for address in sorted(found.all))
    yield {"message": f"discovered nodes: [{quoted}]"}
    timeout = call.request.wait_timeout
    deadline = time.monotonic() + timeout.seconds + timeout.nanos / 1e9
    for name, check in _CHECKS:
        async for line in _wait_for(name, check, found, deadline):
            yield {"message": line}


async def _wait_for(name: str, check: _Check, found: _Cluster, deadline: float) -> c.AsyncIterator[str]:
    head, last = f"waiting for {name}: ", ""
    if time.monotonic() >= deadline:
        raise Refusal(Status.DEADLINE_EXCEEDED, "context deadline exceeded")
    yield head + "..."
    while True:
        said = await check(found)
        if said in ("", _SKIP):
            yield head + (said or "OK")
            return
        if said != last:
            yield head + said
            last = said
        if time.monotonic() >= deadline:
            raise Refusal(Status.DEADLINE_EXCEEDED, "context deadline exceeded")
        await asyncio.sleep(_INTERVAL)


def _discover(node: TalosNode, info: t.Any) -> _Cluster:
    """The nodes that the caller names, else the cluster's members."""
    if info.control_plane_nodes or info.worker_nodes:
        return _Cluster(node, list(info.control_plane_nodes), list(info.worker_nodes))
    members = node.settings.registry.members(node.cluster_key)
    first = {member: member.addresses()[0] for member in members if member.addresses()}
    planes = [address for member, address in first.items() if member.control_plane]
    return _Cluster(
        node,
        planes,
        [address for member, address in first.items() if not member.control_plane],
    )


def _services(service: str, all_nodes: bool) -> _Check:
    async def check(found: _Cluster) -> str:
        for address in found.all if all_nodes else found.control_planes:
            node = found.node(address)
            if node is None or not node.powered or not node.serving:
                return f'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp {address}:50000: connect: no route to host"'
            state = node.runtime.services.get(service)
            if state is None or state.state != "Running":
                return f'service {service!r} not in expected state "Running": current state [{state.state if state else "Unknown"}]'.replace(
                    "'", '"'
                )
            if not state.healthy:
                return f"service is not healthy: {service}"
        return ""

    return check


async def _members_consistent(found: _Cluster) -> str:
    seen: set[tuple[int, ...]] = set()
    for address in found.control_planes:
        members = await _members(found, address)
        if members is None:
            return f"error getting members on node {address}"
        seen.add(tuple(sorted(member.id for member in members)))
    return "" if len(seen) == 1 else "etcd members are not consistent across nodes"


async def _members_are_control_planes(found: _Cluster) -> str:
    members = await _members(found, found.control_planes[0]) if found.control_planes else None
    if members is None:
        return "no etcd members"
    addresses = sorted({url.partition("//")[2].rpartition(":")[0] for member in members for url in member.peer_urls})
    wanted = sorted(found.control_planes)
    if not set(addresses) <= set(wanted):
        shown = [" ".join(f'"{address}"' for address in part) for part in (addresses, wanted)]
        return f"etcd member ips [{shown[0]}] are not subset of control plane node ips [{shown[1]}]"
    return ""


async def _members(found: _Cluster, address: str) -> t.Any:
    node = found.node(address)
    workload = node.runtime.workload if node is not None and node.powered else None
    if workload is None or workload.etcd is None:
        return None
    try:
        return await workload.etcd.members()
    except cluster.EtcdError:
        return None


async def _booted(found: _Cluster) -> str:
    for address in found.all:
        node = found.node(address)
        if node is None or not node.powered or node.runtime.stage not in ("running", "booting"):
            return f"{address}: node is not booted"
        if not node.runtime.sequence_done:
            return f"{address}: boot sequence is not finished"
    return ""


async def _nothing_to_say(found: _Cluster) -> str:
    return ""


def _pods_of(app: str, disabled: str) -> _Check:
    """Ready pods of an add-on, unless the configuration leaves it out."""

    async def check(found: _Cluster) -> str:
        runtime = found.asked.runtime
        if runtime.config is None or runtime.config.get(disabled) or runtime.workload is None:
            return _SKIP
        pods = await runtime.workload.system_pods(app)
        if pods is None:
            return "the Kubernetes API does not answer"
        if not pods:
            return f'no pods found for namespace "kube-system" and label selector "k8s-app={app}"'
        bad = [pod["metadata"]["name"] for pod in pods if not publish.node_ready(pod)]
        return f"some pods are not ready for {app}: [{' '.join(sorted(bad))}]" if bad else ""

    return check


async def _reported(found: _Cluster) -> str:
    missing = [address for address in found.all if _node_object(found, address) is None]
    return f"can't find expected node with IPs [{' '.join(missing)}]" if missing else ""


async def _pods_running(found: _Cluster) -> str:
    for address in found.control_planes:
        running = {pod.name for pod in _pods(found, address) if pod.state == "running"}
        missing = [f"kube-system/{name}" for name in _POD_NAMES if name not in running]
        if missing:
            return f"missing static pods on node {address}: [{' '.join(missing)}]"
    return ""


async def _components_ready(found: _Cluster) -> str:
    for name in _POD_NAMES:
        bad = [
            f"{name}-{node.hostname}"
            for address in found.control_planes
            if (node := found.node(address)) is not None
            for pod in _pods(found, address)
            if pod.name == name and not pod.ready
        ]
        if bad:
            return f"some pods are not ready for {name}: [{' '.join(bad)}]"
    return ""


async def _nodes_ready(found: _Cluster) -> str:
    if (found.asked.runtime.config and found.asked.runtime.config.get("cluster.network.cni.name")) == "none":
        return _SKIP
    bad = [address for address in found.all if not publish.node_ready(_node_object(found, address) or {})]
    names = [node.hostname for address in bad if (node := found.node(address)) is not None]
    return f"some nodes are not ready: [{' '.join(names)}]" if bad else ""


async def _schedulable(found: _Cluster) -> str:
    names = [
        node.hostname
        for address in found.all
        if (node := found.node(address)) is not None
        and ((_node_object(found, address) or {}).get("spec") or {}).get("unschedulable")
    ]
    return f"some nodes are not schedulable: [{' '.join(names)}]" if names else ""


def _pods(found: _Cluster, address: str) -> list[t.Any]:
    node = found.node(address)
    workload = node.runtime.workload if node is not None and node.powered else None
    return workload.static_pods() if workload is not None else []


def _node_object(found: _Cluster, address: str) -> t.Any:
    node = found.node(address)
    workload = node.runtime.workload if node is not None and node.powered else None
    return workload.kubernetes.kubelet.node_object() if workload is not None and workload.kubernetes else None


_CHECKS: tuple[tuple[str, _Check], ...] = (
    ("etcd to be healthy", _services("etcd", all_nodes=False)),
    ("etcd members to be consistent across nodes", _members_consistent),
    ("etcd members to be control plane nodes", _members_are_control_planes),
    ("apid to be ready", _services("apid", all_nodes=True)),
    ("all nodes memory sizes", _nothing_to_say),
    ("all nodes disk sizes", _nothing_to_say),
    ("no diagnostics", _nothing_to_say),
    ("kubelet to be healthy", _services("kubelet", all_nodes=True)),
    ("all nodes to finish boot sequence", _booted),
    ("all k8s nodes to report", _reported),
    ("all control plane static pods to be running", _pods_running),
    ("all control plane components to be ready", _components_ready),
    ("all k8s nodes to report ready", _nodes_ready),
    ("kube-proxy to report ready", _pods_of("kube-proxy", "cluster.proxy.disabled")),
    ("coredns to report ready", _pods_of("kube-dns", "cluster.coreDNS.disabled")),
    ("all k8s nodes to report schedulable", _schedulable),
)
