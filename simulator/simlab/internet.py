# SPDX-License-Identifier: GPL-3.0-or-later
"""What is beyond the lab's router: the mirror's namespace, its names, and how hypervisors reach it."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import ssl
import typing as t

import aiohttp
import aiohttp.abc

from .authority import Authority
from .faults import Faults
from .ledger import Ledger
from .mirror.dns import NameServer
from .mirror.server import MirrorServer
from .network import NetNamespace, Network
from .proxmox.fetching import Fetch, Fetched, FetchError

#: RFC 2544 keeps these addresses free of real hosts.
_PREFIX, _ROUTER, _MIRROR = 15, "198.18.0.1", "198.18.0.2"


class Internet:
    """One namespace with one web server, under as many names as the lab needs."""

    def __init__(self, network: Network, authority: Authority, names: NameServer) -> None:
        self._network = network
        self._authority = authority
        self._names = names
        self.mirror: MirrorServer | None = None

    async def start(
        self, factories: t.Iterable[str], files: t.Mapping[str, pathlib.Path], ledger: Ledger, faults: Faults
    ) -> None:
        namespace = await self._network.connect_outside("internet", f"{_ROUTER}/{_PREFIX}", f"{_MIRROR}/{_PREFIX}")
        self.mirror = MirrorServer(factories, files, ledger, faults)
        for name in self.mirror.names:
            self._names.records[name] = [_MIRROR]
        context = self._authority.server_context(*self.mirror.names)
        await self.mirror.start(namespace.listen("0.0.0.0", 443), namespace.listen("0.0.0.0", 80), context)

    async def stop(self) -> None:
        if self.mirror is not None:
            await self.mirror.stop()


def fetch_from(namespace: NetNamespace, names: NameServer, trust: ssl.SSLContext) -> Fetch:
    """How a machine in ``namespace`` downloads: by the lab's names, through the lab's network, trusting its CA."""

    @contextlib.asynccontextmanager
    async def fetch(method: str, url: str) -> t.AsyncIterator[Fetched]:
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(names), ssl=trust, socket_factory=lambda info: namespace.socket(info[0], info[1])
        )
        timeout = aiohttp.ClientTimeout(total=600, connect=30)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
            try:
                response = await session.request(method, url)
            except aiohttp.ClientConnectorDNSError as error:
                raise FetchError(0, "Name or service not known") from error
            except aiohttp.ClientConnectorError as error:
                raise FetchError(0, error.os_error.strerror or str(error)) from error
            except (TimeoutError, aiohttp.ClientError) as error:
                raise FetchError(0, str(error)) from error
            async with response:
                if response.status != 200:
                    raise FetchError(response.status, response.reason or "")
                headers = {name.lower(): value for name, value in response.headers.items()}
                yield Fetched(headers, str(response.url), response.content.iter_chunked(1 << 20))

    return fetch


class _Resolver(aiohttp.abc.AbstractResolver):
    """The lab's name server without the detour over a socket."""

    def __init__(self, names: NameServer) -> None:
        self._names = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        addresses = self._names.addresses(host)
        if not addresses:
            raise OSError(socket.EAI_NONAME, "Name or service not known")
        return [
            {"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            for address in addresses
        ]

    async def close(self) -> None:
        return None
