# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd and Kubernetes of one node: real processes, a played kubelet, Talos's own controllers.

The one thing to start from is :class:`KubernetesNode`.
"""

from .behaviour import Behaviours
from .control_plane import ControlPlane, StaticPod
from .credentials import admin_kubeconfig
from .etcd import EtcdError, EtcdMember, Member, Status
from .kubelet import Kubelet
from .kubernetes_node import KubernetesNode
from .node import Node
from .operators import ManifestOperator, NodeOperator

__all__ = [
    "Behaviours",
    "ControlPlane",
    "EtcdError",
    "EtcdMember",
    "Kubelet",
    "KubernetesNode",
    "ManifestOperator",
    "Member",
    "Node",
    "NodeOperator",
    "StaticPod",
    "Status",
    "admin_kubeconfig",
]
