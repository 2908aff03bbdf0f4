# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine configs on nodes: what would change, and changing it."""

from __future__ import annotations

import dataclasses
import re
import threading
import typing as t

from ..errors import HomelabError, InvalidInput, Refused, ServerFault
from ..plan import Change, Plan
from ..waiting import Deadline, Pending, no_progress, wait_for
from . import boots, compare, documents, quorum, right_machine, status
from .client import Client
from .inputs import Node
from .node import Connector, Sight, State, silence, steadily
from .pool import in_pool

#: Seconds that a configured worker gets to show its API while no control plane could give it a certificate.
WORKER_GRACE = 8.0
#: How often a config is handed to a node that answers, and then not.
ATTEMPTS = 5
_REBOOT_NOTE = "needs a reboot"
_QUORUM_HINT = (
    "The config was not applied. Wait until etcd is healthy (talos_health); or apply it with the mode staged, which "
    "reboots nobody, and reboot with talos_reboot, which has force for who means it."
)

Progress = t.Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Desired:
    """A node and the config that it shall have."""

    node: Node
    documents: t.Sequence[documents.Document]

    @property
    def data(self) -> bytes:
        return documents.render(self.documents).encode()


@dataclasses.dataclass(frozen=True)
class Operation:
    """What applying a change needs to know besides the config. ``member``: what a node that reboots for it is called in
    etcd, empty when etcd does not run there.
    """

    desired: Desired
    create: bool
    reboots: bool = False
    member: str = ""


@dataclasses.dataclass
class Rollout:
    """One task's work on the nodes of a cluster."""

    connector: Connector
    mode: str
    discretion: compare.Discretion
    deadline: Deadline
    progress: Progress = no_progress
    warn: Progress = no_progress
    #: Stage of each node when it was last seen, for the task's result.
    seen: dict[str, str] = dataclasses.field(default_factory=dict)
    #: Control plane nodes that may answer; set by :meth:`plan`.
    controls: list[Node] = dataclasses.field(default_factory=list)
    #: Names of all nodes; set by :meth:`plan`.
    names: frozenset[str] = frozenset()
    _speech: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    # -- planning

    def plan(self, desired: t.Sequence[Desired], planned: t.Collection[str]) -> Plan:
        """The changes, control planes first. Nodes in ``planned`` do not run yet: they are predicted, not called."""
        self.names = frozenset(one.node.name for one in desired)
        controls = [one for one in desired if one.node.type == "controlplane"]
        workers = [one for one in desired if one.node.type == "worker"]
        changes = in_pool(lambda one: self._examine(one, planned), controls)
        self.controls = [one.node for one in controls if one.node.name not in planned]
        self._guard([_operation(change) for change in changes if change])
        up = self._cluster_is_up() if workers else True
        changes += in_pool(lambda one: self._examine(one, planned, waiting_worker=not up), workers)
        return Plan.of(change for change in changes if change)

    def _examine(self, desired: Desired, planned: t.Collection[str], *, waiting_worker: bool = False) -> Change | None:
        return steadily(
            lambda: self._examine_once(desired, planned, waiting_worker), deadline=self.deadline, progress=self._said
        )

    def _examine_once(self, desired: Desired, planned: t.Collection[str], waiting_worker: bool) -> Change | None:
        node = desired.node
        if node.name in planned:
            self.seen[node.name] = "planned"
            return self._creation(desired)
        try:
            sight = self._sight(node, waiting_worker)
        except _WorkerWaits:
            self.seen[node.name] = "waiting for a control plane"
            self._warned(
                f"{node.name} refuses connections, as a configured worker does until a control plane node is up; "
                "its config was not compared. Run this again when the cluster is up."
            )
            return None
        with t.cast(Client, sight.client) as client:
            self.seen[node.name] = sight.stage
            if sight.state is State.MAINTENANCE:
                return self._examine_unconfigured(desired, client)
            return self._examine_configured(desired, client)

    def _sight(self, node: Node, waiting_worker: bool) -> Sight:
        if not waiting_worker:
            return self.connector.wait(
                node, {State.OURS, State.MAINTENANCE}, deadline=self.deadline, progress=self._said
            )
        return self._wait_for_worker(node, {State.OURS, State.MAINTENANCE})

    def _examine_unconfigured(self, desired: Desired, client: Client) -> Change:
        if self.mode in ("try", "staged"):
            raise InvalidInput(
                f"mode is {self.mode} and {desired.node.name} is in maintenance mode",
                hint="There it would lose its API or not start: use the mode auto for a node's first config.",
            )
        right_machine.require_install_disk(desired.node, desired.documents, client)
        self._judge(desired, client, "auto")
        return self._creation(desired)

    def _creation(self, desired: Desired) -> Change:
        return Change(
            resource_of(desired.node),
            "create",
            after=compare.shown(desired.documents, self.discretion),
            operation=Operation(desired, create=True),
        )

    def _examine_configured(self, desired: Desired, client: Client) -> Change | None:
        before, after = self._difference(desired, client, tell=self._warned)
        if not before and not after:
            return None
        reboots = self._judge(desired, client, self.mode)
        voting = reboots and desired.node.type == "controlplane" and quorum.runs_etcd(client)
        note = _REBOOT_NOTE if reboots else "takes effect at the next reboot" if self.mode == "staged" else ""
        return Change(
            resource_of(desired.node),
            "update",
            before=before,
            after=after,
            note=note,
            operation=Operation(desired, create=False, reboots=reboots, member=client.hostname() if voting else ""),
        )

    def _difference(
        self, desired: Desired, client: Client, tell: Progress = no_progress
    ) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        """Against what is active and what is on disk; a mode that touches only one of them is compared with that.
        Raises when it is another machine; ``tell`` hears what may be one.
        """
        active = client.machine_config("v1alpha1")
        persistent = client.machine_config("persistent")
        if persistent is None:  # not there after a boot, until the first apply
            persistent = active
        texts = {"try": [active], "staged": [persistent]}.get(self.mode, [active, persistent])
        for text in texts:
            try:
                current = documents.parse(text or "")
            except ValueError as error:
                raise ServerFault("read the machine config", of=client.of, answer=str(error)) from error
            before, after = compare.difference(current, desired.documents, self.discretion)
            if before or after:
                doubt = right_machine.require_same(
                    desired.node, current, self.names - {desired.node.name}, of=client.of
                )
                if doubt:
                    tell(doubt)
                return before, after
        return {}, {}

    def _judge(self, desired: Desired, client: Client, mode: str) -> bool:
        """Let the node itself check the config, without applying it. Whether it would reboot for it."""
        try:
            answer = client.apply_config(desired.data, mode, dry_run=True)
        except Refused as error:
            raise self._rejected(desired.node, client, error, "Nothing was applied to any node.") from error
        for warning in answer.warnings:
            self._warned(f"{desired.node.name}: {self.discretion.censored(warning)}")
        return answer.mode == "reboot"

    def _rejected(self, node: Node, client: Client, error: Refused, left: str) -> HomelabError:
        words = self.discretion.censored(tidy(error.answer))
        return Refused(
            f"apply the machine config of {node.name}",
            of=client.of,
            answer=words,
            hint=left if status.code_of(error) == "INVALID_ARGUMENT" else "",
            code=status.code_of(error),
        )

    def _cluster_is_up(self) -> bool:
        """Whether a control plane node runs etcd, so that workers can get their certificates."""
        return any(self._runs_etcd(node) for node in self.controls)

    def _runs_etcd(self, node: Node) -> bool:
        sight = self.connector.look(node)
        try:
            if sight.state is not State.OURS or not sight.client:
                return False
            return any(service.id == "etcd" and service.state == "Running" for service in sight.client.services())
        except HomelabError:
            return False
        finally:
            sight.close()

    # -- applying

    def apply(self, plan: Plan) -> None:
        """First configs side by side, changes one node after the other; control planes first. An error carries what
        was done before it.
        """
        made: list[Change] = []
        for machine_type in ("controlplane", "worker"):
            changes = [change for change in plan if _operation(change).desired.node.type == machine_type]
            if not changes:
                continue
            try:
                self._apply_all(changes, made, up=machine_type == "controlplane" or self._cluster_is_up())
            except HomelabError as error:
                error.made = [change.as_result() for change in plan if change in made]
                raise

    def _apply_all(self, changes: t.Sequence[Change], made: list[Change], *, up: bool) -> None:
        first = [change for change in changes if _operation(change).create]
        in_pool(lambda change: self._apply_one(change, made, up), first)
        for change in changes:
            if not _operation(change).create:
                self._apply_one(change, made, up)

    def _apply_one(self, change: Change, made: list[Change], up: bool) -> None:
        operation = _operation(change)
        node = operation.desired.node
        self._guard([operation])
        boot = self._boot_id(node) if operation.reboots else ""
        self._said(f"applying the machine config of {node.name}")
        self._hand_over(operation)
        made.append(change)
        if operation.reboots:
            self._wait_for_reboot(node, boot)
            if operation.member:
                self._wait_for_etcd(node)
        elif operation.create:
            self._wait_for_first_boot(node, up)

    def _hand_over(self, operation: Operation) -> None:
        """Until the node has taken the config. The same config twice is the same as once, so a lost answer is safe."""
        desired = operation.desired
        failures: list[HomelabError] = []

        def check() -> bool | Pending:
            sight = self.connector.wait(
                desired.node, {State.OURS, State.MAINTENANCE}, deadline=self.deadline, progress=self._said
            )
            try:
                with t.cast(Client, sight.client) as client:
                    return self._hand_over_once(desired, client, sight.state)
            except HomelabError as error:
                failures.append(error)
                if not error.retryable or len(failures) >= ATTEMPTS:
                    raise
                return Pending(error.answer)

        wait_for(f"{desired.node.name} take its config", check, deadline=self.deadline, progress=self._said)

    def _hand_over_once(self, desired: Desired, client: Client, state: State) -> bool | Pending:
        if state is State.OURS and self._difference(desired, client) == ({}, {}):
            return True
        mode = "auto" if state is State.MAINTENANCE else self.mode
        try:
            client.apply_config(desired.data, mode, dry_run=False)
        except Refused as error:
            if status.code_of(error) == "FAILED_PRECONDITION":  # another apply runs, or the node is about to reboot
                return Pending(tidy(error.answer))
            raise self._rejected(desired.node, client, error, "This node was left as it was.") from error
        return True

    def _wait_for_first_boot(self, node: Node, up: bool) -> None:
        """The node leaves maintenance mode and comes back with our certificate."""
        if node.type == "worker" and not up:
            try:
                sight = self._wait_for_worker(node, {State.OURS})
            except _WorkerWaits:
                self.seen[node.name] = "waiting for a control plane"
                return
        else:
            sight = self.connector.wait(node, {State.OURS}, deadline=self.deadline, progress=self._said)
        self.seen[node.name] = sight.stage
        sight.close()

    def _wait_for_worker(self, node: Node, wanted: t.Collection[State]) -> Sight:
        """A worker whose cluster is not up yet: its API may come now, or only after the bootstrap.

        A machine that refuses connections is on, and waits; one that does not answer at all is off.
        """
        since: list[float] = []

        def check() -> Sight | Pending:
            sight = self.connector.look(node)
            if sight.state in wanted:
                return sight
            sight.close()
            if sight.state is State.SILENT and sight.host_is_up:
                since.append(self.deadline.elapsed())
                if since[-1] - since[0] >= WORKER_GRACE:
                    raise _WorkerWaits(f"reach {node.name}")
            else:
                since.clear()
            return Pending(silence(node, sight, control_plane_up=False))

        return wait_for(
            f"the Talos API of {node.name}", check, deadline=self.deadline, progress=self._said, of=node.address
        )

    def _wait_for_reboot(self, node: Node, boot: str) -> None:
        self.seen[node.name] = boots.wait_for_next(
            self.connector, node, boot, deadline=self.deadline, progress=self._said
        )

    def _wait_for_etcd(self, node: Node) -> None:
        """Its member serves again, so that the next one may go."""

        def check() -> bool | Pending:
            try:
                with self.connector.open(node) as client:
                    return quorum.is_well(client) or Pending("it is not healthy yet")
            except HomelabError as error:
                if not error.retryable:
                    raise
                return Pending(error.answer or error.message)

        wait_for(f"etcd on {node.name} serve again", check, deadline=self.deadline, progress=self._said)

    def _boot_id(self, node: Node) -> str:
        def read() -> str:
            with self.connector.open(node) as client:
                return boots.read_id(client)

        return steadily(read, deadline=self.deadline, progress=self._said)

    # -- etcd

    def _guard(self, operations: t.Sequence[Operation]) -> None:
        """None of these may cost etcd its quorum when it reboots for its config; one goes at a time."""
        leaving = [quorum.Leaving(one.desired.node, one.member) for one in operations if one.member]
        if not leaving:
            return
        guard = quorum.Guard(self.connector, self.controls, self.deadline, _QUORUM_HINT, self._said)
        found = guard.members(_asked(leaving))
        for one in leaving:
            guard.judge(_asked([one]), found, [one])

    def _said(self, text: str) -> None:
        with self._speech:
            self.progress(text)

    def _warned(self, text: str) -> None:
        with self._speech:
            self.warn(text)


class _WorkerWaits(HomelabError):
    """The worker's machine is on and its API is not, which is right before the cluster is up."""


def _asked(leaving: t.Sequence[quorum.Leaving]) -> str:
    return f"apply a config that reboots {', '.join(one.name for one in leaving)}"


def resource_of(node: Node) -> str:
    return f"talos-config/{node.name}"


def tidy(words: str) -> str:
    """The node's nested lists of errors as one line, without the diff that it may append (which is config text)."""
    text = re.split(r"\n(?:diff|Config diff):", words)[0]
    text = re.sub(r"^[A-Z_]+: ", "", text)
    if "\t* " not in text:
        return " ".join(text.split())
    found = [line.strip()[2:] for line in text.splitlines() if line.strip().startswith("* ")]
    return "; ".join(re.sub(r"^.*?\d+ errors? occurred:$", "", line).strip() for line in found).strip("; ")


def _operation(change: Change) -> Operation:
    return t.cast(Operation, change.operation)


def report(desired: t.Sequence[Desired], seen: t.Mapping[str, str], plan: Plan) -> list[dict[str, t.Any]]:
    """The task's result for each node: ``{name, address, type, stage, changed}``."""
    changed = {change.resource for change in plan}
    return [
        {
            "name": one.node.name,
            "address": one.node.address,
            "type": one.node.type,
            "stage": seen.get(one.node.name, ""),
            "changed": resource_of(one.node) in changed,
        }
        for one in desired
    ]
