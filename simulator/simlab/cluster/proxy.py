# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of the API server, there only while a fault for the Kubernetes API is active.

The API server shares its port (``--permit-port-sharing``). The proxy listens on the node's own addresses, which the kernel
prefers to the API server's wildcard, so new connections from outside meet the proxy; those from the node itself
(127.0.0.1: controllers, the node's own kubelet) do not. Connections that stand already when a fault is added are not
caught. The caller's certificate is passed on by front-proxy authentication, so permissions and audit see the same caller.
"""

from __future__ import annotations

import asyncio
import collections.abc as c
import contextlib
import fnmatch
import json
import socket
import ssl
import typing as t

import aiohttp
from aiohttp import web

from . import credentials
from .audit import is_write, without_secrets
from .node import Node
from .pki import SERVER, Authority, KeyPair, client_context, private_file
from .request_verb import verb_of
from .static_pods import server_names

#: Real seconds between two looks at the list of faults.
_PERIOD = 0.05
_HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "proxy-connection",
    "content-length",
}
_OWN_HEADERS = ("x-remote-", "x-forwarded-for")


class FaultProxy:
    """``alive`` says whether the API server's process runs: without one, nothing shall listen on its port."""

    def __init__(self, node: Node, alive: c.Callable[[], bool]) -> None:
        self.node, self._alive = node, alive
        self._task: asyncio.Task[None] | None = None
        self._runner: web.ServerRunner | None = None
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    @property
    def listening(self) -> bool:
        return self._runner is not None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name=f"proxy {self.node.name}")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._close()

    async def reconfigure(self, node: Node) -> None:
        self.node = node
        await self._close()  # it comes back with the new certificate if it is still wanted

    def wanted(self) -> bool:
        faults = self.node.faults.active
        return self._alive() and any(fnmatch.fnmatchcase("kubernetes", fault.api) for fault in faults)

    async def _watch(self) -> None:
        while True:
            if self.wanted() and self._runner is None:
                with contextlib.suppress(OSError, ValueError):
                    await self._open()
            elif not self.wanted() and self._runner is not None:
                await self._close()
            await asyncio.sleep(_PERIOD)

    async def _open(self) -> None:
        node = self.node
        ca = credentials.cluster_authority(node.config)
        pair = ca.issue("kube-apiserver", "kube-master", sans=server_names(node), usages=(SERVER,))
        context = _server_context(pair, credentials.accepted_authorities(node.config), node)
        front = Authority(node.cluster.get("aggregatorCA"), "cluster.aggregatorCA").issue("front-proxy-client")
        self._sessions = {named: self._session(front if named else None) for named in (True, False)}
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        port = credentials.local_port(node.config)
        for address in dict.fromkeys((node.address, *node.addresses)):
            if ":" not in address:
                await web.SockSite(runner, _listen(node, address, port), ssl_context=context).start()
        self._runner = runner

    async def _close(self) -> None:
        runner, self._runner = self._runner, None
        sessions, self._sessions = self._sessions, {}
        if runner is not None:
            await runner.cleanup()
        for session in sessions.values():
            await session.close()

    def _session(self, pair: KeyPair | None) -> aiohttp.ClientSession:
        node = self.node
        context = client_context(credentials.accepted_authorities(node.config), pair, node.runtime)
        connector = aiohttp.TCPConnector(ssl=context, socket_factory=lambda info: _nonblocking(node, info), limit=100)
        return aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )

    # --- one request ---
    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        caller, groups = _caller(request)
        if "upgrade" in request.headers.get("Connection", "").lower():
            return web.Response(
                status=501, text="the simulated lab's fault proxy does not pass on upgraded connections"
            )
        verb = verb_of(request.method, request.path_qs)
        path = without_secrets(request.path_qs)
        write = is_write(verb, request.path_qs)
        outside = not caller.startswith(("system:", "talos:"))  # the cluster's own components are left alone
        fault = None
        if outside:
            fault = self.node.faults.meet(api="kubernetes", verb=verb, path=path, write=write, caller=caller)
        if fault is None:
            return await self._forward(request, caller, groups)
        if fault.kind == "delay":
            await asyncio.sleep(float(fault.args.get("seconds", 1)))
            return await self._forward(request, caller, groups)
        if fault.kind in ("drop-after", "kill-after", "cut"):
            await self._forward(request, caller, groups, show=0.5 if fault.kind == "cut" else 0.0)
        if fault.kind.startswith("kill"):
            await self.node.faults.kill()
        if fault.kind in ("drop-before", "kill-before", "garbage", "answer"):
            status = str(fault.args.get("status", 500)) if fault.kind == "answer" else "dropped"
            self._record(request, caller, verb, path, write, status)
        if fault.kind == "answer":
            return _status(int(fault.args.get("status", 500)), str(fault.args.get("text", "internal error")))
        if fault.kind == "garbage" and request.transport is not None:
            request.transport.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
            await asyncio.sleep(0.01)
        raise _drop(request)

    async def _forward(
        self, request: web.BaseRequest, caller: str, groups: t.Sequence[str], *, show: float = 1.0
    ) -> web.StreamResponse:
        """Pass the request on; ``show`` is how much of the answer the caller gets to see."""
        url = f"https://127.0.0.1:{credentials.local_port(self.node.config)}{request.raw_path}"
        body = await request.read() if request.can_read_body else None
        headers = _forwarded_headers(request, caller, groups)
        session = self._sessions[bool(caller)]
        try:
            answer = await session.request(request.method, url, headers=headers, data=body, allow_redirects=False)
        except (aiohttp.ClientError, OSError):
            raise _drop(request) from None  # the API server itself is not there: neither is its port in life
        async with answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP:
                    response.headers.add(name, value)
            if show == 1.0:
                return await _stream(request, response, answer)
            data = await answer.read()
            if show:
                await response.prepare(request)
                await response.write(data[: int(len(data) * show)])
                await asyncio.sleep(0.05)  # the half must be on its way before the connection is closed
            return response

    def _record(self, request: web.BaseRequest, caller: str, verb: str, path: str, write: bool, result: str) -> None:
        self.node.ledger.record(
            "kubernetes",
            server=self.node.name,
            caller=caller,
            source=str(request.remote or ""),
            verb=verb,
            path=path,
            write=write,
            result=result,
            refused=True,
            fault=True,
        )


def _forwarded_headers(request: web.BaseRequest, caller: str, groups: t.Sequence[str]) -> list[tuple[str, str]]:
    headers = [
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in _HOP and not name.lower().startswith(_OWN_HEADERS)
    ]
    headers.append(("X-Forwarded-For", str(request.remote or "")))
    if caller:
        headers += [("X-Remote-User", caller), *(("X-Remote-Group", group) for group in groups)]
    return headers


async def _stream(
    request: web.BaseRequest, response: web.StreamResponse, answer: aiohttp.ClientResponse
) -> web.StreamResponse:
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _drop(request: web.BaseRequest) -> Exception:
    """Close the connection without a word; the result is to be raised."""
    if request.transport is not None:
        request.transport.abort()
    return asyncio.CancelledError()  # type: ignore[return-value]


def _status(code: int, text: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": text, "code": code}
    return web.Response(status=code, text=json.dumps(body), content_type="application/json")


def _caller(request: web.BaseRequest) -> tuple[str, list[str]]:
    """Name and groups of the client's certificate; empty without one."""
    certificate = request.get_extra_info("peercert") or {}
    parts = [pair for part in certificate.get("subject", ()) for pair in part]
    names = [value for key, value in parts if key == "commonName"]
    return (names[0] if names else ""), [value for key, value in parts if key == "organizationName"]


def _server_context(pair: KeyPair, authorities: str, node: Node) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    path = private_file(node.runtime / ".fault-proxy.pem", pair.certificate + pair.key)
    try:
        context.load_cert_chain(path)
    finally:
        path.unlink()
    context.load_verify_locations(cadata=authorities)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _listen(node: Node, address: str, port: int) -> socket.socket:
    made = node.machine.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((address, port))
    made.listen(100)
    made.setblocking(False)
    return made


def _nonblocking(node: Node, info: t.Any) -> socket.socket:
    made = node.machine.namespace.socket(info[0], info[1])
    made.setblocking(False)
    return made
