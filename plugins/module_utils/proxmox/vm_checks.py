# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said before anything is written: does what a change needs exist, and may it be done. Pure."""

from __future__ import annotations

import typing as t

from ..errors import InvalidInput
from . import guest_checks, rights
from . import propertystring as ps
from .vm_spec import Disk, Network, Vm
from .vm_state import Surroundings, VmState


def check_new(
    vm: Vm,
    node: str,
    disks: t.Sequence[Disk],
    networks: t.Sequence[Network],
    around: Surroundings,
    planned_images: t.Collection[str],
    *,
    whole: bool = False,
) -> None:
    """Raises :class:`InvalidInput` with the first thing that is missing; ``whole`` VMs bring their drives, too."""
    if not (disks or networks or whole):
        return
    guest_checks.check_node(vm.title, node, around)
    if whole:
        _cpus(vm, node, around.nodes[node].cpus)
    for disk in disks:
        _storage(vm, disk.storage, node, around)
        if disk.import_from and disk.import_from not in planned_images:
            _image(vm, disk, node, around)
    drives = (vm.efidisk, vm.cloud_init) if whole else ()
    for drive in drives:
        if drive:
            _storage(vm, drive.storage, node, around)
    for nic in networks:
        guest_checks.check_bridge(vm.title, nic.slot, nic.bridge, node, around)


def check_rights(operations: t.Iterable[t.Any], current: t.Mapping[int, VmState], around: Surroundings) -> None:
    needs = [need for operation in operations for need in rights.needed(operation, current)]
    rights.check(around.rights, needs, asked="make the planned changes of VMs")


def check_pool(vm: Vm, state: VmState | None, around: Surroundings) -> None:
    guest_checks.check_pool(vm.title, vm.pool, state.pool if state else "", around)


def _cpus(vm: Vm, node: str, cpus: int) -> None:
    """A VM with more than its node has is made, but not started."""
    wanted = int(vm.options.get("cores", 1)) * int(vm.options.get("sockets", 1))
    if vm.state == "started" and cpus and wanted > cpus:
        raise InvalidInput(
            f"{vm.title} is to have {wanted} CPUs, but node {node} has {cpus}",
            hint="Proxmox VE does not start such a VM: give it fewer cores or sockets.",
        )


def _storage(vm: Vm, name: str, node: str, around: Surroundings) -> None:
    guest_checks.check_storage(vm.title, name, node, around, content="images", what="disks of VMs")


def _image(vm: Vm, disk: Disk, node: str, around: Surroundings) -> None:
    size = around.images.get((node, disk.import_from), 0)
    if size is None:
        raise InvalidInput(
            f"{disk.slot} of {vm.title} is to be made from {disk.import_from}, which is not on node {node}",
            hint="Download it with proxmox_image first; planned_images names images that an earlier task makes.",
        )
    if disk.size is not None and size > disk.size:
        raise InvalidInput(
            f"{disk.slot} of {vm.title} is to have {ps.size_text(disk.size)}, but {disk.import_from} has {ps.size_text(size)}",
            hint="Disks only grow: choose a larger size.",
        )
