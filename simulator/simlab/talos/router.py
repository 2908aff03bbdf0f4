# SPDX-License-Identifier: GPL-3.0-or-later
"""From a gRPC stream to a handler and back: roles, faults, forwarding to other nodes, the ledger."""

from __future__ import annotations

import asyncio
import collections.abc as c
import time
import typing as t

import grpclib.const
import grpclib.server
from grpclib import GRPCError, Status
from grpclib.exceptions import StreamTerminatedError

from ..faults import Fault
from . import access, calls, refusals, schema
from .calls import Call
from .forwarding import fan_out, streams, targets_of
from .refusals import Refusal

if t.TYPE_CHECKING:
    from .node import TalosNode

_GARBAGE = b"HTTP/1.1 400 Bad Request\r\n\r\n<html>not the protocol</html>"
_GRPC_STREAM = grpclib.server.Stream[t.Any, t.Any]
_NAMES = {status: status.name for status in Status}


class Dropped(Exception):
    """The connection was closed on purpose."""


class Router:
    """The method table of one node's API server."""

    def __init__(self, node: TalosNode, maintenance: bool) -> None:
        self._node = node
        self._maintenance = maintenance

    def __mapping__(self) -> dict[str, grpclib.const.Handler]:
        return {rpc.path: self._entry(rpc) for rpc in schema.rpcs() if self._node.version.has(rpc.path)}

    def _entry(self, rpc: schema.Rpc) -> grpclib.const.Handler:
        async def serve(stream: _GRPC_STREAM) -> None:
            await _Exchange(self._node, rpc, stream, self._maintenance).run()

        cardinality = {
            (False, False): grpclib.const.Cardinality.UNARY_UNARY,
            (False, True): grpclib.const.Cardinality.UNARY_STREAM,
            (True, False): grpclib.const.Cardinality.STREAM_UNARY,
            (True, True): grpclib.const.Cardinality.STREAM_STREAM,
        }[rpc.client_streams, rpc.server_streams]
        return grpclib.const.Handler(serve, cardinality, schema.message(rpc.request), schema.message(rpc.reply))


class _Exchange:
    """One request and its answer."""

    def __init__(self, node: TalosNode, rpc: schema.Rpc, stream: _GRPC_STREAM, maintenance: bool) -> None:
        self._node = node
        self._rpc = rpc
        self._stream = stream
        self._reply = schema.message(rpc.reply)
        self._mute = False
        self._call = Call(
            path=rpc.path,
            request=None,
            roles=access.MAINTENANCE if maintenance else _roles(stream),
            maintenance=maintenance,
            source=_address(stream),
            deadline=None if stream.deadline is None else time.monotonic() + stream.deadline.time_remaining(),
        )

    async def run(self) -> None:
        at, result = time.time(), "OK"
        try:
            await self._handle()
        except Refusal as refusal:
            result = _NAMES[refusal.status]
            raise GRPCError(refusal.status, refusal.text) from None
        except GRPCError as error:
            result = _NAMES[error.status]
            raise
        except Dropped:
            result = "dropped"
        except (asyncio.CancelledError, StreamTerminatedError):
            result = "DEADLINE_EXCEEDED" if (self._call.remaining() or 1) <= 0.01 else "CANCELLED"
            raise
        except Exception:
            result = "INTERNAL"
            raise
        finally:
            self._record(at, result)

    async def _handle(self) -> None:
        if not self._rpc.client_streams:
            self._call.request = await self._stream.recv_message()
        self._call.reads_only = bool(getattr(self._call.request, "dry_run", False))
        fault = self._node.faults.meet(
            api="talos",
            verb=self._rpc.name,
            path=self._rpc.path,
            write=self._writes(),
            caller=self._caller(),
        )
        if fault is not None:
            await self._before(fault)
        access.check(
            self._rpc.path,
            self._call.roles,
            maintenance=self._call.maintenance,
            maintenance_apid=self._node.version.maintenance_apid,
        )
        self._mute = fault is not None and fault.kind in ("drop-after", "kill-after")
        await self._dispatch(fault is not None and fault.kind == "cut")
        if fault is not None and self._mute:
            if fault.kind == "kill-after":
                await self._node.faults.kill()
            await self._drop()

    async def _before(self, fault: Fault) -> None:
        if fault.kind == "delay":
            await asyncio.sleep(float(fault.args.get("seconds", 1)))
        elif fault.kind == "answer":
            status = Status.__members__.get(str(fault.args.get("status")).upper(), Status.UNAVAILABLE)
            raise Refusal(status, str(fault.args.get("text", "injected fault")))
        elif fault.kind == "garbage":
            _transport(self._stream).write(_GARBAGE)
            await self._drop(after=0.05)
        elif fault.kind in ("drop-before", "kill-before"):
            if fault.kind == "kill-before":
                await self._node.faults.kill()
            await self._drop()

    async def _drop(self, after: float = 0.0) -> t.NoReturn:
        await asyncio.sleep(after)
        _transport(self._stream).abort()
        raise Dropped

    async def _dispatch(self, cut: bool) -> None:
        targets = targets_of(self._node, self._call, self._stream.metadata)
        if targets and targets[0].many and self._rpc.server_streams:
            await self._send_all(streams(self._call, self._rpc, targets), cut)
            return
        if targets and targets[0].many:
            if self._rpc.client_streams:
                self._call.upload = self._uploaded()
            await self._send(await fan_out(self._node, self._call, self._rpc, targets))
            return
        node = await targets[0].reach() if targets else self._node
        await self._serve(node, cut)

    async def _serve(self, node: TalosNode, cut: bool) -> None:
        """Let ``node`` handle the call, this node's connection carries the answer."""
        path = self._rpc.path
        if path in calls.STREAMS:
            await self._send_all(calls.STREAMS[path](node, self._call), cut)
            return
        if path in calls.UPLOADS:
            self._call.upload = self._uploaded()
            await self._send(await calls.UPLOADS[path](node, self._call))
        elif path in calls.UNARY:
            reply = await calls.UNARY[path](node, self._call)
            if cut:
                await self._stream.send_initial_metadata()
                await self._drop(after=0.02)
            await self._send(reply)
        else:
            if path in calls.REFUSALS:
                calls.REFUSALS[path](node, self._call)
            raise refusals.not_simulated(self._rpc.name)

    async def _send_all(self, parts: c.AsyncIterator[calls.Reply], cut: bool) -> None:
        async for part in parts:
            await self._send(part)
            if cut:
                await self._drop()

    async def _uploaded(self) -> c.AsyncIterator[t.Any]:
        async for message in self._stream:
            yield message

    async def _send(self, reply: calls.Reply) -> None:
        if not self._mute:
            await self._stream.send_message(self._reply(**reply))

    def _writes(self) -> bool:
        return self._rpc.name in access.WRITES and not self._call.reads_only

    def _caller(self) -> str:
        return "maintenance" if self._call.maintenance else ",".join(sorted(self._call.roles)) or "nobody"

    def _record(self, at: float, result: str) -> None:
        self._node.ledger.record(
            "talos",
            server=self._node.machine.guest.name,
            caller=self._caller(),
            source=self._call.source,
            verb=self._rpc.name,
            path=self._rpc.path,
            write=self._writes(),
            result=result,
            refused=result != "OK",
            at=at,
            **self._call.detail,
        )


def _roles(stream: _GRPC_STREAM) -> frozenset[str]:
    certificate = stream.peer.cert() if stream.peer else None
    names = (certificate or {}).get("subject", ())
    return frozenset(value for part in names for key, value in part if key == "organizationName")


def _address(stream: _GRPC_STREAM) -> str:
    address = stream.peer.addr() if stream.peer else None
    return str(address[0]) if address else ""


def _transport(stream: _GRPC_STREAM) -> asyncio.Transport:
    return stream._stream._transport
