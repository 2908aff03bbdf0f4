# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's control socket: HTTP with JSON over ``/run/simlab/control.sock``.

``GET /status``, ``GET /ledger?since=N``, ``GET /ledger/mark`` (the newest number), ``GET /faults``, ``POST /faults``
(fields of :class:`simlab.faults.Fault`), ``DELETE /faults``,
``POST /guests/<vmid>/power-off`` and ``power-on``, ``POST /run`` (``argv`` or ``playbook`` and ``arguments``, ``env``,
``cwd``; answers lines of JSON: ``{"stream", "data"}`` while it runs, at last ``{"exit"}`` and for playbooks ``run``),
``POST /stop``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import typing as t

from aiohttp import web

from . import sandbox
from .contracts import GuestFailure
from .faults import parse
from .lab import Lab
from .runs import Runner

SOCKET = sandbox.RUN / "control.sock"


class Control:
    """``stopping`` is set when somebody asks for the end of the lab."""

    def __init__(self, lab: Lab, runner: Runner) -> None:
        self._lab = lab
        self._runner = runner
        self._runs = asyncio.Lock()
        self.stopping = asyncio.Event()
        self._web: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(middlewares=[_errors])
        app.add_routes([
            web.get("/status", self._status),
            web.get("/ledger", self._ledger),
            web.get("/ledger/mark", self._mark),
            web.get("/faults", self._faults),
            web.post("/faults", self._add_fault),
            web.delete("/faults", self._clear_faults),
            web.post("/guests/{vmid:\\d+}/{power:power-on|power-off}", self._power),
            web.post("/run", self._run),
            web.post("/stop", self._stop),
        ])  # fmt: skip
        self._web = web.AppRunner(app, shutdown_timeout=0.5, handle_signals=False)
        await self._web.setup()
        await web.UnixSite(self._web, str(SOCKET)).start()
        SOCKET.chmod(0o600)

    async def stop(self) -> None:
        if self._web is not None:
            await self._web.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        return _json(await self._lab.status())

    async def _ledger(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", 0))
        return _json([dataclasses.asdict(entry) for entry in self._lab.ledger.entries(since)])

    async def _mark(self, request: web.Request) -> web.Response:
        return _json(self._lab.ledger.mark())

    async def _faults(self, request: web.Request) -> web.Response:
        return _json([dataclasses.asdict(fault) for fault in self._lab.faults.active])

    async def _add_fault(self, request: web.Request) -> web.Response:
        fault = parse(await request.json())
        self._lab.faults.add(fault)
        return _json(dataclasses.asdict(fault), 201)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._lab.faults.clear()
        return _json([])

    async def _power(self, request: web.Request) -> web.Response:
        await self._lab.power(int(request.match_info["vmid"]), request.match_info["power"] == "power-on")
        return _json({})

    async def _stop(self, request: web.Request) -> web.Response:
        self.stopping.set()
        return _json({})

    async def _run(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await response.prepare(request)
        pipes = {
            "stdout": asyncio.subprocess.PIPE,
            "stderr": asyncio.subprocess.PIPE,
            "cwd": asked.get("cwd"),
            "environment": asked.get("env"),
        }
        try:
            await self._stream(asked, response, pipes)
        except OSError as error:  # no such program or playbook
            await _line(response, {"stream": "stderr", "data": f"{error}\n"})
            await _line(response, {"exit": 127})
        await response.write_eof()
        return response

    async def _stream(
        self, asked: t.Mapping[str, t.Any], response: web.StreamResponse, pipes: dict[str, t.Any]
    ) -> None:
        if "playbook" in asked:
            async with self._runs:  # one playbook at a time: the ledger tells them apart by time
                await self._stream_playbook(asked, response, pipes)
        else:
            process = await self._runner.spawn(asked["argv"], **pipes)
            await _pass_on(process, response)
            await _line(response, {"exit": await process.wait()})

    async def _stream_playbook(
        self, asked: t.Mapping[str, t.Any], response: web.StreamResponse, pipes: dict[str, t.Any]
    ) -> None:
        async def pass_on(process: asyncio.subprocess.Process) -> None:
            await _pass_on(process, response)

        run = await self._runner.playbook(asked["playbook"], asked.get("arguments", ()), follow=pass_on, **pipes)
        await _line(response, {"exit": run.exit_status, "run": run.report()})


async def _pass_on(process: asyncio.subprocess.Process, response: web.StreamResponse) -> None:
    """Both streams of a process as lines of JSON, until they end."""

    async def follow(name: str, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(65536):
            await _line(response, {"stream": name, "data": data.decode("utf-8", "replace")})

    if process.stdout is not None and process.stderr is not None:
        await asyncio.gather(follow("stdout", process.stdout), follow("stderr", process.stderr))


async def _line(response: web.StreamResponse, data: t.Any) -> None:
    await response.write(json.dumps(data).encode() + b"\n")


def _json(data: t.Any, status: int = 200) -> web.Response:
    return web.json_response(data, status=status, dumps=lambda value: json.dumps(value, default=str))


@web.middleware
async def _errors(request: web.Request, handler: t.Callable[[web.Request], t.Awaitable[web.StreamResponse]]) -> (
    web.StreamResponse
):  # fmt: skip
    try:
        return await handler(request)
    except (ValueError, KeyError, TypeError) as error:
        return _json({"error": f"{type(error).__name__}: {error}"}, 400)
    except (LookupError, FileNotFoundError) as error:
        return _json({"error": str(error)}, 404)
    except GuestFailure as error:
        return _json({"error": str(error)}, 409)
