# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CNI plugin, kube-proxy and CoreDNS do for the pods that are processes.

On each node: the way to the pods of other nodes, the addresses of Services (passed on to a ready endpoint), names of
Services. Only TCP Services and IPv4; nothing else is asked for by the lab's own programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import random
import socket
import typing as t

from ...mirror.dns import NameServer
from .. import arguments, credentials
from ..client import KubeClient, cluster_servers
from ..node import Node
from ..pki import client_context
from .pod_network import NetworkFailed, forward, ip
from .support import Support

Object = dict[str, t.Any]
Key = tuple[str, str]
#: Who lists Services and their endpoints: kube-proxy's own name.
IDENTITY = "system:kube-proxy"
_SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
_SERVICE_LABEL = "kubernetes.io/service-name"


@dataclasses.dataclass(frozen=True)
class Front:
    """One port of a Service."""

    address: str
    port: int


Back = tuple[str, int]


class ServiceNetwork:
    """Runs until cancelled: :meth:`run`."""

    def __init__(self, node: t.Callable[[], Node], support: Support) -> None:
        self._node, self._support = node, support
        self._nodes: dict[Key, Object] = {}
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, Object] = {}
        self._backs: dict[Front, list[Back]] = {}
        self._servers: dict[Front, asyncio.Server] = {}
        self._addresses: set[str] = set()
        self._routes: dict[str, str] = {}
        self._names = _Names(self, support)
        self._dns: NameServer | None = None
        self._news = asyncio.Event()
        self._streams: set[asyncio.Task[None]] = set()
        self.problem: str | None = None

    async def run(self) -> None:
        """Waits until the first pod of the cluster has a process."""
        await self._support.wanted(self._cluster()).wait()
        node = self._node()
        pair = await self._identity(node)
        context = client_context(credentials.accepted_authorities(node.config), pair, node.runtime)
        client = KubeClient(node, lambda: cluster_servers(self._node()), context, agent="kube-proxy")
        watched = (("/api/v1/nodes", self._nodes), ("/api/v1/services", self._services), (_SLICES, self._slices))
        parts = [client.watch(path, {}, self._into(known)) for path, known in watched]
        tasks = [asyncio.ensure_future(part) for part in [*parts, self._work()]]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in [*tasks, *self._streams]:
                task.cancel()
            self._close()
            await client.close()

    def _cluster(self) -> str:
        return credentials.accepted_authorities(self._node().config)

    async def _identity(self, node: Node) -> t.Any:
        """A control plane node has the cluster's authority; workers take what it issued."""
        known = self._cluster()
        if node.is_control_plane and known not in self._support.identities:
            pair = credentials.cluster_authority(node.config).issue(IDENTITY, IDENTITY)
            self._support.identities[known] = pair
        while known not in self._support.identities:
            await asyncio.sleep(0.2)
        return self._support.identities[known]

    def _into(self, known: dict[Key, Object]) -> t.Callable[[str, Object], None]:
        def on(event: str, found: Object) -> None:
            if event == "SYNC":
                known.clear()
                known.update({_key(item): item for item in found.get("items") or ()})
            elif event == "DELETED":
                known.pop(_key(found), None)
            else:
                known[_key(found)] = found
            self._news.set()

        return on

    async def _work(self) -> None:
        await forward(self._node().machine.namespace)
        while True:
            await self._news.wait()
            await asyncio.sleep(0.05)
            self._news.clear()
            try:
                await self._reconcile()
                self.problem = None
            except (NetworkFailed, OSError) as error:
                if self.problem != str(error):
                    self._complain(error)
                self.problem = str(error)
                await asyncio.sleep(1.0)
                self._news.set()

    def _complain(self, error: Exception) -> None:
        text = "the service network of %s stumbled: %s"
        logging.getLogger("simlab.cluster").warning(text, self._node().name, error)

    async def _reconcile(self) -> None:
        await self._keep_routes()
        wanted = self._fronts()
        await self._keep_addresses({front.address for front in wanted} | set(self._dns_address()))
        self._backs = wanted
        for front in [front for front in self._servers if front not in wanted]:
            self._servers.pop(front).close()
        for front in wanted:
            if front not in self._servers:
                sock = self._node().machine.namespace.listen(front.address, front.port)
                self._servers[front] = await asyncio.start_server(self._serving(front), sock=sock)
        await self._keep_names()

    # --- routes to pods ---
    async def _keep_routes(self) -> None:
        node = self._node()
        for found in list(self._nodes.values()):
            cidr, name = found["spec"].get("podCIDR"), found["metadata"]["name"]
            address = next((a["address"] for a in found["status"].get("addresses") or () if _internal(a)), None)
            if not cidr or not address or ":" in cidr or self._routes.get(cidr) == address:
                continue
            if name == node.name:
                await ip(node.machine.namespace, [f"route replace unreachable {cidr}"])
                await self._support.announce(cidr, address)
            else:
                await ip(node.machine.namespace, [f"route replace {cidr} via {address}"])
            self._routes[cidr] = address

    # --- Services ---
    def _fronts(self) -> dict[Front, list[Back]]:
        """The ports of Services that have a ready endpoint."""
        found: dict[Front, list[Back]] = {}
        for (namespace, name), service in self._services.items():
            address = service["spec"].get("clusterIP")
            if not address or address == "None" or ":" in address:
                continue
            for port in service["spec"].get("ports") or ():
                backs = self._endpoints(namespace, name, str(port.get("name") or ""))
                if backs and port.get("protocol", "TCP") == "TCP" and (port["port"] != 53 or not self._is_dns(address)):
                    found[Front(address, int(port["port"]))] = backs
        return found

    def _endpoints(self, namespace: str, service: str, port_name: str) -> list[Back]:
        found: list[Back] = []
        for (place, _), part in self._slices.items():
            meta = part["metadata"]
            if place != namespace or (meta.get("labels") or {}).get(_SERVICE_LABEL) != service:
                continue
            ports = [p["port"] for p in part.get("ports") or () if str(p.get("name") or "") == port_name]
            ready = [e for e in part.get("endpoints") or () if (e.get("conditions") or {}).get("ready") is not False]
            found += [(address, int(port)) for port in ports for e in ready for address in e["addresses"]]
        return found

    async def _keep_addresses(self, wanted: set[str]) -> None:
        lines = [f"addr replace {address}/32 dev lo" for address in sorted(wanted - self._addresses)]
        lines += [f"addr del {address}/32 dev lo" for address in sorted(self._addresses - wanted)]
        if lines:
            await ip(self._node().machine.namespace, lines)
        self._addresses = wanted

    def _serving(self, front: Front) -> t.Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._pass_on(front, reader, writer))
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)

        return accepted

    async def _pass_on(self, front: Front, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backs = self._backs.get(front) or []
        try:
            for address, port in random.sample(backs, len(backs)):
                with contextlib.suppress(OSError, asyncio.TimeoutError):
                    sock = await self._node().machine.namespace.connect(address, port, 3.0)
                    far_reader, far_writer = await asyncio.open_connection(sock=sock)
                    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
                    return
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    # --- names ---
    def _dns_address(self) -> list[str]:
        service = self._services.get(("kube-system", "kube-dns"))
        address = (service or {"spec": {}})["spec"].get("clusterIP")
        return [address] if address and ":" not in address else []

    def _is_dns(self, address: str) -> bool:
        return address in self._dns_address()

    async def _keep_names(self) -> None:
        if self._dns is None and self._dns_address():
            space, address = self._node().machine.namespace, self._dns_address()[0]
            self._dns = self._names
            udp = space.socket(kind=socket.SOCK_DGRAM)
            udp.bind((address, 53))
            udp.setblocking(False)
            await self._dns.listen(udp, space.listen(address, 53))

    def lookup(self, name: str) -> list[str] | None:
        """The addresses of a Service's name, None when it is not below ``svc.<domain>``."""
        suffix = f".svc.{arguments.dns_domain(self._node())}"
        if not name.endswith(suffix):
            return None
        parts = name.removesuffix(suffix).split(".")
        service = self._services.get((parts[-1], parts[-2])) if len(parts) == 2 else None
        if service is None:
            return []
        address = service["spec"].get("clusterIP")
        if address and address != "None":
            return [address]
        return sorted({back[0] for back in self._all_endpoints(parts[-1], parts[-2])})

    def _all_endpoints(self, namespace: str, service: str) -> list[Back]:
        ports = (self._services[namespace, service]["spec"].get("ports")) or [{"name": ""}]
        return [back for p in ports for back in self._endpoints(namespace, service, str(p.get("name") or ""))]

    def _close(self) -> None:
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        if self._dns is not None:
            self._dns.stop()
            self._dns = None


class _Names(NameServer):
    """Services of the cluster, and what the lab knows outside of it."""

    def __init__(self, network: ServiceNetwork, support: Support) -> None:
        super().__init__({})
        self._network, self._support = network, support

    def addresses(self, name: str) -> list[str]:
        plain = name.rstrip(".").lower()
        found = self._network.lookup(plain)
        return self._support.addresses(plain) if found is None else found


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


def _key(found: Object) -> Key:
    return found["metadata"].get("namespace", ""), found["metadata"]["name"]


def _internal(address: t.Mapping[str, str]) -> bool:
    return address["type"] == "InternalIP" and ":" not in address["address"]
