# SPDX-License-Identifier: GPL-3.0-or-later
"""Platform, disks, extensions, volumes."""

from __future__ import annotations

import typing as t

from ..resourcetypes import TYPES

if t.TYPE_CHECKING:
    from ..node import TalosNode
    from ..runtime import Runtime

_DEFINITIONS = "ResourceDefinitions.meta.cosi.dev"
_DIRECTORIES = (
    "/var/lib /var/lib/cni /var/lib/containerd /var/lib/kubelet /var/lib/kubelet/seccomp "
    "/var/lib/kubelet/seccomp/profiles /var/log /var/log/audit /var/log/audit/kube /var/log/containers /var/log/pods "
    "/var/mnt"
).split()


def device_of(node: TalosNode) -> str:
    """The system disk as Linux calls it: ``/dev/sda`` for scsi and sata, ``/dev/vda`` for virtio."""
    return device_at(node.storage.disk.slot)


def device_at(slot: str) -> str:
    bus, number = slot.rstrip("0123456789"), slot[len(slot.rstrip("0123456789")) :]
    letter = chr(ord("a") + int(number or 0))
    return f"/dev/{'vd' if bus == 'virtio' else 'sd'}{letter}"


def system(runtime: Runtime) -> None:
    """Platform, disks, extensions: what is there in maintenance already."""
    node, put = runtime.node, runtime.resources.put
    metadata = {
        "platform": node.image.platform,
        "hostname": runtime.hostname,
        "instanceId": node.machine.guest.uuid,
    }
    put(
        "runtime",
        "PlatformMetadatas.talos.dev",
        "platformmetadata",
        metadata,
        owner="network.PlatformConfigApplyController",
    )
    put(
        "runtime",
        "SecurityStates.talos.dev",
        "securitystate",
        {"secureBoot": False},
        owner="runtime.SecurityStateController",
    )
    put(
        "runtime",
        "Versions.runtime.talos.dev",
        "version",
        {"name": "Talos", "version": node.version.tag},
        owner="runtime.VersionController",
    )
    for definition in TYPES.values():
        put(
            "meta", _DEFINITIONS, definition.name.lower(), definition.spec(), owner="meta", message=definition.message()
        )
    meta(runtime)
    _disks(runtime)
    _extensions(runtime)
    volume(runtime, "META", "partition", f"{device_of(node)}4")
    volume(runtime, "STATE", "partition", f"{device_of(node)}5")


def meta(runtime: Runtime) -> None:
    """The values of the META partition."""
    type_, values = "MetaKeys.runtime.talos.dev", runtime.node.storage.read_meta()
    for key, value in values.items():
        runtime.resources.put("runtime", type_, f"0x{key:02x}", {"value": value}, owner="")
    runtime.resources.keep_only("runtime", type_, {f"0x{key:02x}" for key in values})


def _disks(runtime: Runtime) -> None:
    node = runtime.node
    for disk in node.machine.guest.disks:
        device = device_at(disk.slot)
        spec = {
            "dev_path": device,
            "size": disk.size,
            "pretty_size": _pretty(disk.size),
            "io_size": 512,
            "sector_size": 512,
            "readonly": disk.cdrom,
            "cdrom": disk.cdrom,
            "model": "QEMU DVD-ROM" if disk.cdrom else "QEMU HARDDISK",
            "transport": "virtio" if "virtio" in disk.slot or "scsi" in disk.slot else "sata",
        }
        name = device.rpartition("/")[2]
        runtime.resources.put(
            "runtime",
            "Disks.block.talos.dev",
            name,
            spec,
            owner="block.DisksController",
        )
    if node.storage.installed:
        device = device_of(node)
        spec = {"diskID": device.rpartition("/")[2], "devPath": device}
        type_ = "SystemDisks.block.talos.dev"
        runtime.resources.put("runtime", type_, "system-disk", spec, owner="block.SystemDiskController")


def legacy_disks(node: TalosNode) -> list[dict[str, t.Any]]:
    """As ``storage.StorageService/Disks`` answers."""
    return [
        {
            "size": disk.size,
            "model": "QEMU HARDDISK",
            "device_name": device_at(disk.slot),
            "name": device_at(disk.slot).rpartition("/")[2],
            "type": "HDD",
            "system_disk": disk.slot == node.storage.disk.slot and node.storage.installed,
        }
        for disk in node.machine.guest.disks
        if not disk.cdrom
    ]


def _extensions(runtime: Runtime) -> None:
    """Extensions of the schematic, and the schematic itself as the pseudo extension that names it."""
    node = runtime.node
    names = [*node.settings.extensions(node.image.schematic), "schematic"]
    for index, name in enumerate(names):
        schematic = name == "schematic"
        metadata = {
            "name": "schematic" if schematic else name.rpartition("/")[2],
            "version": node.image.schematic if schematic else node.version.tag,
            "author": "Image Factory" if schematic else "Sidero Labs",
            "description": "Virtual extension which specifies the schematic of the image built with Image Factory."
            if schematic
            else name,
            "compatibility": {"talos": {"version": ""}},
        }
        spec = {"image": f"{index}.sqsh", "metadata": metadata}
        runtime.resources.put(
            "runtime",
            "ExtensionStatuses.runtime.talos.dev",
            str(index),
            spec,
            owner="runtime.ExtensionStatusController",
        )


def volume(runtime: Runtime, name: str, kind: str, location: str = "") -> None:
    spec = {"phase": "ready", "type": kind}
    if location:
        spec["location"] = location
    runtime.resources.put(
        "runtime",
        "VolumeStatuses.block.talos.dev",
        name,
        spec,
        owner="block.VolumeManagerController",
    )


def boot(runtime: Runtime) -> None:
    """Volumes that are mounted when a configured node boots."""
    volume(runtime, "EPHEMERAL", "partition", f"{device_of(runtime.node)}6")
    for name in (
        *_DIRECTORIES,
        *(["ETCD"] if runtime.config and runtime.config.control_plane else []),
    ):
        volume(runtime, name, "directory")


def _pretty(size: int) -> str:
    value, unit = float(size), 0
    while value >= 1000 and unit < 4:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {('B', 'kB', 'MB', 'GB', 'TB')[unit]}"
