# SPDX-License-Identifier: GPL-3.0-or-later
"""Version, names, statistics, disks, files that are read."""

from __future__ import annotations

import collections.abc as c
import time
import typing as t

from .. import publish, refusals
from ..calls import Call, Reply, machine, single, streams, unary
from ..events import Happening, new_id

if t.TYPE_CHECKING:
    from ..node import TalosNode

_KIB = 1024
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@unary(*machine("Version"))
async def version(node: TalosNode, call: Call) -> Reply:
    fields: dict[str, t.Any] = {
        "version": {
            "tag": node.version.tag,
            "sha": "undefined",
            "go_version": "go1.26.8",
            "os": "linux",
            "arch": node.image.arch,
        },
        "platform": {"name": node.image.platform, "mode": node.mode},
    }
    config = node.runtime.config
    if not call.maintenance and config is not None and config.complete:
        fields["features"] = {"rbac": config.get("machine.features.rbac", True)}
    return single(**fields)


@unary(*machine("Hostname"))
async def hostname(node: TalosNode, call: Call) -> Reply:
    return single(hostname=node.runtime.hostname)


@unary(*machine("Memory"))
async def memory(node: TalosNode, call: Call) -> Reply:
    """A machine of the guest's size of which Talos itself takes its usual share."""
    total = node.machine.guest.memory // _KIB
    used = min(total // 2, 600 * _KIB + (900 * _KIB if node.control_plane else 0))
    return single(
        meminfo={
            "memtotal": total,
            "memfree": total - used - total // 10,
            "memavailable": total - used,
            "buffers": 3 * _KIB,
            "cached": total // 10,
            "active": used // 2,
            "inactive": used // 2,
        }
    )


@unary(*machine("SystemStat"))
async def system_stat(node: TalosNode, call: Call) -> Reply:
    up = time.time() - node.runtime.booted_at
    cpus = [{"user": up * 0.05, "system": up * 0.03, "idle": up * 0.92} for _ in range(node.machine.guest.cores)]
    total = {key: sum(cpu[key] for cpu in cpus) for key in ("user", "system", "idle")}
    return single(
        boot_time=int(node.runtime.booted_at),
        cpu_total=total,
        cpu=cpus,
        process_running=1,
    )


@unary(*machine("LoadAvg"))
async def load_average(node: TalosNode, call: Call) -> Reply:
    return single(load1=0.2, load5=0.2, load15=0.2)


@unary(*machine("Mounts"))
async def mounts(node: TalosNode, call: Call) -> Reply:
    size = node.storage.disk.size
    stats = [{"filesystem": "overlay", "size": 0, "available": 0, "mounted_on": "/"}]
    config = node.runtime.config
    if config is not None and config.complete:
        device = publish.device_of(node)
        stats += [
            {
                "filesystem": f"{device}5",
                "size": 100 << 20,
                "available": 95 << 20,
                "mounted_on": "/system/state",
            },
            {
                "filesystem": f"{device}6",
                "size": size,
                "available": size * 9 // 10,
                "mounted_on": "/var",
            },
        ]
    return single(stats=stats)


@unary("/storage.StorageService/Disks")
async def disks(node: TalosNode, call: Call) -> Reply:
    return single(disks=publish.legacy_disks(node))


@unary("/storage.StorageService/BlockDeviceWipe")
async def wipe(node: TalosNode, call: Call) -> Reply:
    if call.request.devices:
        raise refusals.not_simulated("BlockDeviceWipe")
    return single()


@streams(*machine("Read"))
async def read(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    path, runtime = call.request.path, node.runtime
    files = {
        _BOOT_ID: runtime.boot_id + "\n",
        "/etc/os-release": f'NAME="Talos"\nID=talos\nVERSION_ID={node.version.tag}\nPRETTY_NAME="Talos ({node.version.tag})"\n',
        "/etc/hostname": runtime.hostname + "\n",
        "/proc/uptime": f"{time.time() - runtime.booted_at:.2f} 0.00\n",
    }
    if path in files:
        yield {"bytes": files[path].encode()}
        return
    if not path or not node.known_missing(path):
        raise refusals.not_found(f"stat {path}: no such file or directory")
    raise refusals.not_simulated(f"reading {path}")


@streams(*machine("Events"))
async def events(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    """First an empty one (hello), then the past as asked, then whatever happens."""
    request, source = call.request, node.runtime.events
    queue = source.follow()
    try:
        yield {"data": {}, "id": new_id()}
        for event in source.past(request.tail_events, request.tail_seconds, request.tail_id):
            if _wanted(event, request.with_actor_id):
                yield event.as_message()
        while True:
            event = await queue.get()
            if _wanted(event, request.with_actor_id):
                yield event.as_message()
    finally:
        source.unfollow(queue)


def _wanted(event: Happening, actor: str) -> bool:
    return not actor or event.actor == actor
