# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd, Kubernetes and the kubelet on this node: the only place that uses ``simlab.cluster``."""

from __future__ import annotations

import asyncio
import collections.abc as c
import contextlib
import pathlib
import typing as t

from .. import cluster as simcluster
from ..cluster import client as kubeclient
from . import network, publish
from .machineconfig import MachineConfig

if t.TYPE_CHECKING:
    from .runtime import Runtime

_FAST, _SLOW = 0.2, 1.0
#: Seconds from etcd's start.
_FIRST_ETCD_CHECK = 5.0
_NO_SNAPSHOT = "error verifying snapshot: stat /var/lib/etcd.snapshot: no such file or directory"


class Workload:
    """What a configured node runs. Follows the processes and tells the node's services and resources."""

    def __init__(self, runtime: Runtime) -> None:
        if runtime.config is None or not runtime.config.complete:
            raise ValueError("no complete configuration")
        self._runtime = runtime
        self._bootstrap: asyncio.Future[tuple[bool, bool]] = asyncio.get_running_loop().create_future()
        self._left = False
        self.kubernetes: t.Any = None
        self.problem = self._make(runtime.config)

    def _make(self, config: MachineConfig) -> str:
        settings = self._runtime.node.settings
        if settings.kubernetes is None and settings.program is None:
            return "the lab has no control plane program: etcd and Kubernetes"
        make = settings.kubernetes or simcluster.KubernetesNode
        self.kubernetes = make(self._node_of(config), settings.behaviours)
        return ""

    def _node_of(self, config: MachineConfig) -> t.Any:
        runtime, node = self._runtime, self._runtime.node
        where = node.settings.runtime / node.machine.guest.uuid
        return simcluster.Node(
            machine=node.machine,
            name=runtime.hostname,
            address=network.node_address(config, runtime.network.addresses),
            config=dict(config.v1alpha1 or {}),
            directory=node.storage.ephemeral,
            runtime=where,
            program=t.cast(pathlib.Path, node.settings.program),
            ledger=node.ledger,
            faults=node.faults,
            talos_version=node.version.tag,
            addresses=tuple(node.addresses()),
            peers=self._peers,
            containers=node.settings.containers,
            authority=node.settings.authority,
        )

    def _peers(self) -> c.Sequence[str]:
        own = self._runtime.node
        members = own.settings.registry.members(own.cluster_key)
        return [node.addresses()[0] for node in members if node is not own and node.addresses()]

    @property
    def etcd(self) -> t.Any:
        """The member; None on workers."""
        return self.kubernetes.etcd if self.kubernetes is not None else None

    @property
    def has_etcd_data(self) -> bool:
        return bool(self.etcd is not None and self.etcd.has_data)

    # --- life
    async def start(self) -> None:
        """Begin everything; what does not come up is state, not an error."""
        runtime = self._runtime
        runtime.services.starting("kubelet")
        runtime.services.preparing("kubelet")
        if runtime.config is not None and runtime.config.control_plane:
            runtime.services.starting("etcd")
            runtime.services.preparing("etcd")
            runtime.run(self._etcd())
        runtime.run(self._kubelet())

    async def _kubelet(self) -> None:
        services = self._runtime.services
        if self.kubernetes is None:
            services.failed("kubelet", self.problem)
            return
        await self._runtime.played(2.0)
        await self.kubernetes.start_kubelet()
        services.running("kubelet")
        while True:
            running = self.kubernetes.kubelet.running
            services.health("kubelet", running, "" if running else _REFUSED)
            publish.kubernetes(self._runtime, self.kubernetes)
            self._runtime.update_status()
            await asyncio.sleep(_FAST if self.unmet() else _SLOW)

    async def _etcd(self) -> None:
        services = self._runtime.services
        if self.etcd is None:
            services.failed("etcd", self.problem)
            return
        await self._runtime.played(1.0)
        if not await self._begin_etcd():
            return
        services.running("etcd")
        self._runtime.run(self._start_control_plane())
        await self._follow_etcd()

    async def _begin_etcd(self) -> bool:
        """With data: go on. Without: wait for Bootstrap here, or for members that can be joined."""
        if self.etcd.has_data:
            await self.etcd.start_existing()
            return True
        while not self._bootstrap.done():
            if await self._join():
                return True
            await asyncio.wait([self._bootstrap], timeout=_FAST)
        recover, skip_hash_check = self._bootstrap.result()
        if not recover:
            await self.etcd.start_new()
            return True
        return await self._recover(skip_hash_check)

    async def _recover(self, skip_hash_check: bool) -> bool:
        snapshot = self._runtime.node.storage.snapshot
        if not snapshot.exists():
            self._runtime.services.failed("etcd", _NO_SNAPSHOT)
            return False
        try:
            await self.etcd.recover(snapshot, skip_hash_check=skip_hash_check)
        except simcluster.EtcdError as error:
            self._runtime.services.failed("etcd", f"error verifying snapshot: {error}")
            return False
        snapshot.unlink(missing_ok=True)
        return True

    async def _join(self) -> bool:
        own = self._runtime.node
        planes = own.settings.registry.control_planes(own.cluster_key)
        healthy = [node for node in planes if node is not own and node.runtime.services.healthy("etcd")]
        endpoints = [node.addresses()[0] for node in healthy]
        if not endpoints:
            return False
        try:
            await self.etcd.join(endpoints)
        except simcluster.EtcdError as error:
            self._runtime.log("etcd", f"failed to join: {error}")
            return False
        return True

    async def _follow_etcd(self) -> None:
        """Health is unknown until Talos asks for the first time."""
        services, clock = self._runtime.services, asyncio.get_running_loop().time
        asked_from = clock() + _FIRST_ETCD_CHECK * self._runtime.node.machine.time_scale
        while not self._left:
            failure = self.etcd.failure
            if failure is not None and services.get("etcd").state == "Running":  # type: ignore[union-attr]
                text = f'Error running Containerd(etcd), going to restart forever: task "etcd" failed: {failure}'
                services.restarting("etcd", text)
            elif failure is None and self.etcd.pid is not None:
                if services.get("etcd").state == "Waiting":  # type: ignore[union-attr]
                    services.running("etcd")
                if clock() >= asked_from:
                    healthy = await self.etcd.healthy()
                    services.health("etcd", healthy, "" if healthy else "context deadline exceeded")
            await self._publish_member()
            await self._virtual_addresses(services.healthy("etcd"))
            await asyncio.sleep(_SLOW if services.healthy("etcd") else _FAST)

    async def _publish_member(self) -> None:
        if self._runtime.services.healthy("etcd"):
            with contextlib.suppress(simcluster.EtcdError):
                status = await self.etcd.status()
                publish.etcd_member(self._runtime, status.member_id)

    async def _start_control_plane(self) -> None:
        while not self._runtime.services.healthy("etcd"):
            await asyncio.sleep(_FAST / 4)
        await self.kubernetes.start_control_plane()

    async def _virtual_addresses(self, healthy: bool) -> None:
        """Hold the virtual addresses that nobody else holds, as long as etcd is healthy here."""
        runtime, node = self._runtime, self._runtime.node
        if runtime.config is None:
            return
        wanted = network.virtual_addresses(node.machine, runtime.config)
        for address, nic in wanted:
            if healthy and address not in runtime.held and node.settings.registry.claim(address, node):
                await node.machine.add_address(nic, address)
                runtime.held.append(address)
            elif not healthy and address in runtime.held:
                await node.machine.remove_address(nic, address)
                runtime.held.remove(address)
                node.settings.registry.release(address, node)
        publish.network(runtime)

    # --- what clients ask for
    def bootstrap(self, recover: bool, skip_hash_check: bool) -> None:
        if not self._bootstrap.done():
            self._bootstrap.set_result((recover, skip_hash_check))

    @property
    def bootstrapped(self) -> bool:
        """Whether Bootstrap was called since this boot."""
        return self._bootstrap.done()

    async def restart_kubelet(self) -> None:
        services = self._runtime.services
        services.stopping("kubelet")
        if self.kubernetes is not None:
            await self.kubernetes.kubelet.stop(pods=False)
        services.finished("kubelet")
        services.starting("kubelet")
        services.preparing("kubelet")
        if self.kubernetes is not None:
            await self.kubernetes.kubelet.start(boot=False)
        services.running("kubelet")

    async def leave_etcd(self) -> None:
        """Leave the cluster: the member is removed, its data wiped; it comes back only after a reboot."""
        if self.etcd is None or self.etcd.pid is None:
            return
        self._left = True
        self._runtime.services.stopping("etcd")
        await self.etcd.leave()
        self._runtime.services.finished("etcd")

    async def reconfigure(self, config: MachineConfig) -> None:
        """What the new configuration changes; with another name or address everything begins anew."""
        if self.kubernetes is None:
            return
        node, before = self._node_of(config), self.kubernetes.node
        if (node.name, node.address) == (before.name, before.address):
            await self.kubernetes.reconfigure(node)
            return
        running = self.etcd is not None and self.etcd.pid is not None
        await self.kubernetes.shut_down()
        self._make(config)
        await self.kubernetes.start_kubelet()
        if running:
            await self.etcd.start_existing()
            await self.kubernetes.start_control_plane()

    async def system_pods(self, app: str) -> list[dict[str, t.Any]] | None:
        """Pods of kube-system with the label ``k8s-app``, None when the API server does not answer."""
        client = kubeclient.talos_client(self.kubernetes.node)
        try:
            found = await client.call(
                "GET", "/api/v1/namespaces/kube-system/pods", query={"labelSelector": f"k8s-app={app}"}
            )
            return list(found["items"])
        except (kubeclient.KubeError, OSError, asyncio.TimeoutError, ValueError):
            return None
        finally:
            await client.close()

    # --- status
    def unmet(self) -> list[tuple[str, str]]:
        """What keeps the node from being ready, beside its services."""
        name = self._runtime.hostname
        node = self.kubernetes.kubelet.node_object() if self.kubernetes is not None else None
        found = []
        if node is None:
            found.append(("nodeReady", f'node "{name}" status is not available yet'))
        elif not publish.node_ready(node):
            found.append(("nodeReady", f'node "{name}" is not ready'))
        waiting = [pod.name for pod in self.static_pods() if not pod.ready]
        if waiting:
            reason = ", ".join(f"kube-system/{pod}-{name} not ready" for pod in waiting)
            found.append(("staticPods", reason))
        return found

    def static_pods(self) -> list[t.Any]:
        if self.kubernetes is None or self.kubernetes.control_plane is None:
            return []
        return list(self.kubernetes.control_plane.pods())

    def pod_logs(self, name: str, lines: int) -> list[str]:
        """The last lines of a static pod, by its name (``kube-apiserver``)."""
        if self.kubernetes is None or self.kubernetes.control_plane is None:
            return []
        return list(self.kubernetes.control_plane.logs(name, lines))

    def service_logs(self, name: str, lines: int) -> list[str]:
        """The last lines that a service's process wrote: etcd's are kept by the cluster."""
        member = self.etcd if name == "etcd" else None
        logs = getattr(member, "logs", None)
        return list(logs(lines)) if logs is not None else []

    def describe(self) -> dict[str, t.Any]:
        if self.kubernetes is None:
            return {"problem": self.problem}
        return dict(self.kubernetes.describe())

    async def power_off(self) -> None:
        if self.kubernetes is not None:
            await self.kubernetes.power_off()

    async def shut_down(self) -> None:
        if self.kubernetes is not None:
            await self.kubernetes.shut_down()


_REFUSED = 'Get "http://127.0.0.1:10248/healthz": dial tcp 127.0.0.1:10248: connect: connection refused'
