# SPDX-License-Identifier: GPL-3.0-or-later
"""A played kubelet: registers its node, keeps its lease, runs pods as told."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import logging
import typing as t
import uuid

from ..contracts import Namespace
from . import kubelet_identity, node_status
from .behaviour import Behaviours
from .client import APPLY, STRATEGIC, KubeClient, KubeError
from .containers.runtime import Runtime
from .containers.service_network import ServiceNetwork
from .control_plane import ControlPlane
from .events import Events
from .kubelet_server import KubeletServer, serve
from .mirror_pods import MIRROR, MirrorPods
from .node import Node
from .played_pod import PlayedPod

Pod = t.Mapping[str, t.Any]
#: Real seconds, as a kubelet's: the node controller at the other end is real.
LEASE_PERIOD, STATUS_PERIOD = 10.0, 60.0
LEASE_DURATION = 40
_RETRY = 0.3


class Kubelet:
    """One node's kubelet. Pods are played as :class:`~simlab.cluster.behaviour.Behaviours` says."""

    def __init__(self, node: Node, control_plane: ControlPlane | None, behaviours: Behaviours) -> None:
        self.node, self.control_plane, self.behaviours = node, control_plane, behaviours
        self._tasks: list[asyncio.Task[None]] = []
        self._client: KubeClient | None = None
        self._events: Events | None = None
        self._mirror: MirrorPods | None = None
        self._object: dict[str, t.Any] | None = None
        self._pods: dict[str, PlayedPod] = {}
        self._shown: dict[str, dict[str, t.Any]] = {}
        self._addresses: dict[str, str] = {}
        self._network = asyncio.Event()
        self._changed = asyncio.Event()
        self._since: dict[str, str] = {}
        self._boot_id = ""
        #: For the containers that are processes, None in a lab that only plays them.
        self.runtime = Runtime(lambda: self.node, node.containers) if node.containers is not None else None
        self._endings: set[asyncio.Task[None]] = set()
        #: Why it does not get on with its work, None when it does.
        self.problem: str | None = None

    @property
    def running(self) -> bool:
        """Whether the kubelet itself runs (Talos service ``kubelet``); it is healthy as soon as it runs."""
        return bool(self._tasks)

    def node_object(self) -> t.Mapping[str, t.Any] | None:
        """The Node as the API server last showed it, None while not registered (for NodeStatuses.kubernetes.talos.dev:
        ``nodeReady``, ``unschedulable``, labels, annotations, podCIDRs)."""
        return self._object

    def pods(self) -> list[dict[str, t.Any]]:
        """The Pod objects on this node with status, static pods included (for Containers, ContainerList)."""
        return list(self._shown.values())

    async def start(self, *, boot: bool = True) -> None:
        """Start it; ``boot``: the machine has just booted (so the network is not up yet)."""
        if self._tasks:
            return
        if boot:
            self._network = asyncio.Event()
            self._boot_id = str(uuid.uuid4())
        server = KubeletServer(self.node, self.control_plane, self.pods, self.runtime)
        self._tasks = [
            asyncio.create_task(self._live(), name=f"kubelet {self.node.name}"),
            asyncio.create_task(serve(server), name=f"kubelet API {self.node.name}"),
        ]
        if self.node.containers is not None:
            services = ServiceNetwork(lambda: self.node, self.node.containers)
            self._tasks.append(asyncio.create_task(services.run(), name=f"services {self.node.name}"))

    async def stop(self, *, pods: bool = True) -> None:
        """Stop at once; what it has told the API server stays there. ``pods``: its containers stop with it."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for pod in self._pods.values() if pods else ():
            pod.stop()
        if pods:
            self._pods.clear()
        if pods and self.runtime is not None:
            await self.runtime.stop_all()
        await asyncio.gather(*tasks, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def reconfigure(self, node: Node) -> bool:
        """True when the kubelet was restarted for it (another version, other settings)."""
        before, self.node = self.node, node
        changed = [part.settings.get("kubelet") for part in (before, node)]
        same_identity = kubelet_identity.fingerprint(before) == kubelet_identity.fingerprint(node)
        if not self._tasks or (changed[0] == changed[1] and same_identity):
            return False
        await self.stop(pods=False)
        await self.start(boot=False)
        return True

    # --- what its pods use (played_pod.Host) ---
    @property
    def client(self) -> KubeClient:
        if self._client is None:
            raise KubeError(0, "Stopped", "the kubelet does not run")
        return self._client

    @property
    def address(self) -> str:
        return self.node.address

    @property
    def time_scale(self) -> float:
        return self.node.time_scale

    @property
    def place(self) -> Namespace:
        return self.node.machine.namespace

    def network_is_ready(self) -> bool:
        return self._network.is_set() and self._pod_network() is not None

    async def network_ready(self) -> None:
        await self._network.wait()
        while self._pod_network() is None:
            await asyncio.sleep(0.1)

    def bring_network(self) -> None:
        """A CNI plugin has put its configuration down."""
        if not self._network.is_set():
            self._network.set()
            self._changed.set()

    def pod_address(self, uid: str) -> str | None:
        """The pod's own address, another for each pod of the node."""
        network = self._pod_network()
        if network is None:
            return None
        if uid not in self._addresses:
            used = set(self._addresses.values())
            free = (str(network[n]) for n in range(2, min(network.num_addresses - 1, 1 << 12)))
            self._addresses[uid] = next(address for address in free if address not in used)
        return self._addresses[uid]

    async def event(self, pod: Pod, kind: str, reason: str, message: str) -> None:
        if self._events is not None:
            await self._events.record(pod, kind, reason, message)

    async def service_account_client(self, pod: Pod) -> KubeClient:
        """A client with the token that is mounted into the pod."""
        return await kubelet_identity.service_account_client(self.node, self.client, pod)

    # --- life ---
    async def _live(self) -> None:
        """Work until stopped; what goes wrong is told in ``problem`` and tried again."""
        while True:
            try:
                self._client = await kubelet_identity.client(self.node)
                await self._work(self._client)
            except (KubeError, ValueError) as error:
                self.problem = str(error)
            except Exception as error:
                self.problem = repr(error)
                logging.getLogger("simlab.cluster").exception("the played kubelet of %s stumbled", self.node.name)
            client, self._client = self._client, None
            if client is not None:
                await client.close()
            await asyncio.sleep(1.0)

    async def _work(self, client: KubeClient) -> None:
        self._events = Events(client, self.node.name)
        self._mirror = MirrorPods(client, self.node.name, self.node.address)
        await self._register()
        self.problem = None
        mine = {"fieldSelector": f"spec.nodeName={self.node.name}"}
        parts = [
            client.watch("/api/v1/nodes", {"fieldSelector": f"metadata.name={self.node.name}"}, self._on_node),
            client.watch("/api/v1/pods", mine, self._on_pod),
            self._keep_lease(),
            self._keep_status(),
            self._keep_static_pods(),
        ]
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _register(self) -> None:
        while True:
            with contextlib.suppress(KubeError):
                found = await self.client.get(f"/api/v1/nodes/{self.node.name}")
                self._object = found or await self.client.call("POST", "/api/v1/nodes", node_status.new_node(self.node))
                await self._put_status()
                return
            await asyncio.sleep(_RETRY)

    async def _put_status(self) -> None:
        for condition in (self._object or {}).get("status", {}).get("conditions") or ():
            self._since[f"{condition['type']}={condition['status']}"] = condition["lastTransitionTime"]
        status = node_status.node_status(
            self.node, network=self._network.is_set(), boot_id=self._boot_id, since=self._since
        )
        body = {"metadata": {"labels": node_status.own_labels(self.node)}, "status": status}
        path = f"/api/v1/nodes/{self.node.name}/status"
        self._object = await self.client.call("PATCH", path, body, content_type=STRATEGIC)

    async def _keep_status(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), STATUS_PERIOD)
            self._changed.clear()
            try:
                await self._put_status()
            except KubeError as error:
                if error.code != 404:  # a kubelet whose Node was deleted does not register it again before it restarts
                    self._changed.set()
                await asyncio.sleep(_RETRY)

    async def _keep_lease(self) -> None:
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{self.node.name}"
        while True:
            owner = node_reference(self._object)
            metadata = {"name": self.node.name} | ({"ownerReferences": [owner]} if owner else {})
            spec = {"holderIdentity": self.node.name, "leaseDurationSeconds": LEASE_DURATION, "renewTime": _micro()}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            try:
                query = {"fieldManager": "kubelet", "force": "true"}
                await self.client.call("PATCH", path, lease, content_type=APPLY, query=query)
            except KubeError:
                await asyncio.sleep(_RETRY)
                continue
            await asyncio.sleep(LEASE_PERIOD)

    async def _keep_static_pods(self) -> None:
        while True:
            if self.control_plane is not None and self._mirror is not None:
                shown = [pod for pod in self._shown.values() if MIRROR in (pod["metadata"].get("annotations") or {})]
                with contextlib.suppress(KubeError):
                    await self._mirror.reconcile(self.control_plane.pods(), shown, node_reference(self._object))
            await asyncio.sleep(0.5)

    # --- watches ---
    def _on_node(self, kind: str, found: dict[str, t.Any]) -> None:
        items = found.get("items") or [] if kind == "SYNC" else [found]
        gone = kind == "DELETED" or not items
        self._object = None if gone else items[-1]
        ready = [c for c in (self._object or {}).get("status", {}).get("conditions") or () if c["type"] == "Ready"]
        if gone or not ready or (ready[0]["status"] == "True") != self._network.is_set():
            self._changed.set()

    def _on_pod(self, kind: str, found: dict[str, t.Any]) -> None:
        if kind == "SYNC":
            items = {pod["metadata"]["uid"]: pod for pod in found.get("items") or ()}
            for uid in [uid for uid in self._shown if uid not in items]:
                self._forget(uid)
            for pod in items.values():
                self._see(pod)
        elif kind == "DELETED":
            self._forget(found["metadata"]["uid"])
        else:
            self._see(found)

    def _see(self, pod: dict[str, t.Any]) -> None:
        uid = pod["metadata"]["uid"]
        self._shown[uid] = pod
        if MIRROR in (pod["metadata"].get("annotations") or {}):
            return
        if uid in self._pods:
            self._pods[uid].seen(pod)
        elif (
            pod.get("status", {}).get("phase") not in ("Succeeded", "Failed") or "deletionTimestamp" in pod["metadata"]
        ):
            self._pods[uid] = PlayedPod(self, pod)
            if "deletionTimestamp" in pod["metadata"]:
                self._pods[uid].seen(pod)

    def _forget(self, uid: str) -> None:
        self._shown.pop(uid, None)
        self._addresses.pop(uid, None)
        played = self._pods.pop(uid, None)
        if played is not None:
            played.stop()
        if self.runtime is not None:
            ending = asyncio.create_task(self.runtime.stop(uid, 0.0), name=f"end of pod {uid}")
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    def _pod_network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
        cidr = (self._object or {}).get("spec", {}).get("podCIDR")
        return ipaddress.ip_network(cidr) if cidr else None


def node_reference(found: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    """An owner reference to the Node."""
    if not found:
        return None
    meta = found["metadata"]
    return {"apiVersion": "v1", "kind": "Node", "name": meta["name"], "uid": meta["uid"]}


def _micro() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
