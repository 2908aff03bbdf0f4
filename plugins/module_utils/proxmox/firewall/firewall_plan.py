# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what firewalls are to what they should be. Pure.

The order keeps ways open: names come before the rules that use them, rules before the firewall is switched on, and
what is switched off or deleted frees nothing that is still in use.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import InvalidInput
from ...plan import Change, difference
from ..api import rights
from .firewall_rules import Rule, Step, lets_in, steps, target, text
from .firewall_spec import OPTIONS, Alias, Firewall, Group, IpSet, Option, clean
from .firewall_state import MANAGEMENT, Current, Gate, Place, has_members

#: When a change is made; changes of one phase do not need each other, but those of a firewall go one by one.
OFF, NAMES, GUEST_NAMES, RULES, ON, GONE = range(6)


@dataclasses.dataclass(frozen=True)
class Operation:
    """``was`` and ``to`` are what there is and what there is to be, None for nothing."""

    phase: int
    firewall: Firewall
    place: Place
    what: t.Literal["options", "rules", "alias", "ipset", "group"]
    name: str = ""
    was: t.Any = None
    to: t.Any = None
    steps: tuple[Step, ...] = ()
    digest: str = ""


def plan(firewall: Firewall, place: Place, current: Current) -> list[Change]:
    changes = [_options(firewall, place, current), _rules(firewall, place, current)]
    changes += [_named(firewall, place, "alias", one, current.aliases.get(one.name)) for one in firewall.aliases]
    changes += [_named(firewall, place, "ipset", one, current.ipsets.get(one.name)) for one in firewall.ipsets]
    changes += [_named(firewall, place, "group", one, current.groups.get(one.name)) for one in firewall.groups]
    return [change for change in changes if change is not None]


def ordered(changes: t.Iterable[Change]) -> list[Change]:
    return sorted(changes, key=lambda change: int(change.operation.phase))


# -- options ---------------------------------------------------------------------------------------------------------


def _options(firewall: Firewall, place: Place, current: Current) -> Change | None:
    known = OPTIONS[firewall.scope]
    was = {name: _is(known[name], current.options.get(name)) for name in firewall.options}
    to = {name: value if value is not None else known[name].default for name, value in firewall.options.items()}
    before, after = difference(was, to)
    if not after:
        return None
    send = {name: firewall.options[name] for name in after}
    phase = OFF if after.get("enable") == "0" else ON
    operation = Operation(phase, firewall, place, "options", was=was, to=send, digest=current.digest)
    before, after = ({name: value for name, value in side.items() if value is not None} for side in (before, after))
    return Change(f"firewall/{firewall.name}/options", "update", before, after, operation=operation)


def _is(option: Option, value: str | None) -> str | None:
    """A value that the server keeps, in the form of a wish; odd ones as they are."""
    if value is None:
        return option.default
    try:
        return clean(option, value)
    except InvalidInput:
        return value


# -- rules -----------------------------------------------------------------------------------------------------------


def _rules(firewall: Firewall, place: Place, current: Current) -> Change | None:
    if firewall.rules is None:
        return None
    to = target(current.rules, firewall.rules, exclusive=firewall.exclusive)
    found = tuple(steps(current.rules, to))
    if not found:
        return None
    operation = Operation(RULES, firewall, place, "rules", was=current.rules, to=tuple(to), steps=found)
    return Change(f"firewall/{firewall.name}/rules", "update", _lines(current.rules), _lines(to), operation=operation)


def _lines(rules: t.Iterable[Rule]) -> dict[str, t.Any]:
    return {"rules": [text(rule) for rule in rules]}


# -- names -----------------------------------------------------------------------------------------------------------


def _named(
    firewall: Firewall, place: Place, what: t.Literal["alias", "ipset", "group"], one: t.Any, was: t.Any
) -> Change | None:
    if not one.present and was is None:
        return None
    to = _merged(one, was) if one.present else None
    if to == was:
        return None
    action: t.Literal["create", "update", "delete"] = "create" if was is None else "update" if one.present else "delete"
    phase = GONE if to is None else NAMES if firewall.scope == "datacenter" else GUEST_NAMES
    found: tuple[Step, ...] = ()
    if what == "group":
        found = tuple(steps(was.rules or () if was else (), to.rules or () if to else ()))
    operation = Operation(phase, firewall, place, what, one.name, was, to, found)
    before, after = (_shown(side) for side in (was, to))
    if action == "update":
        before, after = difference(before, after)
    return Change(f"firewall/{firewall.name}/{what}/{one.name}", action, before, after, operation=operation)


def _merged(one: t.Any, was: t.Any) -> t.Any:
    """The wish, with what it leaves open as it is, or empty."""
    comment = one.comment if one.comment is not None else (was.comment if was else "")
    if isinstance(one, Alias):
        return Alias(one.name, True, one.cidr, comment)
    if isinstance(one, IpSet):
        entries = one.entries if one.entries is not None else (was.entries if was else {})
        return IpSet(one.name, True, comment, entries)
    rules = one.rules if one.rules is not None else (was.rules if was else ())
    return Group(one.name, True, comment, rules)


def _shown(one: Alias | IpSet | Group | None) -> dict[str, t.Any]:
    if one is None:
        return {}
    comment = {"comment": one.comment} if one.comment else {}
    if isinstance(one, Alias):
        return {"cidr": one.cidr, **comment}
    if isinstance(one, IpSet):
        return {"entries": [_entry(cidr, entry) for cidr, entry in sorted((one.entries or {}).items())], **comment}
    return {**_lines(one.rules or ()), **comment}


def _entry(cidr: str, entry: t.Mapping[str, str]) -> str:
    comment = f" # {entry['comment']}" if entry["comment"] else ""
    return f"{'! ' if entry['nomatch'] == '1' else ''}{cidr}{comment}"


# -- what is needed and what must not happen -------------------------------------------------------------------------


def need(operation: Operation) -> rights.Need:
    firewall, why = operation.firewall, f"change the firewall of {operation.firewall.name}"
    if firewall.scope == "datacenter":
        return rights.Need(("/",), ("Sys.Modify",), why)
    if firewall.scope == "node":
        return rights.Need((f"/nodes/{firewall.node}",), ("Sys.Modify",), why)
    pool = (f"/pool/{operation.place.pool}",) if operation.place.pool else ()
    return rights.Need((f"/vms/{firewall.vmid}", *pool), ("VM.Config.Network",), why)


def changed_gate(before: Gate, changes: t.Iterable[Change]) -> Gate:
    """The gate when the changes of the datacenter are made."""
    gate = before
    for change in changes:
        operation: Operation = change.operation
        if operation.firewall.scope != "datacenter":
            continue
        if operation.what == "rules":
            gate = dataclasses.replace(gate, rules=operation.to)
        elif operation.what == "group":
            rules = operation.to.rules if operation.to else ()
            gate = dataclasses.replace(gate, groups={**gate.groups, operation.name: rules})
        elif operation.what == "ipset" and operation.name == MANAGEMENT:
            gate = dataclasses.replace(gate, management=has_members(operation.to))
        elif operation.what == "options":
            gate = dataclasses.replace(
                gate,
                enabled=(operation.to.get("enable") or "0") != "0" if "enable" in operation.to else gate.enabled,
                policy=operation.to.get("policy_in") or "DROP" if "policy_in" in operation.to else gate.policy,
            )
    return gate


def locked_out(before: Gate, changes: t.Sequence[Change]) -> str:
    """Why nobody would reach the API any more; empty when somebody does, or nobody did before either."""
    after = changed_gate(before, changes)
    if before.is_open() and not after.is_open():
        return "the firewall of the datacenter would let nobody reach the API on port 8006"
    for change in changes:
        operation: Operation = change.operation
        if operation.firewall.scope == "node" and operation.what == "rules" and after.enabled:
            was, to = (lets_in(side, after.groups) for side in (operation.was, operation.to))
            if to is False and was is not False:
                return f"the rules of {operation.firewall.name} would let nobody reach its API on port 8006"
    return ""
