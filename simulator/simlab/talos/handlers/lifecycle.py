# SPDX-License-Identifier: GPL-3.0-or-later
"""Bootstrap, Reboot, Shutdown, Reset; what is only for control plane nodes."""

from __future__ import annotations

import pathlib
import typing as t
import uuid

from grpclib import Status

from .. import publish, refusals, sequences
from ..calls import Call, Reply, machine, single, unary
from ..machineconfig import MachineConfig
from ..refusals import Refusal

if t.TYPE_CHECKING:
    from ..node import TalosNode

#: ``ResetRequest.WipeMode``; 0 is all of both.
_SYSTEM_DISK, _USER_DISKS = 1, 2


def control_plane_only(node: TalosNode, what: str) -> MachineConfig:
    """The configuration of a control plane node; others are told that they are none."""
    config = node.runtime.config
    if config is None or not config.complete or not config.control_plane:
        raise refusals.unimplemented(f"{what} is only available on control plane nodes")
    return config


@unary(*machine("Bootstrap"))
async def bootstrap(node: TalosNode, call: Call) -> Reply:
    config = control_plane_only(node, "bootstrap")
    runtime = node.runtime
    if not config.get("cluster.etcd.ca"):
        raise refusals.invalid("missing etcd CA")
    if runtime.workload is None or not runtime.services.healthy("cri"):
        raise refusals.precondition("bootstrap is not available yet")
    if runtime.workload.kubernetes is None:
        raise refusals.not_simulated(runtime.workload.problem)
    if runtime.workload.has_etcd_data:
        raise Refusal(Status.ALREADY_EXISTS, "etcd data directory is not empty")
    runtime.workload.bootstrap(bool(call.request.recover_etcd), bool(call.request.recover_skip_hash_check))
    return single()


@unary(*machine("Reboot"))
async def reboot(node: TalosNode, call: Call) -> Reply:
    runtime, actor = node.runtime, str(uuid.uuid4())
    if runtime.stage not in ("shutting down", "resetting"):
        sequences.take_over(runtime, sequences.reboot(runtime, actor))
    return single(actor_id=actor)


@unary(*machine("Shutdown"))
async def shutdown(node: TalosNode, call: Call) -> Reply:
    runtime, actor = node.runtime, str(uuid.uuid4())
    if runtime.stage != "shutting down":
        sequences.take_over(runtime, sequences.shutdown(runtime, actor))
    return single(actor_id=actor)


@unary(*machine("Reset"))
async def reset(node: TalosNode, call: Call) -> Reply:
    runtime, request, actor = node.runtime, call.request, str(uuid.uuid4())
    disks = tuple(_user_disk(node, path) for path in request.user_disks_to_wipe)
    labels = tuple(spec.label for spec in request.system_partitions_to_wipe if spec.wipe)
    for label in labels:
        if label not in ("STATE", "EPHEMERAL"):
            raise refusals.not_found(f'volume with ID "{label}" not found')
    wanted = sequences.Reset(
        graceful=request.graceful,
        restart=request.reboot,
        labels=labels,
        system_disk=request.mode != _USER_DISKS,
        disks=disks if request.mode != _SYSTEM_DISK else (),
    )
    sequences.take_over(runtime, sequences.reset(runtime, wanted, actor))
    return single(actor_id=actor)


def _user_disk(node: TalosNode, path: str) -> pathlib.Path:
    """The folder of a disk that is neither the system's nor a medium; as the node says it when there is none."""
    disks = {publish.device_at(disk.slot): disk for disk in node.machine.guest.disks if not disk.cdrom}
    if path not in disks:
        raise refusals.unknown(f"stat {path}: no such file or directory")
    if disks[path].slot == node.storage.disk.slot:
        raise refusals.unknown(f"cannot wipe {path}: it is the system disk")
    return disks[path].path
