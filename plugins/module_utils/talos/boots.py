# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One boot of a machine and the next: told apart by the kernel's own count, not by how long nobody answers."""

from __future__ import annotations

import typing as t

from ..errors import AccessDenied, HomelabError, NotFound, Refused, ServerFault, TaskFailed
from ..waiting import Backoff, Deadline, Pending, no_progress, wait_for
from .client import Client
from .inputs import Node
from .node import PASSING_STAGES, Connector, Sight, State, lacks_only_readiness, steadily
from .right_machine import require_name

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
#: Seconds that a machine may be in maintenance mode after a reboot: with its config it never is.
UNCONFIGURED = 15.0


def read_id(client: Client) -> str:
    """Empty when the node does not let us read it."""
    try:
        return client.read_file(_BOOT_ID).strip()
    except (Refused, AccessDenied, NotFound, ServerFault):
        return ""


def waits_for_bootstrap(client: Client) -> bool:
    """A control plane node that was never bootstrapped stays in the stage booting, with etcd preparing."""
    return any(service.id == "etcd" and service.state == "Preparing" for service in client.services()) and not (
        client.list_directory("/var/lib/etcd")
    )


def ask_to_go(
    connector: Connector,
    node: Node,
    boot: str,
    name: str,
    ask: t.Callable[[Client], None],
    *,
    deadline: Deadline,
    progress: t.Callable[[str], None] = no_progress,
) -> None:
    """Ask a node once for what makes it go away. An answer that was lost is not asked for again when the node is on its
    way, or is back from it. Raises when another machine answers than the one of that name that was looked at.
    """
    asked: list[bool] = []

    def attempt() -> None:
        sight = connector.look(node)
        try:
            if sight.state is not State.OURS or not sight.client:
                if asked:
                    return
                raise sight.reason or Refused(f"call {node.name}", of=node.address, answer=sight.why)
            if asked and (sight.stage in PASSING_STAGES or _another(read_id(sight.client), boot)):
                return
            require_name(node, sight.client, name, f"make {node.name} go away")
            asked.append(True)
            ask(sight.client)
        finally:
            sight.close()

    steadily(attempt, deadline=deadline, progress=progress)


def wait_for_next(
    connector: Connector,
    node: Node,
    boot: str,
    *,
    name: str = "",
    deadline: Deadline,
    progress: t.Callable[[str], None] = no_progress,
    settled: bool = True,
) -> str:
    """The stage after another boot than ``boot``. ``settled``: only when the machine runs, or waits for what others do:
    a bootstrap, or a network plugin. ``name``: what the machine called itself; another's boot is not its.
    """
    gone: list[bool] = []
    unconfigured: list[float] = []

    def check() -> str | Pending:
        sight = connector.look(node)
        if sight.state is State.MAINTENANCE:
            unconfigured.append(deadline.elapsed())
        else:
            unconfigured.clear()
        try:
            if sight.state is not State.OURS or not sight.client:
                gone.append(True)
                return Pending(f"it reboots ({sight.why})")
            now = read_id(sight.client)
            if not (now and boot) and sight.stage in PASSING_STAGES:  # its way down: no boot ID tells it from the next
                gone.append(True)
                return Pending(f"it has not gone down yet, the stage is {sight.stage}")
            rebooted = now != boot if now and boot else bool(gone)
            if rebooted and name and sight.client.hostname() != name:
                return Pending(f"it reboots (the machine there calls itself {sight.client.hostname()!r})")
            return _progress_of(sight, sight.client, rebooted, settled)
        except HomelabError as error:
            return Pending(error.answer or error.message)
        finally:
            sight.close()

    def watch() -> str | Pending:
        found = check()
        if unconfigured and unconfigured[-1] - unconfigured[0] >= UNCONFIGURED:
            raise _without_config(node)
        return found

    return wait_for(
        f"{node.name} come back from its reboot",
        watch,
        deadline=deadline,
        of=f"Talos node {node.name} at {node.address}",
        progress=progress,
        backoff=Backoff(first=0.1, most=1.0),
    )


def _without_config(node: Node) -> HomelabError:
    return TaskFailed(
        f"see {node.name} come back from its reboot",
        of=f"Talos node {node.name} at {node.address}",
        answer="the machine is in maintenance mode: it has booted without its config",
        hint="Has it booted from another medium (the boot order, an ISO that is still in)? Let it boot from its disk. One "
        "that has lost its config gets it again with talos_apply_config.",
    )


def _progress_of(sight: Sight, client: Client, rebooted: bool, settled: bool) -> str | Pending:
    if not rebooted:
        return Pending(f"it has not gone down yet, the stage is {sight.stage}")
    if not settled or sight.stage == "running" or lacks_only_readiness(sight.status) or waits_for_bootstrap(client):
        return sight.stage
    return Pending(f"it is back, the stage is {sight.stage}")


def _another(now: str, boot: str) -> bool:
    return bool(now and boot and now != boot)
