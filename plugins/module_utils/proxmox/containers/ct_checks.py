# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said of containers before anything is written: is it the one that is meant, does what it needs exist?"""

from __future__ import annotations

import re
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps
from ..guests import guest_checks
from ..vms.vm_state import Surroundings, VmState
from . import ct_options as options
from .ct_spec import Clone, Container
from .ct_spec_parts import Mount, Network

#: The sources of clones, by vmid and snapshot.
Sources = t.Mapping[tuple[int, str], VmState]


def check_same(ct: Container, state: VmState) -> None:
    """A number that belongs to something else must never be changed or deleted."""
    if state.kind != "lxc":
        raise InvalidInput(f"vmid {ct.vmid} is a VM on node {state.node}, not a container", hint="Choose another vmid.")
    if ct.hostname and state.name.lower() not in (ct.hostname.lower(), ct.renamed_from.lower() or ct.hostname.lower()):
        raise InvalidInput(
            f"vmid {ct.vmid} belongs to the container {state.name or '(without a name)'!r} on node {state.node}, "
            f"not to {ct.hostname!r}",
            hint="Choose another vmid, or say with renamed_from that that container is meant.",
        )
    if state.template and ct.state != "absent" and not ct.template:
        raise InvalidInput(
            f"{ct.title} is a template, which cannot be changed into a container",
            hint="Choose another vmid, or set template to true.",
        )
    if ct.state == "absent" and int(state.config.get("protection") or 0):
        raise InvalidInput(
            f"CT {ct.vmid} ({state.name}) is protected against removal",
            hint="Set protection to false in a run of its own first.",
        )


def check_pool(ct: Container, state: VmState | None, around: Surroundings) -> None:
    guest_checks.check_pool(ct.title, ct.pool or "", state.pool if state else "", around)


def check_new(
    ct: Container,
    node: str,
    mounts: t.Sequence[Mount],
    networks: t.Sequence[Network],
    around: Surroundings,
    planned_images: t.Collection[str] = (),
    *,
    whole: bool = False,
    moving: bool = False,
) -> None:
    """Raises :class:`InvalidInput` with the first thing that is missing; ``whole`` containers are made anew."""
    if not (mounts or networks or whole or moving):
        return
    guest_checks.check_node(ct.title, node, around)
    if whole and not ct.clone:
        _complete(ct)
        _ostemplate(ct, node, around, planned_images)
    storages = [mount.storage for mount in mounts] + [ct.clone.storage if whole and ct.clone else ""]
    for storage in filter(None, storages):
        what = "volumes of containers"
        guest_checks.check_storage(ct.title, storage, node, around, content="rootdir", what=what)
    for nic in networks:
        guest_checks.check_bridge(ct.title, nic.slot, nic.bridge, node, around)


def check_moves(ct: Container, state: VmState, node: str, around: Surroundings) -> None:
    """What keeps a container on its node: directories of it that are not said to be shared, storages that ``node`` lacks."""
    storages = around.storages.get(node)
    for key, value in sorted(state.config.items()):
        if not re.fullmatch(r"rootfs|(mp|unused)\d+", key):
            continue
        mount = options.properties(value, "volume")
        volume = mount["volume"]
        storage = ps.storage_of(volume)
        if options.is_bind(volume) and mount.get("shared") != "1":
            raise InvalidInput(
                f"{ct.title} is to move to node {node}, but its {key} is {volume}, which only node {state.node} has",
                hint="Set shared for it in a run of its own if it is there on all nodes, or take it away.",
            )
        # Storages of other nodes are listed, too, as what is not active.
        if storage and storages and (storage not in storages or not storages[storage].active):
            raise InvalidInput(
                f"{ct.title} is to move to node {node}, where the storage {storage!r} of its {key} is not available",
                hint="Move the volume to another storage in Proxmox VE first.",
            )


def check_clone(ct: Container, clone: Clone, sources: Sources) -> VmState:
    """The source, when it can be cloned so."""
    source = sources.get((clone.source, clone.snapshot))
    if source is None or source.kind != "lxc":
        what = "is a VM" if source else "does not exist"
        hint = "Without the right VM.Audit on it a container cannot be seen."
        raise InvalidInput(f"{ct.title} is to be a clone of {clone.title}, which {what}", hint=hint)
    if clone.full is False and not source.template and not clone.snapshot:
        raise InvalidInput(
            f"{ct.title} is to be a linked clone of CT {clone.source}, which is no template",
            hint="Make it a template, or set clone.full to true.",
        )
    if clone.storage and clone.full is None and source.template:
        raise InvalidInput(
            f"{ct.title} is to be a clone of the template {clone.source} on another storage",
            hint="Set clone.full to true: a linked clone lies on the storage of its source.",
        )
    if source.running and not clone.snapshot:
        raise InvalidInput(
            f"{ct.title} is to be a clone of CT {clone.source}, which is running",
            hint="Stop it, or name a snapshot of it in clone.snapshot.",
        )
    return source


def check_reach(ct: Container, source: VmState, around: Surroundings) -> None:
    """A clone is made on another node only when its volumes lie on storages that the nodes share."""
    if source.node == ct.node or ct.clone is None:
        return
    volumes = [
        options.parse_mount(value)["volume"]
        for key, value in source.config.items()
        if re.fullmatch(r"rootfs|mp\d+", key)
    ]
    used = {ct.clone.storage or ps.storage_of(volume) for volume in volumes} - {""}
    there = around.storages.get(ct.node, {})
    local = sorted(name for name in used if name not in there or not there[name].shared)
    if local:
        raise InvalidInput(
            f"{ct.title} is to be on node {ct.node}, but its source CT {source.vmid} is on node {source.node} with volumes "
            f"on {', '.join(local)}, which the nodes do not share",
            hint=f"Set clone.storage to a shared storage (with clone.full), or make the clone on node {source.node}.",
        )


def _complete(ct: Container) -> None:
    for option, given in (("ostemplate", ct.ostemplate), ("rootfs", ct.rootfs and ct.rootfs.size)):
        if not given:
            lacks = "size of rootfs" if option == "rootfs" and ct.rootfs else option
            raise InvalidInput(
                f"{ct.title} does not exist, and its {lacks} is missing",
                hint="A new container needs ostemplate, and rootfs with storage and size, or clone.",
            )


def _ostemplate(ct: Container, node: str, around: Surroundings, planned_images: t.Collection[str]) -> None:
    if ct.ostemplate not in planned_images and around.images.get((node, ct.ostemplate), 0) is None:
        raise InvalidInput(
            f"{ct.title} is to be made from {ct.ostemplate}, which is not on node {node}",
            hint="Download it with proxmox_image first; planned_images names images that an earlier task makes.",
        )
