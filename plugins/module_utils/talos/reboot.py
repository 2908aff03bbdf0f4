# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that boot again: one after the other or all together, and never so that etcd loses its quorum."""

from __future__ import annotations

import dataclasses
import threading
import typing as t

from ..errors import HomelabError, InvalidInput, Refused
from ..plan import Change, Plan, carry_out
from ..waiting import Deadline, no_progress
from . import boots, quorum, versions
from .client import Client
from .health import Health
from .inputs import Node
from .node import Connector, State, steadily
from .pool import in_pool

#: The first minor version of Talos 1 that knows the mode force.
FORCE_SINCE = 12
_HINT = "Wait until etcd is healthy (talos_health), reboot fewer nodes at once, or set force if that is meant."


@dataclasses.dataclass(frozen=True)
class Standing:
    """A node before its reboot. ``name``: what it calls itself; ``member``: that, empty when etcd does not run there."""

    node: Node
    boot: str
    stage: str
    name: str
    member: str


@dataclasses.dataclass
class Reboot:
    """One task's reboots. ``serial``: one node after the other, the next when the one before is healthy."""

    connector: Connector
    nodes: t.Sequence[Node]
    deadline: Deadline
    mode: str = "default"
    serial: bool = True
    healthy: bool = True
    node_ready: bool = True
    force: bool = False
    censor: t.Callable[[str], str] = str
    progress: t.Callable[[str], None] = no_progress
    #: What each node was last seen as: ``{stage, boot_id}``.
    seen: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    _speech: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    # -- planning

    def plan(self) -> Plan:
        """A restart for each node; raises when one of them is not ours to reboot, or etcd would lose its quorum."""
        standings = in_pool(self._examine, self.nodes)
        self._guard(*([[standing] for standing in standings] if self.serial else [standings]))
        return Plan.of(self._change(standing) for standing in standings)

    def _examine(self, node: Node) -> Standing:
        return steadily(lambda: self._examine_once(node), deadline=self.deadline, progress=self._said)

    def _examine_once(self, node: Node) -> Standing:
        wanted = {State.OURS, State.MAINTENANCE}
        sight = self.connector.wait(node, wanted, deadline=self.deadline, progress=self._said)
        with t.cast(Client, sight.client) as client:
            if sight.state is State.MAINTENANCE:
                raise Refused(
                    f"reboot {node.name}",
                    of=client.of,
                    answer="it is in maintenance mode, where the API has no reboot",
                    hint="Configure it first (talos_apply_config), or restart the machine itself. Nothing was rebooted.",
                )
            self._judge_mode(client)
            boot, name, serves = boots.read_id(client), client.hostname(), quorum.runs_etcd(client)
        self.seen[node.name] = {"stage": sight.stage, "boot_id": boot}
        return Standing(node, boot, sight.stage, name, name if serves else "")

    def _judge_mode(self, client: Client) -> None:
        if self.mode != "force":
            return
        version = versions.parse(client.version(), f"the version of {client.of}")
        if version.minor < FORCE_SINCE:
            raise InvalidInput(
                f"mode is force, which Talos knows since 1.{FORCE_SINCE}, and {client.of} runs {version.text}"
            )

    def _guard(self, *groups: t.Sequence[Standing]) -> None:
        """Those of a group go together; force asks nobody."""
        if self.force:
            return
        running = [[one for one in group if one.member] for group in groups]
        leaving = [[quorum.Leaving(one.node, one.member) for one in group] for group in running if group]
        if not leaving:
            return
        guard = quorum.Guard(self.connector, self.nodes, self.deadline, _HINT, self._said)
        found = guard.members(_asked([one for group in leaving for one in group]))
        for group in leaving:
            guard.judge(_asked(group), found, group)

    def _change(self, standing: Standing) -> Change:
        together = "" if self.serial or len(self.nodes) == 1 else ", together with the others"
        mode = "" if self.mode == "default" else f" ({self.mode})"
        return Change(resource_of(standing.node), "restart", note=f"reboots{mode}{together}", operation=standing)

    # -- applying

    def apply(self, plan: Plan) -> None:
        """Reboot; an error carries the nodes that came back before it."""
        if self.serial:
            carry_out(plan, lambda change: self._reboot(t.cast(Standing, change.operation)))
            return
        made: list[Change] = []

        def one(change: Change) -> None:
            self._go(t.cast(Standing, change.operation))
            made.append(change)

        try:
            in_pool(one, list(plan))
            self._wait_for_health([t.cast(Standing, change.operation) for change in plan])
        except HomelabError as error:
            error.made = [change.as_result() for change in plan if change in made]
            raise

    def _reboot(self, standing: Standing) -> None:
        """In its turn. The others may have changed since the plan: the quorum is judged again."""
        if standing.member:
            self._guard([standing])
            self._hand_over(standing.node)
        self._go(standing)
        self._wait_for_health([standing])

    def _hand_over(self, node: Node) -> None:
        """A leader that goes without a word leaves etcd without one for a second or more. That it cannot be handed over
        (a single member has nobody, an operator has not the right) is no reason not to reboot.
        """
        if self.mode == "force":
            return
        try:
            with self.connector.open(node) as client:
                successor = client.forfeit_leadership()
        except HomelabError as error:
            self._said(f"{node.name} reboots with etcd's leadership, if it has it: {error.answer or error.message}")
            return
        if successor:
            self._said(f"{successor} leads etcd in place of {node.name}")

    def _go(self, standing: Standing) -> None:
        node = standing.node
        self._said(f"rebooting {node.name}")
        boots.ask_to_go(
            self.connector,
            node,
            standing.boot,
            standing.name,
            lambda client: client.reboot(self.mode),
            deadline=self.deadline,
            progress=self._said,
        )
        stage = boots.wait_for_next(
            self.connector,
            node,
            standing.boot,
            name=standing.name,
            deadline=self.deadline,
            progress=self._said,
            settled=False,
        )
        self.seen[node.name] = {"stage": stage, "boot_id": self._boot_id(node)}

    def _wait_for_health(self, standings: t.Sequence[Standing]) -> None:
        """A control plane node without etcd was never bootstrapped: it comes back to what it was."""
        if not self.healthy:
            return
        for standing in standings:
            if standing.node.type == "controlplane" and not standing.member:
                boots.wait_for_next(
                    self.connector, standing.node, standing.boot, deadline=self.deadline, progress=self._said
                )
        whole = [one.node for one in standings if one.member or one.node.type == "worker"]
        if not whole:
            return
        found = Health(
            self.connector,
            whole,
            self.deadline,
            node_ready=self.node_ready,
            complete=False,
            censor=self.censor,
            progress=self._said,
        ).wait()
        for facts in found:
            self.seen[facts["name"]]["stage"] = facts["stage"]

    def _boot_id(self, node: Node) -> str:
        def read() -> str:
            with self.connector.open(node) as client:
                return boots.read_id(client)

        return steadily(read, deadline=self.deadline, progress=self._said)

    def _said(self, text: str) -> None:
        with self._speech:
            self.progress(text)

    def report(self) -> list[dict[str, t.Any]]:
        """The task's result for each node: ``{name, address, type, stage, boot_id}``."""
        return [
            {"name": node.name, "address": node.address, "type": node.type, **self.seen.get(node.name, {})}
            for node in self.nodes
        ]


def _asked(leaving: t.Sequence[quorum.Leaving]) -> str:
    return f"reboot {', '.join(one.name for one in leaving)}"


def resource_of(node: Node) -> str:
    return f"talos-node/{node.name}"
