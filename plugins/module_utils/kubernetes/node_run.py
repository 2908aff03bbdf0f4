# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of one cluster: read, plan, apply. Everything that may refuse is asked before the first write."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import AccessDenied, Conflict, HomelabError, NotFound, Refused
from ..plan import Change, Plan, carry_out
from ..waiting import Deadline
from . import conditions, drain, node_changes, readiness, rights, shown
from .client import Client, Object
from .discovery import Resource
from .drain_run import BUDGETS, Drain, pods_of
from .node_changes import Wanted
from .together import together

NODES = Resource("v1", "Node", "nodes", False)
#: From this many nodes on, one LIST is better than a GET for each.
LIST_FROM = 2
#: How often a node is looked at again because somebody else has changed it meanwhile.
ATTEMPTS = 5


@dataclasses.dataclass
class Found:
    """What a task finds: the nodes by name, and the verdicts on the pods of those that are to be drained."""

    nodes: dict[str, Object]
    verdicts: dict[str, list[drain.Verdict]] = dataclasses.field(default_factory=dict)

    def of_fate(self, fate: drain.Fate) -> list[drain.Verdict]:
        return [verdict for verdicts in self.verdicts.values() for verdict in verdicts if verdict.fate == fate]


class Nodes:
    """The nodes of a task, in the order given. ``warn`` hears what the plan cannot show."""

    def __init__(
        self, client: Client, wanted: list[Wanted], options: drain.Options, warn: t.Callable[[str], None]
    ) -> None:
        self.client = client
        self.wanted = wanted
        self.options = options
        self.warn = warn
        self.found = Found({})
        #: The changes that were made, in order.
        self.made: list[Change] = []

    # -- read --------------------------------------------------------------------------------------------------------

    def read(self, *, absent: bool = False) -> None:
        """The nodes. Raises NotFound for those that are not there, unless they are to be absent."""
        if len(self.wanted) < LIST_FROM:
            live = self.client.get(NODES, "", self.wanted[0].name)
            nodes = [live] if live else []
        else:
            nodes = self.client.list(NODES)
        names = {one.name for one in self.wanted}
        self.found.nodes = {node["metadata"]["name"]: node for node in nodes if node["metadata"]["name"] in names}
        missing = [one.name for one in self.wanted if one.name not in self.found.nodes]
        if missing and not absent:
            raise NotFound(f"find {_nodes(missing)}", of=self.client.of, hint=self._known())

    def _known(self) -> str:
        try:
            known = [node["metadata"]["name"] for node in self.client.list(NODES)]
        except HomelabError:
            return ""
        return f"The cluster's nodes are {', '.join(known)}." if known else "The cluster has no nodes."

    # -- plan --------------------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """Labels, annotations, taints and scheduling. The server has judged each of the patches in a dry run."""
        self.read()
        changes = [node_changes.change_of(self.found.nodes[one.name], one) for one in self.wanted]
        due = [change for change in changes if change is not None]
        together(self._dry_run, due)
        return Plan.of(due)

    def _dry_run(self, change: Change) -> None:
        patch = node_changes.patch_of(self.found.nodes[change.operation.name], change.operation)
        patch = {**patch, "metadata": {k: v for k, v in patch.get("metadata", {}).items() if k != "resourceVersion"}}
        self.client.merge(NODES, "", change.operation.name, patch, dry_run=True)

    def plan_drain(self) -> Plan:
        """All are cordoned first, so that no pod moves from one to the next; then drained one after the other."""
        plan = self.plan()
        names = [one.name for one in self.wanted]
        pods = dict(zip(names, together(lambda name: pods_of(self.client, name, self.options), names), strict=True))
        budgets = self._budgets(pod for of_node in pods.values() for pod in of_node)
        for name in names:
            self.found.verdicts[name] = [drain.judge(pod, self.options, budgets) for pod in pods[name]]
        self._allowed()
        self._reachable()
        evictions = [
            drain.change_of(verdict.pod, name, self.options, budgets)
            for name in names
            for verdict in self.found.verdicts[name]
            if verdict.fate == "leave"
        ]
        self._may_evict(evictions)
        return plan + Plan.of(evictions)

    def _budgets(self, pods: t.Iterable[Object]) -> list[Object]:
        """Those of the cluster, if there is a pod for which they may matter."""
        leaving = any(drain.judge(pod, self.options, ()).fate in ("leave", "forbidden") for pod in pods)
        if not leaving or self.options.bypass_budgets:
            return []
        try:
            return self.client.list(BUDGETS)
        except AccessDenied:
            self.warn("PodDisruptionBudgets may not be read, so that which pods have to wait is not known beforehand.")
            return []

    def _allowed(self) -> None:
        forbidden = self.found.of_fate("forbidden")
        if forbidden:
            raise Refused(
                f"drain {_nodes(list(self.found.verdicts))}",
                of=self.client.of,
                answer="; ".join(f"pod {verdict.name}: {verdict.why}" for verdict in forbidden),
                hint="Nothing was changed.",
                forbidden=[{"pod": verdict.name, "reason": verdict.why} for verdict in forbidden],
            )

    def _reachable(self) -> None:
        for name, verdicts in self.found.verdicts.items():
            ready = conditions.condition(self.found.nodes[name], "Ready")
            if ready.get("status") == "Unknown" and any(one.fate in ("leave", "leaving") for one in verdicts):
                self.warn(
                    f"Node {name} does not answer ({ready.get('reason')}), so its pods will be terminating until it does, or is "
                    "deleted. skip_terminating_after goes on without them."
                )

    def _may_evict(self, evictions: list[Change]) -> None:
        verb, resource = ("delete", "pods") if self.options.bypass_budgets else ("create", "pods/eviction")
        if evictions:
            self._demand(verb, resource, {change.operation["metadata"]["namespace"] for change in evictions})

    def _demand(self, verb: str, resource: str, namespaces: set[str]) -> None:
        """In all namespaces, as drains need; who has it only in some may have it in those that matter."""
        asked = f"drain {_nodes(list(self.found.verdicts))}"
        try:
            rights.demand(self.client, [rights.Right(verb, resource)], asked)
        except AccessDenied:
            rights.demand(self.client, [rights.Right(verb, resource, "", name) for name in sorted(namespaces)], asked)

    def plan_removal(self) -> Plan:
        """Delete the Node objects; the pods that are still bound to them go with them."""
        self.read(absent=True)
        there = [one.name for one in self.wanted if one.name in self.found.nodes]
        together(lambda name: self.client.delete(NODES, "", name, dry_run=True), there)
        for name, pods in zip(
            there, together(lambda name: pods_of(self.client, name, self.options), there), strict=True
        ):
            self._left_behind(name, pods)
        return Plan.of(
            Change(f"Node/{name}", "delete", shown.whole(_brief(self.found.nodes[name])), operation=name)
            for name in there
        )

    def _left_behind(self, name: str, pods: list[Object]) -> None:
        left = [
            one for one in (drain.judge(pod, self.options, ()) for pod in pods) if one.fate in ("leave", "forbidden")
        ]
        if left:
            named = ", ".join(one.name for one in left[:5]) + (" …" if len(left) > 5 else "")
            self.warn(
                f"Node {name} still has {len(left)} pods ({named}): their budgets are not asked. state=drained asks."
            )

    # -- apply -------------------------------------------------------------------------------------------------------

    def apply(self, plan: Plan, seconds: float) -> Plan:
        """The nodes' own changes, then the drains, each within so many seconds. What was really changed."""
        try:
            for change in plan:
                if isinstance(change.operation, Wanted):
                    self._patch(change)
                    self.made.append(change)
            for name in self.found.verdicts:
                self._drain(name, [one for one in plan if one.before.get("node") == name], seconds)
        except HomelabError as error:
            error.made = self.made_in_order(plan).as_result()
            raise
        return self.made_in_order(plan)

    def _patch(self, change: Change) -> None:
        """Once more from what is there now, if somebody else changed the node since it was read."""
        wanted: Wanted = change.operation
        for attempt in range(1, ATTEMPTS + 1):
            patch = node_changes.patch_of(self.found.nodes[wanted.name], wanted)
            if not patch:
                return
            try:
                self.found.nodes[wanted.name] = self.client.merge(NODES, "", wanted.name, patch)
                return
            except Conflict:
                live = self.client.get(NODES, "", wanted.name)
                if live is None or attempt == ATTEMPTS:
                    raise
                self.found.nodes[wanted.name] = live

    def _drain(self, name: str, planned: list[Change], seconds: float) -> None:
        if not planned and not any(one.fate == "leaving" for one in self.found.verdicts[name]):
            return
        work = Drain(self.client, name, self.options, self.warn)
        try:
            work.run(planned, Deadline(seconds))
        finally:
            self.made += work.made

    def remove(self, plan: Plan, seconds: float) -> None:
        """Just these: a node whose kubelet still runs registers itself anew, under the same name."""
        uids = {name: str(live["metadata"]["uid"]) for name, live in self.found.nodes.items()}
        carry_out(
            plan,
            lambda change: self.client.delete(
                NODES, "", change.operation, more={"preconditions": {"uid": uids[change.operation]}}
            ),
        )
        names = [str(change.operation) for change in plan]
        wants = [
            readiness.Want(NODES.kind, NODES.api_version, name=name, gone=True, uid=uids[name], resource=NODES)
            for name in names
        ]
        try:
            readiness.wait(self.client, wants, Deadline(seconds), readiness.GONE)
            successors = together(lambda name: self.client.get(NODES, "", name), names)
        except HomelabError as error:
            error.made = plan.as_result()
            raise
        anew = [name for name, live in zip(names, successors, strict=True) if live is not None]
        if anew:
            self.warn(f"{', '.join(anew)} registered anew since: a kubelet that still runs there does that.")

    def made_in_order(self, plan: Plan) -> Plan:
        """The changes that were made in the plan's order, then those of pods that came meanwhile."""
        return Plan.of(
            [*(one for one in plan if one in self.made), *(one for one in self.made if one not in plan.changes)]
        )

    # -- tell --------------------------------------------------------------------------------------------------------

    def after(self) -> list[dict[str, t.Any]]:
        """The nodes as they are to be; of the plan, so before it is applied."""
        return [_told(node_changes.predicted(self.found.nodes[one.name], one)) for one in self.wanted]

    def stayed(self) -> list[dict[str, str]]:
        return [{"pod": verdict.name, "reason": verdict.why} for verdict in self.found.of_fate("stay")]


def _brief(node: Object) -> Object:
    """What of a node is worth to be shown when it goes: not what its kubelet reports."""
    return {key: node[key] for key in ("metadata", "spec") if key in node}


def _told(node: Object) -> dict[str, t.Any]:
    meta, spec = node["metadata"], node["spec"]
    return {
        "name": meta["name"],
        "schedulable": not spec.get("unschedulable"),
        "labels": meta.get("labels") or {},
        "taints": spec.get("taints") or [],
    }


def _nodes(names: list[str]) -> str:
    return f"node {names[0]}" if len(names) == 1 else f"nodes {', '.join(names)}"
