# SPDX-License-Identifier: GPL-3.0-or-later
"""The web server of the lab's internet: one for all names, on ports 443 and 80."""

from __future__ import annotations

import asyncio
import pathlib
import socket
import ssl
import tempfile
import typing as t

from aiohttp import web

from ..faults import Fault, Faults
from ..ledger import Ledger
from . import charts, factory
from .git import GitSite
from .releases import HOSTS, Releases, wanted

Handler = t.Callable[[web.Request], t.Awaitable[web.StreamResponse]]


class MirrorServer:
    """``factories`` are names that an Image Factory answers under, ``files`` names with the directory they serve: files,
    Git repositories, Helm charts. ``releases`` answers for what else is known under names of GitHub."""

    def __init__(
        self,
        factories: t.Iterable[str],
        files: t.Mapping[str, pathlib.Path],
        ledger: Ledger,
        faults: Faults,
        releases: Releases | None = None,
        scratch: pathlib.Path | None = None,
    ) -> None:
        self.factory = factory.ImageFactory()
        self._sites: dict[str, Handler] = dict.fromkeys(factories, self.factory.handle)
        self._scratch = tempfile.TemporaryDirectory(prefix="simlab-mirror-", dir=scratch)
        place = pathlib.Path(self._scratch.name)
        self._sites.update({name: _Files(folder, place).handle for name, folder in files.items()})
        self._releases = releases
        self._ledger = ledger
        self._faults = faults
        self._runner: web.ServerRunner | None = None

    @property
    def names(self) -> list[str]:
        return sorted({*self._sites, *(HOSTS if self._releases is not None else ())})

    async def start(self, secure: socket.socket, plain: socket.socket, context: ssl.SSLContext) -> None:
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.2)
        await self._runner.setup()
        await web.SockSite(self._runner, secure, ssl_context=context).start()
        await web.SockSite(self._runner, plain).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._scratch.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        name = request.host.partition(":")[0]
        write = request.method not in ("GET", "HEAD")
        fault = self._faults.meet(api="mirror", verb=request.method, path=request.path, write=write, caller="anonymous")
        if fault is not None and await self._before(fault):
            return self._dropped(request, name, write)
        answer = await self._answer(t.cast(web.Request, request), name, fault)
        if fault is not None and fault.kind in ("drop-after", "kill-after", "cut"):
            await self._after(fault, request, answer)
            return self._dropped(request, name, write)
        self._record(request, name, write, str(answer.status), refused=answer.status >= 400)
        return answer

    async def _before(self, fault: Fault) -> bool:
        """True when the request is not to be done at all."""
        if fault.kind == "kill-before":
            await self._faults.kill()
        elif fault.kind == "delay":
            await asyncio.sleep(float(fault.args.get("seconds", 1)))
        return fault.kind in ("drop-before", "kill-before")

    async def _answer(self, request: web.Request, name: str, fault: Fault | None) -> web.StreamResponse:
        if fault is not None and fault.kind == "answer":
            return web.Response(status=int(fault.args.get("status", 503)), text=str(fault.args.get("text", "")))
        site = self._sites.get(name)
        answer = await site(request) if site else web.Response(status=404, text=f"no site {name} here\n")
        release = wanted(name, request.path)
        if self._releases is not None and release is not None and answer.status == 404:
            answer = await self._releases.answer(release)
        if fault is not None and fault.kind == "garbage":
            return web.Response(body=b"\x00\xff<html>it works</html>", content_type="text/html")
        return answer

    async def _after(self, fault: Fault, request: web.BaseRequest, answer: web.StreamResponse) -> None:
        if fault.kind == "kill-after":
            await self._faults.kill()
        if fault.kind == "cut" and isinstance(answer, web.Response) and isinstance(answer.body, bytes):
            half = web.StreamResponse(status=answer.status, headers={"Content-Length": str(len(answer.body))})
            await half.prepare(request)
            await half.write(answer.body[: len(answer.body) // 2])

    def _dropped(self, request: web.BaseRequest, name: str, write: bool) -> web.StreamResponse:
        self._record(request, name, write, "dropped", refused=False)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    def _record(self, request: web.BaseRequest, name: str, write: bool, result: str, *, refused: bool) -> None:
        self._ledger.record(
            "mirror",
            server=name,
            caller="anonymous",
            source=request.remote or "",
            verb=request.method,
            path=request.path,
            write=write,
            result=result,
            refused=refused,
        )


class _Files:
    def __init__(self, folder: pathlib.Path, scratch: pathlib.Path) -> None:
        self._folder = folder.resolve()
        self._git = GitSite(folder, scratch)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        wanted = (self._folder / request.path.lstrip("/")).resolve()
        repository = self._git.asked(request)
        if repository is not None:
            return await self._git.answer(request, *repository)
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="405 Method Not Allowed\n")
        if wanted.is_relative_to(self._folder) and wanted.is_file():
            return web.FileResponse(wanted)
        chart = charts.answer(wanted) if wanted.is_relative_to(self._folder) else None
        if chart is None:
            return web.Response(status=404, text="404 Not Found\n")
        return web.Response(body=chart[0], content_type=chart[1])
