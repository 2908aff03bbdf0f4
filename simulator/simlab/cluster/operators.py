# SPDX-License-Identifier: GPL-3.0-or-later
"""Talos's own controllers that write to Kubernetes: bootstrap manifests; labels, taints, annotations of the node."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import typing as t

import aiohttp
import yaml

from .bootstrap_manifests import bootstrap_manifests
from .client import APPLY, KubeClient, KubeError, talos_client
from .discovery import Discovery
from .kubelet_identity import client as kubelet_client
from .node import Node
from .node_status import CONTROL_PLANE, schedules_on_control_planes

INVENTORY = "talos-bootstrap-manifests-inventory"
FIELD_MANAGER = "talos"
_INVENTORY_PATH = f"/api/v1/namespaces/kube-system/configmaps/{INVENTORY}"
#: Answers that say that a manifest is wrong, not that the cluster is not there.
_MALFORMED = (400, 405, 422)
#: Real seconds between attempts: the shortest and the longest.
_RETRY, _RETRY_LIMIT = 0.2, 0.6

Document = dict[str, t.Any]


class _Operator:
    """A task that works until it is done, and again when the configuration changes."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.problem: str | None = None
        self._client: KubeClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._done = False

    def start(self) -> None:
        if self._task is None or self._task.done():
            self._done = False
            self._task = asyncio.create_task(self._keep(), name=f"{type(self).__name__} {self.node.name}")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def reconfigure(self, node: Node) -> None:
        running = self._task is not None
        await self.stop()
        self.node = node
        if running:
            self.start()

    async def _keep(self) -> None:
        delay = _RETRY
        while not self._done:
            try:
                if self._client is None:
                    self._client = await self._connect()
                self._done = await self._once(self._client)
                self.problem = None if self._done else self.problem
            except (KubeError, ValueError, aiohttp.ClientError) as error:
                self.problem = str(error)
            if not self._done:
                await asyncio.sleep(delay)
                delay = min(delay * 1.5, _RETRY_LIMIT) if self.problem else _RETRY

    async def _connect(self) -> KubeClient:
        return talos_client(self.node)

    async def _once(self, client: KubeClient) -> bool:
        """True when there is nothing left to do."""
        raise NotImplementedError


class ManifestOperator(_Operator):
    """Applies the bootstrap manifests (server-side apply, field manager ``talos``) until the API server has them all,
    again when the configuration changes. Like Talos it only creates: what is there, or was once created, stays."""

    def manifests(self) -> list[tuple[str, list[Document]]]:
        """(id as in Manifests.kubernetes.talos.dev, such as ``10-kube-proxy``; its objects). Raises ValueError when an
        inline manifest cannot be read; extra manifests from URLs are not among them."""
        found = bootstrap_manifests(self.node)
        for inline in self.node.cluster.get("inlineManifests") or ():
            found[f"99-{inline.get('name')}"] = documents(str(inline.get("contents") or ""))
        return sorted(found.items())

    @property
    def applied(self) -> bool:
        """Whether the present configuration's manifests are all applied."""
        return self._done

    async def _once(self, client: KubeClient) -> bool:
        wanted = [document for _, objects in self.manifests() for document in objects]
        wanted += await self._downloaded()
        known: dict[str, str] = {}
        if self._keeps_inventory():
            known |= ((await client.get(_INVENTORY_PATH)) or {}).get("data") or {}
        before = dict(known)
        try:
            await self._apply(client, Discovery(client), sorted(wanted, key=_phase), known)
        finally:
            if known != before and self._keeps_inventory():
                await self._write_inventory(client, known)
        return self.problem is None

    async def _apply(
        self, client: KubeClient, discovery: Discovery, wanted: list[Document], known: dict[str, str]
    ) -> None:
        problems = []
        for document in wanted:
            kind, meta = str(document.get("kind")), document.get("metadata") or {}
            try:
                path, namespace = await discovery.path(document)
            except LookupError as error:
                problems.append(f"error creating mapping for object {kind} {meta.get('name')}: {error}")
                continue
            group = str(document["apiVersion"]).rpartition("/")[0]
            key = "_".join((namespace, str(meta["name"]).replace(":", "__"), group, kind))
            if key in known:
                continue
            if await client.get(path) is None:
                try:
                    await client.call("PATCH", path, _owned(document, namespace), content_type=APPLY, query=_QUERY)
                except KubeError as error:
                    if error.code not in _MALFORMED:
                        raise
                    problems.append(f"error creating {kind} {meta.get('name')}: {error}")
                    continue
            known[key] = ""
        self.problem = "; ".join(problems) or None

    def _keeps_inventory(self) -> bool:
        """From Talos 1.13; before, it only looked whether an object is there."""
        found = re.match(r"v?1\.(\d+)", self.node.talos_version)
        return found is None or int(found[1]) >= 13

    async def _write_inventory(self, client: KubeClient, known: dict[str, str]) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": INVENTORY,
                "namespace": "kube-system",
                "labels": {"cli-utils.sigs.k8s.io/inventory-id": INVENTORY},
            },
            "data": known,
        }
        await client.call("PATCH", _INVENTORY_PATH, document, content_type=APPLY, query=_QUERY | {"force": "true"})

    async def _downloaded(self) -> list[Document]:
        """The manifests that the configuration names by URL: ``extraManifests``, and those of a custom CNI."""
        cluster = self.node.cluster
        urls = [str(url) for url in ((cluster.get("network") or {}).get("cni") or {}).get("urls") or ()]
        urls += [str(url) for url in cluster.get("extraManifests") or ()]
        if not urls:
            return []
        headers = {str(k): str(v) for k, v in (cluster.get("extraManifestHeaders") or {}).items()}
        space = self.node.machine.namespace
        connector = aiohttp.TCPConnector(socket_factory=lambda info: _nonblocking(space.socket(info[0], info[1])))
        found: list[Document] = []
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as session:
            for url in urls:
                async with session.get(url, headers=headers) as response:
                    if response.status != 200:
                        raise ValueError(f'error downloading "{url}": bad response code: {response.status}')
                    found += documents(await response.text())
        return found


_QUERY = {"fieldManager": FIELD_MANAGER}


def documents(text: str) -> list[Document]:
    """The objects of a YAML text. Raises ValueError when it cannot be read."""
    try:
        loaded = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as error:
        raise ValueError(f"error decoding manifest: {error}") from None
    found: list[Document] = []
    for document in loaded:
        if not isinstance(document, dict) or not document.get("kind") or not document.get("apiVersion"):
            raise ValueError("error decoding manifest: an object has no apiVersion or no kind")
        found += document["items"] if str(document["kind"]).endswith("List") and "items" in document else [document]
    return found


def _phase(document: Document) -> int:
    """Namespaces first, then definitions of resources, then the rest in its order."""
    return {"Namespace": 0, "CustomResourceDefinition": 1}.get(str(document.get("kind")), 2)


def _owned(document: Document, namespace: str) -> Document:
    made = copy.deepcopy(document)
    meta = made["metadata"]
    meta["annotations"] = dict(meta.get("annotations") or {}) | {"config.k8s.io/owning-inventory": INVENTORY}
    meta.pop("namespace", None)
    if namespace:
        meta["namespace"] = namespace
    return made


def _nonblocking(made: t.Any) -> t.Any:
    made.setblocking(False)
    return made


class NodeOperator(_Operator):
    """Keeps machine.nodeLabels, nodeAnnotations, nodeTaints and the control plane's own label and taint on the Node.

    As Talos does: what it has set it owns (annotations ``talos.dev/owned-…``), changes and takes away again; what
    somebody else has set it leaves alone. Workers do it with the kubelet's rights.
    """

    async def _connect(self) -> KubeClient:
        if self.node.is_control_plane:
            return talos_client(self.node)
        return await kubelet_client(self.node)

    async def _once(self, client: KubeClient) -> bool:
        path = f"/api/v1/nodes/{self.node.name}"
        found = await client.get(path)
        if found is None:
            return False
        wanted = copy.deepcopy(found)
        reconcile(wanted, labels(self.node), dict(self.node.settings.get("nodeAnnotations") or {}), taints(self.node))
        if wanted != found:
            await client.call("PUT", path, wanted)
        return True


def labels(node: Node) -> dict[str, str]:
    given = {str(k): str(v) for k, v in (node.settings.get("nodeLabels") or {}).items()}
    return given | ({CONTROL_PLANE: ""} if node.is_control_plane else {})


def taints(node: Node) -> list[Document]:
    found: dict[str, Document] = {}
    if node.is_control_plane and not schedules_on_control_planes(node):
        found[CONTROL_PLANE] = {"key": CONTROL_PLANE, "effect": "NoSchedule"}
    for key, text in (node.settings.get("nodeTaints") or {}).items():
        value, colon, effect = str(text).rpartition(":")
        taint = {"key": str(key), "effect": effect} | ({"value": value} if colon and value else {})
        found[str(key)] = taint
    return list(found.values())


def reconcile(
    node: Document, labels: t.Mapping[str, str], annotations: t.Mapping[str, str], taints: list[Document]
) -> None:
    """Change a Node object in place."""
    meta = node["metadata"]
    own = meta.setdefault("annotations", {})
    owned = {kind: set(json.loads(own.get(f"talos.dev/owned-{kind}") or "[]")) for kind in _OWNED}
    _merge(meta.setdefault("labels", {}), owned["labels"], labels)
    _merge(own, owned["annotations"], annotations)
    present = {taint["key"]: taint for taint in node.setdefault("spec", {}).get("taints") or ()}
    # a taint of the kubelet's own registration is taken over
    owned["taints"] |= {taint["key"] for taint in taints if present.get(taint["key"]) == taint}
    _merge(present, owned["taints"], {taint["key"]: taint for taint in taints})
    node["spec"]["taints"] = list(present.values())
    if not present:
        del node["spec"]["taints"]
    for kind, keys in owned.items():
        if keys:
            own[f"talos.dev/owned-{kind}"] = json.dumps(sorted(keys), separators=(",", ":"))
        else:
            own.pop(f"talos.dev/owned-{kind}", None)


_OWNED = ("labels", "annotations", "taints")


def _merge(present: dict[str, t.Any], owned: set[str], wanted: t.Mapping[str, t.Any]) -> None:
    for key, value in wanted.items():
        if key not in present or present[key] == value or key in owned:
            present[key] = value
            owned.add(key)
    for key in owned - wanted.keys():
        present.pop(key, None)
        owned.discard(key)
