# SPDX-License-Identifier: GPL-3.0-or-later
"""A Node object as the kubelet writes it."""

from __future__ import annotations

import datetime
import hashlib
import typing as t

from . import arguments
from .node import Node

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
NO_NETWORK = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)
_MIB = 1 << 20
#: What Talos's kubelet keeps for the system: memory by machine type (bytes), CPU (millicores).
_RESERVED_MEMORY = {True: 512 * _MIB, False: 192 * _MIB}
_RESERVED_CPU = 50
_EVICTION = 100 * _MIB
_PRESSURES = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def timestamp(moment: datetime.datetime | None = None) -> str:
    """Kubernetes' form of a time: seconds, UTC."""
    moment = moment or datetime.datetime.now(datetime.timezone.utc)
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def kubelet_version(node: Node) -> str:
    """From the kubelet image's tag, ``v1.36.3``."""
    image = str((node.settings.get("kubelet") or {}).get("image") or "")
    version = arguments.version_of(image)
    return "v" + ".".join(map(str, version or (1, 36, 3)))


def schedules_on_control_planes(node: Node) -> bool:
    return bool(node.cluster.get("allowSchedulingOnControlPlanes") or node.cluster.get("allowSchedulingOnMasters"))


def new_node(node: Node) -> dict[str, t.Any]:
    """What the kubelet registers."""
    taints = []
    if node.is_control_plane and not schedules_on_control_planes(node):
        taints.append({"key": CONTROL_PLANE, "effect": "NoSchedule"})
    if (node.cluster.get("externalCloudProvider") or {}).get("enabled"):
        taints.append(
            {"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"}
        )
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": own_labels(node),
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {"taints": taints} if taints else {},
    }


def own_labels(node: Node) -> dict[str, str]:
    """Labels that every kubelet keeps on its node."""
    names = {"os": "linux", "arch": "amd64"}
    labels = {f"{prefix}kubernetes.io/{key}": value for prefix in ("", "beta.") for key, value in names.items()}
    return labels | {"kubernetes.io/hostname": node.name}


def node_status(node: Node, *, network: bool, boot_id: str, since: t.Mapping[str, str]) -> dict[str, t.Any]:
    """The status part. ``since`` maps a condition's type and status (``Ready=True``) to when it became so."""
    guest = node.machine.guest
    allocatable_memory = guest.memory - _RESERVED_MEMORY[node.is_control_plane] - _EVICTION
    disk = sum(disk.size for disk in guest.disks if not disk.cdrom) or 10 << 30
    return {
        "addresses": [
            {"type": "InternalIP", "address": node.address},
            {"type": "Hostname", "address": node.name},
        ],
        "capacity": _resources(guest.cores * 1000, guest.memory, disk),
        "allocatable": _resources(guest.cores * 1000 - _RESERVED_CPU, max(allocatable_memory, _MIB), int(disk * 0.9)),
        "conditions": conditions(network, since),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "machineID": hashlib.md5(guest.uuid.encode(), usedforsecurity=False).hexdigest(),
            "systemUUID": guest.uuid or "00000000-0000-0000-0000-000000000000",
            "bootID": boot_id,
            "kernelVersion": "6.18.0-talos",
            "osImage": f"Talos ({node.talos_version})",
            "containerRuntimeVersion": "containerd://2.2.5",
            "kubeletVersion": kubelet_version(node),
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "amd64",
        },
    }


def conditions(network: bool, since: t.Mapping[str, str]) -> list[dict[str, str]]:
    """The four conditions; Ready follows the network."""
    found = [(kind, "False", reason, message) for kind, reason, message in _PRESSURES]
    if network:
        found.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
    else:
        found.append(("Ready", "False", "KubeletNotReady", NO_NETWORK))
    now = timestamp()
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since.get(f"{kind}={status}", now),
        }
        for kind, status, reason, message in found
    ]


def _resources(milli_cpu: int, memory: int, disk: int) -> dict[str, str]:
    cpu = str(milli_cpu // 1000) if milli_cpu % 1000 == 0 else f"{milli_cpu}m"
    return {
        "cpu": cpu,
        "memory": f"{memory // 1024}Ki",
        "pods": "110",
        "ephemeral-storage": f"{disk // 1024}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
    }
