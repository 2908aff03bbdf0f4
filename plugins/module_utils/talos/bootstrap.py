# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first member of etcd: done once in a cluster's life, and never twice."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import Conflict, HomelabError, NotFound, Refused, TaskFailed, Unreachable
from ..plan import Change, Plan
from ..waiting import Deadline, Pending, no_progress, wait_for
from . import info, status
from .apply import tidy
from .client import Client, Service, unimplemented
from .inputs import Node
from .node import Connector, Sight, State, steadily
from .recovery import Recovery, require_service

#: States in which the service changes by itself within seconds: wait for what comes of it.
_PASSING = frozenset({"Initialized", "Starting", "Stopping", "Finished", "Waiting"})
_DATA = "/var/lib/etcd"


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """Bootstrapping etcd on one control plane node. ``others``: the cluster's other control plane nodes. ``recovery``:
    from a snapshot, when no node's etcd serves any more.
    """

    connector: Connector
    node: Node
    cluster: str
    deadline: Deadline
    others: t.Sequence[Node] = ()
    recovery: Recovery | None = None
    progress: t.Callable[[str], None] = no_progress

    def plan(self, *, check_mode: bool, planned: bool) -> Plan:
        """Empty when etcd has data, here or elsewhere. ``planned``: the node is not configured yet, so it is predicted,
        not called.
        """
        if check_mode and planned:
            return self._unless_elsewhere(check_mode)
        return steadily(lambda: self._plan_once(check_mode), deadline=self.deadline, progress=self.progress)

    def _plan_once(self, check_mode: bool) -> Plan:
        wanted = {State.OURS, State.MAINTENANCE} if check_mode else {State.OURS}
        sight = self.connector.wait(self.node, wanted, deadline=self.deadline, progress=self.progress)
        with t.cast(Client, sight.client) as client:
            if sight.state is State.MAINTENANCE:  # the task before this one, in the same check run, configures it
                return self._unless_elsewhere(check_mode)
            if not self._is_bootstrapped(client):
                return self._unless_elsewhere(check_mode, self._discovered(client))
            self._judge_data(self.node, client)
            return Plan()

    def _judge_data(self, node: Node, client: Client) -> None:
        """Data that is there is all there has to be, unless it is to be recovered and does not serve."""
        if self.recovery:
            require_service(node, client, self.deadline, self.progress)

    def _unless_elsewhere(self, check_mode: bool, discovered: t.Sequence[Node] = ()) -> Plan:
        """A node that is new, or was made again, joins the members that there are. Bootstrapping it would start a second
        etcd beside them, so those of whom nothing is known are waited for; a check only asks those who answer. Those
        whom only discovery knows may be gone, so they are not waited for.
        """
        for other in (*self.others, *discovered):
            sight = self._sight_of(other, check_mode or other not in self.others)
            try:
                if sight.state is State.OURS and sight.client and _holds_etcd(sight.client):
                    self._judge_data(other, sight.client)
                    self.progress(f"{other.name} runs etcd already: {self.node.name} joins it by itself")
                    return Plan()
            finally:
                sight.close()
        return self._creation()

    def _discovered(self, client: Client) -> list[Node]:
        """Further control plane nodes of the cluster as the node's discovery knows them, which may be switched off."""
        try:
            found = info.members(client)
        except HomelabError:
            return []
        known = {self.node.address, *(other.address for other in self.others)}
        others = [one for one in found if one["type"] == "controlplane" and not known & set(one["addresses"])]
        return [Node(one["name"], one["addresses"][0], "controlplane") for one in others if one["addresses"]]

    def _sight_of(self, other: Node, at_once: bool) -> Sight:
        if at_once:
            return self.connector.look(other)
        wanted = {State.OURS, State.MAINTENANCE}
        return self.connector.wait(other, wanted, deadline=self.deadline, progress=self.progress)

    def _creation(self) -> Plan:
        after = {"first member": self.node.name, **(self.recovery.shown() if self.recovery else {})}
        return Plan.of([Change(f"etcd/{self.cluster}", "create", after=after)])

    def _is_bootstrapped(self, client: Client) -> bool:
        """From the service's state and its data directory; etcd itself hangs when it is asked before its time."""

        def check() -> bool | Pending:
            etcd = self._service(client)
            if etcd.state == "Running":
                return True
            if _has_data(client):
                return True
            if etcd.state == "Failed":
                raise self._failed(etcd)
            if etcd.state in _PASSING:
                return Pending(f"etcd is {etcd.state}: {etcd.last_event}")
            return False

        return wait_for(f"what etcd on {self.node.name} does", check, deadline=self.deadline, progress=self.progress)

    def _service(self, client: Client) -> Service:
        services = {service.id: service for service in client.services()}
        if "etcd" in services:
            return services["etcd"]
        if "trustd" in services or _may_be_control_plane(client):
            return Service("etcd", "Initialized", None, "not loaded yet")  # its boot has not come to it
        raise Refused(
            f"bootstrap etcd on {self.node.name}",
            of=client.of,
            answer="it is no control plane node: it has no etcd service",
            hint="Give the address of a control plane node.",
        )

    def _failed(self, etcd: Service) -> HomelabError:
        return TaskFailed(
            f"bootstrap etcd on {self.node.name}", of=f"its etcd service is {etcd.state}", answer=etcd.last_event
        )

    def apply(self) -> None:
        """Bootstrap, and wait until etcd runs: only then would a second call be refused."""
        wait_for(
            f"{self.node.name} take the bootstrap",
            lambda: steadily(self._call, deadline=self.deadline, progress=self.progress),
            deadline=self.deadline,
            progress=self.progress,
            of=f"Talos node {self.node.name} at {self.node.address}",
        )
        wait_for(
            f"etcd on {self.node.name} run",
            self._runs,
            deadline=self.deadline,
            progress=self.progress,
            of=f"Talos node {self.node.name} at {self.node.address}",
        )

    def _call(self) -> bool | Pending:
        try:
            with self.connector.open(self.node) as client:
                if self._is_bootstrapped(client):  # a call whose answer was lost
                    return True
                if self.recovery:
                    self.progress(f"bringing {self.recovery.snapshot.path.name} to {self.node.name}")
                    self.recovery.bootstrap(client)
                else:
                    client.bootstrap()
        except Conflict as error:
            if status.code_of(error) != "ALREADY_EXISTS":
                raise
        except Refused as error:
            if status.code_of(error) != "FAILED_PRECONDITION":
                raise
            return Pending(tidy(error.answer))
        return True

    def _runs(self) -> bool | Pending:
        try:
            with self.connector.open(self.node) as client:
                etcd = self._service(client)
        except Unreachable as error:
            return Pending(error.answer)
        if etcd.state == "Failed":
            raise self._failed(etcd)
        if etcd.state == "Running" and etcd.healthy is not False:
            return True
        return Pending(f"etcd is {etcd.state}: {etcd.health_message or etcd.last_event}")


def _may_be_control_plane(client: Client) -> bool:
    """By its config; a machine that does not tell its type yet may be one."""
    try:
        return info.machine_type(client) in ("controlplane", "init")
    except NotFound:
        return True


def _holds_etcd(client: Client) -> bool:
    running = any(service.id == "etcd" and service.state == "Running" for service in client.services())
    return running or _has_data(client)


def _has_data(client: Client) -> bool:
    """The node refuses a bootstrap exactly when this directory has content."""
    try:
        return bool(client.list_directory(_DATA))
    except HomelabError as error:
        if unimplemented(error):
            return False
        raise
