# SPDX-License-Identifier: GPL-3.0-or-later
"""The played Proxmox VE as a server: HTTPS, authentication, faults, ledger, answers."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import ssl
import typing as t
import urllib.parse

import aiohttp.web
import multidict

from ..contracts import GuestHost
from ..faults import Fault, Faults
from ..ledger import Ledger
from . import api, bodies, handlers
from .access import Caller
from .auth import Authentication, Unauthorized
from .cluster import Cluster
from .config import ProxmoxConfig
from .errors import ApiError
from .fetching import Fetch, fetcher

_VERBS = ("GET", "POST", "PUT", "DELETE")
_PREFIX = "/api2/json"
handlers.load()


@dataclasses.dataclass(frozen=True)
class Witnessed:
    """A request as it came, with its parameters, and how it was answered. Holds secrets: nothing keeps it here."""

    method: str
    path: str
    params: dict[str, t.Any]
    caller: str
    status: str
    text: str
    errors: t.Mapping[str, str]


class ProxmoxServer:
    """One cluster behind one address. ``fetch`` is how its nodes reach the internet (see ``fetching``); ``witness`` is told
    of every request that no fault took away."""

    def __init__(
        self,
        config: ProxmoxConfig,
        host: GuestHost | None,
        ledger: Ledger,
        faults: Faults,
        fetch: Fetch | None = None,
        witness: t.Callable[[Witnessed], None] | None = None,
    ) -> None:
        self.cluster = Cluster(config, host, fetch or fetcher())
        self.authentication = Authentication(self.cluster.access)
        self.cluster.authentication = self.authentication
        self._ledger = ledger
        self._faults = faults
        self._witness = witness
        self._scale = config.time_scale
        self._runner: aiohttp.web.ServerRunner | None = None

    async def start(self, sock: socket.socket, ssl_context: ssl.SSLContext | None) -> None:
        """Serve on a listening socket."""
        self.cluster.status.start()
        server = aiohttp.web.Server(self._handle)
        self._runner = aiohttp.web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await aiohttp.web.SockSite(self._runner, sock, ssl_context=ssl_context).start()

    async def stop(self) -> None:
        await self.cluster.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # -- one request --------------------------------------------------------------------------------------

    async def _handle(self, request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
        path = request.path_qs.partition("?")[0].removeprefix(_PREFIX) or "/"
        caller, refusal = self._caller(request, path)
        write = request.method != "GET"
        name = caller.name if caller else ""
        fault = self._faults.meet(api="proxmox", verb=request.method, path=path, write=write, caller=name)
        if fault is not None and await self._before(fault, request):
            self._record(request, path, name, fault.kind if fault.kind != "answer" else str(fault.args["status"]), True)
            return self._refused(fault, request)
        self._arm(fault, path)
        response, status = await self._answer(request, path, caller, refusal)
        self._disarm()
        self._record(request, path, name, status, not status.startswith("2"))
        return await self._after(fault, request, response)

    def _caller(self, request: aiohttp.web.BaseRequest, path: str) -> tuple[Caller | None, str]:
        try:
            return self.authentication.caller(request.method, request.headers), ""
        except Unauthorized as error:
            return None, str(error)

    async def _answer(
        self, request: aiohttp.web.BaseRequest, path: str, caller: Caller | None, refusal: str
    ) -> tuple[aiohttp.web.Response, str]:
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        if request.method not in _VERBS:
            return bodies.empty(501, f"method '{request.method}' not available"), "501"
        if not request.path.startswith(_PREFIX):
            return bodies.empty(501, f"no such file '{request.path}'"), "501"
        # What nobody has to log in for; a cookie is not looked at.
        public = parts in (["access", "ticket"], ["access", "domains"]) and (
            request.method == ("POST" if parts[1] == "ticket" else "GET")
        )

        sent: dict[str, t.Any] = {}

        async def who() -> Caller:
            if caller is None and not public:
                raise Unauthorized(refusal)
            return caller or Caller("")

        async def given() -> tuple[dict[str, t.Any], api.Upload | None]:
            params, upload = await bodies.read(request)
            params.pop("_dc", None)  # of browsers, against caches
            sent.update(params)
            return params, upload

        def tell(status: str, text: str = "", errors: t.Mapping[str, str] | None = None) -> None:
            if self._witness is not None:
                name = caller.name if caller else ""
                self._witness(Witnessed(request.method, path, sent, name, status, text, errors or {}))

        try:
            data = await api.answer(self.cluster, request.method, parts, given, who)
        except Unauthorized as error:
            await asyncio.sleep(3 * self._scale)
            tell("401", str(error))
            return bodies.empty(401, str(error)), "401"
        except ApiError as error:
            tell(str(error.status), error.text, error.errors)
            if error.status == 401:
                await asyncio.sleep(3 * self._scale)
            return self._error(error)
        tell("200")
        if isinstance(data, api.Download):
            return bodies.download(data.name, data.text), "200"
        total = {"total": data.total} if isinstance(data, api.Counted) else {}
        return bodies.respond({"data": data, **total}), "200"

    @staticmethod
    def _error(error: ApiError) -> tuple[aiohttp.web.Response, str]:
        if isinstance(error, bodies.Unreadable) or (error.status in (400, 506) and error.errors is None):
            text = {400: "", 500: f"{error.text}\n"}.get(error.status, error.text)
            return bodies.empty(error.status, error.text, text), str(error.status)
        body: dict[str, t.Any] = {"data": None, "message": f"{error.text.rstrip()}\n"}
        if error.errors is not None:
            body["errors"] = dict(error.errors)
        return bodies.respond(body, error.status, error.text), str(error.status)

    def _record(self, request: aiohttp.web.BaseRequest, path: str, caller: str, result: str, refused: bool) -> None:
        self._ledger.record(
            "proxmox",
            server=self.cluster.name,
            caller=caller,
            source=request.remote or "",
            verb=request.method,
            path=path,
            write=request.method != "GET",
            result=result,
            refused=refused,
        )

    # -- faults -------------------------------------------------------------------------------------------

    async def _before(self, fault: Fault, request: aiohttp.web.BaseRequest) -> bool:
        """True when the request is not to be done at all."""
        if fault.kind == "kill-before":
            await self._faults.kill()
        elif fault.kind == "delay":
            await asyncio.sleep(float(fault.args.get("seconds", 1)))
        return fault.kind in ("drop-before", "kill-before", "answer")

    def _refused(self, fault: Fault, request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
        if fault.kind == "answer":
            return self._error(ApiError(int(fault.args.get("status", 500)), str(fault.args.get("text", "fault"))))[0]
        return _drop(request)

    def _arm(self, fault: Fault | None, path: str) -> None:
        if fault is None:
            return
        if fault.kind == "task-error":
            self.cluster.tasks.fault_text = str(fault.args.get("text", "fault"))
        elif fault.kind == "task-time":
            self.cluster.tasks.fault_seconds = float(fault.args.get("seconds", 1))
        elif fault.kind == "storage-full":
            self.cluster.storages.full = True
        elif fault.kind == "lock":
            self.cluster.lock_guest(path, float(fault.args.get("seconds", 1)))

    def _disarm(self) -> None:
        self.cluster.tasks.fault_text = self.cluster.tasks.fault_seconds = None

    async def _after(
        self, fault: Fault | None, request: aiohttp.web.BaseRequest, response: aiohttp.web.Response
    ) -> aiohttp.web.StreamResponse:
        if fault is None or fault.kind not in ("drop-after", "kill-after", "garbage", "cut"):
            return response
        if fault.kind == "garbage":
            return aiohttp.web.Response(body=b"\x00\xff<html>it works</html>", content_type="text/html")
        if fault.kind == "kill-after":
            await self._faults.kill()
        if fault.kind == "cut":
            await _send_half(request, response)
        return _drop(request)


def _drop(request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
    """Close the connection without another byte."""
    if request.transport is not None:
        request.transport.abort()
    return aiohttp.web.Response(status=500)


async def _send_half(request: aiohttp.web.BaseRequest, response: aiohttp.web.Response) -> None:
    body = response.body if isinstance(response.body, bytes) else b""
    half = aiohttp.web.StreamResponse(
        status=response.status, headers=multidict.CIMultiDict({"Content-Length": str(len(body))})
    )
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
