# SPDX-License-Identifier: GPL-3.0-or-later
"""Suspending VMs, in memory or to disk, and resuming them."""

from __future__ import annotations

import datetime

from ..api import Call, handles
from ..errors import Failure, NotSimulated
from ..tasks import Task
from . import memory_state, options, power
from .vm import Vm

_STATUS = "/nodes/{node}/qemu/{vmid}/status"


@handles("POST", f"{_STATUS}/suspend")
def suspend(call: Call) -> str:
    skip = power.skip_lock_of(call)
    vm = power.running_vm(call)
    to_disk = call.flag("todisk")
    if to_disk:
        _check_to_disk(call, vm)

    async def work(task: Task) -> None:
        async with call.cluster.locked(vm):
            if not skip and vm.options.get("lock") != "backup":
                vm.check_lock()
            if to_disk:
                _save(call, vm, task)
            elif vm.running is not None:
                vm.running.qmp_status = "paused"

    return call.start("qmsuspend" if to_disk else "qmpause", call.vmid, work)


def _check_to_disk(call: Call, vm: Vm) -> None:
    if call.cluster.host is not None:
        raise NotSimulated("POST", "a suspend to disk of a guest with an operating system")
    if call.cluster.ha_steers(f"vm:{vm.vmid}"):
        raise Failure("Cannot suspend HA managed VM to disk")
    call.allowed.vm(vm.vmid, "VM.Config.Disk")
    if any(options.base_of(name) == "hostpci" for name in vm.options):
        raise Failure(
            "cannot suspend VM to disk due to passed-through PCI device(s), which lack the possibility to save/restore their "
            "internal state"
        )
    call.allowed.require(f"/storage/{_storage(call, vm)}", "Datastore.AllocateSpace")


def _storage(call: Call, vm: Vm) -> str:
    return memory_state.storage_of(call.cluster, vm, call.params.get("statestorage"))


def _save(call: Call, vm: Vm, task: Task) -> None:
    if vm.options.get("lock") == "backup":
        raise Failure("cannot suspend to disk during backup")
    state = memory_state.save(call.cluster, vm, _storage(call, vm), f"suspend-{datetime.date.today()}")
    task.log("State saved, quitting")
    vm.options |= {"lock": "suspended", **state}
    vm.running = None


@handles("POST", f"{_STATUS}/resume")
def resume(call: Call) -> str:
    skip = power.skip_lock_of(call)
    guest = call.cluster.guests.get(call.vmid)
    suspended = guest is not None and guest.options.get("lock") == "suspended"
    vm = call.cluster.present_vm(call.node.name, call.vmid) if suspended else power.running_vm(call)

    async def work(task: Task) -> None:
        async with call.cluster.locked(vm):
            if suspended:
                await power.start_vm(call.cluster, vm, skip, task)
                return
            if vm.running is None or vm.running.qmp_status == "running":
                return
            if not skip and vm.options.get("lock") != "backup":
                vm.check_lock()
            vm.running.qmp_status = "running"

    return call.start("qmresume", call.vmid, work)
