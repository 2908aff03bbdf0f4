# SPDX-License-Identifier: GPL-3.0-or-later
"""kube-apiserver, kube-controller-manager and kube-scheduler as Talos's static pods: real processes."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from .node import Node


@dataclasses.dataclass(frozen=True)
class StaticPod:
    """One static pod and its only container, as the kubelet knows it."""

    name: str  # "kube-apiserver"; the mirror pod is called "kube-apiserver-<node name>"
    manifest: t.Mapping[str, t.Any]  # the Pod as Talos renders it (StaticPods.kubernetes.talos.dev)
    config_version: str  # annotation talos.dev/config-version: "1", "2", … counts its own configuration
    state: t.Literal["waiting", "running", "terminated"]
    reason: str  # "", "CrashLoopBackOff", "Error", "ContainerCreating"
    ready: bool
    exit_code: int | None  # of the last exit
    restarts: int
    pid: int | None
    started_at: datetime.datetime | None


class ControlPlane:
    """The static pods of one control plane node."""

    def __init__(self, node: Node) -> None:
        self.node = node

    async def start(self) -> None:
        raise NotImplementedError

    async def reconfigure(self, node: Node) -> list[str]:
        """Restart what the new configuration changes; returns the names of those."""
        raise NotImplementedError

    async def stop(self, *, kill: bool = False) -> None:
        raise NotImplementedError

    async def ready(self) -> bool:
        """Whether this node's API server answers /readyz with 200."""
        raise NotImplementedError

    async def wait_ready(self, timeout: float = 60.0) -> bool:
        """False when ``timeout`` seconds pass; a crash loop does not end the wait, as a later config may end it."""
        raise NotImplementedError

    def pods(self) -> list[StaticPod]:
        raise NotImplementedError

    def logs(self, name: str, lines: int = 50) -> list[str]:
        """The last lines of a static pod's log (``kube-apiserver``), all of its runs."""
        raise NotImplementedError
