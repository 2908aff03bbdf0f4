# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers as templates: what can become one, and what linked clones of one need. Pure.

What a storage can do depends on its type. Linked clones of files are qcow2, which no container can have.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps
from ..vms.options import Value
from ..vms.vm_state import Surroundings, VmState
from . import ct_options as options
from .ct_difference import Difference
from .ct_spec import Clone, Container

#: Types of storage whose volumes cannot belong to a template.
_NO_TEMPLATES = frozenset({"lvm"})
#: Types of storage on which a container's volume cannot be a linked clone.
_NO_LINKED = frozenset({"cephfs", "cifs", "dir", "glusterfs", "lvm", "nfs"})
#: Those on which it can be one of a template, but not of a snapshot.
_NO_LINKED_OF_SNAPSHOTS = frozenset({"zfspool"})

Config = t.Mapping[str, Value]


def becomes_template(ct: Container, state: VmState | None) -> bool:
    """Whether it is to be made one now."""
    return bool(ct.template) and ct.state != "absent" and not (state and state.template)


def check_stays(ct: Container, state: VmState, found: Difference) -> None:
    """A template serves clones: its volumes stay as they are."""
    gone = [key for key in found.delete if _is_volume(key)]
    new = [key for key in found.put if _is_volume(key) and key not in state.config]
    work = sorted({*gone, *new, *found.resizes})
    if state.template and work:
        raise InvalidInput(
            f"{ct.title} is a template: its volumes ({', '.join(work)}) cannot be changed",
            hint="Clone it, change the clone, and make that a template.",
        )


def check_becomes(ct: Container, node: str, config: Config, snapshots: t.Sequence[str], around: Surroundings) -> None:
    """Raises :class:`InvalidInput` when the server would not make a template of it. ``config`` is how it is by then."""
    if snapshots:
        raise InvalidInput(
            f"{ct.title} is to be a template, but has the snapshots {', '.join(snapshots)}",
            hint="Delete them first (proxmox_snapshot): a template has none.",
        )
    for slot, volume in _volumes(config).items():
        kind = _kind(volume, node, around)
        if options.is_bind(volume):
            why = "which is no volume of a storage"
        elif kind in _NO_TEMPLATES:
            why = f"on a storage of type {kind}, which cannot keep volumes of templates"
        else:
            continue
        raise InvalidInput(
            f"{ct.title} is to be a template, but its {slot} is {volume}, {why}",
            hint=f"Take {slot} away or move it first.",
        )


def check_volumes_only(ct: Container, clone: Clone, source: VmState) -> None:
    """Nobody may clone a bind mount, not even root: the server refuses the whole clone."""
    binds = [f"{slot} ({volume})" for slot, volume in _volumes(source.config).items() if options.is_bind(volume)]
    if binds:
        where = f"its snapshot {clone.snapshot}" if clone.snapshot else "it"
        raise InvalidInput(
            f"{ct.title} is to be a clone of CT {source.vmid}, but {where} has directories or devices of the node mounted: "
            f"{', '.join(binds)}",
            hint="Proxmox VE clones volumes only: take these mounts away from the source for the time of the clone, or make "
            "the container from its ostemplate.",
        )


def check_linked(ct: Container, clone: Clone, source: VmState, around: Surroundings) -> None:
    """Linked clones lie where their source lies, and not every storage makes them."""
    if not is_linked(clone, source):
        return
    unable = _NO_LINKED | _NO_LINKED_OF_SNAPSHOTS if clone.snapshot else _NO_LINKED
    for slot, volume in _volumes(source.config).items():
        kind = _kind(volume, source.node, around) or _kind(volume, ct.node, around)
        if kind in unable:
            raise InvalidInput(
                f"{ct.title} is to be a linked clone of CT {source.vmid}, whose {slot} lies on the storage "
                f"{ps.storage_of(volume)!r} of type {kind}, which makes no linked clones of containers",
                hint="Set clone.full to true, or keep the template on a storage of type lvmthin, zfspool, rbd or btrfs.",
            )


def is_linked(clone: Clone, source: VmState) -> bool:
    """Templates are linked unless it is said."""
    return source.template if clone.full is None else not clone.full


def after(config: Config, found: Difference) -> dict[str, Value]:
    """The configuration when the difference is made."""
    kept = {key: value for key, value in config.items() if key not in found.delete}
    return {**kept, **found.put}


def _volumes(config: Config) -> dict[str, str]:
    mounts = {key: str(value) for key, value in sorted(config.items()) if _is_volume(key)}
    return {slot: options.parse_mount(text)["volume"] for slot, text in mounts.items()}


def _is_volume(key: str) -> bool:
    return bool(re.fullmatch(r"rootfs|mp\d+", key))


def _kind(volume: str, node: str, around: Surroundings) -> str:
    """The type of the storage that it lies on; empty when that cannot be seen."""
    found = around.storages.get(node, {}).get(ps.storage_of(volume))
    return found.kind if found else ""
