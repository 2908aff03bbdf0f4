# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node that is wiped: it leaves etcd first, and nobody's last data goes by mistake."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import InvalidInput, Refused
from ..plan import Change, Plan, carry_out
from ..waiting import Deadline, Pending, no_progress, wait_for
from . import boots, quorum, right_machine
from .client import Client
from .inputs import Node
from .node import Connector, State, steadily
from .reboot import resource_of

#: Seconds that a machine has to be silent to be off, or done with its wiping: one lost answer is neither.
AWAY = 5.0
_ELSEWHERE = (
    " A machine whose address stood in its config has another one now, which its console shows too; it is wiped then."
)
_HINT = "Nothing was wiped. Bring etcd's other members back first, or set force if that is meant."


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is wiped. No ``partitions`` and ``system_disk``: all of that disk. ``graceful``: leave etcd before."""

    partitions: tuple[str, ...]
    system_disk: bool
    user_disks: tuple[str, ...]
    graceful: bool
    reboot: bool

    @property
    def forgets(self) -> bool:
        """Whether the machine config goes: it comes back in maintenance mode, if it does."""
        return self.system_disk or "STATE" in self.partitions

    @property
    def wipes_etcd(self) -> bool:
        return self.system_disk or "EPHEMERAL" in self.partitions

    @property
    def mode(self) -> str:
        if not self.partitions and not self.system_disk:
            return "user_disks"
        return "all" if self.user_disks else "system_disk"


def wanted_from(params: t.Mapping[str, t.Any]) -> Wanted:
    """The module's options."""
    partitions = tuple(dict.fromkeys(params["partitions"] or ()))
    if params["system_disk"]:
        if partitions:
            raise InvalidInput(
                "partitions and system_disk are both given", hint="system_disk is all of its partitions."
            )
    elif params["partitions"] is None:
        partitions = ("STATE", "EPHEMERAL")
    disks = tuple(dict.fromkeys(params["user_disks"]))
    for disk in disks:
        if not disk.startswith("/dev/") or disk == "/dev/":
            raise InvalidInput(f"user_disks has {disk!r}", hint="It is a path such as /dev/sdb.")
    if not partitions and not disks and not params["system_disk"]:
        raise InvalidInput("Nothing is to be wiped", hint="Give partitions, system_disk or user_disks.")
    return Wanted(partitions, params["system_disk"], disks, params["graceful"], params["reboot"])


@dataclasses.dataclass
class Reset:
    """Wiping one node. ``node.name`` has to be what the machine calls itself."""

    connector: Connector
    node: Node
    wanted: Wanted
    deadline: Deadline
    force: bool = False
    progress: t.Callable[[str], None] = no_progress
    #: Stage of the node when it was last seen.
    stage: str = ""

    # -- planning

    def plan(self) -> Plan:
        """Empty when the machine has no config to lose. Raises when it is another machine, or etcd would lose its quorum."""
        return steadily(self._plan_once, deadline=self.deadline, progress=self.progress)

    def _plan_once(self) -> Plan:
        seen = {State.OURS, State.MAINTENANCE}
        sight = self.connector.wait(self.node, seen, deadline=self.deadline, progress=self.progress)
        self.stage = sight.stage
        with t.cast(Client, sight.client) as client:
            if sight.state is State.MAINTENANCE:
                return self._of_unconfigured(client)
            self._judge_name(client)
            right_machine.require_own_address_of_it(self.node, client)
            self._judge_mode(client)
            self._judge_disks(client)
            member = client.hostname() if quorum.runs_etcd(client) else ""
            if member:
                self._guard(member)
            return Plan.of([self._change(member, boots.read_id(client))])

    def _of_unconfigured(self, client: Client) -> Plan:
        if self.wanted.forgets:
            return Plan()
        raise Refused(
            f"reset {self.node.name}", of=client.of, answer="it is in maintenance mode, where the API has no reset"
        )

    def _judge_name(self, client: Client) -> None:
        name = client.hostname()
        if name != self.node.name:
            raise Refused(
                f"reset {self.node.name}",
                of=client.of,
                answer=f"the machine there calls itself {name!r}",
                hint="Nothing was wiped. Is this its address? node_name has to be the machine's own host name.",
            )

    def _judge_mode(self, client: Client) -> None:
        """In a container Talos answers a reset as if it did it, stops its services, and is off with all its data."""
        if client.version_facts()["mode"] == "container":
            raise Refused(
                f"reset {self.node.name}",
                of=client.of,
                answer="it runs in a container, which has no disk to wipe: a reset only switches it off",
                hint="Nothing was wiped. Remove the container with its volumes and make it again: it then has no config.",
            )

    def _judge_disks(self, client: Client) -> None:
        if not self.wanted.user_disks:
            return
        found = client.resources("runtime", "Disks.block.talos.dev")
        paths = {str((spec or {}).get("dev_path") or f"/dev/{name}") for name, spec in found.items()}
        system = client.resources("runtime", "SystemDisks.block.talos.dev")
        own = {str((spec or {}).get("devPath", "")) for spec in system.values()}
        for disk in self.wanted.user_disks:
            if disk in own:
                raise InvalidInput(
                    f"user_disks has {disk}, which is the system disk of {self.node.name}", hint="That is system_disk."
                )
            if disk not in paths:
                known = ", ".join(sorted(paths - own)) or "no other disk"
                raise InvalidInput(f"{self.node.name} has no disk {disk}", hint=f"It has {known}.")

    def _guard(self, member: str) -> None:
        if self.force:
            return
        asked = f"reset {self.node.name}"
        guard = quorum.Guard(self.connector, [self.node], self.deadline, _HINT, self.progress)
        found = guard.members(asked)
        last = [voter.name for voter in found.voters] == [member] and self.wanted.wipes_etcd
        guard.judge(asked, found, [quorum.Leaving(self.node, member)], leave=self.wanted.graceful or last)

    def _change(self, member: str, boot: str) -> Change:
        wanted = self.wanted
        before: dict[str, t.Any] = {}
        if wanted.system_disk:
            before["system disk"] = "all of it"
        elif wanted.partitions:
            before["partitions"] = list(wanted.partitions)
        if wanted.user_disks:
            before["user disks"] = list(wanted.user_disks)
        after = "powers off" if not wanted.reboot else "reboots"
        leaves = "leaves etcd, " if member and wanted.graceful else ""
        return Change(
            resource_of(self.node), "delete", before=before, note=f"{leaves}is wiped, {after}", operation=boot
        )

    # -- applying

    def apply(self, plan: Plan) -> None:
        carry_out(plan, lambda change: self._reset(str(change.operation)))

    def _reset(self, boot: str) -> None:
        wanted = self.wanted
        boots.ask_to_go(
            self.connector,
            self.node,
            boot,
            self.node.name,
            lambda client: client.reset(
                graceful=wanted.graceful,
                reboot=wanted.reboot,
                partitions=wanted.partitions,
                user_disks=wanted.user_disks,
                mode=wanted.mode,
            ),
            deadline=self.deadline,
            progress=self.progress,
        )
        if wanted.reboot and not wanted.forgets:
            self.stage = boots.wait_for_next(
                self.connector,
                self.node,
                boot,
                name=self.node.name,
                deadline=self.deadline,
                progress=self.progress,
                settled=False,
            )
        else:
            self.stage = self._wait_until_wiped()

    def _wait_until_wiped(self) -> str:
        """In maintenance mode; or away, when the machine goes off or has nothing left to boot. Its API goes before it is
        wiped, and an answer may be lost while it still drains, so it is given a while to be done.
        """
        comes_back = self.wanted.reboot and not self.wanted.system_disk
        silent: list[float] = []

        def check() -> str | Pending:
            sight = self.connector.look(self.node)
            sight.close()
            if sight.state is State.MAINTENANCE:
                return sight.stage
            if sight.state is not State.SILENT:
                silent.clear()
            elif not comes_back:
                silent.append(self.deadline.elapsed())
                if silent[-1] - silent[0] >= AWAY:
                    return "off"
            return Pending(f"the stage is {sight.stage}" if sight.stage else sight.why)

        return wait_for(
            f"{self.node.name} wiped",
            check,
            deadline=self.deadline,
            of=f"Talos node {self.node.name} at {self.node.address}",
            progress=self.progress,
            hint=f"Its console shows how far the reset is.{_ELSEWHERE if comes_back else ''}",
        )

    def report(self) -> dict[str, t.Any]:
        return {"name": self.node.name, "address": self.node.address, "stage": self.stage}
