# SPDX-License-Identifier: GPL-3.0-or-later
"""ServiceList and what may be asked of a service."""

from __future__ import annotations

import typing as t

from .. import refusals
from ..calls import Call, Reply, machine, single, unary
from ..services import OPERATIONS

if t.TYPE_CHECKING:
    from ..node import TalosNode


@unary(*machine("ServiceList"))
async def service_list(node: TalosNode, call: Call) -> Reply:
    return single(services=[service.as_message() for service in node.runtime.services.all()])


@unary(*machine("ServiceStart"))
async def start(node: TalosNode, call: Call) -> Reply:
    id_ = _allowed(node, call, "start")
    return single(resp=f'Service "{id_}" started')


@unary(*machine("ServiceStop"))
async def stop(node: TalosNode, call: Call) -> Reply:
    id_ = _allowed(node, call, "stop")
    services = node.runtime.services
    services.stopping(id_)
    services.finished(id_)
    return single(resp=f'Service "{id_}" stopped')


@unary(*machine("ServiceRestart"))
async def restart(node: TalosNode, call: Call) -> Reply:
    id_ = _allowed(node, call, "restart")
    workload = node.runtime.workload
    if id_ == "kubelet" and workload is not None:
        await workload.restart_kubelet()
    else:
        node.runtime.services.stopping(id_)
        node.runtime.services.running(id_)
        node.runtime.services.health(id_, True)
    return single(resp=f'Service "{id_}" restarted')


def _allowed(node: TalosNode, call: Call, operation: str) -> str:
    id_ = str(call.request.id)
    if node.runtime.services.get(id_) is None:
        raise refusals.unknown(f'service "{id_}" not defined')
    if not id_.startswith("ext-") and operation not in OPERATIONS.get(id_, ()):
        raise refusals.unknown(f'service "{id_}" doesn\'t support {operation} operation via API')
    return id_
