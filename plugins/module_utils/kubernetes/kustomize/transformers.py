# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespace, names, labels, annotations, images and replicas of a kustomization. Pure."""

from __future__ import annotations

import re
import typing as t

from ...errors import InvalidInput
from ..kinds import CLUSTER_WIDE
from .paths import Field, change
from .resources import Res

Object = dict[str, t.Any]

WORKLOADS = frozenset({"Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"})
TEMPLATED = WORKLOADS | {"ReplicationController", "Job"}
BINDINGS = frozenset({"RoleBinding", "ClusterRoleBinding"})
#: Kinds whose names mean something to the server.
UNPREFIXED = {
    ("CustomResourceDefinition", "apiextensions.k8s.io"),
    ("APIService", "apiregistration.k8s.io"),
    ("Namespace", ""),
}

TERM = "labelSelector/matchLabels"
AFFINITIES = tuple(
    f"spec/template/spec/affinity/{which}/{rest}"
    for which in ("podAffinity", "podAntiAffinity")
    for rest in (
        f"preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/{TERM}",
        f"requiredDuringSchedulingIgnoredDuringExecution/{TERM}",
    )
)
SELECTING = frozenset({"Deployment", "StatefulSet"})


def _cron(path: str) -> str:
    return f"spec/jobTemplate/{path}"


METADATA = Field("metadata/labels", create=True)
TEMPLATES = (
    Field("spec/template/metadata/labels", TEMPLATED, create=True),
    Field(_cron("metadata/labels"), frozenset({"CronJob"}), create=True),
    Field(_cron("spec/template/metadata/labels"), frozenset({"CronJob"}), create=True),
    Field("spec/volumeClaimTemplates/metadata/labels", frozenset({"StatefulSet"}), create=True),
)
SELECTORS = (
    Field("spec/selector", frozenset({"Service", "ReplicationController"}), "", create=True),
    Field("spec/selector/matchLabels", WORKLOADS, create=True),
    Field("spec/selector/matchLabels", frozenset({"Job", "PodDisruptionBudget"})),
    Field(_cron("spec/selector/matchLabels"), frozenset({"CronJob"})),
    Field("spec/template/spec/topologySpreadConstraints/" + TERM, SELECTING),
    *(Field(path, SELECTING) for path in AFFINITIES),
    Field("spec/podSelector/matchLabels", frozenset({"NetworkPolicy"})),
    Field("spec/ingress/from/podSelector/matchLabels", frozenset({"NetworkPolicy"})),
    Field("spec/egress/to/podSelector/matchLabels", frozenset({"NetworkPolicy"})),
)
ANNOTATIONS = (
    Field("metadata/annotations", create=True),
    Field("spec/template/metadata/annotations", TEMPLATED, create=True),
    Field(_cron("metadata/annotations"), frozenset({"CronJob"}), create=True),
    Field(_cron("spec/template/metadata/annotations"), frozenset({"CronJob"}), create=True),
)
NAMESPACES = (
    Field("spec/service/namespace", frozenset({"APIService"}), "apiregistration.k8s.io", create=True),
    Field("spec/conversion/webhook/clientConfig/service/namespace", frozenset({"CustomResourceDefinition"})),
)
REPLICAS = Field(
    "spec/replicas", frozenset({"Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"}), create=True
)


def set_namespace(everything: t.Sequence[Res], namespace: str) -> None:
    for one in everything:
        given = one.given
        one.remember()
        if given["kind"] == "Namespace" and given["apiVersion"] == "v1":
            given["metadata"]["name"] = namespace
        elif given["kind"] not in CLUSTER_WIDE:
            given["metadata"]["namespace"] = namespace
        for field in NAMESPACES:
            change(given, field, lambda _old: namespace)
        for subject in (given.get("subjects") or []) if given["kind"] in BINDINGS else []:
            if subject.get("kind") == "ServiceAccount" and subject.get("name") == "default":
                subject["namespace"] = namespace


def affix(everything: t.Sequence[Res], prefix: str, suffix: str) -> None:
    for one in everything:
        if (one.now.kind, one.now.group) in UNPREFIXED:
            continue
        one.remember()
        meta = one.given["metadata"]
        meta["name"] = f"{prefix}{meta['name']}{suffix}"
        one.added.append((prefix, suffix))


def label(everything: t.Sequence[Res], pairs: t.Mapping[str, str], fields: t.Iterable[Field]) -> None:
    """Add these pairs at the fields; also for annotations."""
    if not pairs:
        return
    for field in fields:
        for one in everything:
            change(one.given, field, lambda old: {**old, **pairs} if isinstance(old, dict) else old)


def set_images(everything: t.Sequence[Res], images: t.Sequence[Object]) -> None:
    """In all lists that are called containers or initContainers, whatever the kind."""
    for one in everything:
        if one.given["kind"] == "CustomResourceDefinition":
            continue
        for image in images:
            _images(one.given, image)


def _images(value: t.Any, image: Object) -> None:
    if isinstance(value, list):
        for item in value:
            _images(item, image)
        return
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        if key in ("containers", "initContainers") and isinstance(below, list):
            for container in below:
                if isinstance(container, dict) and isinstance(container.get("image"), str):
                    container["image"] = _image(container["image"], image)
        else:
            _images(below, image)


def _image(old: str, image: Object) -> str:
    found = re.fullmatch(re.escape(image["name"]) + r"(:[a-zA-Z0-9_.{}-]*)?(@sha256:[a-zA-Z0-9_.{}-]*)?", old)
    if not found:
        return old
    tag, digest = found[1] or "", found[2] or ""
    if image.get("newTag"):
        tag, digest = f":{image['newTag']}", ""
    if image.get("digest"):
        tag, digest = "", f"@{image['digest']}"
    if image.get("tagSuffix"):
        tag, digest = f"{tag or ':latest'}{image['tagSuffix']}", ""
    return f"{image.get('newName') or image['name']}{tag}{digest}"


def set_replicas(where: str, everything: t.Sequence[Res], name: str, count: int) -> None:
    """Raises :class:`InvalidInput` when there is no such workload."""
    found = [one for one in everything if REPLICAS.is_for(one.given) and any(each.name == name for each in one.every)]
    if not found:
        raise InvalidInput(f"{where}: replicas names {name}, but there is no workload of that name")
    for one in found:
        change(one.given, REPLICAS, lambda _old: count)
