# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether etcd keeps its quorum when nodes go away: judged before they are told to."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import HomelabError, Refused
from ..waiting import Deadline, no_progress
from . import etcd, info
from .client import Client, Member
from .inputs import Node
from .node import Connector, State, steadily
from .pool import in_pool

Addresses = t.Mapping[str, t.Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Voter:
    """A voting member of etcd. ``healthy``: its service runs and answers; ``address`` is that of its node, ``hosts`` are
    those of its URLs.
    """

    name: str
    address: str
    healthy: bool
    hosts: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Members:
    """etcd's members: those that vote, and those that only learn and that nobody misses."""

    voters: tuple[Voter, ...]
    learners: tuple[Voter, ...] = ()


@dataclasses.dataclass(frozen=True)
class Leaving:
    """A node on which etcd runs and that is to go away; ``name`` is what the machine calls itself."""

    node: Node
    name: str

    def is_(self, voter: Voter) -> bool:
        return self.name == voter.name or self.node.address in {voter.address, *voter.hosts}


@dataclasses.dataclass(frozen=True)
class Guard:
    """Judges for a task. ``nodes`` are those of the task: they tell the members, and where a member can be asked when
    etcd has a network of its own. ``hint`` is what to do instead.
    """

    connector: Connector
    nodes: t.Sequence[Node]
    deadline: Deadline
    hint: str
    progress: t.Callable[[str], None] = no_progress

    def members(self, asked: str) -> Members:
        """As the first node tells them whose etcd answers. Raises when none does: without a quorum it knows no members."""
        why = "etcd does not run"
        try:
            found = steadily(self._ask, deadline=self.deadline, progress=self.progress)
            if found is not None:
                return found
        except HomelabError as error:
            why = f"etcd does not tell its members: {error.answer or error.message}"
        raise refusal(asked, why, self.hint)

    def judge(self, asked: str, found: Members, leaving: t.Sequence[Leaving], *, leave: bool = False) -> None:
        """Raise when these must not go away together. One that runs etcd and is none of its members is not understood,
        so it stays.
        """
        known = (*found.voters, *found.learners)
        strange = [one.name for one in leaving if not any(one.is_(voter) for voter in known)]
        if strange:
            there = f"it has {_names(known)}"
            why = f"etcd runs on {', '.join(strange)}, and none of its members has that name or address: {there}"
        else:
            gone = {voter.name for voter in found.voters if any(one.is_(voter) for one in leaving)}
            why = problem(found.voters, gone, leave=leave)
        if why:
            raise refusal(asked, why, self.hint)

    def _ask(self) -> Members | None:
        """None when etcd runs on none of the nodes; raises when none of those where it runs answers."""
        failure: HomelabError | None = None
        for node in self.nodes:
            try:
                with self.connector.open(node) as client:
                    if runs_etcd(client):
                        return self._census(client.etcd_members(), lambda: _discovered(client))
            except HomelabError as error:
                failure = error
        if failure:
            raise failure
        return None

    def _census(self, members: t.Sequence[Member], discovered: t.Callable[[], Addresses]) -> Members:
        """The members, each that votes asked for its health; where Talos's discovery knows it when nobody answers as it
        at the addresses that the task and etcd know.
        """
        voting = [member for member in members if not member.learner]
        well = in_pool(lambda member: self._verdict(member, self._addresses(member)), voting)
        if None in well:
            known = discovered()
            left = [member for member, verdict in zip(voting, well, strict=True) if verdict is None]
            found = iter(in_pool(lambda member: self._verdict(member, self._others(member, known)), left))
            well = [next(found) if verdict is None else verdict for verdict in well]
        voters = [self._voter(member, verdict is True) for member, verdict in zip(voting, well, strict=True)]
        learners = [self._voter(member, healthy=False) for member in members if member.learner]
        return Members(tuple(sorted(voters, key=lambda voter: voter.name)), tuple(learners))

    def _voter(self, member: Member, healthy: bool) -> Voter:
        addresses = self._addresses(member)
        address = addresses[0] if addresses else ""
        return Voter(member.hostname or address, address, healthy, frozenset(etcd.hosts_of(member)))

    def _addresses(self, member: Member) -> list[str]:
        """Where its node may answer: as the task has it, then as etcd has it, which may be a network of its own."""
        node = etcd.node_of(member, self.nodes)
        return list(dict.fromkeys([*([node.address] if node else []), *sorted(etcd.hosts_of(member))]))

    def _others(self, member: Member, known: Addresses) -> list[str]:
        """Further addresses of its node."""
        return [address for address in known.get(member.hostname, ()) if address not in self._addresses(member)]

    def _verdict(self, member: Member, addresses: t.Sequence[str]) -> bool | None:
        """Whether it is well, None when nobody answers as it at these addresses."""
        hosts = etcd.hosts_of(member)
        for address in addresses:
            # That somebody else has its name at an address that etcd does not know is no proof.
            verdict = self._look(address, "" if address in hosts else member.hostname)
            if verdict is not None:
                return verdict
        return None

    def _look(self, address: str, name: str) -> bool | None:
        """Whether etcd is well there; None when nobody answers, or not the machine of that name."""
        sight = self.connector.look(Node(address, address, "controlplane"))
        try:
            if sight.state is not State.OURS or not sight.client:
                return None
            if name and sight.client.hostname() != name:
                return None
            return is_well(sight.client)
        except HomelabError:
            return False
        finally:
            sight.close()


def _discovered(client: Client) -> Addresses:
    """Addresses of the cluster's nodes as discovery has them, by host name; none where it is switched off."""
    try:
        return {one["name"]: one["addresses"] for one in info.members(client)}
    except HomelabError:
        return {}


def runs_etcd(client: Client) -> bool:
    """Whether etcd runs here: otherwise this node is nothing that a quorum could lose."""
    return any(service.id == "etcd" and service.state == "Running" for service in client.services())


def is_well(client: Client) -> bool:
    """Whether etcd runs here and answers."""
    service = next((service for service in client.services() if service.id == "etcd"), None)
    return service is not None and service.state == "Running" and service.healthy is True


def problem(found: t.Sequence[Voter], leaving: t.Collection[str], *, leave: bool) -> str:
    """Why these members (names or addresses) must not go away together, empty when they may. ``leave``: they are removed
    from etcd first; otherwise they stay members that are away. The only member may be away: there is nobody to have a
    quorum with.
    """
    gone = [voter for voter in found if voter.name in leaving or voter.address in leaving]
    if not gone:
        return ""
    if leave and len(gone) == len(found):
        return f"{_names(gone)} would take the last data of etcd along, and with it the cluster"
    if not leave and (len(found) == 1 or not any(voter.healthy for voter in gone)):
        return ""
    members = len(found) - len(gone) if leave else len(found)
    well = sum(voter.healthy and voter not in gone for voter in found)
    needed = members // 2 + 1
    if well >= needed:
        return ""
    ill = [voter for voter in found if not voter.healthy]
    state = f"{len(found)} voting members, not healthy: {_names(ill)}" if ill else f"{len(found)} voting members"
    return f"etcd has {state}; without {_names(gone)} {well} would be left, and its quorum is {needed} of {members}"


def refusal(asked: str, why: str, hint: str) -> HomelabError:
    return Refused(asked, of="etcd's quorum", answer=why, hint=hint)


def _names(found: t.Iterable[Voter]) -> str:
    return ", ".join(voter.name for voter in found) or "none"
