# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewalls as they are; only the parts that somebody wants to change are read."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import InvalidInput
from ..api.lanes import together
from ..api.session import Session, listing, record, segment
from .firewall_rules import Rule, lets_in, of_api
from .firewall_spec import Alias, Firewall, Group, IpSet, address

DATACENTER = "/cluster/firewall"

#: The IP set whose members always reach the API of all nodes.
MANAGEMENT = "management"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a firewall's file is. ``path`` is empty for a guest that does not exist yet."""

    path: str
    pool: str = ""


@dataclasses.dataclass(frozen=True)
class Current:
    """What was read of a firewall; the rest is empty. Names of aliases and IP sets in lower case. ``broken`` are the
    rules of which the server says that something is wrong with them."""

    options: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    digest: str = ""
    rules: tuple[Rule, ...] = ()
    broken: tuple[Rule, ...] = ()
    aliases: t.Mapping[str, Alias] = dataclasses.field(default_factory=dict)
    ipsets: t.Mapping[str, IpSet] = dataclasses.field(default_factory=dict)
    groups: t.Mapping[str, Group] = dataclasses.field(default_factory=dict)


def places(session: Session, firewalls: t.Iterable[Firewall], planned: t.Collection[int]) -> dict[str, Place]:
    """Name of a firewall -> where it is. One request for all guests. Raises :class:`InvalidInput`."""
    firewalls = list(firewalls)
    guests: dict[int, t.Mapping[str, t.Any]] = {}
    if any(firewall.scope == "guest" for firewall in firewalls):
        found = listing(session, "/cluster/resources", "vmid", {"type": "vm"}, asked="list the guests of the cluster")
        guests = {int(entry["vmid"]): entry for entry in found}
    return {firewall.name: _place(firewall, guests, planned) for firewall in firewalls}


def _place(firewall: Firewall, guests: t.Mapping[int, t.Mapping[str, t.Any]], planned: t.Collection[int]) -> Place:
    if firewall.scope == "datacenter":
        return Place(DATACENTER)
    if firewall.scope == "node":
        return Place(f"/nodes/{segment(firewall.node)}/firewall")
    guest = guests.get(firewall.vmid)
    if guest is None:
        if firewall.vmid in planned:
            return Place("")
        hint = "If it is there, the right VM.Audit on it is missing. In check mode, planned_guests may name it."
        raise InvalidInput(f"There is no guest {firewall.vmid}", hint=hint)
    path = f"/nodes/{segment(guest['node'])}/{guest['type']}/{firewall.vmid}/firewall"
    return Place(path, str(guest.get("pool") or ""))


def read(session: Session, firewall: Firewall, place: Place) -> Current:
    if not place.path:
        return Current()
    about = f"of the firewall of {firewall.name}"
    options: dict[str, t.Any] = {}
    if firewall.options:
        options = record(session, f"{place.path}/options", asked=f"read the options {about}")
    listed = _listed(session, f"{place.path}/rules", about) if firewall.rules is not None else []
    return Current(
        options={key: str(value) for key, value in options.items() if key != "digest"},
        digest=str(options.get("digest") or ""),
        rules=tuple(map(of_api, listed)),
        broken=tuple(of_api(entry) for entry in listed if entry.get("errors")),
        aliases=_aliases(session, place.path, about) if firewall.aliases else {},
        ipsets=_ipsets(session, place.path, firewall.ipsets, about) if firewall.ipsets else {},
        groups=_groups(session, firewall.groups) if firewall.groups else {},
    )


def rules(session: Session, path: str, about: str) -> tuple[Rule, ...]:
    return tuple(map(of_api, _listed(session, path, about)))


def _listed(session: Session, path: str, about: str) -> list[dict[str, t.Any]]:
    listed = listing(session, path, "pos", asked=f"read the rules {about}")
    return sorted(listed, key=lambda entry: int(entry["pos"]))


def _aliases(session: Session, path: str, about: str) -> dict[str, Alias]:
    found = listing(session, f"{path}/aliases", "cidr", asked=f"read the aliases {about}")
    return {
        str(entry["name"]).lower(): Alias(
            str(entry["name"]).lower(),
            True,
            address(str(entry["cidr"]), "alias", zero=True),
            str(entry.get("comment") or ""),
        )
        for entry in found
    }


def _ipsets(session: Session, path: str, wanted: t.Iterable[IpSet], about: str) -> dict[str, IpSet]:
    """All of them by name, and the entries of those that are wanted."""
    listed = listing(session, f"{path}/ipset", "name", asked=f"read the IP sets {about}")
    comments = {str(entry["name"]).lower(): str(entry.get("comment") or "") for entry in listed}
    names = [one.name for one in wanted if one.name in comments]
    entries = dict(zip(names, together(lambda name: _entries(session, path, name), names), strict=True))
    return {name: IpSet(name, True, comment, entries.get(name)) for name, comment in comments.items()}


def _entries(session: Session, path: str, name: str) -> dict[str, t.Mapping[str, str]]:
    found = listing(session, f"{path}/ipset/{segment(name)}", "cidr", asked=f"read the IP set {name}")
    return {
        str(entry["cidr"]): {
            "comment": str(entry.get("comment") or ""),
            "nomatch": "1" if str(entry.get("nomatch") or "0") == "1" else "0",
        }
        for entry in found
    }


def _groups(session: Session, wanted: t.Iterable[Group]) -> dict[str, Group]:
    comments = group_names(session)
    names = [one.name for one in wanted if one.name in comments]
    return {name: Group(name, True, comments[name], found) for name, found in group_rules(session, names).items()}


def group_names(session: Session) -> dict[str, str]:
    """Name of a security group -> its comment."""
    listed = listing(session, f"{DATACENTER}/groups", "group", asked="list the security groups")
    return {str(entry["group"]): str(entry.get("comment") or "") for entry in listed}


def group_rules(session: Session, names: t.Sequence[str]) -> dict[str, tuple[Rule, ...]]:
    def of(name: str) -> tuple[Rule, ...]:
        return rules(session, f"{DATACENTER}/groups/{segment(name)}", f"of the security group {name}")

    return dict(zip(names, together(of, names), strict=True))


# -- who gets in -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Gate:
    """What decides whether the API of a node can be reached, as far as the datacenter says it."""

    enabled: bool
    policy: str
    rules: tuple[Rule, ...]
    groups: t.Mapping[str, tuple[Rule, ...]]
    #: Whether the IP set ``management`` has members.
    management: bool

    def is_open(self) -> bool:
        if not self.enabled:
            return True
        verdict = lets_in(self.rules, self.groups)
        return verdict if verdict is not None else self.management or self.policy == "ACCEPT"


def gate(session: Session) -> Gate:
    about = "of the firewall of the datacenter"
    options = record(session, f"{DATACENTER}/options", asked=f"read the options {about}")
    found = rules(session, f"{DATACENTER}/rules", about)
    used = {rule["action"] for rule in found if rule["type"] == "group"}
    known = sorted(used & set(group_names(session))) if used else []
    sets = _ipsets(session, DATACENTER, [IpSet(MANAGEMENT, True)], about)
    return Gate(
        enabled=str(options.get("enable") or "0") != "0",
        policy=str(options.get("policy_in") or "DROP"),
        rules=found,
        groups=group_rules(session, known),
        management=has_members(sets.get(MANAGEMENT)),
    )


def has_members(ipset: IpSet | None) -> bool:
    entries = ipset.entries if ipset is not None and ipset.present else None
    return any(entry["nomatch"] == "0" for entry in (entries or {}).values())
