# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs of services and of static pods' containers; the list of containers."""

from __future__ import annotations

import asyncio
import collections.abc as c
import hashlib
import typing as t

from .. import publish, refusals
from ..calls import Call, Reply, machine, single, streams, unary
from ..services import SYSTEM_CONTAINERS

if t.TYPE_CHECKING:
    from ..node import TalosNode

_SYSTEM, _KUBERNETES = "system", "k8s.io"
_FOLLOW = 0.5
_ALL_LINES = 2000


@unary(*machine("Containers"))
async def containers(node: TalosNode, call: Call) -> Reply:
    namespace = call.request.namespace
    if not namespace:
        raise refusals.invalid("namespace can't be empty")
    found = _system_containers(node) if namespace == _SYSTEM else []
    if namespace == _KUBERNETES:
        found = _static_containers(node)
    return single(containers=found)


@unary(*machine("LogsContainers"))
async def logs_containers(node: TalosNode, call: Call) -> Reply:
    fixed = ["controller-runtime", "dns-resolve-cache", "early-startup"]
    return single(ids=fixed + [service.id for service in node.runtime.services.all()])


@streams(*machine("Logs"))
async def logs(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    request = call.request
    if not request.namespace:
        raise refusals.invalid("namespace can't be empty")
    tail = request.tail_lines if request.tail_lines > 0 else None
    sent = 0
    while True:
        lines = _lines(node, request.namespace, request.id)
        fresh = lines[sent:] if sent else lines[-tail:] if tail else lines
        for line in fresh:
            yield {"bytes": line.encode() + b"\n"}
        sent = len(lines)
        if not request.follow:
            return
        await asyncio.sleep(_FOLLOW)


@streams(*machine("Dmesg"))
async def dmesg(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    """The console: what services say, as the kernel log has it."""
    for service in node.runtime.services.all():
        for text, state, _ in service.events:
            yield {"bytes": f"user: warning: [talos] service[{service.id}]({state}): {text}\n".encode()}


def _lines(node: TalosNode, namespace: str, id_: str) -> list[str]:
    workload = node.runtime.workload
    if namespace == _KUBERNETES:
        for pod in workload.static_pods() if workload else []:
            if id_ in _container_names(node, pod):
                return list(workload.pod_logs(pod.name, _ALL_LINES)) if workload else []
        raise refusals.not_found(f"container {id_!r} not found")
    service = node.runtime.services.get(id_)
    if service is None and id_ not in node.runtime.logs:
        raise refusals.unknown(f'log "{id_}" was not registered')
    process = list(workload.service_logs(id_, _ALL_LINES)) if workload else []
    return [*node.runtime.logs[id_], *process]


def _container_names(node: TalosNode, pod: t.Any) -> list[str]:
    """With and without the short container id, as ``talosctl containers -k`` prints them."""
    base = f"kube-system/{pod.name}-{node.hostname}:{pod.name}"
    return [base, f"{base}:{_short_id(node, pod)}"]


def _system_containers(node: TalosNode) -> list[dict[str, t.Any]]:
    return [
        {
            "namespace": _SYSTEM,
            "id": service.id,
            "name": service.id,
            "pid": service.pid,
            "status": "RUNNING",
        }
        for service in node.runtime.services.all()
        if service.id in SYSTEM_CONTAINERS and service.running
    ]


def _static_containers(node: TalosNode) -> list[dict[str, t.Any]]:
    workload = node.runtime.workload
    found: list[dict[str, t.Any]] = []
    for pod in workload.static_pods() if workload else []:
        name = f"kube-system/{pod.name}-{node.hostname}"
        sandbox = {
            "namespace": _KUBERNETES,
            "id": name,
            "name": name,
            "pod_id": name,
            "image": publish.PAUSE,
        }
        running = pod.pid is not None
        container = {
            "namespace": _KUBERNETES,
            "id": f"{name}:{pod.name}:{_short_id(node, pod)}",
            "name": pod.name,
            "pod_id": name,
            "image": publish.image_of(pod.manifest),
            "pid": pod.pid or 0,
            "status": "CONTAINER_RUNNING" if running else "CONTAINER_EXITED",
        }
        found += [
            {**sandbox, "pid": pod.pid or 0, "status": "SANDBOX_READY"},
            container,
        ]
    return found


def _short_id(node: TalosNode, pod: t.Any) -> str:
    return hashlib.sha256(f"{node.runtime.boot_id}/{pod.name}/{pod.restarts}".encode()).hexdigest()[:12]
