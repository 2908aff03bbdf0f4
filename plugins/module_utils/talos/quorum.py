# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether etcd keeps its quorum when nodes go away: judged before they are told to."""

from __future__ import annotations

import dataclasses
import typing as t
import urllib.parse

from ..errors import HomelabError, Refused
from .client import Client
from .inputs import Node
from .node import Connector, State
from .pool import in_pool


@dataclasses.dataclass(frozen=True)
class Voter:
    """A voting member of etcd. ``healthy``: its service runs and answers; ``address`` is that of its node."""

    name: str
    address: str
    healthy: bool


def voters(connector: Connector, client: Client) -> list[Voter]:
    """All voting members, as the node behind ``client`` knows them, each asked for its health. Raises when etcd does not
    answer there: without a quorum it knows no members.
    """
    members = [member for member in client.etcd_members() if not member.learner]

    def look(index: int) -> Voter:
        member = members[index]
        address = _host(member.peer_urls)
        return Voter(member.hostname or address, address, bool(address) and _is_well(connector, address))

    return sorted(in_pool(look, range(len(members))), key=lambda voter: voter.name)


def runs_etcd(client: Client) -> bool:
    """Whether etcd runs here: otherwise this node is nothing that a quorum could lose."""
    return any(service.id == "etcd" and service.state == "Running" for service in client.services())


def problem(found: t.Sequence[Voter], leaving: t.Collection[str], *, leave: bool) -> str:
    """Why these members must not go away together, empty when they may. ``leave``: they are removed from etcd first;
    otherwise they stay members that are away. The only member may be away: there is nobody to have a quorum with.
    """
    gone = [voter for voter in found if voter.name in leaving]
    if not gone:
        return ""
    if leave and len(gone) == len(found):
        return f"{_names(gone)} would take the last data of etcd along, and with it the cluster"
    if not leave and (len(found) == 1 or not any(voter.healthy for voter in gone)):
        return ""
    members = len(found) - len(gone) if leave else len(found)
    well = sum(voter.healthy and voter.name not in leaving for voter in found)
    needed = members // 2 + 1
    if well >= needed:
        return ""
    ill = [voter for voter in found if not voter.healthy]
    state = f"{len(found)} voting members, not healthy: {_names(ill)}" if ill else f"{len(found)} voting members"
    return f"etcd has {state}; without {_names(gone)} {well} would be left, and its quorum is {needed} of {members}"


def refusal(asked: str, why: str, hint: str) -> HomelabError:
    return Refused(asked, of="etcd's quorum", answer=why, hint=hint)


def _is_well(connector: Connector, address: str) -> bool:
    sight = connector.look(Node(address, address, "controlplane"))
    try:
        if sight.state is not State.OURS or not sight.client:
            return False
        etcd = next((service for service in sight.client.services() if service.id == "etcd"), None)
        return etcd is not None and etcd.state == "Running" and etcd.healthy is True
    except HomelabError:
        return False
    finally:
        sight.close()


def _host(urls: t.Sequence[str]) -> str:
    return next((urllib.parse.urlsplit(url).hostname or "" for url in urls), "")


def _names(found: t.Iterable[Voter]) -> str:
    return ", ".join(voter.name for voter in found) or "none"
