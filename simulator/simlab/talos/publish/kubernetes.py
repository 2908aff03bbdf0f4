# SPDX-License-Identifier: GPL-3.0-or-later
"""Members, etcd, and Kubernetes as ``simlab.cluster`` has it."""

from __future__ import annotations

import collections.abc as c
import typing as t

if t.TYPE_CHECKING:
    from ..runtime import Runtime


PAUSE = "registry.k8s.io/pause:3.10.1"


def members(runtime: Runtime) -> None:
    """The cluster's members as discovery knows them: told to every node of the cluster."""
    own = runtime.node
    for node in own.settings.registry.members(own.cluster_key):
        if node.powered:
            _members(node.runtime)


def _members(runtime: Runtime) -> None:
    registry = runtime.node.settings.registry
    found = {node.hostname: node for node in registry.members(runtime.node.cluster_key) if node.powered}
    runtime.resources.keep_only("cluster", "Members.cluster.talos.dev", found)
    for name, node in found.items():
        spec: dict[str, t.Any] = {
            "nodeId": node.storage.node_id(),
            "addresses": list(node.runtime.network.addresses),
            "hostname": name,
            "machineType": "controlplane" if node.control_plane else "worker",
            "operatingSystem": f"Talos ({node.version.tag})",
        }
        if node.control_plane:
            spec["controlPlane"] = {"port": 6443}
        runtime.resources.put(
            "cluster",
            "Members.cluster.talos.dev",
            name,
            spec,
            owner="cluster.MemberController",
        )


def etcd_member(runtime: Runtime, member_id: int) -> None:
    spec = {"memberID": f"{member_id:016x}"}
    runtime.resources.put(
        "etcd",
        "EtcdMembers.etcd.talos.dev",
        "local",
        spec,
        owner="etcd.MemberController",
    )


def kubernetes(runtime: Runtime, source: t.Any) -> None:
    """NodeStatus, static pods and manifests, as ``simlab.cluster`` has them."""
    node = source.kubelet.node_object()
    if node is not None:
        _node_status(runtime, node)
    if source.control_plane is not None:
        _static_pods(runtime, source.control_plane.pods())
    if source.manifests is not None:
        for id_, objects in source.manifests.manifests():
            _manifest(runtime, id_, objects)


def node_ready(node: c.Mapping[str, t.Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)


def image_of(manifest: c.Mapping[str, t.Any]) -> str:
    containers = (manifest.get("spec") or {}).get("containers") or [{}]
    return str(containers[0].get("image") or "")


def _node_status(runtime: Runtime, node: c.Mapping[str, t.Any]) -> None:
    metadata, spec = node.get("metadata") or {}, node.get("spec") or {}
    name = str(metadata.get("name") or runtime.hostname)
    status = {
        "nodename": name,
        "nodeReady": node_ready(node),
        "unschedulable": bool(spec.get("unschedulable")),
        "labels": dict(sorted((metadata.get("labels") or {}).items())),
        "annotations": dict(sorted((metadata.get("annotations") or {}).items())),
        "podCIDRs": list(spec.get("podCIDRs") or []),
    }
    type_ = "NodeStatuses.kubernetes.talos.dev"
    runtime.resources.put("k8s", type_, name, status, owner="k8s.NodeStatusController")


def _static_pods(runtime: Runtime, pods: c.Sequence[t.Any]) -> None:
    put, keep = runtime.resources.put, runtime.resources.keep_only
    statuses = {f"kube-system/{pod.name}-{runtime.hostname}": pod for pod in pods}
    keep("k8s", "StaticPodStatuses.kubernetes.talos.dev", statuses)
    for id_, pod in statuses.items():
        status = {"phase": "Running" if pod.state == "running" else "Pending"}
        status["conditions"] = [{"type": "Ready", "status": str(bool(pod.ready))}]  # type: ignore[assignment]
        put(
            "k8s",
            "StaticPodStatuses.kubernetes.talos.dev",
            id_,
            status,
            owner="k8s.KubeletStaticPodController",
        )
        put(
            "k8s",
            "StaticPods.kubernetes.talos.dev",
            pod.name,
            dict(pod.manifest),
            owner="k8s.ControlPlaneStaticPodController",
        )


def _manifest(runtime: Runtime, id_: str, objects: c.Sequence[t.Any]) -> None:
    runtime.resources.put(
        "controlplane",
        "Manifests.kubernetes.talos.dev",
        id_,
        list(objects),
        owner="k8s.ManifestController",
    )
