# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's etcd as its members tell it, compared with the nodes that ought to be its members.

Everything but the reason of a silent etcd is allowed to the role ``os:etcd:backup`` as well.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t
import urllib.parse

from ..errors import HomelabError, Refused, Unreachable
from . import status
from .asking import Answer
from .client import Client, Member, MemberStatus
from .inputs import Node
from .node import Connector

Json = dict[str, t.Any]

#: Entries of raft that a member may be behind while it is well: answers of several members are not of one moment.
LAG = 1000


@dataclasses.dataclass(frozen=True)
class View:
    """What one node tells: its own member's status, all members as it knows them, and the alarms."""

    status: MemberStatus
    members: tuple[Member, ...]
    alarms: tuple[tuple[int, str], ...]


@dataclasses.dataclass(frozen=True)
class Question:
    """What each control plane node is asked: three calls, one more when its etcd does not answer."""

    connector: Connector

    def ask(self, node: Node) -> Answer:
        """``{"view": View}``. Raises when the node or its etcd does not answer."""
        with self.connector.open(node) as client:
            found = own_status(client)
            return {"view": View(found, tuple(client.etcd_members()), tuple(client.etcd_alarms()))}


def own_status(client: Client) -> MemberStatus:
    """The status of a node's member; when there is none, the error says what its service does instead."""
    try:
        return client.etcd_status()
    except (Unreachable, Refused) as error:
        if status.code_of(error) == "DEADLINE_EXCEEDED":
            raise _not_running(client, error) from error
        if status.code_of(error) == "UNIMPLEMENTED":
            error.hint = "Only control plane nodes have a member of etcd."
        raise


def _not_running(client: Client, error: HomelabError) -> HomelabError:
    """etcd's calls hang as long as it does not run, so the service says why."""
    try:
        service = next((one for one in client.services() if one.id == "etcd"), None)
    except HomelabError:  # the reason is a courtesy: it must not hide the failure
        return error
    if service is None or service.state == "Running":
        return error
    hint = "It waits to be bootstrapped, or to join the others." if service.state == "Preparing" else ""
    answer = f"the service etcd is {service.state}: {service.last_event}"
    return Unreachable("ask etcd", of=client.of, answer=answer, hint=hint, service=service.state)


def summary(nodes: t.Sequence[Node], answers: t.Sequence[Answer]) -> Json:
    """``{members, dead, leader, quorum, healthy, reasons}`` of what the nodes told, in the order of ``nodes``."""
    views = {node.name: answer["view"] for node, answer in zip(nodes, answers, strict=True) if "view" in answer}
    members = _members(nodes, answers, views)
    reasons = [*_silence(answers), *_disagreement(views), *_flaws(members)]
    leaders = {view.status.leader for view in views.values()} - {0}
    leader = next((one["name"] for one in members if len(leaders) == 1 and one["leader"]), None)
    if views and leader is None and len(leaders) < 2:
        reasons.append("etcd has no leader.")
    return {
        "members": members,
        "dead": [one for one in members if one["dead"]],
        "leader": leader,
        "quorum": _quorum(members),
        "healthy": not reasons,
        "reasons": reasons,
    }


def _members(nodes: t.Sequence[Node], answers: t.Sequence[Answer], views: t.Mapping[str, View]) -> list[Json]:
    """Every member that any node knows, sorted by name."""
    known: dict[int, Member] = {}
    for view in views.values():
        known.update({member.id: member for member in view.members if member.id not in known or member.hostname})
    statuses = {view.status.id: view.status for view in views.values()}
    leaders = {view.status.leader for view in views.values()}
    alarms: dict[int, set[str]] = collections.defaultdict(set)
    for view in views.values():
        for identifier, alarm in view.alarms:
            alarms[identifier].add(alarm)
    newest = max((one.raft_index for one in statuses.values()), default=0)
    rows = []
    for member in known.values():
        owner = next((name for name, view in views.items() if view.status.id == member.id), None)
        node = next((one for one in nodes if one.name == owner), None) or node_of(member, nodes)
        row = {
            "id": f"{member.id:016x}",
            "name": member.hostname or (node.name if node else ""),
            "node": node.name if node else None,
            "peer_urls": list(member.peer_urls),
            "client_urls": list(member.client_urls),
            "started": bool(member.hostname),
            "learner": member.learner,
            "leader": member.id in leaders,
            "alarms": sorted(alarms[member.id]),
            "dead": _death(member, node, answers),
        }
        rows.append({**row, **_status(statuses.get(member.id), newest)})
    return sorted(rows, key=lambda row: (row["name"], row["id"]))


def _status(found: MemberStatus | None, newest: int) -> Json:
    if found is None:
        return {"answered": False}
    told = dataclasses.asdict(found)
    for known in ("id", "leader", "learner"):
        told.pop(known)
    return {"answered": True, **told, "errors": list(found.errors), "raft_lag": newest - found.raft_index}


def hosts_of(member: Member) -> set[str]:
    """The hosts of a member's URLs."""
    hosts = (urllib.parse.urlsplit(url).hostname for url in (*member.peer_urls, *member.client_urls))
    return {host for host in hosts if host}


def node_of(member: Member, nodes: t.Sequence[Node]) -> Node | None:
    """The node that a member runs on: by an address of its URLs, else by its name. None when it is none of these."""
    hosts = hosts_of(member)
    by_address = next((node for node in nodes if node.address in hosts), None)
    return by_address or next((node for node in nodes if member.hostname and node.name == member.hostname), None)


def _death(member: Member, node: Node | None, answers: t.Sequence[Answer]) -> str:
    """Why a member is none that the cluster can count on, or the empty string."""
    if node is None:
        return "it is not one of the nodes"
    answer = next(one for one in answers if one["name"] == node.name)
    if "view" not in answer:
        return f"its node did not answer: {answer['error'].get('answer') or answer['error']['msg']}"
    if answer["view"].status.id != member.id:
        return f"its node has the member {answer['view'].status.id:016x} by now"
    return ""


def _silence(answers: t.Sequence[Answer]) -> list[str]:
    return [f"{answer['name']} did not answer." for answer in answers if "view" not in answer]


def _disagreement(views: t.Mapping[str, View]) -> list[str]:
    """Nodes that are of different clusters, or see different leaders."""
    lists = {name: frozenset((one.id, one.learner) for one in view.members) for name, view in views.items()}
    leaders = {name: view.status.leader for name, view in views.items()}
    reasons = []
    if len(set(lists.values())) > 1:
        told = ", ".join(f"{name} {len(found)}" for name, found in lists.items())
        reasons.append(f"The nodes know different members of etcd ({told}).")
    if len(set(leaders.values())) > 1:
        told = ", ".join(f"{name} {leader:016x}" for name, leader in leaders.items())
        reasons.append(f"The nodes name different leaders ({told}).")
    return reasons


def _flaws(members: t.Sequence[Json]) -> list[str]:
    reasons = []
    for member in members:
        of = f"The member {member['name'] or member['id']}"
        if member["dead"]:
            reasons.append(f"{of} is dead: {member['dead']}.")
        if not member["started"]:
            reasons.append(f"{of} has not started.")
        if member["learner"]:
            reasons.append(f"{of} is a learner, which has no vote.")
        reasons += [f"{of} has the alarm {alarm}." for alarm in member["alarms"]]
        reasons += [f"{of} says: {error}." for error in member.get("errors", [])]
        if member.get("raft_lag", 0) > LAG:
            reasons.append(f"{of} is {member['raft_lag']} entries behind.")
    return reasons


def _quorum(members: t.Sequence[Json]) -> Json:
    """Voters, how many of them must be alive, how many are, and how many more may fail."""
    voters = [member for member in members if not member["learner"]]
    alive = sum(1 for member in voters if member["answered"] and not member["dead"])
    needed = len(voters) // 2 + 1
    return {"voters": len(voters), "needed": needed, "alive": alive, "spare": max(0, alive - needed)}


def shown(answers: t.Sequence[Answer]) -> list[Answer]:
    """The answers as a result has them: with the id of the node's own member in place of all that it told."""
    rows = []
    for answer in answers:
        row = {key: value for key, value in answer.items() if key != "view"}
        if "view" in answer:
            row["member_id"] = f"{answer['view'].status.id:016x}"
        rows.append(row)
    return rows
