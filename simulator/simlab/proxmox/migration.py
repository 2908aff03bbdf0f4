# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving guests between the nodes of a cluster. Written from the API's description and qemu-server's texts; not recorded."""

from __future__ import annotations

import asyncio
import re
import typing as t

from .api import Call, handles
from .errors import Failure, ParameterError
from .guest import GuestConfig
from .lxc import ct as containers
from .lxc import options as container_options
from .lxc import power as container_power
from .lxc.mounts import kind_of
from .qemu import drives
from .qemu.vm import Vm
from .sizes import parse_size
from .storage import names
from .storage.store import Store, copy_data
from .tasks import Task

if t.TYPE_CHECKING:
    from .cluster import Cluster

_VM = "/nodes/{node}/qemu/{vmid}/migrate"
_CT = "/nodes/{node}/lxc/{vmid}/migrate"
_LOCAL = re.compile(r"(hostpci|usb|serial|parallel)\d+")


# -- what stands in the way -------------------------------------------------------------------------------


def _local_resources(vm: GuestConfig) -> list[str]:
    """Devices of the node; those that are mapped, and sockets, go along."""
    return sorted(
        name
        for name, value in vm.options.items()
        if _LOCAL.fullmatch(name) and "mapping=" not in value and value not in ("socket", "spice")
    )


def _disks(cluster: Cluster, guest: GuestConfig) -> list[tuple[str, Store]]:
    """The guest's volumes that lie on storage of the node itself."""
    found: dict[str, Store] = {}
    for _, volid in guest.volume_ids():
        if names.is_volume_id(volid):
            store, _ = cluster.storages.find(guest.node, volid)
            if not store.shared:
                found[volid] = store
    for name, value in guest.options.items():
        if re.fullmatch(r"unused\d+", name):
            store, _ = cluster.storages.find(guest.node, value)
            if not store.shared:
                found[value] = store
    return list(found.items())


def _missing_storages(cluster: Cluster, guest: GuestConfig, target: str) -> list[str]:
    used = {cluster.storages.find(guest.node, volid)[0] for _, volid in guest.volume_ids() if names.is_volume_id(volid)}
    return sorted(store.name for store in used if not store.on_node(target))


@handles("GET", _VM)
def conditions(call: Call) -> dict[str, t.Any]:
    vm = call.cluster.vm(call.node.name, call.vmid)
    vm.check_lock()
    others = [name for name in call.cluster.nodes if name != vm.node]
    missing = {name: _missing_storages(call.cluster, vm, name) for name in others}
    refused = {name: {"unavailable_storages": storages} for name, storages in missing.items() if storages}
    mapped = _mapped(vm)
    return {
        "running": int(bool(vm.running)), "local_disks": _local_disks(call.cluster, vm),
        "local_resources": sorted({*_local_resources(vm), *(name for name in mapped if _stays(vm, name))}),
        "mapped-resources": sorted(mapped), "mapped-resource-info": mapped, "has-dbus-vmstate": 1,
        "allowed_nodes": [name for name in others if name not in refused], "not_allowed_nodes": refused,
    }  # fmt: skip


def _mapped(vm: Vm) -> dict[str, dict[str, str]]:
    """Devices and directories that other nodes know by the same name."""
    found = {}
    for name, value in vm.options.items():
        match = re.search(r"(?:^|,)mapping=([^,]+)", value) if re.fullmatch(r"(hostpci|usb)\d+", name) else None
        if re.fullmatch(r"virtiofs\d+", name):
            match = re.match(r"(?:dirid=)?([^,]+)", value)
        if match:
            found[name] = {"name": match[1]}
    return found


def _stays(vm: Vm, name: str) -> bool:
    """Whether a mapped device is in the way of a migration: a PCI device only while the VM runs."""
    return bool(vm.running) or not name.startswith("hostpci")


def _local_disks(cluster: Cluster, vm: Vm) -> list[dict[str, t.Any]]:
    """Every volume that is not shared, with where it is named: now, pending, in snapshots."""
    found: dict[str, dict[str, t.Any]] = {}
    for slot, drive in (*vm.volumes(), *_unused(vm)):
        _note_disk(found, slot, drive)["is_attached"] = int(not slot.startswith("unused"))
    for slot, drive in vm.volumes(vm.pending):
        _note_disk(found, slot, drive)["referenced_in_pending"] = 1
    for name, snapshot in vm.snapshots.items():
        for slot, drive in vm.volumes(snapshot.options):
            _note_disk(found, slot, drive).setdefault("referenced_in_snapshot", {})[name] = 1
    return [entry for entry in found.values() if _is_local(cluster, vm, entry)]


def _unused(vm: Vm) -> t.Iterator[tuple[str, drives.Drive]]:
    for name, value in vm.options.items():
        if re.fullmatch(r"unused\d+", name):
            yield name, {"file": value}


def _note_disk(found: dict[str, dict[str, t.Any]], slot: str, drive: drives.Drive) -> dict[str, t.Any]:
    cdrom = int(drives.is_cdrom(drive))
    entry = found.setdefault(drive["file"], {"volid": drive["file"], "cdrom": cdrom, "is_attached": 0})
    facts = {
        "is_cloudinit": drives.is_cloudinit(drive), "replicate": drive.get("replicate") != "0",
        "shared": drive.get("shared") == "1", "is_unused": slot.startswith("unused"), "is_vmstate": False,
        "is_tpmstate": slot == "tpmstate0",
    }  # fmt: skip
    entry |= {name: int(fact or entry.get(name, 0)) for name, fact in facts.items()}
    entry["cdrom"] = min(entry["cdrom"], cdrom)
    if "size" in drive:
        entry.setdefault("size", parse_size(drive["size"]))
    if drives.is_drive(slot):
        entry["drivename"] = slot
    return entry


def _is_local(cluster: Cluster, vm: Vm, entry: t.Mapping[str, t.Any]) -> bool:
    volid = entry["volid"]
    if entry["shared"] or (entry["cdrom"] and volid == "none"):
        return False
    return not names.is_volume_id(volid) or not cluster.storages.find(vm.node, volid)[0].shared


@handles("GET", _CT)
def container_conditions(call: Call) -> dict[str, t.Any]:
    ct = containers.find(call)
    others = [name for name in call.cluster.nodes if name != ct.node]
    return {"running": int(bool(ct.running)), "allowed-nodes": others}


# -- calls ------------------------------------------------------------------------------------------------


def _check_target(call: Call) -> str:
    target = call.text("target")
    if target == call.node.name:
        raise ParameterError({"target": "target is local node."})
    if target not in call.cluster.nodes:
        raise Failure(f"no such cluster node '{target}'")
    return target


@handles("POST", _VM)
def migrate(call: Call) -> str:
    target = _check_target(call)
    if call.flag("force"):
        call.allowed.only_root("force")
    vm = call.cluster.vm(call.node.name, call.vmid)
    vm.check_lock()
    if vm.running and not call.flag("online"):
        raise Failure("can't migrate running VM without --online")
    if call.cluster.ha_steers(f"vm:{vm.vmid}"):
        return _ha_migrate(call, f"vm:{vm.vmid}", target)
    storage = call.text("targetstorage")

    async def work(task: Task) -> None:
        await move_vm(call.cluster, vm, target, task, call.flag("with-local-disks"), storage)

    return call.start("qmigrate", vm.vmid, work)


@handles("POST", _CT)
def migrate_container(call: Call) -> str:
    target = _check_target(call)
    ct = containers.find(call)
    ct.check_lock()
    if ct.running and not call.flag("online") and not call.flag("restart"):
        raise Failure("can't migrate running container without --online or --restart")
    if call.cluster.ha_steers(f"ct:{ct.vmid}"):
        return _ha_migrate(call, f"ct:{ct.vmid}", target)

    async def work(task: Task) -> None:
        await move_container(call.cluster, ct, target, task, call.flag("restart"), call.text("target-storage"))

    return call.start("vzmigrate", ct.vmid, work)


def _ha_migrate(call: Call, sid: str, target: str) -> str:
    """The HA manager is asked; it does it a little later."""

    async def work(task: Task) -> None:
        task.log(f"Requesting HA migration for {'VM' if sid.startswith('vm') else 'CT'} {call.vmid} to node {target}")
        call.cluster.ha_request(sid, target=target)

    return call.start("hamigrate", call.vmid, work)


# -- the work ---------------------------------------------------------------------------------------------


async def move_vm(
    cluster: Cluster, vm: Vm, target: str, task: Task, with_local_disks: bool = False, storage: str = ""
) -> None:
    """Raises Failure with the exit status of the task; what stood in the way is in the log."""
    async with cluster.locked(vm):
        vm.check_lock()
        task.log(f"starting migration of VM {vm.vmid} to node '{target}' ({cluster.nodes[target].config.address})")
        try:
            _reach(cluster, target)
            _check_vm(cluster, vm, target, with_local_disks, storage)
            placed = _place(cluster, vm, target, storage)
        except Failure as error:
            task.log(f"ERROR: Problem found while scanning volumes - {error}")
            task.log("aborting phase 1 - cleanup resources")
            raise Failure("migration aborted") from None
        await _change_node(cluster, vm, target, placed)
        task.log("migration finished successfully (duration 00:00:01)")


def _check_vm(cluster: Cluster, vm: Vm, target: str, with_local_disks: bool, storage: str) -> None:
    bound = _local_resources(vm)
    if bound and vm.running:
        raise Failure(f"can't migrate VM which uses local devices: {', '.join(bound)}")
    local = _disks(cluster, vm)
    if any(store.parse(volid.partition(":")[2]).content == "iso" for volid, store in local):
        raise Failure("can't migrate VM with local cdrom drive")
    disks = [volid for volid, drive in ((d["file"], d) for _, d in vm.volumes()) if not drives.is_cdrom(drive)]
    if vm.running and not with_local_disks and any(volid in disks for volid, _ in local):
        raise Failure("can't live migrate attached local disks without with-local-disks option")
    missing = [] if storage else _missing_storages(cluster, vm, target)
    if missing:
        raise Failure(f"storage '{missing[0]}' is not available on node '{target}'")


def _reach(cluster: Cluster, target: str) -> None:
    if not cluster.nodes[target].online:
        raise Failure(f"Can't connect to destination address using public key ({target})")


async def move_container(
    cluster: Cluster, ct: containers.Container, target: str, task: Task, restart: bool, storage: str = ""
) -> None:
    async with cluster.locked(ct):
        ct.check_lock()
        running = bool(ct.running)
        if running and not restart:
            raise Failure("lxc live migration is currently not implemented")
        try:
            _check_mounts(ct)
            _reach(cluster, target)
            placed = _place(cluster, ct, target, storage)
        except Failure as error:
            task.log(f"ERROR: {error}")
            raise Failure("migration aborted") from None
        if running:
            container_power.stop_ct(cluster, ct)
        await _change_node(cluster, ct, target, placed)
        if running:
            await container_power.start_ct(cluster, ct)


def _check_mounts(ct: containers.Container) -> None:
    """What is no volume has to be there on all nodes, by its own account."""
    for name in sorted(name for name in ct.options if container_options.is_mount(name)):
        mount = container_options.parse_mount(name, ct.options[name])
        if mount["volume"].startswith("/") and mount.get("shared") != "1":
            raise Failure(f"cannot migrate local {kind_of(mount['volume'])} mount point '{name}'")


def _place(cluster: Cluster, guest: GuestConfig, target: str, wanted: str) -> dict[str, tuple[Store, Store]]:
    """Where each local volume goes; raises Failure where it cannot."""
    parts = (part.rpartition(":") for part in re.split(r"[,;\s]+", wanted) if part)
    pairs = {source: place for source, _, place in parts}
    found = {}
    for volid, store in _disks(cluster, guest):
        name = pairs.get(store.name) or pairs.get("") or store.name
        name = store.name if name == "1" else name
        place = cluster.storages.get(target, name)
        if not place.on_node(target):
            raise Failure(f"storage '{name}' is not available on node '{target}'")
        found[volid] = (store, place)
    return found


async def _change_node(
    cluster: Cluster, guest: GuestConfig, target: str, placed: t.Mapping[str, tuple[Store, Store]]
) -> None:
    await asyncio.sleep(0)
    for volid, (store, place) in placed.items():
        if volid in store.volumes:
            _rename(guest, volid, _carry(store, place, volid))
    guest.node = target


def _carry(store: Store, place: Store, volid: str) -> str:
    """A copy with the same name (another one where that is taken); the source goes."""
    old = store.volumes[volid]
    volume = volid.partition(":")[2]
    if store.flat != place.flat or f"{place.name}:{volume}" in place.volumes:
        volume = place.next_name(old.owner, "raw" if place.flat else old.format)
    made = place.allocate(volume, old.size, image=old.image)
    made.content = old.content
    copy_data(store.directory(volid), place.directory(made.volid))
    place.save(made)
    store.free(volid)
    return made.volid


def _rename(guest: GuestConfig, old: str, new: str) -> None:
    if old == new:
        return
    for section in (guest.options, guest.pending, *(snapshot.options for snapshot in guest.snapshots.values())):
        for name, value in section.items():
            if value == old or value.startswith(f"{old},"):
                section[name] = new + value[len(old) :]
