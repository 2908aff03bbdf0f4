# SPDX-License-Identifier: GPL-3.0-or-later
"""The controllers' own manifests, from the Go modules that they are made of."""

from __future__ import annotations

import pathlib
import typing as t

import yaml
from controllerlab import ControllerLab, Object, documents, module_folder

HERE = pathlib.Path(__file__).parent


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def sealed_secrets_documents() -> list[Object]:
    chart = module_folder("github.com/bitnami/sealed-secrets") / "helm/sealed-secrets"
    definitions = [one for path in sorted((chart / "crds").glob("*.yaml")) for one in documents(path)]
    return definitions + documents(HERE / "manifests" / "sealed-secrets.yaml")


def install_sealed_secrets(lab: ControllerLab) -> None:
    lab.apply(*sealed_secrets_documents())
    lab.ready("/apis/apps/v1/namespaces/kube-system/deployments/sealed-secrets-controller")


def flux_documents(names: t.Iterable[str]) -> list[Object]:
    """As ``flux install`` does: the controllers' own manifests with one namespace, and cluster-admin for the two that
    apply what others wrote."""
    found = [namespace("flux-system")]
    for name in names:
        config = module_folder(f"github.com/fluxcd/{name}-controller") / "config"
        found += [one for path in sorted((config / "crd/bases").glob("*.yaml")) for one in documents(path)]
        meta = {"name": f"{name}-controller", "namespace": "flux-system"}
        found += [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}]
        found += _flux_rights(f"{name}-controller", config)
        for document in _kustomized(config / "manager"):
            document["metadata"]["namespace"] = "flux-system"
            if document["kind"] == "Deployment":
                document["spec"]["template"]["spec"]["serviceAccountName"] = f"{name}-controller"
            found.append(document)
    return found


def install_flux(lab: ControllerLab, names: tuple[str, ...] = ("source", "kustomize", "helm")) -> None:
    lab.apply(*flux_documents(names))
    for name in names:
        lab.ready(f"/apis/apps/v1/namespaces/flux-system/deployments/{name}-controller")


def _kustomized(folder: pathlib.Path) -> list[Object]:
    """What kustomize makes of config/manager: its resources with the release's tag."""
    about = yaml.safe_load((folder / "kustomization.yaml").read_text())
    tags = {image["name"]: f"{image.get('newName', image['name'])}:{image['newTag']}" for image in about["images"]}
    found = [one for name in about["resources"] for one in documents(folder / name)]
    for document in found:
        for container in document.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
            container["image"] = tags.get(container["image"], container["image"])
    return found


def _flux_rights(account: str, config: pathlib.Path) -> list[Object]:
    subject = {"kind": "ServiceAccount", "name": account, "namespace": "flux-system"}
    role = documents(config / "rbac/role.yaml")[0]
    role["metadata"]["name"] = f"{account}-manager"
    lease = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "flux-leader"},
        "rules": [
            {"apiGroups": [group], "resources": [name], "verbs": ["*"]}
            for group, name in (("", "configmaps"), ("", "events"), ("coordination.k8s.io", "leases"))
        ],
    }
    names = [role["metadata"]["name"], "flux-leader"]
    names += [] if account == "source-controller" else ["cluster-admin"]
    return [role, lease, *(_binding(f"{account}-{name}", name, subject) for name in names)]


def _binding(name: str, role: str, subject: Object) -> Object:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def install_argocd(lab: ControllerLab) -> None:
    """core-install.yaml as it is, and the project that ``argocd --core`` or argocd-server would make."""
    lab.apply(namespace("argocd"))
    manifests = documents(module_folder("github.com/argoproj/argo-cd/v3") / "manifests/core-install.yaml")
    first = ("CustomResourceDefinition", "ServiceAccount", "Role", "ClusterRole", "ConfigMap", "Secret")
    for document in sorted(manifests, key=lambda one: one["kind"] not in first):
        if document["kind"] not in ("CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"):
            document["metadata"]["namespace"] = "argocd"
        lab.apply(document)
    lab.apply(_DEFAULT_PROJECT)
    for path in _ARGOCD:
        lab.ready(f"/apis/apps/v1/namespaces/argocd/{path}", 240)


_DEFAULT_PROJECT: t.Final = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AppProject",
    "metadata": {"name": "default", "namespace": "argocd"},
    "spec": {
        "sourceRepos": ["*"],
        "destinations": [{"server": "*", "namespace": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    },
}
_ARGOCD: t.Final = (
    "deployments/argocd-redis",
    "deployments/argocd-repo-server",
    "statefulsets/argocd-application-controller",
)
