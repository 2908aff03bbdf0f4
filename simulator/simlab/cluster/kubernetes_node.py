# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd, control plane, kubelet and Talos's own controllers of one node, joined: what a played Talos node drives."""

from __future__ import annotations

import asyncio
import contextlib
import typing as t

from .behaviour import Behaviours
from .control_plane import ControlPlane
from .etcd import EtcdMember
from .kubelet import Kubelet
from .node import Node
from .operators import ManifestOperator, NodeOperator
from .proxy import FaultProxy


class KubernetesNode:
    """Everything of Kubernetes on one node. The order is the played Talos node's affair::

        k = KubernetesNode(node)
        await k.start_kubelet()                  # each boot of a configured node; waits for an API server by itself
        await k.etcd.start_new()                 # Bootstrap; or .start_existing(), .join(endpoints), .recover(snapshot)
        await k.start_control_plane()            # may be called at the same time as etcd's start: it waits for etcd
        await k.reconfigure(replace(node, config=new))   # a config applied without a reboot
        await k.power_off()                      # the plug: SIGKILL for all, at once
        await k.shut_down()                      # orderly, bounded: a few seconds at most

    ``etcd`` (:class:`EtcdMember`), ``control_plane`` (:class:`ControlPlane`) and ``manifests``
    (:class:`ManifestOperator`) exist on control plane nodes only and are None on workers; ``kubelet``
    (:class:`Kubelet`) and ``operator`` (:class:`NodeOperator`: labels, taints, annotations) on all.
    Starting never raises because a component fails: a component that does not run is state, as in life.
    """

    def __init__(self, node: Node, behaviours: Behaviours | None = None) -> None:
        self.node = node
        self.etcd: EtcdMember | None = EtcdMember(node) if node.is_control_plane else None
        self.control_plane: ControlPlane | None = ControlPlane(node) if node.is_control_plane else None
        self.kubelet = Kubelet(node, self.control_plane, behaviours or Behaviours())
        self.operator = NodeOperator(node)
        self.manifests: ManifestOperator | None = ManifestOperator(node) if node.is_control_plane else None
        self.proxy: FaultProxy | None = None
        if self.control_plane is not None:
            self.proxy = FaultProxy(node, self.control_plane.api_server_runs)

    async def start_kubelet(self) -> None:
        """Return at once; the kubelet registers its node as soon as an API server answers."""
        await self.kubelet.start()
        self.operator.start()

    async def start_control_plane(self) -> None:
        """Render and start the static pods and Talos's controllers (bootstrap manifests). Returns when the processes
        are started, not when they are ready: :meth:`ControlPlane.wait_ready`."""
        if self.control_plane is None or self.manifests is None or self.proxy is None:
            return
        await self.control_plane.start()
        self.manifests.start()
        self.proxy.start()

    async def reconfigure(self, node: Node) -> list[str]:
        """The new configuration takes effect: only what differs restarts. Returns the names of the static pods that
        were started anew (``kube-apiserver``, …). A new node name or address needs a restart of everything instead."""
        self.node = node
        restarted: list[str] = []
        if self.etcd is not None:
            self.etcd.node = node  # Talos restarts etcd at a reboot only
        if self.control_plane is not None and self.control_plane.started:
            restarted = await self.control_plane.reconfigure(node)
        elif self.control_plane is not None:
            self.control_plane.node = node
        if self.proxy is not None:
            await self.proxy.reconfigure(node)
        await self.kubelet.reconfigure(node)
        await self.operator.reconfigure(node)
        if self.manifests is not None:
            await self.manifests.reconfigure(node)
        return restarted

    async def power_off(self) -> None:
        """Pull the plug: nothing of it runs or answers when this returns."""
        await self._stop(kill=True)

    async def shut_down(self) -> None:
        """Stop the kubelet, the static pods, then etcd."""
        await self._stop(kill=False)

    async def _stop(self, *, kill: bool) -> None:
        players: list[t.Awaitable[None]] = [self.kubelet.stop(), self.operator.stop()]
        if self.manifests is not None:
            players.append(self.manifests.stop())
        if self.proxy is not None:
            players.append(self.proxy.stop())
        if self.control_plane is not None:
            players.append(self.control_plane.stop(kill=kill))
        if kill and self.etcd is not None:
            players.append(self.etcd.stop(kill=True))
        await asyncio.gather(*players)
        if self.etcd is not None:
            await self.etcd.stop(kill=kill)

    def sync_ledger(self) -> None:
        """Take over what the API server has logged so far; call it before reading the ledger."""
        if self.control_plane is not None:
            with contextlib.suppress(OSError):
                self.control_plane.audit.sync()

    def describe(self) -> dict[str, t.Any]:
        """For ``rehearse status``: etcd, static pods, kubelet, problems."""
        found: dict[str, t.Any] = {
            "node": self.node.name,
            "kubelet": {
                "running": self.kubelet.running,
                "pods": len(self.kubelet.pods()),
                "ready": self._ready(),
                "problem": self.kubelet.problem,
            },
        }
        if self.etcd is not None and self.control_plane is not None and self.manifests is not None:
            found["etcd"] = {"running": self.etcd.pid is not None, "failure": self.etcd.failure}
            found["static_pods"] = [
                {
                    "name": pod.name,
                    "state": pod.state,
                    "reason": pod.reason,
                    "ready": pod.ready,
                    "restarts": pod.restarts,
                }
                for pod in self.control_plane.pods()
            ]
            found["manifests"] = {"applied": self.manifests.applied, "problem": self.manifests.problem}
        return found

    def _ready(self) -> bool:
        conditions = (self.kubelet.node_object() or {}).get("status", {}).get("conditions") or ()
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
