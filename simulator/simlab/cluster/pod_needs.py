# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod refers to and cannot do without: Secrets and ConfigMaps, in volumes and in the environment; claims."""

from __future__ import annotations

import dataclasses
import hashlib
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


async def missing_claim(client: KubeClient, pod: Pod) -> str | None:
    """Which claimed volume is not there yet, in the kubelet's words; None when all are."""
    for volume in pod["spec"].get("volumes") or ():
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if not claim and "ephemeral" in volume:
            claim = f"{pod['metadata']['name']}-{volume['name']}"
        if claim:
            try:
                missing = await _missing_claim(client, pod, volume["name"], claim)
            except KubeError as error:
                missing = str(error)
            if missing:
                return missing
    return None


async def _missing_claim(client: KubeClient, pod: Pod, volume: str, claim: str) -> str | None:
    namespace, node = pod["metadata"]["namespace"], pod["spec"]["nodeName"]
    found = await client.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}")
    failed = (
        f"Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[], failed to process "
    )
    failed += f"volumes=[{volume}]: error processing PVC {namespace}/{claim}: "
    if found is None:
        return f'{failed}failed to fetch PVC from API server: persistentvolumeclaims "{claim}" not found'
    name = found["spec"].get("volumeName")
    if not name or found.get("status", {}).get("phase") != "Bound":
        return f"{failed}PVC is not bound"
    held = await client.get(f"/api/v1/persistentvolumes/{name}")
    source = ((held or {}).get("spec") or {}).get("csi")
    return await _missing_driver(client, node, name, source, volume) if source else None


async def _missing_driver(client: KubeClient, node: str, name: str, source: t.Any, volume: str) -> str | None:
    """A volume of a CSI driver: attached to the node, and the driver registered there."""
    driver = source["driver"]
    settings = await client.get(f"/apis/storage.k8s.io/v1/csidrivers/{driver}")
    if ((settings or {}).get("spec") or {}).get("attachRequired", True):
        digest = hashlib.sha256(f"{source['volumeHandle']}{driver}{node}".encode()).hexdigest()
        attachment = await client.get(f"/apis/storage.k8s.io/v1/volumeattachments/csi-{digest}")
        if not ((attachment or {}).get("status") or {}).get("attached"):
            text = f"Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[{volume}], "
            return f"{text}failed to process volumes=[]: timed out waiting for the condition"
    registered = await client.get(f"/apis/storage.k8s.io/v1/csinodes/{node}")
    if driver in [one["name"] for one in ((registered or {}).get("spec") or {}).get("drivers") or ()]:
        return None
    return (
        f'MountVolume.MountDevice failed for volume "{name}" : kubernetes.io/csi: attacher.MountDevice failed to create '
        f"newCsiDriverClient: driver name {driver} not found in the list of registered CSI drivers"
    )


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
