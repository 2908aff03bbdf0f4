# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd by its real member: queries, maintenance, snapshots. Before bootstrap they hang until the client's deadline."""

from __future__ import annotations

import asyncio
import collections.abc as c
import contextlib
import os
import typing as t

from grpclib import Status

from ... import cluster
from .. import refusals
from ..calls import Call, Reply, machine, single, streams, unary, uploads
from ..refusals import Refusal
from .lifecycle import control_plane_only

if t.TYPE_CHECKING:
    from ..node import TalosNode

_POLL = 0.1


async def _member(node: TalosNode, what: str) -> t.Any:
    """The running member; the call hangs as long as there is none."""
    control_plane_only(node, what)
    while True:
        workload = node.runtime.workload
        if workload is not None and workload.problem:
            raise refusals.not_simulated(workload.problem)
        if workload is not None and workload.etcd is not None and workload.etcd.pid is not None:
            return workload.etcd
        await asyncio.sleep(_POLL)


@contextlib.contextmanager
def _errors(prefix: str = "") -> c.Iterator[None]:
    try:
        yield
    except cluster.EtcdError as error:
        raise Refusal(Status(error.code), f"{prefix}{error}") from None


@unary(*machine("EtcdMemberList"))
async def member_list(node: TalosNode, call: Call) -> Reply:
    member = await _member(node, "member list")
    with _errors():
        members = await member.members(linearizable=not call.request.query_local)
    described = [
        {
            "id": entry.id,
            "hostname": entry.name,
            "peer_urls": list(entry.peer_urls),
            "client_urls": list(entry.client_urls),
            "is_learner": entry.learner,
        }
        for entry in members
    ]
    return single(legacy_members=[entry.name for entry in members], members=described)


@unary(*machine("EtcdStatus"))
async def status(node: TalosNode, call: Call) -> Reply:
    member = await _member(node, "etcd status")
    with _errors():
        found = await member.status()
    return single(
        member_status={
            "member_id": found.member_id,
            "protocol_version": found.version,
            "storage_version": found.storage_version,
            "db_size": found.db_size,
            "db_size_in_use": found.db_size_in_use,
            "leader": found.leader,
            "raft_index": found.raft_index,
            "raft_term": found.raft_term,
            "raft_applied_index": found.raft_applied_index,
            "errors": list(found.errors),
            "is_learner": found.learner,
        }
    )


@unary(*machine("EtcdAlarmList"))
async def alarm_list(node: TalosNode, call: Call) -> Reply:
    member = await _member(node, "etcd alarm list")
    with _errors():
        return _alarms(await member.alarms())


@unary(*machine("EtcdAlarmDisarm"))
async def alarm_disarm(node: TalosNode, call: Call) -> Reply:
    member = await _member(node, "etcd alarm disarm")
    with _errors():
        return _alarms(await member.disarm_alarms())


@unary(*machine("EtcdDefragment"))
async def defragment(node: TalosNode, call: Call) -> Reply:
    member = await _member(node, "etcd defragment")
    with _errors():
        await member.defragment()
    return single()


@unary(*machine("EtcdForfeitLeadership"))
async def forfeit(node: TalosNode, call: Call) -> Reply:
    member = await _member(node, "etcd forfeit leadership")
    with _errors():
        successor = await member.forfeit_leadership()
    return single(member=successor or "")


@unary(*machine("EtcdLeaveCluster"))
async def leave(node: TalosNode, call: Call) -> Reply:
    await _member(node, "etcd leave")
    workload = node.runtime.workload
    if workload is not None:
        with _errors():
            await workload.leave_etcd()
    return single()


@unary(*machine("EtcdRemoveMemberByID"))
async def remove(node: TalosNode, call: Call) -> Reply:
    member = await _member(node, "etcd remove member")
    with _errors(f"failed to remove member {call.request.member_id}: "):
        await member.remove_member(call.request.member_id)
    return single()


@streams(*machine("EtcdSnapshot"))
async def snapshot(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    member = await _member(node, "etcd snapshot")
    with _errors("failed reading snapshot: "):
        async for chunk in member.snapshot():
            yield {"bytes": chunk}


@uploads("/machine.MachineService/EtcdRecover")
async def recover(node: TalosNode, call: Call) -> Reply:
    """Keep what is uploaded for Bootstrap; half an upload is not kept."""
    control_plane_only(node, "etcd recover")
    if node.runtime.workload is None or call.upload is None:
        raise refusals.precondition("etcd service is not ready for recovery yet")
    path = node.storage.snapshot
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            async for message in call.upload:
                file.write(message.bytes)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return single()


def _alarms(found: c.Sequence[tuple[int, str]]) -> Reply:
    alarms = [{"member_id": member, "alarm": alarm} for member, alarm in found]
    return single(member_alarms=alarms) if alarms else single()
