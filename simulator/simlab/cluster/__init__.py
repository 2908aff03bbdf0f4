# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd and Kubernetes of one node: real processes, a played kubelet, Talos's own controllers.

The one thing to start from is :class:`KubernetesNode`.

=====================  ====================================================================================
real processes         etcd, kube-apiserver, kube-controller-manager, kube-scheduler (``process``, ``etcd``,
                       ``control_plane``); flags and files from the machine config (``arguments``,
                       ``static_pods``); the images' minor version is emulated, 1.33 to 1.36
played                 the kubelet and its containers (``kubelet``, ``played_pod``, ``pod_status``,
                       ``mirror_pods``, ``kubelet_server``), what containers do to the cluster (``effects``),
                       Talos's controllers for manifests and nodes (``operators``); controllers whose manifests were
                       applied: Cilium's, storage drivers, cert-manager (``played``)
seen from outside      every request, from the API server's audit log (``audit``); faults on purpose (``proxy``)
not there              traffic through Services, Gateways and policies, but for containers that are processes; data in
                       volumes; ``kubectl exec`` and port-forward, logs of played containers, metrics of nodes
=====================  ====================================================================================
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
