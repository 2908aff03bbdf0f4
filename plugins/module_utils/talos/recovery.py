# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd made anew from a snapshot, after its quorum was lost: on one node, when no other has data of it."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import HomelabError, InvalidInput, Refused, WaitTimeout
from ..waiting import Deadline, Pending, no_progress, wait_for
from .client import Client, Service
from .inputs import Node
from .snapshot_file import Snapshot

#: Seconds that etcd with data gets to show that it serves, once it has begun: its health is checked every few seconds.
PATIENCE = 15.0
#: States of a service that the machine's boot has not come to, or that is about to run.
_BEGINNING = frozenset({"Initialized", "Starting", "Waiting", "Preparing"})
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

    since: list[float] = []

    def check() -> bool | Pending:
        etcd = next((service for service in client.services() if service.id == "etcd"), None)
        if etcd is None or _begins(etcd):  # the machine boots: nobody knows yet
            since.clear()
            return Pending(_state_of(etcd) if etcd else "etcd is not loaded yet")
        since.append(deadline.elapsed())
        well = etcd.state == "Running" and etcd.healthy
        found = _has_quorum(client) if well else Pending(_state_of(etcd))
        if isinstance(found, Pending) and since[-1] - since[0] >= PATIENCE:
            raise _in_the_way(client, found.reason)
        return found

    try:
        wait_for(f"etcd on {node.name} serve", check, deadline=deadline, progress=progress)
    except WaitTimeout as error:
        raise _in_the_way(client, error.answer) from error


def _begins(etcd: Service) -> bool:
    """One that crashes waits too, each time before it is started again."""
    return etcd.state in _BEGINNING and "restart" not in etcd.last_event


def _state_of(etcd: Service) -> str:
    return f"etcd is {etcd.state}: {etcd.health_message or etcd.last_event}"


def _in_the_way(client: Client, why: str) -> HomelabError:
    return Refused(
        "recover etcd from the snapshot",
        of=client.of,
        answer=f"the node still has data of an etcd that does not serve ({why})",
        hint="Wait if another member of that etcd may still come back, as it then serves again. Otherwise wipe its data "
        "first, on each control plane node that has some: talos_reset with partitions [EPHEMERAL], graceful false and "
        "force true.",
    )


def _has_quorum(client: Client) -> bool | Pending:
    """The service's health is some seconds old, so a quorum just lost does not show in it; the members' list needs one."""
    try:
        client.etcd_members()
    except HomelabError as error:
        return Pending(f"etcd is Running, and does not tell its members: {error.answer or error.message}")
    return True
