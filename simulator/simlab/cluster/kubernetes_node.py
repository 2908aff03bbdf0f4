# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd, control plane, kubelet and Talos's own controllers of one node, joined: what a played Talos node drives."""

from __future__ import annotations

import typing as t

from .behaviour import Behaviours
from .control_plane import ControlPlane
from .etcd import EtcdMember
from .kubelet import Kubelet
from .node import Node
from .operators import NodeOperator, ManifestOperator


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
    No method here raises because a component fails: a component that does not run is state, as in life.
    """

    def __init__(self, node: Node, behaviours: Behaviours | None = None) -> None:
        self.node = node
        self.etcd: EtcdMember | None = EtcdMember(node) if node.is_control_plane else None
        self.control_plane: ControlPlane | None = ControlPlane(node) if node.is_control_plane else None
        self.kubelet = Kubelet(node, self.control_plane, behaviours or Behaviours())
        self.operator = NodeOperator(node)
        self.manifests: ManifestOperator | None = ManifestOperator(node) if node.is_control_plane else None

    async def start_kubelet(self) -> None:
        """Return at once; the kubelet registers its node as soon as an API server answers."""
        raise NotImplementedError

    async def start_control_plane(self) -> None:
        """Render and start the static pods and Talos's controllers (bootstrap manifests). Returns when the processes
        are started, not when they are ready: :meth:`ControlPlane.wait_ready`."""
        raise NotImplementedError

    async def reconfigure(self, node: Node) -> list[str]:
        """The new configuration takes effect: only what differs restarts. Returns the names of the static pods that
        were started anew (``kube-apiserver``, …)."""
        raise NotImplementedError

    async def power_off(self) -> None:
        raise NotImplementedError

    async def shut_down(self) -> None:
        raise NotImplementedError

    def describe(self) -> dict[str, t.Any]:
        """For ``rehearse status``: etcd, static pods, kubelet, problems."""
        raise NotImplementedError
