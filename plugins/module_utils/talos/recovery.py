# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd made anew from a snapshot, after its quorum was lost: on one node, when no other has data of it."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import HomelabError, InvalidInput, Refused, WaitTimeout
from ..waiting import Deadline, Pending, no_progress, wait_for
from .client import Client
from .inputs import Node
from .snapshot_file import Snapshot

#: Seconds that etcd with data gets to show that it serves: its health is checked every few seconds.
PATIENCE = 15.0
#: Seconds that the upload may take.
UPLOAD = 600.0


@dataclasses.dataclass(frozen=True)
class Recovery:
    """What a bootstrap recovers from. ``skip_hash_check``: for a copy of a database, which has no checksum."""

    snapshot: Snapshot
    skip_hash_check: bool = False

    def shown(self) -> dict[str, t.Any]:
        return {"recovered from": self.snapshot.path.name}

    def bootstrap(self, client: Client) -> None:
        client.upload_snapshot(self.snapshot.parts(), timeout=UPLOAD)
        client.bootstrap(recover=True, skip_hash_check=self.skip_hash_check)


def checked(snapshot: Snapshot, skip_hash_check: bool) -> Recovery:
    """Raises when the node would refuse the file for having no checksum."""
    if not snapshot.checked and not skip_hash_check:
        raise InvalidInput(
            f"recover_from is {snapshot.path}, which has no checksum, as a copy of a member's database has none",
            hint="Use a snapshot, or set recover_skip_hash_check if this copy is what there is.",
        )
    return Recovery(snapshot, skip_hash_check)


def require_service(
    node: Node, client: Client, deadline: Deadline, progress: t.Callable[[str], None] = no_progress
) -> None:
    """Data of etcd that serves needs no recovery. Data that does not is in its way: raise, and say how it goes."""

    def check() -> bool | Pending:
        etcd = next((service for service in client.services() if service.id == "etcd"), None)
        if etcd is not None and etcd.state == "Running" and etcd.healthy:
            return _has_quorum(client)
        return Pending(f"etcd is {etcd.state}: {etcd.health_message or etcd.last_event}" if etcd else "no etcd")

    limit = Deadline(min(PATIENCE, deadline.left()), deadline.clock)
    try:
        wait_for(f"etcd on {node.name} serve", check, deadline=limit, progress=progress)
    except WaitTimeout as error:
        raise Refused(
            "recover etcd from the snapshot",
            of=client.of,
            answer=f"the node still has data of an etcd that does not serve ({error.answer})",
            hint="Wipe that first, on each control plane node that has some: talos_reset with partitions [EPHEMERAL], "
            "graceful false and force true.",
        ) from error


def _has_quorum(client: Client) -> bool | Pending:
    """The service's health is some seconds old, so a quorum just lost does not show in it; the members' list needs one."""
    try:
        client.etcd_members()
    except HomelabError as error:
        return Pending(f"etcd is Running, and does not tell its members: {error.answer or error.message}")
    return True
