# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clones: what a copy of a VM or template will be, and what stands in its way. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps
from .vm_drives import DRIVE, is_cloud_init
from .vm_spec import CloneOf, Vm
from .vm_state import Surroundings, VmState

#: What a copy has of its own, or not at all.
_OWN = re.compile(r"template|lock|parent|digest|meta|smbios1|vmgenid|snaptime|vmstate|unused\d+")


def source_of(vm: Vm, sources: t.Mapping[int, VmState]) -> VmState:
    clone = t.cast(CloneOf, vm.clone)
    source = sources.get(clone.vmid)
    if source is None:
        raise InvalidInput(
            f"{vm.title} is to be cloned from {clone.title}, which does not exist",
            hint="Without the right VM.Audit on it a VM cannot be seen.",
        )
    if source.kind != "qemu":
        raise InvalidInput(f"{vm.title} is to be cloned from {source.vmid}, which is a container")
    if not is_full(vm, source) and not source.template:
        raise InvalidInput(
            f"{vm.title} is to be a linked clone of VM {source.vmid} ({source.name}), which is no template",
            hint="Set full to true, or make that VM a template.",
        )
    if not is_full(vm, source) and clone.storage:
        raise InvalidInput(
            f"{vm.title} is to be a linked clone of a template, but on a storage of its own",
            hint="Set full to true, or leave out the storage of clone.",
        )
    return source


def is_full(vm: Vm, source: VmState) -> bool:
    """Copies of VMs are full, and those of templates linked, unless it is said."""
    wanted = vm.clone.full if vm.clone else None
    if wanted is None:
        return not source.template or bool(vm.clone and (vm.clone.storage or vm.clone.format))
    return wanted


def storages(vm: Vm, source: VmState) -> set[str]:
    """On which the copy's disks will lie."""
    return {ps.storage_of(str(text)) for key, text in predicted(vm, source).config.items() if _is_disk(key, str(text))}


def predicted(vm: Vm, source: VmState) -> VmState:
    """The copy before anything is changed in it. MACs and names of volumes are known only later."""
    config = {}
    for key, value in source.config.items():
        if _OWN.fullmatch(key):
            continue
        config[key] = value
        if re.fullmatch(r"net\d+", key):
            nic = {part: text for part, text in ps.parse_network(str(value)).items() if part != "macaddr"}
            config[key] = ps.render_network(nic)
        elif vm.clone and vm.clone.storage and (_is_disk(key, str(value)) or is_cloud_init(key, value)):
            drive = ps.parse_disk(str(value))
            rest = drive["file"].partition(":")[2]
            config[key] = ps.render_disk({**drive, "file": f"{vm.clone.storage}:{rest}"})
    config["name"] = vm.name
    return VmState(vm.vmid, "qemu", vm.node, vm.name, pool=vm.pool or "", config=config)


def route(vm: Vm, source: VmState, around: Surroundings) -> t.Literal["here", "there", "later"]:
    """``here``: the source is on the right node. ``there``: the copy is made on another one. ``later``: it is moved
    when it is made, as its source lies on storages that only its own node has.

    Raises :class:`InvalidInput` for a linked clone, which cannot be moved.
    """
    if source.node == vm.node:
        return "here"
    on_source, on_target = (around.storages.get(node, {}) for node in (source.node, vm.node))
    used = {ps.storage_of(str(text)) for key, text in source.config.items() if _is_disk(key, str(text))}
    local = sorted(name for name in used if not (name in on_source and on_source[name].shared and name in on_target))
    if not local:
        return "there"
    if not is_full(vm, source):
        raise InvalidInput(
            f"{vm.title} is to be on node {vm.node}, but its template {source.vmid} is on node {source.node} with disks "
            f"on {', '.join(local)}, which only that node has",
            hint="Make it a full clone, or use a template on that node.",
        )
    return "later"


def form(vm: Vm, source: VmState, way: str) -> dict[str, t.Any]:
    clone = t.cast(CloneOf, vm.clone)
    given = {
        "target": vm.node if way == "there" else "",
        "storage": clone.storage,
        "format": clone.format,
        "snapname": clone.snapshot,
        "pool": vm.pool or "",
    }
    return {"newid": vm.vmid, "name": vm.name, "full": int(is_full(vm, source))} | {
        key: value for key, value in given.items() if value
    }


def _is_disk(key: str, text: str) -> bool:
    return bool(DRIVE.fullmatch(key)) and ps.parse_disk(text).get("media") != "cdrom"


def resolved(vm: Vm, vmid: int) -> Vm:
    """With the number of the source that was known by its name."""
    return dataclasses.replace(vm, clone=dataclasses.replace(t.cast(CloneOf, vm.clone), vmid=vmid))
