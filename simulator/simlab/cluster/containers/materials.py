# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container is given of the cluster: its environment, its command line, the contents of its volumes."""

from __future__ import annotations

import base64
import dataclasses
import math
import re
import typing as t

from ..client import KubeClient

Pod = t.Mapping[str, t.Any]
Spec = t.Mapping[str, t.Any]
_PLURAL = {"Secret": "secrets", "ConfigMap": "configmaps"}
_VARIABLE = re.compile(r"\$(\$|\(([A-Za-z_.][-A-Za-z0-9_.]*)\))")
_UNITS = {
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "m": 1e-3, "": 1,
}  # fmt: skip
#: Seconds that a token is good for; a token is not renewed, and no lab runs that long.
TOKEN_SECONDS = 7 * 24 * 3600


class Unsupported(Exception):
    """The pod asks for something that a process of the lab cannot have."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """Of the pod on its node: what its status does not say yet."""

    address: str
    host: str
    node: str


@dataclasses.dataclass(frozen=True)
class Volume:
    """``files`` by relative path; a directory to write in when ``writable``; ``kept`` when it outlives the pod."""

    files: t.Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    writable: bool = False
    kept: str = ""


class Materials:
    """Reads with the kubelet's own rights: only what the pod refers to."""

    def __init__(self, client: KubeClient, pod: Pod, facts: Facts) -> None:
        self._client, self._pod, self._facts = client, pod, facts
        self._namespace = str(pod["metadata"]["namespace"])

    # --- environment ---
    async def environment(self, container: Spec) -> dict[str, str]:
        """Raises KubeError, Unsupported."""
        found: dict[str, str] = {}
        for source in container.get("envFrom") or ():
            for part, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
                if part in source:
                    content = await self._content(kind, str(source[part].get("name", "")))
                    prefix = str(source.get("prefix") or "")
                    found |= {f"{prefix}{key}": value.decode(errors="replace") for key, value in content.items()}
        for variable in container.get("env") or ():
            value = await self._value(container, variable)
            if value is not None:
                found[str(variable["name"])] = expanded(value, found)
        return found

    async def _value(self, container: Spec, variable: Spec) -> str | None:
        source = variable.get("valueFrom")
        if not source:
            return str(variable.get("value") or "")
        for part, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            if part in source:
                content = await self._content(kind, str(source[part].get("name", "")))
                value = content.get(str(source[part]["key"]))
                return None if value is None else value.decode(errors="replace")
        if "fieldRef" in source:
            return self._field(str(source["fieldRef"]["fieldPath"]))
        if "resourceFieldRef" in source:
            return self._resource(container, source["resourceFieldRef"])
        raise Unsupported(f"variable {variable['name']}: the lab does not know its source {', '.join(source)}")

    def _field(self, path: str) -> str:
        meta, spec, facts = self._pod["metadata"], self._pod["spec"], self._facts
        keyed = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
        if keyed:
            return str((meta.get(keyed[1]) or {}).get(keyed[2], ""))
        known = {
            "metadata.name": meta["name"],
            "metadata.namespace": self._namespace,
            "metadata.uid": meta["uid"],
            "spec.nodeName": facts.node,
            "spec.serviceAccountName": spec.get("serviceAccountName") or "default",
            "status.podIP": facts.address,
            "status.podIPs": facts.address,
            "status.hostIP": facts.host,
            "status.hostIPs": facts.host,
        }
        for kind in ("labels", "annotations"):
            pairs = (meta.get(kind) or {}).items()
            known[f"metadata.{kind}"] = "\n".join(f'{key}="{value}"' for key, value in sorted(pairs))
        if path not in known:
            raise Unsupported(f"the lab does not know the field {path} of a pod")
        return str(known[path])

    def _resource(self, container: Spec, reference: Spec) -> str:
        named = str(reference.get("containerName") or container["name"])
        owner = next(c for c in self._pod["spec"]["containers"] if c["name"] == named)
        part, _, name = str(reference["resource"]).partition(".")
        given = ((owner.get("resources") or {}).get(part) or {}).get(name) or ("1" if name == "cpu" else "0")
        return str(math.ceil(quantity(str(given)) / (quantity(str(reference.get("divisor") or "1")) or 1)))

    # --- volumes ---
    async def volumes(self) -> dict[str, Volume]:
        """Raises KubeError, Unsupported."""
        return {v["name"]: await self._volume(v) for v in self._pod["spec"].get("volumes") or ()}

    async def _volume(self, volume: Spec) -> Volume:
        if "emptyDir" in volume:
            return Volume(writable=True)
        if "persistentVolumeClaim" in volume:
            return Volume(writable=True, kept=f"{self._namespace}_{volume['persistentVolumeClaim']['claimName']}")
        if "projected" in volume:
            files: dict[str, bytes] = {}
            for source in volume["projected"].get("sources") or ():
                files |= await self._source(source)
            return Volume(files)
        return Volume(await self._source(volume))

    async def _source(self, source: Spec) -> dict[str, bytes]:
        if "configMap" in source:
            return await self._keys("ConfigMap", source["configMap"], str(source["configMap"].get("name") or ""))
        if "secret" in source:
            secret = source["secret"]
            return await self._keys("Secret", secret, str(secret.get("secretName") or secret.get("name") or ""))
        if "downwardAPI" in source:
            items = source["downwardAPI"].get("items") or ()
            return {i["path"]: self._field(i["fieldRef"]["fieldPath"]).encode() for i in items if "fieldRef" in i}
        if "serviceAccountToken" in source:
            return {source["serviceAccountToken"]["path"]: (await self._token(source["serviceAccountToken"])).encode()}
        kinds = ", ".join(key for key in source if key != "name")
        raise Unsupported(f"volume {source.get('name', '')}: no volumes of the kind {kinds} in the lab's processes")

    async def _keys(self, kind: str, source: Spec, name: str) -> dict[str, bytes]:
        content = await self._content(kind, name)
        if not source.get("items"):
            return content
        return {item["path"]: content[item["key"]] for item in source["items"] if item["key"] in content}

    async def _token(self, source: Spec) -> str:
        meta = self._pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        audience = {"audiences": [source["audience"]]} if source.get("audience") else {}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"boundObjectRef": bound, "expirationSeconds": TOKEN_SECONDS, **audience},
        }
        account = self._pod["spec"].get("serviceAccountName") or "default"
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{account}/token"
        return str((await self._client.call("POST", path, request))["status"]["token"])

    async def _content(self, kind: str, name: str) -> dict[str, bytes]:
        """Empty when there is no such object: whether it may be missing was asked before (pod_needs)."""
        found = await self._client.get(f"/api/v1/namespaces/{self._namespace}/{_PLURAL[kind]}/{name}")
        data = (found or {}).get("data") or {}
        if kind == "Secret":
            return {key: base64.b64decode(value) for key, value in data.items()}
        binary = (found or {}).get("binaryData") or {}
        return {key: str(value).encode() for key, value in data.items()} | {
            key: base64.b64decode(value) for key, value in binary.items()
        }


def expanded(text: str, variables: t.Mapping[str, str]) -> str:
    """``$(NAME)`` replaced where the name is known, ``$$`` made ``$``, as the kubelet does."""

    def replace(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return variables.get(found[2], found[0])

    return _VARIABLE.sub(replace, text)


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if found is None or found[2] not in _UNITS:
        raise Unsupported(f"the lab cannot read the quantity {text!r}")
    return float(found[1]) * _UNITS[found[2]]
