# SPDX-License-Identifier: GPL-3.0-or-later
"""Many guests at once: start, stop and migrate all guests of a node, or those that are named."""

from __future__ import annotations

import dataclasses
import typing as t

from . import formats, migration
from .api import Call, handles
from .errors import ApiError, Failure, Forbidden
from .guest import GuestConfig
from .lxc import power as container_power
from .lxc.ct import Container
from .qemu import power as vm_power
from .qemu import suspend
from .qemu.vm import Vm
from .tasks import Task

One = t.Callable[[Call, GuestConfig, Task], str | None]


#: Seconds that a guest may take.
_LONGEST = 3 * 3600.0


def _startup(guest: GuestConfig) -> dict[str, str]:
    """``order``, ``up`` and ``down``."""
    return dict(part.partition("=")[::2] for part in guest.options.get("startup", "").split(",") if part)


def _place(guest: GuestConfig) -> tuple[int, int]:
    return int(_startup(guest).get("order") or 1 << 30), guest.vmid


def _chosen(call: Call) -> list[GuestConfig]:
    """The guests of the node, or those of ``vms``, in their startup order; templates never."""
    named = {int(vmid) for vmid in formats.split_list(call.text("vms"))}
    guests = [g for g in call.cluster.guests.values() if g.node == call.node.name and not g.template]
    unsteered = [
        g for g in guests if named or not call.cluster.ha_steers(f"{'vm' if isinstance(g, Vm) else 'ct'}:{g.vmid}")
    ]
    return sorted((g for g in unsteered if not named or g.vmid in named), key=_place)


def _check(call: Call, right: str, *also: str) -> None:
    if call.allowed.has("/", [right, *also]):
        return
    named = formats.split_list(call.text("vms"))
    if not named:
        raise Forbidden(f"/, {' && '.join([right, *also])}")
    for vmid in named:
        call.allowed.require(f"/vms/{vmid}", right)


def _each(call: Call, kind: str, guests: t.Sequence[GuestConfig], one: One) -> str:
    """A task that starts one of each guest's own, and ends well when a guest's does not."""

    async def work(task: Task) -> None:
        for guest in guests:
            try:
                upid = one(call, guest, task)
            except ApiError as error:
                task.log(str(error))
                continue
            ended = await _end_of(call, upid) if upid else None
            if ended is not None and ended.failed and kind == "startall":
                task.log(f"Starting {guest.word} {guest.vmid} failed: {ended.exit_status}")

    return call.start(kind, "", work)


async def _end_of(call: Call, upid: str) -> Task | None:
    return await call.cluster.tasks.ended_within(upid, _LONGEST)


def _of_one(call: Call, guest: GuestConfig, **params: t.Any) -> Call:
    """The request that the node makes for one guest."""
    return dataclasses.replace(call, params={"node": call.node.name, "vmid": str(guest.vmid), **params})


def _start(call: Call, guest: GuestConfig, task: Task) -> str | None:
    if guest.running:
        return None
    task.log(f"Starting {guest.word} {guest.vmid}")
    start = vm_power.start_task if isinstance(guest, Vm) else container_power.start_task
    upid = start(_of_one(call, guest))
    if _startup(guest).get("up", "0") != "0":
        task.log(f"Waiting for {_startup(guest)['up']} seconds (startup delay)")
    return upid


def _stop(call: Call, guest: GuestConfig, task: Task) -> str | None:
    if not guest.running:
        return None
    timeout = int(_startup(guest).get("down") or call.params.get("timeout", 180))
    task.log(f"Stopping {guest.word} {guest.vmid} (timeout = {timeout} seconds)")
    force = "1" if call.flag("force-stop", True) else "0"
    shutdown = vm_power.shutdown if isinstance(guest, Vm) else container_power.shutdown
    return str(shutdown(_of_one(call, guest, timeout=str(timeout), forceStop=force)))


def _suspend(call: Call, guest: GuestConfig, task: Task) -> str | None:
    if not isinstance(guest, Vm):
        task.warn(f"skipping {guest.vmid}, only VMs can be suspended")
        return None
    if not guest.running:
        task.log(f"VM {guest.vmid} not running, skipping suspension")
        return None
    task.log(f"Suspending VM {guest.vmid}")
    return str(suspend.suspend(_of_one(call, guest, todisk="1")))


@handles("POST", "/nodes/{node}/startall")
def start_all(call: Call) -> str:
    _check(call, "VM.PowerMgmt")
    for guest in call.cluster.guests.values():  # no backup survives the start of a node
        if guest.node == call.node.name and guest.options.get("lock") == "backup":
            del guest.options["lock"]
    force = call.flag("force")
    wanted = [g for g in _chosen(call) if force or g.options.get("onboot") == "1"]
    return _each(call, "startall", wanted, _start)


@handles("POST", "/nodes/{node}/stopall")
def stop_all(call: Call) -> str:
    _check(call, "VM.PowerMgmt")
    return _each(call, "stopall", [*reversed(_chosen(call))], _stop)


@handles("POST", "/nodes/{node}/suspendall")
def suspend_all(call: Call) -> str:
    _check(call, "VM.PowerMgmt", "VM.Config.Disk")
    return _each(call, "suspendall", [*reversed(_chosen(call))], _suspend)


@handles("POST", "/nodes/{node}/migrateall")
def migrate_all(call: Call) -> str:
    _check(call, "VM.Migrate")
    target = call.text("target")
    if target == call.node.name:
        raise ApiError(400, "Parameter verification failed.", {"target": "target is local node."})
    if target not in call.cluster.nodes:
        raise Failure(f"no such cluster node '{target}'")
    chosen = _chosen(call)

    async def work(task: Task) -> None:
        for guest in chosen:
            if isinstance(guest, Vm):
                await migration.move_vm(call.cluster, guest, target, task, call.flag("with-local-disks"))
            elif isinstance(guest, Container):
                await migration.move_container(call.cluster, guest, target, task, restart=True)

    return call.start("migrateall", "", work)


@handles("PUT", "/nodes/{node}/qemu/{vmid}/sendkey")
def send_key(call: Call) -> None:
    """Keys for a console that nobody looks at."""
    vm = call.cluster.vm(call.node.name, call.vmid)
    if vm.running is None:
        raise Failure(f"VM {call.vmid} not running")
