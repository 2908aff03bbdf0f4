# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewalls from wish to reality: read, plan, say what must not happen, apply."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t

from ...errors import InvalidInput
from ...plan import Change, Plan
from ...task import Result, Task
from ..api import attempts, rights
from ..api.lanes import together
from ..api.session import Session, listing
from ..facts.reading import opened
from .firewall_apply import Applier
from .firewall_plan import Operation, locked_out, need, ordered, plan
from .firewall_rules import Rule, is_marked
from .firewall_spec import Firewall, Group, wanted
from .firewall_state import DATACENTER, Current, Place, gate, group_names, places, read


@dataclasses.dataclass(frozen=True)
class Planned:
    plan: Plan


def converge(task: Task) -> Result:
    """The module ``proxmox_firewall``."""
    firewalls = wanted(task.params["firewalls"])
    with opened(task) as session:
        planner = _Planner(session, firewalls, task.params)
        planned = planner.look_and_plan()
        done = planned.plan
        if not task.check_mode:
            done = attempts.carry_out(planner, Applier(session).apply, planned).done
        touched = {change.operation.firewall.name for change in done}
        report = [{"name": one.name, "scope": one.scope, "changed": one.name in touched} for one in firewalls]
        return task.result(done, firewalls=report)


class _Planner:
    def __init__(self, session: Session, firewalls: t.Sequence[Firewall], params: t.Mapping[str, t.Any]) -> None:
        self.session = session
        self.firewalls = firewalls
        self.planned = frozenset(params.get("planned_guests") or ())
        self.allow_lockout = bool(params.get("allow_lockout"))

    def look_and_plan(self) -> Planned:
        where = places(self.session, self.firewalls, self.planned)
        states = together(lambda one: read(self.session, one, where[one.name]), self.firewalls)
        firewalls = _with_macros(self.session, self.firewalls, states)
        pairs = [(firewall, where[firewall.name]) for firewall in firewalls]
        changes = ordered(
            change
            for (firewall, place), state in zip(pairs, states, strict=True)
            for change in plan(firewall, place, state)
        )
        uses = [use for change in changes for use in _uses(change.operation)]
        names_go = any(change.action == "delete" for change in changes)
        for (firewall, place), state in zip(pairs, states, strict=True):
            rules = firewall.rules or () if names_go else _broken(firewall, state)
            uses += [_Use(firewall, place, "A rule", rule) for rule in rules]
        self._check(changes, uses)
        return Planned(Plan.of(changes))

    def _check(self, changes: list[Change], uses: t.Sequence[_Use]) -> None:
        """What is said before anything is written."""
        if changes:
            needs = {str(one): one for one in (need(change.operation) for change in changes)}
            rights.check(rights.read(self.session), needs.values(), asked="change firewalls")
        _check_names(self.session, uses, self.firewalls)
        if not changes or self.allow_lockout or all(firewall.scope == "guest" for firewall in self.firewalls):
            return
        why = locked_out(gate(self.session), changes)
        if why:
            raise InvalidInput(
                f"Refused, because {why}",
                hint="Put the controller's network into the IP set management of the datacenter, or add an enabled rule "
                "that accepts tcp port 8006 in. If people get in another way (the node's own network always may), "
                "set allow_lockout.",
            )


# -- names that rules use --------------------------------------------------------------------------------------------


class _Use(t.NamedTuple):
    """What names something: a rule, or an IP set (its entries that are no addresses, as sources)."""

    owner: Firewall
    place: Place
    who: str
    rule: Rule


def _uses(operation: Operation) -> list[_Use]:
    """What is new in a change."""
    owner, place = operation.firewall, operation.place
    if operation.what == "rules":
        return [_Use(owner, place, "A rule", rule) for rule in operation.to if rule not in operation.was]
    if operation.what == "group" and operation.to:
        return [_Use(owner, place, "A rule", rule) for rule in operation.to.rules or ()]
    if operation.what == "ipset" and operation.to:
        who, there = f"The IP set {operation.name}", (operation.was.entries or {}) if operation.was else {}
        names = [name for name in operation.to.entries or {} if name not in there]
        return [_Use(owner, place, who, {"type": "in", "source": name}) for name in names]
    return []


def _broken(firewall: Firewall, state: Current) -> list[Rule]:
    """Wanted rules that are there, and of which the server says that something is wrong with them."""
    return [rule for rule in state.broken if firewall.exclusive or is_marked(rule)]


def _check_names(session: Session, uses: t.Sequence[_Use], firewalls: t.Sequence[Firewall]) -> None:
    """Rules that name what does not exist are refused by the server, or accepted without effect (groups)."""
    _check_groups(session, [use.rule for use in uses], firewalls)
    known: dict[str, set[str]] = {}
    for use in uses:
        for name in filter(_is_name, (use.rule.get("source", ""), use.rule.get("dest", ""))):
            owner = use.owner
            if owner.name not in known:
                path = use.place.path if owner.scope == "guest" and use.place.path else DATACENTER
                known[owner.name] = _references(session, path, firewalls, owner)
            _check_name(name, known[owner.name], f"{use.who} of {owner.name}")


def _is_name(text: str) -> bool:
    return text.startswith("+") or (text[:1].isalpha() and ":" not in text)


def _check_name(name: str, known: t.Collection[str], who: str) -> None:
    bare = re.sub(r"^(\+?)(dc|guest|sdn)/", r"\1", name.lower())
    if bare in known or bare.startswith("+ipfilter-"):
        return
    what = "IP set" if bare.startswith("+") else "alias"
    raise InvalidInput(
        f"{who} uses the {what} {bare.lstrip('+')!r}, which does not exist",
        hint=f"There are {', '.join(sorted(known)) or 'none'}.",
    )


def _references(session: Session, path: str, firewalls: t.Sequence[Firewall], owner: Firewall) -> set[str]:
    """Aliases, and IP sets with a plus, that a rule there may use when the task is done."""
    found = listing(session, f"{path}/refs", "name", asked="list the aliases and IP sets")
    known = {("+" if entry.get("type") == "ipset" else "") + str(entry["name"]).lower() for entry in found}
    for firewall in firewalls:
        if firewall.scope == "datacenter" or firewall.name == owner.name:
            named = [("", one) for one in firewall.aliases] + [("+", one) for one in firewall.ipsets]
            known |= {f"{prefix}{one.name}" for prefix, one in named if one.present}
            known -= {f"{prefix}{one.name}" for prefix, one in named if not one.present}
    return known


def _check_groups(session: Session, rules: t.Iterable[Rule], firewalls: t.Iterable[Firewall]) -> None:
    used = {rule["action"] for rule in rules if rule["type"] == "group"}
    if not used:
        return
    known = set(group_names(session))
    for group in [group for firewall in firewalls for group in firewall.groups]:
        (known.add if group.present else known.discard)(group.name)
    for name in sorted(used - known):
        hint = f"There are {', '.join(sorted(known)) or 'none'}."
        raise InvalidInput(f"A rule uses the security group {name!r}, which does not exist", hint=hint)


# -- macros ----------------------------------------------------------------------------------------------------------


def _with_macros(
    session: Session, firewalls: t.Sequence[Firewall], states: t.Sequence[Current]
) -> t.Sequence[Firewall]:
    """The wishes with macros in the server's own spelling, which it keeps whatever was sent. The list of macros is only
    read when one is wanted that no rule has yet. Raises :class:`InvalidInput` for one that does not exist."""
    there = {rule.get("macro", "") for state in states for rule in _rules(state, state.groups.values())}
    wanted_ = {rule.get("macro", "") for one in firewalls for rule in _rules(one, one.groups)} - {""}
    if wanted_ <= there:
        return firewalls
    known = _known_macros(session)
    spelt = {macro: _spelt(macro, known) for macro in sorted(wanted_)}

    def of(rules: t.Sequence[Rule] | None) -> tuple[Rule, ...] | None:
        if rules is None:
            return None
        return tuple({**rule, "macro": spelt[rule["macro"]]} if "macro" in rule else rule for rule in rules)

    return [
        dataclasses.replace(
            one,
            rules=of(one.rules),
            groups=tuple(dataclasses.replace(group, rules=of(group.rules)) for group in one.groups),
        )
        for one in firewalls
    ]


def _rules(one: Firewall | Current, groups: t.Iterable[Group]) -> t.Iterator[Rule]:
    """All of a firewall's rules, those of its groups too."""
    yield from one.rules or ()
    for group in groups:
        yield from group.rules or ()


def _known_macros(session: Session) -> dict[str, str]:
    """In lower case -> as the server spells them."""
    found = listing(session, f"{DATACENTER}/macros", "macro", asked="list the macros of the firewall")
    return {str(entry["macro"]).lower(): str(entry["macro"]) for entry in found}


def _spelt(macro: str, known: t.Mapping[str, str]) -> str:
    if macro.lower() in known:
        return known[macro.lower()]
    alike = difflib.get_close_matches(macro, known.values(), 3, 0.5)
    hint = f"Did you mean {' or '.join(alike)}?" if alike else "They are listed in the web interface."
    raise InvalidInput(f"There is no macro {macro!r}", hint=hint)
