# SPDX-License-Identifier: GPL-3.0-or-later
"""Power: start, stop, shutdown, reboot, reset, suspend, resume; templates."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
import typing as t

from ...contracts import GuestFailure
from .. import high_availability
from ..api import Call, handles
from ..errors import Failure, ParameterError
from ..tasks import Task
from . import drives, machine, memory_state, pending
from .vm import Running, Vm

if t.TYPE_CHECKING:
    from ..cluster import Cluster

_PIDS = itertools.count(50000)
_STATUS = "/nodes/{node}/qemu/{vmid}/status"


# -- what the parts of the simulator use ----------------------------------------------------------------


async def start_vm(cluster: Cluster, vm: Vm, skip_lock: bool = False, task: Task | None = None) -> None:
    """Raises Failure with the text of the task."""
    if vm.template:
        raise Failure("you can't start a vm if it's a template")
    log = task.log if task is not None else pending.unheard
    lock = vm.options.get("lock")
    if lock == "backup" and vm.running:  # a backup has started it: now it is to run as well
        vm.running.qmp_status = "running"
        return
    if not skip_lock and lock != "suspended":
        vm.check_lock()
    if vm.running:
        raise Failure(f"VM {vm.vmid} already running")
    suspended = lock == "suspended" or "vmstate" in vm.options
    if not suspended:
        pending.apply(cluster, vm)
    pending.log_cloud_init(vm, vm.options, log)
    machine.check_volumes(cluster, vm)
    _check_node(cluster, vm)
    for name, value in vm.options.items():
        if name.startswith("net") and name[3:].isdigit():
            machine.check_bridge(cluster, vm.node, drives.parse_net(name, value))
    pending.forget_drive_changes(vm)
    vm.cloud_init = {name: value for name, value in vm.options.items() if pending.is_cloud_init(name)}
    if cluster.host is not None:
        try:
            await cluster.host.power_on(machine.guest_of(cluster, vm))
        except GuestFailure as error:
            raise Failure(f"start failed: {error}") from error
    if task is not None:
        _warn(vm, task)
    if suspended:
        log("Resumed VM, removing state")
        drop_state(cluster, vm)
    vm.running = Running(pid=next(_PIDS), since=time.time(), options=dict(vm.options))


#: What is kept of a VM that is suspended to disk.
STATE = ("lock", *memory_state.OPTIONS)


def drop_state(cluster: Cluster, vm: Vm) -> None:
    """A VM that was suspended to disk goes on, or never will."""
    if "vmstate" in vm.options:
        cluster.storages.free(vm.node, vm.options["vmstate"])
    for name in STATE:
        vm.options.pop(name, None)


def _check_node(cluster: Cluster, vm: Vm) -> None:
    if not cluster.nodes[vm.node].config.kvm and vm.options.get("kvm") != "0":
        text = "KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS."
        raise Failure(text)
    for port in ("serial", "parallel"):  # of the machine below, which is not played
        if any(re.fullmatch(rf"{port}\d", name) and value != "socket" for name, value in vm.options.items()):
            raise Failure(f"no such {port} device")
    most = cluster.nodes[vm.node].config.cores
    if int(vm.options.get("cores", 1)) * int(vm.options.get("sockets", 1)) > most and cluster.host is None:
        raise Failure(f"MAX {most} vcpus allowed per VM on this node")


def _warn(vm: Vm, task: Task) -> None:
    """What a VM is started without."""
    single = vm.options.get("scsihw") == "virtio-scsi-single"
    if vm.options.get("bios") == "ovmf" and "efidisk0" not in vm.options:
        task.warn("no efidisk configured! Using temporary efivars disk.")
    for slot, drive in vm.volumes():
        if slot.startswith("scsi") and drive.get("iothread") == "1" and not single:
            task.warn("iothread is only valid with virtio disk or virtio-scsi-single controller, ignoring")
    if any(drive["file"] == "cdrom" for _, drive in vm.volumes()):
        task.warn("no physical CD-ROM available, ignoring")


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
    with cluster.waited_for(vm, timeout):
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


def to_template(cluster: Cluster, vm: Vm, only: str | None = None) -> None:
    """Rename the volumes (or that of one drive) to ``base-…`` and mark the VM."""
    for name, drive in list(vm.volumes()):
        if drives.is_cdrom(drive) or only not in (None, name):
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


def skip_lock_of(call: Call) -> bool:
    if call.flag("skiplock"):
        call.allowed.only_root("skiplock")
    return call.flag("skiplock")


def running_vm(call: Call) -> Vm:
    """Raises Failure when the VM is not there or has no power."""
    vm = call.cluster.present_vm(call.node.name, call.vmid)
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


_OF_ROOT = ("stateuri", "skiplock", "migratedfrom", "migration_type", "migration_network", "targetstorage", "force-cpu",
            "with-conntrack-state", "nets-host-mtu")  # fmt: skip


@handles("POST", f"{_STATUS}/start")
def start(call: Call) -> str:
    for name in _OF_ROOT:
        if call.text(name) not in ("", "0"):
            call.allowed.only_root(name)
    if call.params.get("targetstorage") and not call.params.get("migratedfrom"):
        raise ParameterError({"targetstorage": "targetstorage can only by used with migratedfrom."})
    return start_task(call, call.flag("skiplock"))


def finish_creation(call: Call, task: Task) -> None:
    """What a new or restored VM is given at last. Its start is a task of its own, that may fail."""
    if call.flag("ha-managed"):
        task.log("Add as HA resource")
        high_availability.manage(call.cluster, f"vm:{call.vmid}", "started" if call.flag("start") else "stopped")
    if call.flag("start"):
        task.log("Execute autostart")
        start_task(call)


def start_task(call: Call, skip: bool = False) -> str:
    """Start the VM of the request in a task; its UPID."""
    asked = _by_ha(call, "hastart", "start", "started")
    if asked:
        return asked

    async def work(task: Task) -> None:
        vm = call.cluster.vm(call.node.name, call.vmid)
        async with call.cluster.locked(vm):
            await start_vm(call.cluster, vm, skip, task)

    return call.start("qmstart", call.vmid, work)


@handles("POST", f"{_STATUS}/stop")
def stop(call: Call) -> str:
    skip = skip_lock_of(call)
    for name in ("keepActive", "migratedfrom"):
        if call.text(name) not in ("", "0"):
            call.allowed.only_root(name)
    if call.flag("overrule-shutdown") and call.cluster.ha_steers(f"vm:{call.vmid}"):
        raise ParameterError({"overrule-shutdown": "Not applicable for HA resources."})
    asked = _by_ha(call, "hastop", "stop", "stopped")
    if asked:
        return asked
    if call.flag("overrule-shutdown"):
        call.cluster.tasks.stop_all("qmshutdown", str(call.vmid))

    async def work(task: Task) -> None:
        vm = call.cluster.present_vm(call.node.name, call.vmid)
        async with call.cluster.locked(vm):
            if vm.running is not None and not skip:
                vm.check_lock()
            await stop_vm(call.cluster, vm)

    return call.start("qmstop", call.vmid, work)


def _is_paused(call: Call) -> bool:
    """Whom a power button would only reach when it goes on."""
    guest = call.cluster.guests.get(call.vmid)
    return (
        guest is not None
        and guest.running is not None
        and guest.running.qmp_status in ("paused", "prelaunch", "suspended")
    )


def _patience(call: Call, vm: Vm) -> float:
    """Seconds that a guest gets to switch itself off: of the request, else of its start-up order."""
    if "timeout" in call.params:
        return float(call.params["timeout"])
    down = re.search(r"(?:^|,)down=(\d+)", vm.options.get("startup", ""))
    return float(down[1]) if down and int(down[1]) else 60.0


@handles("POST", f"{_STATUS}/shutdown")
def shutdown(call: Call) -> str:
    skip = skip_lock_of(call)
    paused = _is_paused(call)
    if paused and not call.flag("forceStop"):
        raise Failure("VM is paused - cannot shutdown")
    asked = _by_ha(call, "hastop", "stop", "stopped")
    if asked:
        return asked
    force = call.flag("forceStop")

    async def work(task: Task) -> None:
        vm = call.cluster.present_vm(call.node.name, call.vmid)
        async with call.cluster.locked(vm):
            if vm.running is not None and not skip:
                vm.check_lock()
            if paused:
                await stop_vm(call.cluster, vm)
            else:
                await shut_down_vm(call.cluster, vm, _patience(call, vm), force, task)

    return call.start("qmshutdown", call.vmid, work)


@handles("POST", f"{_STATUS}/reboot")
def reboot(call: Call) -> str:
    if _is_paused(call):
        raise Failure("VM is paused - cannot shutdown")
    running_vm(call)

    async def work(task: Task) -> None:
        vm = call.cluster.vm(call.node.name, call.vmid)
        async with call.cluster.locked(vm):
            vm.check_lock()
            await shut_down_vm(call.cluster, vm, _patience(call, vm), False, task)
            await start_vm(call.cluster, vm, task=task)

    return call.start("qmreboot", call.vmid, work)


@handles("POST", f"{_STATUS}/reset")
def reset(call: Call) -> str:
    skip = skip_lock_of(call)
    running_vm(call)

    async def work(task: Task) -> None:
        vm = call.cluster.vm(call.node.name, call.vmid)
        if not skip:
            vm.check_lock()
        if call.cluster.host is not None:
            await call.cluster.host.reset(vm.vmid)

    return call.start("qmreset", call.vmid, work)


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
            to_template(call.cluster, vm, call.params.get("disk"))

    return call.start("qmtemplate", call.vmid, work)
