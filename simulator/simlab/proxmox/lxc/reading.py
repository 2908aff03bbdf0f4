# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading containers: lists, status, configuration, pending changes; destroying them."""

from __future__ import annotations

import typing as t

from ..api import Call, handles
from ..errors import Failure, ParameterError
from ..tasks import Task
from . import ct as containers
from . import mounts, options
from .ct import Container, shown

_CT = "/nodes/{node}/lxc/{vmid}"


@handles("GET", "/nodes/{node}/lxc")
def listing(call: Call) -> list[dict[str, t.Any]]:
    return [
        guest.summary()
        for guest in call.cluster.guests.values()
        if isinstance(guest, Container)
        and guest.node == call.node.name
        and call.allowed.has(f"/vms/{guest.vmid}", ["VM.Audit"])
    ]


_INDEX = """config pending status vncproxy termproxy vncwebsocket spiceproxy migrate clone rrd rrddata firewall snapshot
    resize interfaces""".split()
_STATUS_INDEX = "current start stop shutdown reboot migrate".split()


@handles("GET", _CT)
def index(call: Call) -> list[dict[str, str]]:
    containers.find(call)
    return [{"subdir": name} for name in _INDEX]


@handles("GET", f"{_CT}/status")
def status_index(call: Call) -> list[dict[str, str]]:
    containers.find(call)
    return [{"subdir": name} for name in _STATUS_INDEX]


@handles("GET", f"{_CT}/snapshot/{{snapname}}")
def snapshot_index(call: Call) -> list[dict[str, str]]:
    return [{"cmd": "rollback"}, {"cmd": "config"}]


@handles("GET", f"{_CT}/status/current")
def current(call: Call) -> dict[str, t.Any]:
    ct = containers.find(call)
    state = call.cluster.ha_state(f"ct:{ct.vmid}")
    return ct.summary() | {"ha": state if state["managed"] else {"managed": 0}}


@handles("GET", f"{_CT}/config")
def config(call: Call) -> dict[str, t.Any]:
    ct = containers.find(call)
    name = call.params.get("snapshot")
    if name and call.flag("current"):
        text = "cannot use 'snapshot' parameter with 'current'"
        raise ParameterError({"snapshot": text, "current": text})
    if name:
        if name not in ct.snapshots:
            raise Failure(f"snapshot '{name}' does not exist")
        return shown(ct.snapshots[name].options) | {"digest": ct.digest()}
    values = ct.options if call.flag("current") else ct.merged()
    return shown(values) | {"digest": ct.digest()} | ({"parent": ct.parent} if ct.parent else {})


@handles("GET", f"{_CT}/pending")
def pending(call: Call) -> list[dict[str, t.Any]]:
    ct = containers.find(call)
    found: list[dict[str, t.Any]] = [{"key": "digest", "value": ct.digest()}]
    for name, value in ct.options.items():
        entry: dict[str, t.Any] = {"key": name, "value": options.shown(name, value)}
        if name in ct.pending:
            entry["pending"] = options.shown(name, ct.pending[name])
        elif name in ct.deleting:
            entry["delete"] = 1
        found.append(entry)
    new = [name for name in ct.pending if name not in ct.options]
    return found + [{"key": name, "pending": options.shown(name, ct.pending[name])} for name in new]


@handles("DELETE", _CT)
def destroy(call: Call) -> str:
    ct = containers.find(call)
    ct.check_protection(f"can't remove CT {ct.vmid}")
    if call.cluster.ha_managed(f"ct:{ct.vmid}") and not call.flag("purge"):
        raise Failure(f"unable to remove CT {ct.vmid} - used in HA resources and purge parameter not set.")
    ct.check_lock()
    if ct.running and not call.flag("force"):
        raise Failure(f"unable to destroy CT {ct.vmid} - container is running")

    async def work(task: Task) -> None:
        async with call.cluster.locked(ct):
            ct.running = None
            _free(call, ct)
            call.cluster.remove(ct.vmid)
            if call.flag("purge"):
                task.log(f"purging CT {ct.vmid} from related configurations..")
                call.cluster.purge(ct.vmid)

    return call.start("vzdestroy", ct.vmid, work)


def _free(call: Call, ct: Container) -> None:
    storages = call.cluster.storages
    sections = [ct.options, ct.pending, *(snapshot.options for snapshot in ct.snapshots.values())]
    found = {volid for section in sections for _, volid in ct.volume_ids(section)}
    found |= {value for name, value in ct.options.items() if name.startswith("unused")}
    for volid in sorted(found):
        if mounts.owned(call.cluster, ct, volid):
            storages.free(ct.node, volid)
    if call.flag("destroy-unreferenced-disks"):
        for store in storages.of_node(ct.node):
            for volid in [volid for volid, volume in store.volumes.items() if volume.owner == ct.vmid]:
                storages.free(ct.node, volid)
