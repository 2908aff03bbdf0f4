# SPDX-License-Identifier: GPL-3.0-or-later
"""The hardware of a VM that gets power, for the lab that gives it an operating system."""

from __future__ import annotations

import re
import typing as t
import uuid

from ... import images
from ...contracts import Disk, Guest, Nic
from .. import formats, named_formats
from ..errors import Failure
from ..sizes import parse_size
from ..storage import names
from . import boot, checks, drives, options
from .vm import Vm

if t.TYPE_CHECKING:
    from ..cluster import Cluster


def check_bridge(cluster: Cluster, node: str, net: t.Mapping[str, str]) -> None:
    bridge = net.get("bridge")
    if bridge is not None and bridge not in cluster.nodes[node].bridges:
        raise Failure(f"bridge '{bridge}' does not exist")


def check_volumes(cluster: Cluster, vm: Vm) -> None:
    """Raises Failure for the first volume that is not there."""
    for _, drive in vm.volumes():
        file = drive["file"]
        if names.is_volume_id(file):
            cluster.storages.get_active(vm.node, names.split(file)[0])
        if names.is_volume_id(file) and cluster.storages.size_of(vm.node, file) is None:
            raise Failure(f"volume '{file}' does not exist")


def has_agent(vm: Vm) -> bool:
    value = vm.options.get("agent")
    return bool(value) and formats.parse(options.spec_of("agent")["format"], value or "0", "agent")["enabled"] == "1"


def guest_of(cluster: Cluster, vm: Vm) -> Guest:
    """The hardware as the configuration in effect says."""
    smbios = formats.parse(named_formats.PROPERTY_STRINGS["pve-qm-smbios1"], vm.options["smbios1"], "smbios1")
    return Guest(
        vmid=vm.vmid,
        kind="qemu",
        name=vm.name,
        node=vm.node,
        uuid=smbios.get("uuid") or str(uuid.UUID(int=vm.vmid)),
        cores=int(vm.options.get("cores", 1)) * int(vm.options.get("sockets", 1)),
        memory=checks.memory_of(vm.options.get("memory", "512")) << 20,
        bios=vm.options.get("bios", "seabios"),
        nics=tuple(_nics(vm)),
        disks=tuple(_disks(cluster, vm)),
        cloud_init=_cloud_init(vm),
        agent=has_agent(vm),
    )


def _nics(vm: Vm) -> t.Iterator[Nic]:
    for number in range(32):
        slot = f"net{number}"
        if slot in vm.options:
            net = drives.parse_net(slot, vm.options[slot])
            yield Nic(
                slot=slot,
                mac=net["macaddr"].lower(),
                bridge=net.get("bridge", ""),
                vlan=int(net["tag"]) if "tag" in net else None,
                link_down=net.get("link_down") == "1",
            )


def _disks(cluster: Cluster, vm: Vm) -> list[Disk]:
    order = boot.parse(vm.options.get("boot"))
    found = [_disk(cluster, vm, slot, drive) for slot, drive in vm.volumes() if not drives.is_cloudinit(drive)]
    present = [disk for disk in found if disk is not None and disk.slot not in ("efidisk0", "tpmstate0")]
    return sorted(present, key=lambda disk: order.index(disk.slot) if disk.slot in order else len(order))


def _disk(cluster: Cluster, vm: Vm, slot: str, drive: drives.Drive) -> Disk | None:
    file = drive["file"]
    if not names.is_volume_id(file):
        return None
    store, volume = cluster.storages.find(vm.node, file)
    disk = store.volumes.get(file)
    if disk is not None:
        return Disk(slot, file, store.directory(file), disk.size, disk.image, drives.is_cdrom(drive))
    path = store.file(volume)
    size = parse_size(drive.get("size", "0")) or 0
    return Disk(slot, file, path, size, images.identity_of(path), cdrom=True)


def _cloud_init(vm: Vm) -> dict[str, str] | None:
    """What stands on the drive: of a VM that runs, what it was last written with."""
    if not any(drives.is_cloudinit(drive) for _, drive in vm.volumes()):
        return None
    name = {"name": vm.options["name"]} if "name" in vm.options else {}
    if vm.running and vm.cloud_init is not None:
        return {**vm.cloud_init, **name}
    pattern = re.compile(r"ipconfig\d+")
    values = {key: text for key, text in vm.options.items() if key in options.CLOUD_INIT or pattern.fullmatch(key)}
    return {**values, **name}
