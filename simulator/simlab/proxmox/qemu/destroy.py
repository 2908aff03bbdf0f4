# SPDX-License-Identifier: GPL-3.0-or-later
"""Destroying a VM."""

from __future__ import annotations

import typing as t

from ..api import Call, handles
from ..errors import Failure
from ..storage import names
from ..tasks import Task
from . import pending
from .vm import Vm

if t.TYPE_CHECKING:
    from ..cluster import Cluster


@handles("DELETE", "/nodes/{node}/qemu/{vmid}")
def destroy(call: Call) -> str:
    if call.flag("skiplock"):
        call.allowed.only_root("skiplock")
    vm = call.cluster.vm(call.node.name, call.vmid)
    _check(call, vm)

    async def work(task: Task) -> None:
        async with call.cluster.locked(vm):
            if not call.flag("skiplock") and vm.options.get("lock") != "suspended":
                vm.check_lock()
            _check(call, vm)
            free_volumes(call.cluster, vm, task.log, call.flag("destroy-unreferenced-disks"))
            call.cluster.remove(vm.vmid)
            if call.flag("purge"):
                task.log(f"purging VM {vm.vmid} from related configurations..")
                call.cluster.purge(vm.vmid)
        if call.cluster.host is not None:
            await call.cluster.host.gone(vm.vmid)

    return call.start("qmdestroy", vm.vmid, work)


def _check(call: Call, vm: Vm) -> None:
    vm.check_protection(f"can't remove VM {vm.vmid}")
    if call.cluster.ha_managed(f"vm:{vm.vmid}") and not call.flag("purge"):
        raise Failure(f"unable to remove VM {vm.vmid} - used in HA resources and purge parameter not set.")
    if vm.running:
        raise Failure(f"VM {vm.vmid} is running - destroy failed")


def free_volumes(cluster: Cluster, vm: Vm, log: pending.Log, unreferenced: bool = False) -> None:
    """The volumes that the VM owns: of its drives, snapshots, pending changes and ``unusedN``."""
    storages = cluster.storages
    sections = [vm.options, vm.pending, *(snapshot.options for snapshot in vm.snapshots.values())]
    found = {drive["file"] for section in sections for _, drive in vm.volumes(section)}
    found |= {value for name, value in vm.options.items() if name.startswith("unused")}
    found |= {section["vmstate"] for section in sections if "vmstate" in section}
    owned = [volid for volid in sorted(found) if _owned(cluster, vm, volid)]
    for volid in owned if vm.template else ():  # check all before the first is gone
        store, volume = storages.find(vm.node, volid)
        if any(other.base == volume for other in store.volumes.values()):
            raise Failure(f"base volume '{volid}' is still in use by linked cloned")
    for volid in owned:
        store, volume = storages.find(vm.node, volid)
        if volid not in store.volumes and not store.flat:
            log(f"disk image '{store.node_path(volume)}' does not exist")
        storages.free(vm.node, volid)
    if unreferenced:
        for store in storages.of_node(vm.node):
            for volid in [volid for volid, volume in store.volumes.items() if volume.owner == vm.vmid]:
                storages.free(vm.node, volid)


def _owned(cluster: Cluster, vm: Vm, volid: str) -> bool:
    if not names.is_volume_id(volid):
        return False
    parsed = cluster.storages.parse(vm.node, volid)
    return parsed.content == "images" and parsed.owner == vm.vmid
