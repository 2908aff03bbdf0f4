# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server serves kinds: what every server has is known, the rest is asked in one request."""

from __future__ import annotations

import dataclasses
import re
import threading
import typing as t

from ..errors import NotFound

Object = dict[str, t.Any]

#: The media type of one document with all groups and kinds (Kubernetes 1.27 and newer; others answer with the plain one).
AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)


@dataclasses.dataclass(frozen=True)
class Resource:
    """A kind as the server serves it: ``Deployment`` of ``apps/v1`` is ``deployments``, namespaced."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        base = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        if self.namespaced and namespace:
            base += f"/namespaces/{namespace}"
        return f"{base}/{self.plural}" + (f"/{name}" if name else "")


#: Kinds that every server since Kubernetes 1.25 serves, as ``Kind=plural``; a dot before a kind means cluster-wide.
EVERYWHERE: dict[str, str] = {
    "v1": """.Namespace=namespaces .Node=nodes .PersistentVolume=persistentvolumes ConfigMap=configmaps Secret=secrets
        Service=services ServiceAccount=serviceaccounts Pod=pods PersistentVolumeClaim=persistentvolumeclaims
        LimitRange=limitranges ResourceQuota=resourcequotas ReplicationController=replicationcontrollers
        Endpoints=endpoints""",
    "apps/v1": "Deployment=deployments StatefulSet=statefulsets DaemonSet=daemonsets ReplicaSet=replicasets",
    "batch/v1": "Job=jobs CronJob=cronjobs",
    "policy/v1": "PodDisruptionBudget=poddisruptionbudgets",
    "autoscaling/v2": "HorizontalPodAutoscaler=horizontalpodautoscalers",
    "rbac.authorization.k8s.io/v1": """.ClusterRole=clusterroles .ClusterRoleBinding=clusterrolebindings Role=roles
        RoleBinding=rolebindings""",
    "networking.k8s.io/v1": ".IngressClass=ingressclasses Ingress=ingresses NetworkPolicy=networkpolicies",
    "storage.k8s.io/v1": ".StorageClass=storageclasses .CSIDriver=csidrivers",
    "scheduling.k8s.io/v1": ".PriorityClass=priorityclasses",
    "node.k8s.io/v1": ".RuntimeClass=runtimeclasses",
    "apiextensions.k8s.io/v1": ".CustomResourceDefinition=customresourcedefinitions",
    "apiregistration.k8s.io/v1": ".APIService=apiservices",
    "admissionregistration.k8s.io/v1": """.MutatingWebhookConfiguration=mutatingwebhookconfigurations
        .ValidatingWebhookConfiguration=validatingwebhookconfigurations""",
}


def _known() -> dict[tuple[str, str], Resource]:
    found = {}
    for api_version, text in EVERYWHERE.items():
        for word in text.split():
            kind, _eq, plural = word.lstrip(".").partition("=")
            found[api_version, kind] = Resource(api_version, kind, plural, not word.startswith("."))
    return found


KNOWN = _known()


class Reader(t.Protocol):
    """Reads a path of the server: :meth:`.client.Client.read`."""

    def __call__(self, path: str, asked: str, *, accept: str = ...) -> Object: ...


class Discovery:
    """One server's kinds. Thread-safe; asked once, until :meth:`forget`."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._versions: dict[str, dict[str, Resource]] = {}
        self._whole: set[str] = set()
        #: What comes from a server that the API server asks in its turn, and that does not answer.
        self._stale: set[str] = set()
        self._lock = threading.Lock()

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """How the server serves this kind; nothing if it does not."""
        known = KNOWN.get((api_version, kind))
        return known or self._version(api_version).get(kind)

    def is_stale(self, api_version: str) -> bool:
        """Whether kinds of this group and version may be served, but nobody knows now."""
        with self._lock:
            return api_version in self._stale

    def kinds(self, api_version: str) -> list[str]:
        """The kinds that the server has in this group and version, for messages."""
        return sorted(self._version(api_version))

    def versions(self, group: str, kind: str) -> list[str]:
        """The apiVersions in which the server has this kind, the best first."""
        known = [version for version, name in KNOWN if name == kind and version.rpartition("/")[0] == group]
        if not known:
            self._version(f"{group}/v1" if group else "v1")
            with self._lock:
                served = [version for version, found in self._versions.items() if kind in found]
            known = [version for version in served if version.rpartition("/")[0] == group]
        return sorted(known, key=lambda version: priority(version.rpartition("/")[2]), reverse=True)

    def forget(self) -> None:
        """Ask anew: CustomResourceDefinitions changed."""
        with self._lock:
            self._versions.clear()
            self._whole.clear()
            self._stale.clear()

    def _version(self, api_version: str) -> dict[str, Resource]:
        root = "/apis" if "/" in api_version else "/api"
        with self._lock:
            if api_version not in self._versions and root not in self._whole:
                self._ask_all(root)
            if api_version not in self._versions and root not in self._whole:
                self._versions[api_version] = self._ask_one(root, api_version)
            return self._versions.get(api_version, {})

    def _ask_all(self, root: str) -> None:
        found = self._read(root, "see what kinds it has", accept=AGGREGATED)
        if found.get("kind") != "APIGroupDiscoveryList":
            return
        self._whole.add(root)
        for group in found.get("items") or []:
            for version in group.get("versions") or []:
                name = str((group.get("metadata") or {}).get("name") or "")
                api_version = f"{name}/{version['version']}" if name else str(version["version"])
                self._versions[api_version] = _aggregated(api_version, version)
                if version.get("freshness") == "Stale":
                    self._stale.add(api_version)

    def _ask_one(self, root: str, api_version: str) -> dict[str, Resource]:
        """For servers that do not have the whole in one document."""
        try:
            found = self._read(f"{root}/{api_version}", f"see what kinds {api_version} has")
        except NotFound:
            return {}
        return {
            entry["kind"]: Resource(api_version, entry["kind"], entry["name"], bool(entry["namespaced"]))
            for entry in found.get("resources", [])
            if "/" not in entry["name"]
        }


def _aggregated(api_version: str, version: t.Mapping[str, t.Any]) -> dict[str, Resource]:
    found = {}
    for entry in version.get("resources") or []:
        kind = str((entry.get("responseKind") or {}).get("kind") or "")
        found[kind] = Resource(api_version, kind, str(entry["resource"]), entry.get("scope") == "Namespaced")
    return found


def priority(version: str) -> tuple[int, int, int]:
    """Of a kind's versions, by Kubernetes' rule: v2 before v1 before v1beta2 before v1alpha1; what is no such name is last."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not found:
        return (-1, 0, 0)
    stage = {None: 2, "beta": 1, "alpha": 0}[found[2]]
    return (stage, int(found[1]), int(found[3] or 0))
