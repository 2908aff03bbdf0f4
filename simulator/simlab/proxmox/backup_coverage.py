# SPDX-License-Identifier: GPL-3.0-or-later
"""What scheduled backup jobs take of which guests, and who is in none of them."""

from __future__ import annotations

import typing as t

from . import formats
from .api import Call, handles
from .errors import ParameterError
from .guest import GuestConfig
from .lxc.ct import Container
from .qemu import drives
from .qemu.vm import Vm

Job = t.Mapping[str, t.Any]


def _jobs(call: Call) -> dict[str, dict[str, t.Any]]:
    return t.cast("dict[str, dict[str, t.Any]]", call.cluster.extra("backup", dict))


def _chosen(call: Call, job: Job) -> list[int]:
    """Whom a job takes, switched on or not; also who is gone, when the job names it."""
    guests = call.cluster.guests
    if job.get("pool"):
        pool = call.cluster.pools.get(str(job["pool"]))
        found = set(pool.guests) if pool else set()
    elif job.get("vmid"):
        found = {int(vmid) for vmid in formats.split_list(str(job["vmid"]))}
    elif str(job.get("all", "0")) == "1":
        found = set(guests) - {int(vmid) for vmid in formats.split_list(str(job.get("exclude", "")))}
    else:
        found = set()
    node = job.get("node")
    return sorted(vmid for vmid in found if vmid not in guests or node in (None, guests[vmid].node))


def _own_name(guest: GuestConfig) -> str | None:
    return guest.options.get("hostname" if isinstance(guest, Container) else "name")


def _volumes(guest: GuestConfig) -> t.Iterator[dict[str, t.Any]]:
    if isinstance(guest, Vm):
        for slot, drive in guest.volumes():
            if not drives.is_cdrom(drive):
                yield _entry(guest, slot, drive["file"], *_of_drive(guest, slot, drive))
    elif isinstance(guest, Container):
        for name, mount in guest.mounts():
            yield _entry(guest, name, mount["volume"], *_of_mount(name, mount))


def _entry(guest: GuestConfig, key: str, volume: str, included: bool, reason: str) -> dict[str, t.Any]:
    where = f"{guest.vmid}:{key}"
    return {"id": where, "name": volume, "included": int(included), "reason": reason, "leaf": 1}


def _of_drive(vm: Vm, slot: str, drive: t.Mapping[str, str]) -> tuple[bool, str]:
    if slot.startswith("efidisk") and vm.options.get("bios") != "ovmf":
        return False, "efidisk but no OVMF BIOS"
    # that it is said at all counts as no
    return drive.get("backup", "1") != "0", "backup=no" if "backup" in drive else "backup=yes"


def _of_mount(name: str, mount: t.Mapping[str, str]) -> tuple[bool, str]:
    if name == "rootfs":
        return True, "rootfs"
    if mount["volume"].startswith("/"):
        return False, "not a volume"
    return (True, "enabled") if mount.get("backup") == "1" else (False, "disabled")


def _shown(call: Call, vmid: int) -> dict[str, t.Any]:
    guest = call.cluster.guests.get(vmid)
    if guest is None:
        return {"id": vmid, "type": "unknown", "leaf": 1}
    volumes = list(_volumes(guest))
    shown = {"id": vmid, "type": guest.kind, "name": _own_name(guest), "children": volumes}
    return shown | {"leaf": int(not volumes)}


@handles("GET", "/cluster/backup/{id}/included_volumes")
def included(call: Call) -> dict[str, t.Any]:
    name = call.text("id")
    if name not in _jobs(call):
        raise ParameterError({"id": f"No such job '{name}'"})
    taken = [vmid for vmid in _chosen(call, _jobs(call)[name]) if call.allowed.has(f"/vms/{vmid}", ["VM.Audit"])]
    return {"children": [_shown(call, vmid) for vmid in taken]}


@handles("GET", "/cluster/backup-info/not-backed-up")
def not_backed_up(call: Call) -> list[dict[str, t.Any]]:
    covered = {vmid for job in _jobs(call).values() for vmid in _chosen(call, job)}
    left = [guest for vmid, guest in call.cluster.guests.items() if vmid not in covered]
    return [
        {"vmid": guest.vmid, "type": guest.kind} | ({"name": _own_name(guest)} if _own_name(guest) else {})
        for guest in left
        if call.allowed.has(f"/vms/{guest.vmid}", ["VM.Audit"])
    ]
