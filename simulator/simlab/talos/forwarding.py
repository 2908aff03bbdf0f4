# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests for other nodes: the metadata ``node`` (one) and ``nodes`` (several), as apid of a control plane node does."""

from __future__ import annotations

import asyncio
import collections.abc as c
import dataclasses
import ipaddress
import typing as t

from grpclib import Status

from . import calls, refusals, schema
from .calls import Call
from .refusals import Refusal

if t.TYPE_CHECKING:
    from .node import TalosNode

PORT = 50000
_DIAL_TIMEOUT = 3.0


@dataclasses.dataclass(frozen=True)
class Target:
    """Another node (or this one) by the address that the client gave."""

    name: str
    asked: TalosNode
    many: bool

    async def reach(self) -> TalosNode:
        """The node, if it can be reached over the network and serves its API."""
        if self.name in self.asked.addresses():
            return self.asked
        if not _is_address(self.name):
            raise refusals.unavailable("name resolver error: produced zero addresses")
        node = self.asked.settings.registry.by_address(self.name)
        problem = await self._dial()
        if problem or node is None or not node.serving:
            reason = problem or "connect: connection refused"
            text = f'connection error: desc = "transport: Error while dialing: dial tcp {self.name}:{PORT}: {reason}"'
            raise refusals.unavailable(text)
        return node

    async def _dial(self) -> str:
        try:
            socket = await self.asked.machine.namespace.connect(self.name, PORT, timeout=_DIAL_TIMEOUT)
        except ConnectionRefusedError:
            return "connect: connection refused"
        except (OSError, TimeoutError, asyncio.TimeoutError):
            return "connect: no route to host"
        socket.close()
        return ""


def targets_of(node: TalosNode, call: Call, metadata: t.Any) -> list[Target] | None:
    """The nodes that a call is for, None for the one that was asked. In maintenance the metadata is ignored."""
    if call.maintenance:
        return None
    one, several = _all(metadata, "node"), _all(metadata, "nodes")
    if len(one) > 1:
        raise refusals.invalid("node metadata must be single-valued")
    if one and ":" in one[0] and not _is_address(one[0]):
        raise Refusal(Status.INTERNAL, f'invalid target "{one[0]}"')
    wanted = several or one
    if not wanted:
        return None
    if not node.control_plane and any(name not in node.addresses() for name in wanted):
        raise refusals.denied("no request forwarding")
    if several and call.path.startswith("/cosi.resource.State/"):
        raise refusals.invalid(f"one-2-many proxying is not supported for method {call.path}")
    return [Target(name, node, bool(several)) for name in wanted]


async def fan_out(node: TalosNode, call: Call, rpc: schema.Rpc, targets: c.Sequence[Target]) -> calls.Reply:
    """One answer of all nodes; a node that does not answer is an error inside it."""
    if rpc.client_streams:
        return await _uploaded(call, rpc, targets)
    answers = await asyncio.gather(*(_one_of_many(target, call, rpc) for target in targets))
    return {"messages": [message for answer in answers for message in answer]}


async def _one_of_many(target: Target, call: Call, rpc: schema.Rpc) -> list[dict[str, t.Any]]:
    try:
        node = await target.reach()
        if rpc.path not in calls.UNARY:
            raise refusals.not_simulated(rpc.name)
        reply = await calls.UNARY[rpc.path](node, call)
    except Refusal as refusal:
        return [{"metadata": _failure(target.name, refusal)}]
    return [{**message, "metadata": {"hostname": target.name}} for message in reply["messages"]]


async def _uploaded(call: Call, rpc: schema.Rpc, targets: c.Sequence[Target]) -> calls.Reply:
    if len(targets) > 1:
        raise refusals.not_simulated(f"{rpc.name} on several nodes at once")
    node = await targets[0].reach()
    reply = await calls.UPLOADS[rpc.path](node, call)
    return {"messages": [{**message, "metadata": {"hostname": targets[0].name}} for message in reply["messages"]]}


async def streams(call: Call, rpc: schema.Rpc, targets: c.Sequence[Target]) -> c.AsyncIterator[calls.Reply]:
    """The streams of all nodes as one: each part says whose it is; an error is a part, too."""
    parts: asyncio.Queue[calls.Reply | None] = asyncio.Queue(maxsize=16)

    async def pump(target: Target) -> None:
        owner = {"hostname": target.name}
        try:
            node = await target.reach()
            if rpc.path not in calls.STREAMS:
                if rpc.path in calls.REFUSALS:
                    calls.REFUSALS[rpc.path](node, call)
                raise refusals.not_simulated(rpc.name)
            async for part in calls.STREAMS[rpc.path](node, call):
                await parts.put({**part, "metadata": owner})
        except Refusal as refusal:
            await parts.put({"metadata": _failure(target.name, refusal)})
        finally:
            await parts.put(None)

    pumps = [asyncio.ensure_future(pump(target)) for target in targets]
    try:
        left = len(pumps)
        while left:
            part = await parts.get()
            if part is None:
                left -= 1
            else:
                yield part
    finally:
        for one in pumps:
            one.cancel()


def _failure(name: str, refusal: Refusal) -> dict[str, t.Any]:
    code = refusal.status.name.title().replace("_", "")
    return {
        "hostname": name,
        "error": f"rpc error: code = {code} desc = {refusal.text}",
        "status": {"code": refusal.status.value, "message": refusal.text},
    }


def _all(metadata: t.Any, key: str) -> list[str]:
    if metadata is None:
        return []
    return [str(value) for value in metadata.getall(key, [])]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
