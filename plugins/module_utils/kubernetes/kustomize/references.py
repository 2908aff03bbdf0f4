# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After names have changed: who referred to the old ones gets the new ones. Pure."""

from __future__ import annotations

import functools
import typing as t

from ...errors import InvalidInput
from ..kinds import CLUSTER_WIDE
from .paths import Field, change
from .resources import Id, Res
from .transformers import TEMPLATED

Object = dict[str, t.Any]

#: Where kinds have the specification of a pod.
PODS = (
    ("spec", frozenset({"Pod"})),
    ("spec/template/spec", TEMPLATED),
    ("spec/jobTemplate/spec/template/spec", frozenset({"CronJob"})),
)
CONTAINERS = ("containers", "initContainers")
#: Below a pod's specification, by the kind that is referred to; {c} stands for each list of containers.
IN_PODS = {
    "ConfigMap": (
        "{c}/env/valueFrom/configMapKeyRef/name", "{c}/envFrom/configMapRef/name",
        "volumes/configMap/name", "volumes/projected/sources/configMap/name",
    ),
    "Secret": (
        "{c}/env/valueFrom/secretKeyRef/name", "{c}/envFrom/secretRef/name",
        "volumes/secret/secretName", "volumes/projected/sources/secret/name", "imagePullSecrets/name",
    ),
    "ServiceAccount": ("serviceAccountName",),
    "PersistentVolumeClaim": ("volumes/persistentVolumeClaim/claimName",),
    "PriorityClass": ("priorityClassName",),
}  # fmt: skip


def _only(path: str, *kinds: str) -> Field:
    return Field(path, frozenset(kinds))


INGRESS = "metadata/annotations/nginx.ingress.kubernetes.io~1"
#: Elsewhere: plain names.
NAMES: dict[str, tuple[Field, ...]] = {
    "ConfigMap": (
        _only("rules/resourceNames[]", "Role", "ClusterRole"),
        _only(INGRESS + "fastcgi-params-configmap", "Ingress"),
    ),
    "Secret": (
        _only("rules/resourceNames[]", "Role", "ClusterRole"),
        _only("imagePullSecrets/name", "ServiceAccount"),
        _only("secrets/name", "ServiceAccount"),
        _only("spec/tls/secretName", "Ingress"),
        _only(INGRESS + "auth-secret", "Ingress"),
        _only(INGRESS + "auth-tls-secret", "Ingress"),
    ),
    "Service": (
        _only("spec/serviceName", "StatefulSet"),
        _only("spec/rules/http/paths/backend/service/name", "Ingress"),
        _only("spec/defaultBackend/service/name", "Ingress"),
        Field("spec/service/name", frozenset({"APIService"}), "apiregistration.k8s.io"),
    ),
    "PersistentVolume": (_only("spec/volumeName", "PersistentVolumeClaim"),),
    "StorageClass": (
        _only("spec/storageClassName", "PersistentVolume", "PersistentVolumeClaim"),
        _only("spec/volumeClaimTemplates/spec/storageClassName", "StatefulSet"),
    ),
    "ValidatingAdmissionPolicy": (_only("spec/policyName", "ValidatingAdmissionPolicyBinding"),),
}
#: Elsewhere: mappings that may name a namespace besides the name.
SERVICES = (_only("webhooks/clientConfig/service", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"),)
#: Elsewhere: mappings that name the kind.
TYPED = (
    _only("roleRef", "RoleBinding", "ClusterRoleBinding"),
    _only("spec/scaleTargetRef", "HorizontalPodAutoscaler"),
)
SUBJECTS = (_only("subjects[]", "RoleBinding", "ClusterRoleBinding"),)


def _fields(kind: str) -> t.Iterator[Field]:
    """All places of plain names of this kind."""
    yield from NAMES.get(kind, ())
    for path in IN_PODS.get(kind, ()):
        for containers in CONTAINERS if "{c}" in path else ("",):
            for pod, kinds in PODS:
                yield Field(f"{pod}/{path.format(c=containers)}", kinds)


def follow(where: str, everything: t.Sequence[Res]) -> None:
    """Raises :class:`InvalidInput` where two objects might be meant."""
    by_kind: dict[str, list[Res]] = {}
    for one in everything:
        by_kind.setdefault(one.given["kind"], []).append(one)
    for kind, candidates in by_kind.items():
        fields = list(_fields(kind))
        for referrer in everything:
            for field in fields:
                change(referrer.given, field, functools.partial(_renamed, where, referrer, candidates))
    for referrer in everything:
        for field in TYPED:
            change(referrer.given, field, functools.partial(_typed, where, referrer, by_kind))
        for field in SERVICES:
            change(referrer.given, field, functools.partial(_placed, by_kind.get("Service", [])))
        for field in SUBJECTS:
            change(referrer.given, field, functools.partial(_subject, by_kind.get("ServiceAccount", [])))


def _renamed(where: str, by: Res, candidates: list[Res], old: t.Any) -> t.Any:
    found = [one for one in candidates if any(each.name == old for each in one.every)]
    if by.now.kind not in CLUSTER_WIDE:
        found = [one for one in found if one.now.kind in CLUSTER_WIDE or _space(one.now) == _space(by.now)]
    if len({one.now.name for one in found}) > 1:
        found = [one for one in found if one.added == by.added]
    names = {one.now.name for one in found}
    if len(names) > 1:
        raise InvalidInput(
            f"{where}: {by.now.kind} {by.now.name} refers to {old}, which may be {' or '.join(sorted(names))}"
        )
    return names.pop() if names else old


def _space(one: Id) -> str:
    return one.namespace or "default"


def _typed(where: str, by: Res, by_kind: t.Mapping[str, list[Res]], old: t.Any) -> t.Any:
    if not isinstance(old, dict):
        return old
    return {**old, "name": _renamed(where, by, by_kind.get(str(old.get("kind")), []), old.get("name"))}


def _placed(candidates: list[Res], old: t.Any) -> t.Any:
    """A mapping with name and namespace: both as they are now."""
    if not isinstance(old, dict):
        return old
    space = old.get("namespace") or "default"
    for one in candidates:
        if any(each.name == old.get("name") and _space(each) == space for each in one.every):
            place = {"namespace": one.now.namespace} if one.now.namespace else {}
            return {**old, "name": one.now.name, **place}
    return old


def _subject(candidates: list[Res], old: t.Any) -> t.Any:
    return _placed(candidates, old) if isinstance(old, dict) and old.get("kind") == "ServiceAccount" else old
