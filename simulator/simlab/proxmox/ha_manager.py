# SPDX-License-Identifier: GPL-3.0-or-later
"""The HA manager: what it is asked for happens a little later, by tasks of its own. Off in the recorded state (no manager ran)."""

from __future__ import annotations

import asyncio
import typing as t

from . import migration
from .guest import GuestConfig
from .lxc import power as container_power
from .lxc.ct import Container
from .qemu import power as vm_power
from .qemu.vm import Vm
from .tasks import Task, Work

if t.TYPE_CHECKING:
    from .cluster import Cluster

#: Seconds (of the lab) until a node's local manager looks.
ROUND = 5.0


def request(cluster: Cluster, sid: str, state: str | None = None, target: str | None = None) -> None:
    """Note what is wanted of a resource, and do it when the manager runs."""
    resource = cluster.extras.get("ha", {}).get(sid)
    if resource is None or not cluster.config.ha_manager:
        return
    if state is not None:
        resource["state"] = state
    if target is not None:
        cluster.extra("ha_moving", dict)[sid] = target
    cluster.later(_round(cluster, sid))


async def _round(cluster: Cluster, sid: str) -> None:
    await asyncio.sleep(ROUND * cluster.config.time_scale)
    guest = cluster.guests.get(int(sid.partition(":")[2]))
    resource = cluster.extras.get("ha", {}).get(sid)
    target = cluster.extra("ha_moving", dict).pop(sid, None)
    if guest is None or resource is None or resource.get("state") == "ignored":
        return
    if target is not None and target != guest.node:
        await _run(cluster, guest, "qmigrate" if isinstance(guest, Vm) else "vzmigrate", _move(cluster, guest, target))
    state = resource.get("state", "started")
    if state in ("started", "enabled") and not guest.running:
        await _run(cluster, guest, "qmstart" if isinstance(guest, Vm) else "vzstart", _start(cluster, guest))
    elif state in ("stopped", "disabled") and guest.running:
        await _run(cluster, guest, "qmshutdown" if isinstance(guest, Vm) else "vzshutdown", _stop(cluster, guest))


async def _run(cluster: Cluster, guest: GuestConfig, kind: str, work: Work) -> None:
    upid = cluster.tasks.start(guest.node, kind, str(guest.vmid), "root@pam", work)
    runner = cluster.tasks.by_upid[upid].runner
    if runner is not None:
        await asyncio.wait([runner])


def _move(cluster: Cluster, guest: GuestConfig, target: str) -> Work:
    """Live where that is possible."""

    async def work(task: Task) -> None:
        if isinstance(guest, Vm):
            await migration.move_vm(cluster, guest, target, task, with_local_disks=True)
        elif isinstance(guest, Container):
            await migration.move_container(cluster, guest, target, task, restart=True)

    return work


def _start(cluster: Cluster, guest: GuestConfig) -> Work:
    async def work(task: Task) -> None:
        async with cluster.locked(guest):
            if isinstance(guest, Vm):
                await vm_power.start_vm(cluster, guest)
            elif isinstance(guest, Container):
                await container_power.start_ct(cluster, guest)

    return work


def _stop(cluster: Cluster, guest: GuestConfig) -> Work:
    async def work(task: Task) -> None:
        async with cluster.locked(guest):
            if isinstance(guest, Vm):
                await vm_power.shut_down_vm(cluster, guest, 60, True, task)
            elif isinstance(guest, Container):
                container_power.stop_ct(cluster, guest)

    return work
