# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of a cluster as hosts: one call to each endpoint, and facts of each member when they are wanted."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import re
import typing as t

from ..errors import HomelabError, InvalidInput, NotFound, Unreachable
from . import asking, info
from .inputs import Node
from .node import Connector
from .pool import in_pool

Json = dict[str, t.Any]
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

#: Entries of a cache of another form are not read.
FORM = 2
#: Facts that each member can be asked for. The stage comes with any of them.
FACTS = ("stage", "hostname", "services", "disks", "links", "addresses", "extensions")
#: Variables that are known only with facts, and the fact that gives each.
LATE = {
    **dict.fromkeys(("stage", "ready", "unmet", "reachable"), "stage"),
    **dict.fromkeys(("hostname", "domain"), "hostname"),
    **{name: name for name in ("services", "disks", "links", "extensions")},
    "link_addresses": "addresses",
    "schematic": "extensions",
}
#: Groups by what a member is, and the variables that they are made of.
GROUPS = {"type": "type", "version": "version", "stage": "stage"}


def networks(given: t.Sequence[str]) -> list[Network]:
    """The option ``preferred_networks``."""
    try:
        return [ipaddress.ip_network(text, strict=False) for text in given]
    except ValueError as error:
        raise InvalidInput(f"preferred_networks: {error}", hint="It looks like 192.168.30.0/24.") from error


def read(connector: Connector, endpoints: t.Sequence[Node], heard: t.Callable[[str], None]) -> list[Json]:
    """The members that any endpoint knows. ``heard`` is told of endpoints that do not answer, or do not know all.

    All are asked, at the same time: a node that does not reach the discovery service lists only itself, and an answer
    of it alone looks like that of a cluster of one. Raises what the only endpoint says, or :class:`errors.Unreachable`
    with what all of them say.
    """
    answers = in_pool(lambda node: _members_by(connector, node), endpoints)
    told = {node: answer for node, answer in zip(endpoints, answers, strict=True) if isinstance(answer, list)}
    failures = [answer for answer in answers if isinstance(answer, HomelabError)]
    if not told:
        raise failures[0] if len(failures) == 1 else _nobody(failures)
    for failure in failures:
        heard(failure.message)
    members = _merged(told.values())
    for node, answer in told.items():
        missing = _without(members, answer)
        if missing:
            heard(
                f"Discovery on {node.name} sees only {_names(answer)}, and not {_names(missing)}, which other endpoints "
                "know. Members that no endpoint sees are missing here. Does it reach its discovery service?"
            )
    return members


def _members_by(connector: Connector, node: Node) -> list[Json] | HomelabError:
    try:
        with connector.open(node) as client:
            found, of = info.members(client), client.of
    except HomelabError as error:
        return error
    hint = "Is cluster.discovery off in the machine config?"
    return found or NotFound("read the members of the cluster", of=of, answer="it knows none", hint=hint)


def _nobody(failures: t.Sequence[HomelabError]) -> Unreachable:
    return Unreachable(
        "read the members of the cluster",
        of=f"{len(failures)} endpoints",
        answer=" ".join(error.message for error in failures),
    )


def _merged(lists: t.Iterable[t.Sequence[Json]]) -> list[Json]:
    """Each member once, as the first list tells it."""
    found: dict[str, Json] = {}
    for one in itertools.chain.from_iterable(lists):
        found.setdefault(key(one), one)
    return list(found.values())


def _without(members: t.Sequence[Json], known: t.Sequence[Json]) -> list[Json]:
    """Those members that are not among the known ones."""
    keys = {key(one) for one in known}
    return [one for one in members if key(one) not in keys]


def _names(members: t.Sequence[Json]) -> str:
    return ", ".join(sorted(one["name"] for one in members))


def key(member: Json) -> str:
    """What tells a member from all others: two may have the same host name."""
    return str(member["node_id"] or " ".join([member["name"], *member["addresses"]]))


def facts_of(
    connector: Connector, members: t.Sequence[Json], facts: t.Sequence[str], preferred: t.Sequence[Network]
) -> dict[str, Json]:
    """What each member tells of itself, by its :func:`key`; one that does not answer has ``reachable`` false."""
    asked = [one for one in members if one["addresses"]]
    nodes = [Node(one["name"], sorted_addresses(one, preferred)[0], "controlplane") for one in asked]
    question = info.Question(connector, [fact for fact in facts if fact in info.FACTS])
    answers = asking.each(nodes, question.ask)
    return {key(one): answer for one, answer in zip(asked, answers, strict=True)}


def sorted_addresses(member: Json, preferred: t.Sequence[Network]) -> list[str]:
    """Addresses of preferred networks first, in the order of those, then IPv4 before IPv6; link-local ones last."""

    def rank(text: str) -> tuple[bool, int, int]:
        address = ipaddress.ip_address(text)
        place = next((at for at, network in enumerate(preferred) if address in network), len(preferred))
        return (address.is_link_local or address.is_loopback, place, address.version)

    return sorted(member["addresses"], key=rank)


def host_names(members: t.Sequence[Json]) -> list[str]:
    """A name for each member, in order: its host name; with a second one of that name, both have their address appended."""
    found = [one["name"] for one in members]
    return [
        f"{name}-{one['addresses'][0]}" if found.count(name) > 1 and one["addresses"] else name
        for name, one in zip(found, members, strict=True)
    ]


def variables(member: Json, facts: Json, preferred: t.Sequence[Network]) -> Json:
    """Host variables without their prefix."""
    told = {key: value for key, value in facts.items() if key not in ("name", "address", "maintenance")}
    if "addresses" in told:
        told["link_addresses"] = told.pop("addresses")
    if facts and not facts.get("reachable"):
        told["stage"] = "unreachable"
        told.pop("error", None)
    return {**told, **member, "addresses": sorted_addresses(member, preferred)}


def groups(found: Json, group_by: t.Sequence[str], prefix: str) -> list[str]:
    """Names of the groups that a member with these variables is in."""
    return [
        re.sub(r"[^A-Za-z0-9_]", "_", f"{prefix}{kind}_{found[GROUPS[kind]]}")
        for kind in group_by
        if found.get(GROUPS[kind])
    ]


def source(connector: Connector, endpoints: t.Sequence[Node], facts: t.Sequence[str]) -> list[str]:
    """Whose answers a cache holds: the cluster's authority, whom we ask, and for what."""
    authority = hashlib.sha256(connector.identity.ca.strip()).hexdigest()
    return [authority, *(node.address for node in endpoints), *facts]


def as_entry(members: t.Sequence[Json], facts: t.Mapping[str, Json], of: t.Sequence[str]) -> Json:
    return {"form": FORM, "of": list(of), "members": list(members), "facts": dict(facts)}


def from_entry(entry: t.Any, of: t.Sequence[str]) -> tuple[list[Json], dict[str, Json]] | None:
    """None when there is no entry, or it is of another form or source."""
    if not isinstance(entry, dict) or entry.get("form") != FORM or entry.get("of") != list(of):
        return None
    if not isinstance(entry.get("members"), list) or not isinstance(entry.get("facts"), dict):
        return None
    return entry["members"], entry["facts"]
