# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod refers to and cannot do without: Secrets and ConfigMaps, in volumes and in the environment."""

from __future__ import annotations

import dataclasses
import typing as t

from .client import KubeClient, KubeError

Pod = t.Mapping[str, t.Any]
_PLURAL = {"Secret": "secrets", "ConfigMap": "configmaps"}


@dataclasses.dataclass(frozen=True)
class Reference:
    """A Secret or ConfigMap, and one of its keys ("" for any)."""

    kind: str
    name: str
    key: str = ""
    volume: str = ""


async def missing_environment(client: KubeClient, pod: Pod, container: str) -> str | None:
    """What is missing for a container's environment, in the kubelet's words; None when nothing is."""
    spec = pod["spec"]
    found = [c for c in [*(spec.get("initContainers") or ()), *spec["containers"]] if c["name"] == container]
    for reference in _environment(found[0]):
        missing = await _missing(client, pod, reference)
        if missing:
            return missing
    return None


async def missing_volume(client: KubeClient, pod: Pod) -> str | None:
    """What cannot be mounted, in the kubelet's words; None when everything can."""
    for reference in _volumes(pod["spec"].get("volumes") or ()):
        missing = await _missing(client, pod, reference)
        if missing:
            return f'MountVolume.SetUp failed for volume "{reference.volume}" : {missing}'
    return None


def _environment(container: t.Mapping[str, t.Any]) -> t.Iterator[Reference]:
    for source in container.get("envFrom") or ():
        for part, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
            if part in source and not source[part].get("optional"):
                yield Reference(kind, source[part].get("name", ""))
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        for part, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            if part in source and not source[part].get("optional"):
                yield Reference(kind, source[part].get("name", ""), source[part].get("key", ""))


def _volumes(volumes: t.Iterable[t.Mapping[str, t.Any]]) -> t.Iterator[Reference]:
    for volume in volumes:
        projected = (volume.get("projected") or {}).get("sources") or ()
        for source in [volume, *projected]:
            for part, kind, field in (("secret", "Secret", "secretName"), ("configMap", "ConfigMap", "name")):
                given = source.get(part)
                if not given or given.get("optional"):
                    continue
                name = given.get(field) or given.get("name", "")
                items = given.get("items") or ()
                for key in [item["key"] for item in items] or [""]:
                    yield Reference(kind, name, key, volume["name"])


async def _missing(client: KubeClient, pod: Pod, reference: Reference) -> str | None:
    namespace = pod["metadata"]["namespace"]
    kind = reference.kind.lower()
    try:
        found = await client.get(f"/api/v1/namespaces/{namespace}/{_PLURAL[reference.kind]}/{reference.name}")
    except KubeError as error:
        return str(error)  # forbidden until the authorizer knows the pod, or no answer: it is tried again
    if found is None:
        return f'{kind} "{reference.name}" not found'
    if reference.key and reference.key not in {**(found.get("data") or {}), **(found.get("binaryData") or {})}:
        if reference.volume:
            return f"references non-existent {kind} key: {reference.key}"
        return f"couldn't find key {reference.key} in {reference.kind} {namespace}/{reference.name}"
    return None
