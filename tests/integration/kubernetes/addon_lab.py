# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of Argo CD, Flux and cert-manager without their controllers: definitions that take anything, statuses by the test."""

from __future__ import annotations

import typing as t

Object = dict[str, t.Any]

#: Plural -> (group, version, kind)
KINDS = {
    "applications": ("argoproj.io", "v1alpha1", "Application"),
    "kustomizations": ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"),
    "helmreleases": ("helm.toolkit.fluxcd.io", "v2", "HelmRelease"),
    "certificates": ("cert-manager.io", "v1", "Certificate"),
    "certificaterequests": ("cert-manager.io", "v1", "CertificateRequest"),
}
PATHS = {kind: (f"/apis/{group}/{version}", plural) for plural, (group, version, kind) in KINDS.items()}
PATHS |= {
    "Deployment": ("/apis/apps/v1", "deployments"),
    "Job": ("/apis/batch/v1", "jobs"),
    "Service": ("/api/v1", "services"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Gateway": ("/apis/gateway.networking.k8s.io/v1", "gateways"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
}
ANYTHING: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(plural: str, group: str, version: str, kind: str) -> Object:
    """With generations, as a status is a subresource."""
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": ANYTHING, "status": ANYTHING}, **OPEN}}
    served = {"name": version, "served": True, "storage": True, "subresources": {"status": {}}, "schema": schema}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [served]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": spec,
    }


OPEN = {"x-kubernetes-preserve-unknown-fields": True}


def definitions() -> list[Object]:
    return [definition(plural, *rest) for plural, rest in KINDS.items()]


def named(kind: str, name: str, spec: Object | None = None, **meta: t.Any) -> Object:
    root, _ = PATHS[kind]
    version = root.removeprefix("/apis/").removeprefix("/api/")
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **meta}, "spec": spec or {}}


def report(lab: t.Any, kind: str, name: str, status: Object) -> None:
    """As the kind's controller."""
    root, plural = PATHS[kind]
    lab.act("PATCH", f"{root}/namespaces/{lab.namespace}/{plural}/{name}/status", {"status": status})


def conditions(*found: tuple[str, str] | tuple[str, str, str] | tuple[str, str, str, str], **more: t.Any) -> Object:
    """Of (type, status, reason, message)."""
    names = ("type", "status", "reason", "message")
    told = [dict(zip(names, one, strict=False)) for one in found]
    return {"conditions": [{"lastTransitionTime": "2026-01-01T00:00:00Z", **one} for one in told], **more}


SYNCED: Object = {
    "sync": {"status": "Synced", "revision": "abc"},
    "health": {"status": "Healthy"},
    "operationState": {"phase": "Succeeded"},
}


def said(lab: t.Any, live: Object, reason: str, message: str) -> None:
    """An event about an object, as a controller records it."""
    about = {key: live["metadata"][key] for key in ("name", "namespace", "uid")}
    event = {
        "metadata": {"generateName": "said-", "namespace": lab.namespace},
        "involvedObject": {"kind": live["kind"], "apiVersion": live["apiVersion"], **about},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "source": {"component": "test"},
    }
    lab.act("POST", f"/api/v1/namespaces/{lab.namespace}/events", event, "application/json")
