# SPDX-License-Identifier: GPL-3.0-or-later
"""A small Kubernetes client over a guest's own network, for the played parts of the lab."""

from __future__ import annotations

import asyncio
import collections.abc as c
import contextlib
import json
import socket
import ssl
import typing as t
import urllib.parse

import aiohttp

from ..contracts import Socket
from . import credentials
from .node import Node
from .pki import client_context

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

Server = tuple[str, int]


class KubeError(Exception):
    """The API server refused, or none answers (``code`` 0). The text is its own message, ``status`` its answer."""

    def __init__(self, code: int, reason: str, message: str, status: t.Mapping[str, t.Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.status = code, reason, status or {}


class Place(t.Protocol):
    """Where a client's sockets are made: a namespace of the lab (:class:`simlab.contracts.Namespace`)."""

    def socket(self, family: int = ..., kind: int = ...) -> Socket: ...


class KubeClient:
    """Calls one of ``servers``; stays with the one that answered and goes on to the next when it does not."""

    def __init__(
        self,
        node: Node | Place,
        servers: c.Callable[[], list[Server]],
        context: ssl.SSLContext,
        *,
        token: str | None = None,
        agent: str = "talos",
    ) -> None:
        self._namespace: Place = node.machine.namespace if isinstance(node, Node) else node
        self._servers, self._context = servers, context
        self._headers = {"User-Agent": agent} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._session: aiohttp.ClientSession | None = None
        self._first = 0
        self._closed = False

    def authorize(self, token: str) -> None:
        """Another token from the next request on."""
        self._headers["Authorization"] = f"Bearer {token}"

    async def close(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: t.Any = None,
        *,
        content_type: str = "application/json",
        query: t.Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> dict[str, t.Any]:
        """The answer's object. Raises :class:`KubeError`."""
        text = await self.text(method, path, body, content_type=content_type, query=query, timeout=timeout)
        return t.cast("dict[str, t.Any]", json.loads(text or "{}"))

    async def text(
        self,
        method: str,
        path: str,
        body: t.Any = None,
        *,
        content_type: str = "application/json",
        query: t.Mapping[str, str] | None = None,
        timeout: float = 10.0,
        accept: str = "application/json",
    ) -> str:
        data = None if body is None else json.dumps(body)
        headers = {"Accept": accept} | ({"Content-Type": content_type} if data is not None else {})
        async with self._request(method, path, data, headers, query, timeout) as response:
            try:
                text = await response.text()
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                raise KubeError(0, "Unreachable", f"{method} {path}: {str(error) or type(error).__name__}") from None
            if response.status >= 400:
                raise _refusal(response.status, text)
            return text

    @contextlib.asynccontextmanager
    async def stream(self, method: str, path: str, body: t.Any) -> c.AsyncIterator[c.AsyncIterable[bytes]]:
        """The lines of an answer as they come. Raises :class:`KubeError`."""
        headers = {"Content-Type": "application/json"}
        async with self._request(method, path, json.dumps(body), headers, None, 0) as response:
            if response.status >= 400:
                raise _refusal(response.status, await response.text())
            yield response.content

    async def get(self, path: str) -> dict[str, t.Any] | None:
        """The object, None when it does not exist."""
        try:
            return await self.call("GET", path)
        except KubeError as error:
            if error.code == 404:
                return None
            raise

    async def watch(
        self,
        path: str,
        query: t.Mapping[str, str],
        on: c.Callable[[str, dict[str, t.Any]], None],
        refused: c.Callable[[KubeError], None] | None = None,
    ) -> None:
        """List, then watch, for ever: ``on`` gets (``SYNC``, list), then (``ADDED`` … ``DELETED``, object). ``refused``
        is told why a list or watch was not had; what it raises ends the watch."""
        while True:
            try:
                found = await self.call("GET", path, query=query)
                on("SYNC", found)
                version = str(found["metadata"]["resourceVersion"])
                await self._follow(path, dict(query) | {"watch": "1", "resourceVersion": version}, on)
            except KubeError as error:
                if refused is not None:
                    refused(error)
            await asyncio.sleep(0.2)

    async def _follow(self, path: str, query: dict[str, str], on: c.Callable[[str, dict[str, t.Any]], None]) -> None:
        query |= {"allowWatchBookmarks": "true", "timeoutSeconds": "600"}
        async with self._request("GET", path, None, {}, query, 0) as response:
            if response.status != 200:
                raise _refusal(response.status, await response.text())
            try:
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return
                    if event["type"] != "BOOKMARK":
                        on(event["type"], event["object"])
            except (aiohttp.ClientError, OSError, ValueError, asyncio.TimeoutError):
                return

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        data: str | None,
        headers: dict[str, str],
        query: t.Mapping[str, str] | None,
        timeout: float,
    ) -> c.AsyncIterator[aiohttp.ClientResponse]:
        servers = self._servers()
        suffix = f"?{urllib.parse.urlencode(query)}" if query else ""
        last: Exception | str = "no API server is known"
        for step in range(len(servers)):
            place = (self._first + step) % len(servers)
            host, port = servers[place]
            url = f"https://{f'[{host}]' if ':' in host else host}:{port}{path}{suffix}"
            limits = aiohttp.ClientTimeout(total=timeout or None, connect=2.0, sock_read=None)
            try:
                response = await self._opened().request(
                    method, url, data=data, headers=self._headers | headers, ssl=self._context, timeout=limits
                )
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                last = error
                continue
            self._first = place
            try:
                yield response
            finally:
                response.release()
            return
        raise KubeError(0, "Unreachable", f"{method} {path}: {str(last) or type(last).__name__}")

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:  # a request that was under way must not open it again
            raise KubeError(0, "Closed", "the client was closed")
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=20, socket_factory=self._socket, force_close=False)
            self._session = aiohttp.ClientSession(connector=connector, read_bufsize=1 << 22)
        return self._session

    def _socket(self, info: t.Any) -> socket.socket:
        made = self._namespace.socket(info[0], info[1])
        made.setblocking(False)
        return made


def local_servers(node: Node) -> list[Server]:
    """A control plane node's own API server."""
    return [("127.0.0.1", credentials.local_port(node.config))]


def cluster_servers(node: Node) -> list[Server]:
    """Where a node finds the API: its own API server, the cluster's endpoint, the other control plane nodes (in life
    KubePrism balances between them)."""
    parts = urllib.parse.urlsplit(credentials.endpoint(node.config))
    port = credentials.local_port(node.config)
    own = local_servers(node) if node.is_control_plane else []
    endpoint = [(parts.hostname, parts.port or 443)] if parts.hostname else []
    return list(dict.fromkeys([*own, *endpoint, *((address, port) for address in node.peers())]))


def talos_client(node: Node) -> KubeClient:
    """Talos's own administrator, at the local API server. Raises ValueError without a usable ``cluster.ca``."""
    pair = credentials.cluster_authority(node.config).issue(*credentials.TALOS_ADMIN)
    context = client_context(credentials.accepted_authorities(node.config), pair, node.runtime)
    return KubeClient(node, lambda: local_servers(node), context, agent="talos")


def _refusal(code: int, text: str) -> KubeError:
    try:
        status = json.loads(text)
        return KubeError(code, str(status.get("reason", "")), str(status.get("message", text)), status)
    except (ValueError, AttributeError):
        return KubeError(code, "", text[:500])
