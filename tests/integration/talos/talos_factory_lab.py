# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's Image Factory on loopback, with what it was asked and ways to answer badly."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import ssl
import threading
import typing as t

from aiohttp import web
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute
from ansible_collections.groundwork.homelab.plugins.modules import talos_image
from simlab.mirror.factory import ImageFactory

Bad = t.Callable[[web.Request], t.Awaitable[web.StreamResponse]]


class FactoryLab:
    """``bad`` are the answers to the next requests, before the factory itself answers."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.factory = ImageFactory()
        self.seen: list[str] = []
        self.bad: list[Bad] = []
        self._context = context
        self._sock = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._sock.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> t.Self:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(Exception):
            self._do(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _do(self, work: t.Coroutine[t.Any, t.Any, t.Any]) -> t.Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.SockSite(self._runner, self._sock, ssl_context=self._context).start()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.path}")
        if self.bad:
            return await self.bad.pop(0)(request)
        return await self.factory.handle(request)

    @property
    def writes(self) -> list[str]:
        return [one for one in self.seen if one.startswith("POST")]

    def run(self, *images: dict[str, t.Any], check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        """Run the module as the action plugin does."""
        params = {"images": list(images), "factory_url": self.url, "timeout": 5, **more}
        validated = ArgumentSpecValidator(**talos_image.SPEC.keywords()).validate(params)
        if validated.error_messages:
            return {"failed": True, "changed": False, "msg": "; ".join(validated.error_messages)}
        self.task = Task(validated.validated_parameters, check_mode=check, diff_mode=True)
        return execute(talos_image.run, self.task)


def says(status: int, text: str, **headers: str) -> Bad:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=headers)

    return answer


def drops(request: web.Request) -> t.Awaitable[web.StreamResponse]:
    async def answer() -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    return answer()


async def cuts(request: web.Request) -> web.StreamResponse:
    """The answer promises more than it sends."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"id": "ce4c')
    assert request.transport is not None
    request.transport.close()
    return response


async def sleeps(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(1.5)
    return web.Response(text="[]")


def tls(folder: pathlib.Path) -> tuple[ssl.SSLContext, str]:
    """A server's context with a certificate of its own, and the file to trust it by."""
    from simlab.proxmox import certificates

    certificate, key = certificates.self_signed(folder, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, str(certificate)
