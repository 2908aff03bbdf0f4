# SPDX-License-Identifier: GPL-3.0-or-later
"""Power: start, stop, shutdown, reboot, reset, suspend, resume; templates."""

from __future__ import annotations

import asyncio
import itertools
import time
import typing as t

from ...contracts import GuestFailure
from ..api import Call, handles
from ..errors import Failure
from ..tasks import Task
from . import drives, machine, pending
from .vm import Running, Vm

if t.TYPE_CHECKING:
    from ..cluster import Cluster

_PIDS = itertools.count(50000)
_STATUS = "/nodes/{node}/qemu/{vmid}/status"


# -- what the parts of the simulator use ----------------------------------------------------------------


async def start_vm(cluster: Cluster, vm: Vm, skip_lock: bool = False) -> None:
    """Raises Failure with the text of the task."""
    if not skip_lock and vm.options.get("lock") != "suspended":
        vm.check_lock()
    if vm.running:
        raise Failure(f"VM {vm.vmid} already running")
    if vm.template:
        raise Failure("you can't start a vm if it's a template")
    pending.apply(cluster, vm)
    machine.check_volumes(cluster, vm)
    for name, value in vm.options.items():
        if name.startswith("net") and name[3:].isdigit():
            machine.check_bridge(cluster, vm.node, drives.parse_net(name, value))
    _check_node(cluster, vm)
    vm.cloud_init = {name: value for name, value in vm.options.items() if pending.is_cloud_init(name)}
    if cluster.host is not None:
        try:
            await cluster.host.power_on(machine.guest_of(cluster, vm))
        except GuestFailure as error:
            raise Failure(f"start failed: {error}") from error
    vm.running = Running(pid=next(_PIDS), since=time.time(), options=dict(vm.options))


def _check_node(cluster: Cluster, vm: Vm) -> None:
    if not cluster.nodes[vm.node].config.kvm and vm.options.get("kvm") != "0":
        text = "KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS."
        raise Failure(text)
    most = cluster.nodes[vm.node].config.cores
    if int(vm.options.get("cores", 1)) * int(vm.options.get("sockets", 1)) > most and cluster.host is None:
        raise Failure(f"MAX {most} vcpus allowed per VM on this node")


async def stop_vm(cluster: Cluster, vm: Vm) -> None:
    """Pull the plug and apply what was pending."""
    if vm.running is None:
        return
    vm.running = None
    if cluster.host is not None:
        await cluster.host.power_off(vm.vmid)
    pending.apply(cluster, vm)


def stopped(cluster: Cluster, vmid: int) -> None:
    """A guest has switched itself off."""
    guest = cluster.guests.get(vmid)
    if guest is not None and guest.running is not None:
        guest.running = None
        if isinstance(guest, Vm):
            pending.apply(cluster, guest)


async def shut_down_vm(cluster: Cluster, vm: Vm, timeout: float, force: bool, task: Task) -> None:
    if vm.running is None:
        return
    gone = await _power_button(cluster, vm, timeout)
    if gone:
        stopped(cluster, vm.vmid)
    elif force:
        task.log("VM still running - terminating now with SIGTERM")
        await stop_vm(cluster, vm)
    else:
        raise Failure("VM quit/powerdown failed - got timeout")


async def _power_button(cluster: Cluster, vm: Vm, timeout: float) -> bool:
    if cluster.host is None:
        await asyncio.sleep(timeout * cluster.config.time_scale)
        return False
    return await cluster.host.shut_down(vm.vmid, timeout)


def to_template(cluster: Cluster, vm: Vm) -> None:
    """Rename the volumes to ``base-…`` and mark the VM."""
    for name, drive in list(vm.volumes()):
        if drives.is_cdrom(drive):
            continue
        store, volume = cluster.storages.find(vm.node, drive["file"])
        parsed = store.parse(volume)
        if parsed.is_base or drive["file"] not in store.volumes:
            continue
        head, _, tail = volume.rpartition("/")
        renamed = (head + "/" if head else "") + "base-" + tail.removeprefix("vm-")
        drive["file"] = store.rename(drive["file"], renamed).volid
        vm.options[name] = drives.render(name, drive)
    vm.options["template"] = "1"


# -- calls ------------------------------------------------------------------------------------------------


def _skip_lock(call: Call) -> bool:
    if call.flag("skiplock"):
        call.allowed.only_root("skiplock")
    return call.flag("skiplock")


def _running(call: Call) -> Vm:
    """Raises Failure when the VM is not there or has no power."""
    vm = call.cluster.vm(call.node.name, call.vmid)
    if vm.running is None:
        raise Failure(f"VM {vm.vmid} not running")
    return vm


def _by_ha(call: Call, kind: str, word: str, state: str) -> str | None:
    """A task that only asks the HA manager, when the VM is its business."""
    sid = f"vm:{call.vmid}"
    if not call.cluster.ha_steers(sid):
        return None

    async def work(task: Task) -> None:
        task.log(f"Requesting HA {word} for VM {call.vmid}")
        call.cluster.ha_request(sid, state=state)

    return call.start(kind, call.vmid, work)


@handles("POST", f"{_STATUS}/start")
def start(call: Call) -> str:
    skip = _skip_lock(call)
    asked = _by_ha(call, "hastart", "start", "started")
    if asked:
        return asked

    async def work(task: Task) -> None:
        vm = call.cluster.vm(call.node.name, call.vmid)
        async with call.cluster.locked(vm):
            await start_vm(call.cluster, vm, skip)

    return call.start("qmstart", call.vmid, work)


@handles("POST", f"{_STATUS}/stop")
def stop(call: Call) -> str:
    skip = _skip_lock(call)
    asked = _by_ha(call, "hastop", "stop", "stopped")
    if asked:
        return asked
    if call.flag("overrule-shutdown"):
        call.cluster.tasks.stop_all("qmshutdown", str(call.vmid))

    async def work(task: Task) -> None:
        vm = call.cluster.vm(call.node.name, call.vmid)
        async with call.cluster.locked(vm):
            if vm.running is not None and not skip:
                vm.check_lock()
            await stop_vm(call.cluster, vm)

    return call.start("qmstop", call.vmid, work)


@handles("POST", f"{_STATUS}/shutdown")
def shutdown(call: Call) -> str:
    _skip_lock(call)
    asked = _by_ha(call, "hastop", "stop", "stopped")
    if asked:
        return asked
    timeout = float(call.params.get("timeout") or 180)
    force = call.flag("forceStop")

    async def work(task: Task) -> None:
        vm = call.cluster.vm(call.node.name, call.vmid)
        async with call.cluster.locked(vm):
            await shut_down_vm(call.cluster, vm, timeout, force, task)

    return call.start("qmshutdown", call.vmid, work)


@handles("POST", f"{_STATUS}/reboot")
def reboot(call: Call) -> str:
    _running(call)
    timeout = float(call.params.get("timeout") or 180)

    async def work(task: Task) -> None:
        vm = call.cluster.vm(call.node.name, call.vmid)
        async with call.cluster.locked(vm):
            await shut_down_vm(call.cluster, vm, timeout, False, task)
            await start_vm(call.cluster, vm)

    return call.start("qmreboot", call.vmid, work)


@handles("POST", f"{_STATUS}/reset")
def reset(call: Call) -> str:
    _skip_lock(call)
    _running(call)

    async def work(task: Task) -> None:
        vm = call.cluster.vm(call.node.name, call.vmid)
        vm.check_lock()
        if call.cluster.host is not None:
            await call.cluster.host.reset(vm.vmid)

    return call.start("qmreset", call.vmid, work)


@handles("POST", f"{_STATUS}/suspend")
def suspend(call: Call) -> str:
    _skip_lock(call)
    vm = _running(call)
    if call.flag("todisk"):
        raise Failure("suspend to disk is not simulated")
    vm.check_lock()

    async def work(task: Task) -> None:
        if vm.running is not None:
            vm.running.qmp_status = "paused"

    return call.start("qmpause", call.vmid, work)


@handles("POST", f"{_STATUS}/resume")
def resume(call: Call) -> str:
    _skip_lock(call)
    vm = _running(call)

    async def work(task: Task) -> None:
        if vm.running is not None:
            vm.running.qmp_status = "running"

    return call.start("qmresume", call.vmid, work)


@handles("POST", "/nodes/{node}/qemu/{vmid}/template")
async def template(call: Call) -> str:
    vm = call.cluster.vm(call.node.name, call.vmid)
    vm.check_lock()
    if vm.snapshots:
        raise Failure("unable to create template, because VM contains snapshots")
    if vm.template and "disk" not in call.params:
        raise Failure("you can't convert a template to a template")
    if vm.running:
        raise Failure("you can't convert a VM to template if VM is running")

    async def work(task: Task) -> None:
        async with call.cluster.locked(vm):
            to_template(call.cluster, vm)

    return call.start("qmtemplate", call.vmid, work)
