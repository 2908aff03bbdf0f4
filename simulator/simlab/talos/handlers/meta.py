# SPDX-License-Identifier: GPL-3.0-or-later
"""The META partition: small values by number that outlive a reset of everything else."""

from __future__ import annotations

import typing as t

from grpclib import Status

from .. import publish, refusals
from ..calls import Call, Reply, machine, single, unary
from ..refusals import Refusal

if t.TYPE_CHECKING:
    from ..node import TalosNode

#: Bytes of the whole partition's values.
_ROOM = 256 << 10


@unary(*machine("MetaWrite"))
async def write(node: TalosNode, call: Call) -> Reply:
    values = _values(node, call)
    values[call.request.key] = call.request.value.decode("utf-8", "replace")
    if sum(map(len, values.values())) > _ROOM:
        raise Refusal(Status.RESOURCE_EXHAUSTED, "meta write failed")
    return _kept(node, values)


@unary(*machine("MetaDelete"))
async def delete(node: TalosNode, call: Call) -> Reply:
    values = _values(node, call)
    if call.request.key not in values:
        raise refusals.not_found("meta key not found")
    del values[call.request.key]
    return _kept(node, values)


def _values(node: TalosNode, call: Call) -> dict[int, str]:
    if node.mode == "container":
        raise refusals.precondition("method is not supported in container mode")
    if call.request.key > 255:
        raise refusals.invalid("key must be a uint8")
    return node.storage.read_meta()


def _kept(node: TalosNode, values: dict[int, str]) -> Reply:
    node.storage.write_meta(values)
    publish.meta(node.runtime)
    return single()
