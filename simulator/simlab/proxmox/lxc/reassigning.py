# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes of one container that are given to another."""

from __future__ import annotations

from ..api import Call
from ..errors import Failure
from ..firewall import CHANGED
from ..tasks import Task
from . import ct as containers
from . import options
from .ct import Container


def reassign(call: Call) -> str:
    """``move_volume`` with ``target-vmid``."""
    slot, target = call.text("volume"), int(call.params["target-vmid"])
    target_slot = call.text("target-volume", slot)
    call.allowed.vm(target, "VM.Config.Disk")
    source, other, volid = _checked(call, slot, target, target_slot)
    call.allowed.require(f"/storage/{volid.partition(':')[0]}", "Datastore.AllocateSpace")

    async def work(task: Task) -> None:
        async with call.cluster.locked(source):
            task.log(f"moving volume '{slot}' from container '{source.vmid}' to '{target}'")
            _give(call, source, other, slot, target_slot)
            task.log(f"removing volume '{slot}' from container '{source.vmid}' config")
            task.log(f"target container '{target}' updated with '{target_slot}'")

    return call.start("move_volume", f"{source.vmid}-{slot}>{target}-{target_slot}", work)


def _checked(call: Call, slot: str, target: int, target_slot: str) -> tuple[Container, Container, str]:
    """Both containers and the volume; raises Failure in the order of the real checks."""
    if "rootfs" in (slot, target_slot):
        raise Failure("Cannot move to/from 'rootfs'")
    if slot.startswith("unused") and not target_slot.startswith("unused"):
        raise Failure("Moving an unused volume to a used one is not possible")
    for vmid in (call.vmid, target):
        if vmid not in call.cluster.guests:
            raise Failure(f"could not find CT {vmid}")
    if call.cluster.guests[target].node != call.cluster.guests[call.vmid].node:
        nodes = f"{call.cluster.guests[call.vmid].node} != {call.cluster.guests[target].node}"
        raise Failure(f"Both containers need to be on the same node ({nodes})")
    source, other = containers.find(call), containers.of(call.cluster, call.node.name, target)
    source.check_lock()
    other.check_lock()
    if source.template or other.template:
        raise Failure("Can't move volumes from or to template CT")
    for guest, digest in ((source, "digest"), (other, "target-digest")):
        if call.params.get(digest) not in (None, guest.digest()):
            raise Failure(f"Container {guest.vmid}: {CHANGED}")
    if slot not in source.options:
        raise Failure(f"volume '{slot}' for container '{source.vmid}' does not exist")
    if target_slot in other.options:
        raise Failure(f"Target volume key '{target_slot}' is already in use for container '{target}'")
    volid = (
        source.options[slot] if slot.startswith("unused") else options.parse_mount(slot, source.options[slot])["volume"]
    )
    if volid.startswith("/"):
        raise Failure("Storage does not support moving of this disk to another container")
    if source.running and not slot.startswith("unused"):
        raise Failure("Cannot move in-use volume while the source CT is running - detach or shutdown first")
    return source, other, volid


def _give(call: Call, source: Container, other: Container, slot: str, target_slot: str) -> None:
    mount = {"volume": source.options[slot]}
    if not slot.startswith("unused"):
        mount = options.parse_mount(slot, source.options[slot])
    store, volume = call.cluster.storages.find(source.node, mount["volume"])
    known = store.volumes[mount["volume"]]
    name = store.next_name(other.vmid, known.format, prefix="subvol" if "subvol-" in volume else "vm")
    mount["volume"] = store.rename(mount["volume"], name).volid
    del source.options[slot]
    unused = target_slot.startswith("unused")
    other.options[target_slot] = mount["volume"] if unused else options.render_mount(target_slot, mount)
    source.tidy()
    other.tidy()
