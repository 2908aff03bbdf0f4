# SPDX-License-Identifier: GPL-3.0-or-later
"""Many guests at once: start, stop and migrate all guests of a node, or those that are named."""

from __future__ import annotations

import typing as t

from . import formats, migration
from .api import Call, handles
from .errors import ApiError, Failure, Forbidden
from .guest import GuestConfig
from .lxc import power as container_power
from .lxc.ct import Container
from .qemu import power as vm_power
from .qemu.vm import Vm
from .tasks import Task

One = t.Callable[[Call, GuestConfig, Task], t.Awaitable[None]]


def _startup(guest: GuestConfig) -> tuple[int, int]:
    values = dict(part.partition("=")[::2] for part in guest.options.get("startup", "").split(",") if part)
    return int(values.get("order") or 1 << 30), guest.vmid


def _chosen(call: Call) -> list[GuestConfig]:
    """The guests of the node, or those of ``vms``, in their startup order; templates never."""
    named = {int(vmid) for vmid in formats.split_list(call.text("vms"))}
    guests = [g for g in call.cluster.guests.values() if g.node == call.node.name and not g.template]
    unsteered = [
        g for g in guests if named or not call.cluster.ha_steers(f"{'vm' if isinstance(g, Vm) else 'ct'}:{g.vmid}")
    ]
    return sorted((g for g in unsteered if not named or g.vmid in named), key=_startup)


def _check(call: Call, right: str, *also: str) -> None:
    if call.allowed.has("/", [right, *also]):
        return
    named = formats.split_list(call.text("vms"))
    if not named:
        raise Forbidden(f"/, {' && '.join([right, *also])}")
    for vmid in named:
        call.allowed.require(f"/vms/{vmid}", right)


def _each(call: Call, kind: str, guests: t.Sequence[GuestConfig], one: One) -> str:
    """A task that goes on when a guest fails, and ends well all the same."""

    async def work(task: Task) -> None:
        for guest in guests:
            try:
                async with call.cluster.locked(guest):
                    await one(call, guest, task)
            except ApiError as error:
                word = "Starting " if kind == "startall" else "Stopping "
                task.log(f"{word}{guest.word} {guest.vmid} failed: {error}")

    return call.start(kind, "", work)


async def _start(call: Call, guest: GuestConfig, task: Task) -> None:
    task.log(f"Starting {guest.word} {guest.vmid}")
    if isinstance(guest, Vm):
        await vm_power.start_vm(call.cluster, guest)
    elif isinstance(guest, Container):
        await container_power.start_ct(call.cluster, guest)


async def _stop(call: Call, guest: GuestConfig, task: Task) -> None:
    task.log(f"Stopping {guest.word} {guest.vmid}")
    if isinstance(guest, Vm):
        await vm_power.shut_down_vm(call.cluster, guest, float(call.params.get("timeout", 180)), True, task)
    elif isinstance(guest, Container):
        container_power.stop_ct(call.cluster, guest)


async def _pause(call: Call, guest: GuestConfig, task: Task) -> None:
    if isinstance(guest, Vm) and guest.running:
        guest.running.qmp_status = "paused"


@handles("POST", "/nodes/{node}/startall")
def start_all(call: Call) -> str:
    _check(call, "VM.PowerMgmt")
    for guest in call.cluster.guests.values():  # no backup survives the start of a node
        if guest.node == call.node.name and guest.options.get("lock") == "backup":
            del guest.options["lock"]
    force = call.flag("force")
    wanted = [g for g in _chosen(call) if not g.running and (force or g.options.get("onboot") == "1")]
    return _each(call, "startall", wanted, _start)


@handles("POST", "/nodes/{node}/stopall")
def stop_all(call: Call) -> str:
    _check(call, "VM.PowerMgmt")
    return _each(call, "stopall", [guest for guest in reversed(_chosen(call)) if guest.running], _stop)


@handles("POST", "/nodes/{node}/suspendall")
def suspend_all(call: Call) -> str:
    _check(call, "VM.PowerMgmt", "VM.Config.Disk")
    return _each(call, "suspendall", [guest for guest in reversed(_chosen(call)) if guest.running], _pause)


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
