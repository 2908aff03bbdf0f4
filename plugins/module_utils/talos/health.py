# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a cluster to be healthy, and saying at once why it will not be.

Each look asks every node, control planes first and as many at once as the pool allows. A look ends with all well, with the first reason why not yet, or with
an error when waiting is pointless: a service that failed, a static pod that crashes, a machine that lost its config.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import HomelabError, TaskFailed, Unreachable
from ..waiting import Backoff, Deadline, Pending, no_progress, wait_for
from . import etcd
from .client import Client, Service
from .inputs import Node
from .node import Connector, Patience, State, lacks_only_readiness, silence
from .pool import in_pool
from .static_pods import StaticPods

#: Seconds that a certificate of maintenance mode, or of nobody we know, may last: right after an apply it may.
PATIENCE = 5.0
#: How many looks in a row at a node may end in an error that may pass.
FAILURES = 5


@dataclasses.dataclass
class Health:
    """Watching the nodes of one cluster. ``node_ready``: wait for Kubernetes' Ready too, which needs a CNI.
    ``complete``: these are all nodes, so that etcd has no other members.
    """

    connector: Connector
    nodes: t.Sequence[Node]
    deadline: Deadline
    node_ready: bool = True
    complete: bool = True
    censor: t.Callable[[str], str] = str
    progress: t.Callable[[str], None] = no_progress
    _failures: dict[str, int] = dataclasses.field(default_factory=dict)
    _clients: dict[str, Client] = dataclasses.field(default_factory=dict)
    _pods: dict[str, StaticPods] = dataclasses.field(default_factory=dict)
    _strange: dict[str, Patience] = dataclasses.field(default_factory=dict)
    _maintenance_since: dict[str, float] = dataclasses.field(default_factory=dict)
    _stages: dict[str, str] = dataclasses.field(default_factory=dict)

    def wait(self) -> list[dict[str, t.Any]]:
        """``[{name, address, type, stage, ready}]`` when all is well."""
        try:
            return wait_for(
                "the cluster be healthy",
                self.look,
                deadline=self.deadline,
                of=f"Talos nodes {', '.join(node.name for node in self.nodes)}",
                progress=self.progress,
                backoff=Backoff(first=0.2, most=1.0),
            )
        finally:
            for client in self._clients.values():
                client.channel.close()
            self._clients.clear()

    def look(self) -> list[dict[str, t.Any]] | Pending:
        """One look at all nodes, those of a type at once: a node that is off costs the time of a connection, and several
        cost it once. Control planes first, as a worker's silence is judged by whether one of them is up.
        """
        controls = [node for node in self.nodes if node.type == "controlplane"]
        workers = [node for node in self.nodes if node.type != "controlplane"]
        reasons = in_pool(self._look_at, controls) + in_pool(self._look_at, workers)
        reason = next(filter(None, reasons), "")
        if reason:
            return Pending(reason)
        return [
            {"name": node.name, "address": node.address, "type": node.type, "stage": self._stages[node.name]}
            for node in self.nodes
        ]

    def _look_at(self, node: Node) -> str:
        """Why this node is not healthy yet, or the empty string; an error that may pass is a reason too."""
        try:
            reason = self._reason(node)
        except HomelabError as error:
            self._drop(node)
            if not self._may_pass(node, error):
                raise
            return f"{node.name}: {error.answer or error.message}"
        self._failures.pop(node.name, None)
        return reason

    def _may_pass(self, node: Node, error: HomelabError) -> bool:
        """A node that is away may come back; one that answers with errors gets a few more looks."""
        self._failures[node.name] = self._failures.get(node.name, 0) + 1
        return isinstance(error, Unreachable) or (error.retryable and self._failures[node.name] < FAILURES)

    def _reason(self, node: Node) -> str:
        """Why this node is not healthy yet, or the empty string."""
        client = self._client(node)
        if isinstance(client, Pending):
            return f"{node.name}: {client.reason}"
        services = client.services()
        failed = next((service for service in services if service.state == "Failed"), None)
        if failed:
            raise self._failed_service(node, client, failed)
        checks: list[t.Callable[[], str]] = [lambda: _services(services)]
        if node.type == "controlplane":
            checks += [lambda: self._etcd(client, services), lambda: self._static_pods(node).look(client)]
        checks.append(lambda: self._machine(node, client))
        if self.node_ready:
            checks.append(lambda: _kubernetes_node(client))
        reasons = [check() for check in checks]
        return next((f"{node.name}: {reason}" for reason in reasons if reason), "")

    def _client(self, node: Node) -> Client | Pending:
        if node.name in self._clients:
            return self._clients[node.name]
        sight = self.connector.look(node)
        if sight.state is State.OURS and sight.client:
            self._maintenance_since.pop(node.name, None)
            self._clients[node.name] = sight.client
            return sight.client
        sight.close()
        strange = self._strange.setdefault(node.name, Patience(self.deadline, PATIENCE))
        strange.judge(node, sight)
        if sight.state is State.MAINTENANCE:
            self._judge_maintenance(node)
        else:
            self._maintenance_since.pop(node.name, None)
        controls = [one.name for one in self.nodes if one.type == "controlplane"]
        return Pending(silence(node, sight, any(name in self._clients for name in controls) or not controls))

    def _judge_maintenance(self, node: Node) -> None:
        since = self._maintenance_since.setdefault(node.name, self.deadline.elapsed())
        if self.deadline.elapsed() - since < PATIENCE:
            return
        raise TaskFailed(
            f"see {node.name} become healthy",
            of=f"Talos node {node.name} at {node.address}",
            answer="the machine is in maintenance mode: it has no config",
            hint="It was never configured, or was reset or recreated since: run talos_apply_config.",
        )

    def _static_pods(self, node: Node) -> StaticPods:
        if node.name not in self._pods:
            self._pods[node.name] = StaticPods(node, self.deadline.elapsed, self.censor)
        return self._pods[node.name]

    def _drop(self, node: Node) -> None:
        client = self._clients.pop(node.name, None)
        if client:
            client.channel.close()

    def _failed_service(self, node: Node, client: Client, service: Service) -> HomelabError:
        try:
            lines = client.service_log(service.id, 5)
        except HomelabError:  # the log is a courtesy: its absence must not hide the failure
            lines = []
        return TaskFailed(
            f"see {node.name} become healthy",
            of=client.of,
            answer=self.censor(f"the service {service.id} failed: {service.last_event}"),
            hint=self.censor("Its last lines: " + " | ".join(lines)) if lines else "",
            node=node.name,
            service=service.id,
        )

    def _machine(self, node: Node, client: Client) -> str:
        status = client.machine_status()
        stage, conditions = str(status.get("stage", "unknown")), status.get("status") or {}
        self._stages[node.name] = stage
        if not self.node_ready and lacks_only_readiness(status):
            return ""
        unmet = conditions.get("unmetConditions") or []
        if not self.node_ready:
            unmet = [one for one in unmet if one.get("name") != "nodeReady"]
        if unmet:
            return f"{stage}, {'; '.join(str(one.get('reason') or one.get('name')) for one in unmet)}"
        ready = conditions.get("ready") or not self.node_ready
        return "" if stage == "running" and ready else f"the stage is {stage}, not ready"

    def _etcd(self, client: Client, services: t.Sequence[Service]) -> str:
        """Members are the control planes, each once. Asked only when the service runs, or it would hang."""
        service = next((service for service in services if service.id == "etcd"), None)
        if service is None or service.state != "Running":
            return f"etcd is {service.state if service else 'not there'}"
        controls = [node for node in self.nodes if node.type == "controlplane"]
        addresses = {node.address for node in controls}
        # A member that stayed from a machine's former life may have its name, but not its address.
        members = sorted(client.etcd_members(), key=lambda member: not etcd.hosts_of(member) & addresses)
        learners = [member.hostname for member in members if member.learner]
        if learners:
            return f"the etcd member {', '.join(learners)} is a learner"
        owners = [etcd.node_of(member, controls) for member in members]
        missing = [node.name for node in controls if node not in owners]
        if missing:
            there = f"{len(controls) - len(missing)} of {len(controls)} members"
            return f"etcd has {there}, without {', '.join(missing)}"
        if any(not member.hostname for member in members):
            return "an etcd member has not started"
        strangers = [
            member
            for index, (member, owner) in enumerate(zip(members, owners, strict=True))
            if owner is None or owner in owners[:index]
        ]
        if strangers and self.complete:
            told = ", ".join(f"{one.hostname} ({', '.join(one.peer_urls)})" for one in strangers)
            return f"etcd has a member that is none of the nodes: {told}"
        return ""


def _services(services: t.Sequence[Service]) -> str:
    for service in services:
        if service.state in ("Finished", "Skipped"):
            continue
        if service.state != "Running":
            return f"the service {service.id} is {service.state}: {service.last_event}"
        if service.healthy is False:
            return f"the service {service.id} is not healthy: {service.health_message or service.last_event}"
    return ""


def _kubernetes_node(client: Client) -> str:
    """Each node knows of itself whether Kubernetes calls it Ready."""
    statuses = client.resources("k8s", "NodeStatuses.kubernetes.talos.dev")
    if not statuses:
        return "its Kubernetes node is not registered yet"
    waiting = [name for name, spec in statuses.items() if not (spec or {}).get("nodeReady")]
    return f"the Kubernetes node {waiting[0]} is not Ready" if waiting else ""
