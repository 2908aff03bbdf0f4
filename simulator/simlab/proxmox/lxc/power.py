# SPDX-License-Identifier: GPL-3.0-or-later
"""Power of containers."""

from __future__ import annotations

import asyncio
import itertools
import time
import typing as t

from .. import formats
from ..api import Call, handles
from ..errors import Failure
from ..guest import Running
from ..storage import names
from ..tasks import Task
from . import ct as containers
from . import options, update
from .ct import Container

if t.TYPE_CHECKING:
    from ..cluster import Cluster

_STATUS = "/nodes/{node}/lxc/{vmid}/status"
_PIDS = itertools.count(70000)


async def start_ct(cluster: Cluster, ct: Container, skip_lock: bool = False) -> None:
    """Raises Failure with the text of the task. (The lab has no operating system for containers.)"""
    if not skip_lock:
        ct.check_lock()
    if ct.template:
        raise Failure("you can't start a CT if it's a template")
    update.apply(cluster, ct)
    for _, volid in ct.volume_ids():
        if names.is_volume_id(volid) and cluster.storages.size_of(ct.node, volid) is None:
            raise Failure(f"volume '{volid}' does not exist")
    ct.running = Running(pid=next(_PIDS), since=time.time(), options=dict(ct.options))


def stop_ct(cluster: Cluster, ct: Container) -> None:
    ct.running = None
    update.apply(cluster, ct)


def _skip_lock(call: Call) -> bool:
    if call.flag("skiplock"):
        call.allowed.only_root("skiplock")
    return call.flag("skiplock")


def _by_ha(call: Call, kind: str, word: str, state: str) -> str | None:
    """A task that only asks the HA manager, when the container is its business."""
    sid = f"ct:{call.vmid}"
    if not call.cluster.ha_steers(sid):
        return None

    async def work(task: Task) -> None:
        task.log(f"Requesting HA {word} for CT {call.vmid}")
        call.cluster.ha_request(sid, state=state)

    return call.start(kind, call.vmid, work)


@handles("POST", f"{_STATUS}/start")
def start(call: Call) -> str:
    skip = _skip_lock(call)
    guest = call.cluster.guests.get(call.vmid)
    if isinstance(guest, Container) and guest.running and not call.cluster.ha_steers(f"ct:{call.vmid}"):
        raise Failure(f"CT {call.vmid} already running")
    return start_task(call, skip)


def start_task(call: Call, skip: bool = False) -> str:
    """Start the container of the request in a task; its UPID."""
    asked = _by_ha(call, "hastart", "start", "started")
    if asked:
        return asked

    async def work(task: Task) -> None:
        ct = containers.find(call)
        async with call.cluster.locked(ct):
            await start_ct(call.cluster, ct, skip)

    return call.start("vzstart", call.vmid, work)


def _running(call: Call, word: str = "CT") -> Container:
    ct = containers.find(call)
    if ct.running is None:
        raise Failure(f"{word} {call.vmid} not running")
    return ct


@handles("POST", f"{_STATUS}/stop")
def stop(call: Call) -> str:
    skip = _skip_lock(call)
    ct = _running(call)
    asked = _by_ha(call, "hastop", "stop", "stopped")
    if asked:
        return asked
    if call.flag("overrule-shutdown"):
        call.cluster.tasks.stop_all("vzshutdown", str(call.vmid))

    async def work(task: Task) -> None:
        async with call.cluster.locked(ct):
            if not skip:
                ct.check_lock()
            stop_ct(call.cluster, ct)

    return call.start("vzstop", call.vmid, work)


@handles("POST", f"{_STATUS}/shutdown")
def shutdown(call: Call) -> str:
    ct = _running(call)
    asked = _by_ha(call, "hastop", "stop", "stopped")
    if asked:
        return asked
    timeout = float(call.params.get("timeout") or 60)

    async def work(task: Task) -> None:
        async with call.cluster.locked(ct):
            ct.check_lock()
            await asyncio.sleep(timeout * call.cluster.config.time_scale)
            if not call.flag("forceStop"):
                raise Failure("container did not stop")
            stop_ct(call.cluster, ct)

    return call.start("vzshutdown", call.vmid, work)


@handles("POST", f"{_STATUS}/reboot")
def reboot(call: Call) -> str:
    ct = _running(call, "VM")

    async def work(task: Task) -> None:
        async with call.cluster.locked(ct):
            stop_ct(call.cluster, ct)
            await start_ct(call.cluster, ct)

    return call.start("vzreboot", call.vmid, work)


@handles("POST", f"{_STATUS}/suspend")
def suspend(call: Call) -> str:
    ct = _running(call)

    async def work(task: Task) -> None:
        raise Failure(f"command 'lxc-checkpoint -n {ct.vmid} -s -D /var/lib/vz/dump' failed: exit code 1")

    return call.start("vzsuspend", call.vmid, work)


@handles("POST", f"{_STATUS}/resume")
def resume(call: Call) -> str:
    containers.find(call)

    async def work(task: Task) -> None:
        raise Failure(
            f"command 'lxc-checkpoint -n {call.vmid} -r --foreground -D /var/lib/vz/dump' failed: exit code 1"
        )

    return call.start("vzresume", call.vmid, work)


@handles("GET", "/nodes/{node}/lxc/{vmid}/interfaces")
def interfaces(call: Call) -> list[dict[str, t.Any]]:
    ct = _running(call)
    found: list[dict[str, t.Any]] = [_interface("lo", "00:00:00:00:00:00")]
    for name in sorted(ct.options):
        if options.is_net(name):
            net = formats.parse(options.spec_of(name)["format"], ct.options[name], name)
            found.append(_interface(net["name"], net["hwaddr"].lower()))
    return found


def _interface(name: str, address: str) -> dict[str, t.Any]:
    return {"name": name, "hwaddr": address, "hardware-address": address, "ip-addresses": []}
