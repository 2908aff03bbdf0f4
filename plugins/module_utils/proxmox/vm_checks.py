# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said before anything is written: does what a change needs exist, and may it be done. Pure."""

from __future__ import annotations

import typing as t

from ..errors import InvalidInput, Unreachable
from . import propertystring as ps
from . import rights
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
    _node(vm, node, around)
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
        _bridge(vm, nic, node, around)


def check_rights(operations: t.Iterable[t.Any], current: t.Mapping[int, VmState], around: Surroundings) -> None:
    needs = [need for operation in operations for need in rights.needed(operation, current)]
    rights.check(around.rights, needs, asked="make the planned changes of VMs")


def check_pool(vm: Vm, state: VmState | None, around: Surroundings) -> None:
    """Nobody can say so when no pool can be seen."""
    if vm.pool and (state is None or state.pool != vm.pool) and around.pools and vm.pool not in around.pools:
        raise InvalidInput(
            f"{vm.title} is to be in the pool {vm.pool!r}, which does not exist",
            hint=f"There are: {', '.join(sorted(around.pools))}. Without the right Pool.Audit a pool cannot be seen.",
        )


def _node(vm: Vm, node: str, around: Surroundings) -> None:
    if node not in around.nodes:
        known = ", ".join(sorted(around.nodes)) or "none"
        raise InvalidInput(f"{vm.title} is to be on node {node!r}, which does not exist", hint=f"There are: {known}.")
    if not around.nodes[node].online:
        raise Unreachable(f"create {vm.title}", of=f"node {node}", answer="the node is offline", hint="Switch it on.")


def _cpus(vm: Vm, node: str, cpus: int) -> None:
    """A VM with more than its node has is made, but not started."""
    wanted = int(vm.options.get("cores", 1)) * int(vm.options.get("sockets", 1))
    if vm.state == "started" and cpus and wanted > cpus:
        raise InvalidInput(
            f"{vm.title} is to have {wanted} CPUs, but node {node} has {cpus}",
            hint="Proxmox VE does not start such a VM: give it fewer cores or sockets.",
        )


def _storage(vm: Vm, name: str, node: str, around: Surroundings) -> None:
    storages = around.storages.get(node, {})
    found = storages.get(name)
    if found is None:
        known = ", ".join(sorted(storages)) or "none"
        hint = f"There are: {known}. Without the right Datastore.Audit a storage cannot be seen."
        raise InvalidInput(f"{vm.title} is to have a disk on {name!r}, which is no storage of node {node}", hint=hint)
    if "images" not in found.content:
        able = ", ".join(sorted(one.name for one in storages.values() if "images" in one.content)) or "none"
        content = ", ".join(sorted(found.content))
        raise InvalidInput(f"The storage {name!r} takes no disks of VMs, only {content}", hint=f"These do: {able}.")
    if not found.active:
        raise InvalidInput(
            f"The storage {name!r} is not active on node {node}", hint="Is it disabled, or its server away?"
        )


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


def _bridge(vm: Vm, nic: Network, node: str, around: Surroundings) -> None:
    bridges = around.bridges.get(node)
    if bridges is not None and nic.bridge not in bridges:
        raise InvalidInput(
            f"{nic.slot} of {vm.title} is to be on the bridge {nic.bridge!r}, which node {node} does not have",
            hint=f"There are: {', '.join(sorted(bridges))}. Without SDN.Use or SDN.Audit on it a bridge cannot be seen.",
        )
