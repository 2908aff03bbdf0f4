# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said before anything is written: does what a change needs exist, and may it be done. Pure."""

from __future__ import annotations

import re
import typing as t

from ...errors import AccessDenied, InvalidInput
from ..api import propertystring as ps
from ..api import rights
from ..guests import guest_checks
from .vm_case import Case
from .vm_drives import DRIVE
from .vm_spec import Vm
from .vm_state import Surroundings, VmState
from .vm_words import archive_of

#: Options that only root may set, whatever their value.
_ROOT_ONLY = ("args", "affinity", "hookscript")


def check_parts(case: Case, around: Surroundings, planned_images: t.Collection[str]) -> None:
    """Raises :class:`InvalidInput` with the first thing that is missing."""
    vm, node = case.vm, case.node
    storages, volumes, networks = case.storages(), case.volumes(), case.networks()
    if case.state is None or case.moves or storages or volumes or networks:
        guest_checks.check_node(vm.title, node, around)
    if case.state is None:
        _cpus(vm, node, around.nodes[node].cpus)
    for name in sorted(storages):
        guest_checks.check_storage(vm.title, name, node, around, content="images", what="disks of VMs")
    for volume, what in volumes.items():
        _unpacked(vm, what, volume, node, around)
        if (archive_of(volume) or volume) not in planned_images:
            _volume(vm, what, volume, node, around)
    for nic in networks:
        guest_checks.check_bridge(vm.title, nic.slot, nic.bridge, node, around)
    _mappings(case, around)
    is_in = case.state.pool if case.state else ""
    guest_checks.check_pool(vm.title, vm.pool or "", is_in, around)
    if case.state and case.moves:
        _migration(vm, case.state, case.node, around)


def check_rights(operations: t.Sequence[t.Any], current: t.Mapping[int, VmState], around: Surroundings) -> None:
    needs = [need for operation in operations for need in rights.needed(operation, current)]
    rights.check(around.rights, needs, asked="make the planned changes of VMs")
    only_root = [one for operation in operations for one in _only_root(operation, current)]
    if only_root and not around.root:
        raise AccessDenied(
            "make the planned changes of VMs",
            answer=f"only root@pam with a password may set {', '.join(only_root)}",
            hint="No API token will do, not even root's. For devices, a resource mapping needs no root.",
        )


def _only_root(operation: t.Any, current: t.Mapping[int, VmState]) -> list[str]:
    if not (hasattr(operation, "put") or hasattr(operation, "form")):
        return []
    there = current[operation.vm.vmid].config if operation.vm.vmid in current else {}
    forms: dict[str, t.Any] = {**getattr(operation, "form", {}), **getattr(operation, "put", {})}
    keys = {**forms, **dict.fromkeys(getattr(operation, "delete", ()), "")}
    return [
        f"{key} of {operation.vm.title}"
        for key, value in keys.items()
        if key in _ROOT_ONLY or _raw_device(key, str(value)) or _raw_device(key, str(there.get(key) or ""))
    ]


def _raw_device(key: str, value: str) -> bool:
    if not value or not re.fullmatch(r"(hostpci|usb|serial)\d+", key):
        return False
    return "mapping=" not in value and not re.match(r"(host=)?spice(,|$)|socket$", value, re.IGNORECASE)


def _cpus(vm: Vm, node: str, cpus: int) -> None:
    """A VM with more than its node has is made, but not started."""
    wanted = int(vm.options.get("cores") or 1) * int(vm.options.get("sockets") or 1)
    if vm.runs and cpus and wanted > cpus:
        raise InvalidInput(
            f"{vm.title} is to have {wanted} CPUs, but node {node} has {cpus}",
            hint="Proxmox VE does not start such a VM: give it fewer cores or sockets.",
        )


def _volume(vm: Vm, what: str, volume: str, node: str, around: Surroundings) -> None:
    size = around.images.get((node, volume), 0)
    if size is None:
        use = "use" if what == "cloud_init" or volume.partition(":")[2].startswith("iso/") else "be made from"
        raise InvalidInput(
            f"{what} of {vm.title} is to {use} {volume}, which is not on node {node}",
            hint="Download it with proxmox_image first; planned_images names images that an earlier task makes.",
        )
    disk = next((disk for disk in vm.disks if disk.slot == what), None)
    if disk and disk.size is not None and size > disk.size:
        raise InvalidInput(
            f"{what} of {vm.title} is to have {ps.size_text(disk.size)}, but {volume} has {ps.size_text(size)}",
            hint="Disks only grow: choose a larger size.",
        )


def _unpacked(vm: Vm, what: str, volume: str, node: str, around: Surroundings) -> None:
    """An archive is unpacked on its own storage, which must take disks for that."""
    found = around.storages.get(node, {}).get(ps.storage_of(volume))
    if found and archive_of(volume) and "images" not in found.content:
        raise InvalidInput(
            f"{what} of {vm.title} is to be made from {volume}, but the storage {found.name!r}, on which the archive would be "
            f"unpacked, takes no disks of VMs, only {', '.join(sorted(found.content))}",
            hint="Give that storage the content images, too, or put the archive on one that has it.",
        )


def _mappings(case: Case, around: Surroundings) -> None:
    for kind, names in case.mappings().items():
        known = around.mappings.get(kind)
        missing = sorted(names - known) if known is not None else []
        if missing:
            raise InvalidInput(
                f"{case.vm.title} is to use the {kind.upper()} mapping {missing[0]!r}, which does not exist",
                hint=f"There are: {', '.join(sorted(known or ()))}. Without a right on it a mapping cannot be seen.",
            )


def _migration(vm: Vm, state: VmState, node: str, around: Surroundings) -> None:
    """What the server says stands in the way of moving a guest to another node."""
    told = around.migrations.get((vm.vmid, state.node, node), {})
    runs = state.running and vm.state != "stopped"
    refused = (told.get("not_allowed_nodes") or {}).get(node) or {}
    lacking = {*(refused.get("unavailable_storages") or []), *_storages_missing(state, node, around)}
    cds = [disk["volid"] for disk in told.get("local_disks") or [] if int(disk.get("cdrom") or 0)]
    devices = sorted({*(told.get("local_resources") or []), *((told.get("mapped-resources") or []) if runs else [])})
    obstacles = (
        (sorted(lacking), "the node lacks the storages", "Define them there, or move the disks."),
        (devices, "the VM uses devices of its node", "Stop the VM, or take them away first."),
        (cds, "the VM has CDs of its node in its drives", "Eject them first (a CD drive without iso)."),
    )
    for names, why, hint in obstacles:
        if names:
            raise InvalidInput(f"{vm.title} cannot move to node {node}: {why} ({', '.join(names)})", hint=hint)
    allowed = told.get("allowed_nodes")
    if allowed is not None and not runs and node not in allowed and not state.running:
        known = ", ".join(allowed) or "none"
        raise InvalidInput(f"{vm.title} cannot move to node {node}", hint=f"These nodes would take it: {known}.")


def _storages_missing(state: VmState, node: str, around: Surroundings) -> set[str]:
    """Storages of its drives that nobody sees on the node; the server itself only tells of VMs that do not run."""
    drives = (str(value) for key, value in state.config.items() if DRIVE.fullmatch(key))
    used = {ps.storage_of(ps.parse_disk(text).get("file", "")) for text in drives} - {""}
    seen_here = around.storages.get(state.node, {})
    there = around.storages.get(node, {})  # a server lists those of other nodes too, as not enabled
    return {name for name in used if name in seen_here} - {name for name, found in there.items() if found.active}
