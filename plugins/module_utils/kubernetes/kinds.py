# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order kinds are applied, and which kinds live in no namespace."""

from __future__ import annotations

import typing as t

from ..errors import InvalidInput

#: The annotation with which Argo CD orders what it applies.
WAVE = "argocd.argoproj.io/sync-wave"

#: Applied phase by phase, so that what others need is there first; deleted in the opposite order.
PHASES: tuple[frozenset[str], ...] = (
    frozenset({"Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "RuntimeClass", "IngressClass"}),
    frozenset({
        "ConfigMap", "Secret", "ServiceAccount", "Role", "ClusterRole", "LimitRange", "ResourceQuota", "PersistentVolume",
        "PersistentVolumeClaim", "CSIDriver", "Node",
    }),
    frozenset({"RoleBinding", "ClusterRoleBinding", "Service", "NetworkPolicy", "PodDisruptionBudget", "Endpoints", "EndpointSlice"}),
    frozenset({"Pod", "ReplicationController", "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}),
    frozenset({"HorizontalPodAutoscaler", "Ingress", "APIService"}),
)  # fmt: skip

#: Kinds of others' CustomResourceDefinitions: after what serves them.
CUSTOM = len(PHASES)

#: These intercept what is applied after them, so they come last.
INTERCEPTORS = frozenset({
    "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
})  # fmt: skip

#: Cluster-wide kinds, for when there is no server yet that could be asked (check mode of a lab that is to be made).
CLUSTER_WIDE = INTERCEPTORS | frozenset({
    "Namespace", "Node", "PersistentVolume", "CustomResourceDefinition", "APIService", "ClusterRole", "ClusterRoleBinding",
    "StorageClass", "CSIDriver", "CSINode", "VolumeAttachment", "IngressClass", "PriorityClass", "RuntimeClass",
    "CertificateSigningRequest", "FlowSchema", "PriorityLevelConfiguration", "ComponentStatus", "ServiceCIDR", "IPAddress",
    "ClusterTrustBundle", "DeviceClass", "ResourceSlice", "VolumeAttributesClass",
    # Of the projects that home labs run.
    "GatewayClass", "ClusterIssuer", "ClusterSecretStore", "ClusterExternalSecret", "CiliumLoadBalancerIPPool",
    "CiliumL2AnnouncementPolicy", "CiliumBGPClusterConfig", "CiliumBGPPeerConfig", "CiliumBGPAdvertisement",
    "CiliumClusterwideNetworkPolicy", "CiliumClusterwideEnvoyConfig", "CiliumNode", "ClusterPolicy", "VolumeSnapshotClass",
    "Tenant", "IPPool", "BGPPeer", "BGPConfiguration", "FelixConfiguration", "Installation", "GlobalNetworkPolicy",
})  # fmt: skip

#: API groups that Kubernetes itself serves. Projects have groups that end in ``.k8s.io`` too, with definitions of their own:
#: ``gateway.networking.k8s.io``, ``snapshot.storage.k8s.io``, ``externaldns.k8s.io``, ``autoscaling.k8s.io``.
OWN_GROUPS = frozenset({
    "", "apps", "batch", "autoscaling", "policy", "extensions",
    *(f"{name}.k8s.io" for name in (
        "admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization", "certificates",
        "coordination", "discovery", "events", "flowcontrol.apiserver", "internal.apiserver", "networking", "node",
        "rbac.authorization", "resource", "scheduling", "storage", "storagemigration",
    )),
})  # fmt: skip


def group_of(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def is_built_in(api_version: str) -> bool:
    """Whether Kubernetes itself serves this group, with no CustomResourceDefinition."""
    return group_of(api_version) in OWN_GROUPS


def phase_of(wanted: t.Mapping[str, t.Any]) -> int:
    """The phase in which an object is applied."""
    kind = str(wanted["kind"])
    if kind in INTERCEPTORS:
        return CUSTOM + 1
    if is_built_in(str(wanted["apiVersion"])):
        for phase, kinds in enumerate(PHASES):
            if kind in kinds:
                return phase
        return len(PHASES) - 1
    return CUSTOM


def wave_of(wanted: t.Mapping[str, t.Any], annotation: str) -> int:
    """The number of the wave in which an object is applied; 0 where it says none. Raises :class:`InvalidInput`."""
    meta = wanted["metadata"]
    text = (meta.get("annotations") or {}).get(annotation) if annotation else None
    if text is None:
        return 0
    try:
        return int(str(text))
    except ValueError:
        raise InvalidInput(
            f"{wanted['kind']} {meta.get('name')}: the annotation {annotation} is {text!r}, not a whole number"
        ) from None
