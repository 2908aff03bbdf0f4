# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates that are to go: who has linked clones of their volumes, and that these go first.

The name of such a volume begins with that of the one it stands on (``local:900/base-900-disk-0.qcow2/221/vm-221-disk-0.qcow2``),
but on LVM-thin. There a clone does not need its template, and the server deletes that whenever it is asked to.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import AccessDenied, InvalidInput
from ..api import propertystring as ps
from ..api.session import Session, listing, segment
from ..vms.vm_state import VmState

#: The volume of a template in a configuration.
_BASE = re.compile(r"(?:^|[,=])([^,=:]+:(?:\d+/)?base(?:vol)?-[^,/]+)(?=,|$)")
_OWNER = re.compile(r"/(?:vm|subvol|base|basevol)-(\d+)-[^/]+$")


def read(session: Session, state: VmState) -> tuple[int, ...]:
    """One list for each storage of the template. Empty when they may not be seen: the server has the last word."""
    bases = [base for value in state.config.values() for base in _BASE.findall(str(value))]
    content = "rootdir" if state.kind == "lxc" else "images"
    found: set[int] = set()
    for storage in sorted({ps.storage_of(base) for base in bases}):
        path = f"/nodes/{segment(state.node)}/storage/{segment(storage)}/content"
        asked = f"list the volumes of storage {storage} on node {state.node}"
        try:
            volumes = listing(session, path, "volid", {"content": content}, asked=asked)
        except AccessDenied:
            continue
        found |= {vmid for one in volumes for base in bases if (vmid := _clone_of(str(one["volid"]), base))}
    return tuple(sorted(found - {state.vmid}))


def _clone_of(volume: str, base: str) -> int:
    """The number of the guest that it belongs to; 0 when it is no clone of this one."""
    owner = _OWNER.search(volume) if volume.startswith(f"{base}/") else None
    return int(owner[1]) if owner else 0


def check_gone(title: str, state: VmState, going: t.Collection[int], word: str) -> None:
    """Raises :class:`InvalidInput` for a template that is still needed. ``going`` are the guests that the same task deletes."""
    left = [f"{word} {vmid}" for vmid in state.clones if vmid not in going]
    if left:
        raise InvalidInput(
            f"{title} is a template that is still needed: {', '.join(left)} {'is' if len(left) == 1 else 'are'} linked to it",
            hint="Delete these first, or with it in one task.",
        )
