# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ordered lists of firewall rules: how one becomes the other with few writes, none of which locks anybody out. Pure.

A rule has no id, only a position. A new one always arrives at position 0, where the server puts it; ``moveto`` puts a
rule before the one that stands there. A rule that blocks arrives switched off, and is switched on when all rules are
in their places and the old ones are gone, so that a run that is cut off in the middle never blocks more than the old
or the new list.
"""

from __future__ import annotations

import dataclasses
import typing as t

#: By the API's names, ``enable`` as ``0`` or ``1``; what is not there is not in it.
Rule = dict[str, str]

#: The order in which a rule is written for people.
_WORDS = ("proto", "sport", "dport", "icmp-type", "iface", "source", "dest", "log")

#: What a list tells of a rule and what is no part of it; ``errors`` is what is wrong with it by now.
_NOT_OURS = ("pos", "digest", "ipversion", "errors")

#: Ends the comment of a rule of ours in a list that is not only ours.
MARK = "[homelab]"


@dataclasses.dataclass(frozen=True)
class Insert:
    """At position 0."""

    rule: Rule


@dataclasses.dataclass(frozen=True)
class Move:
    """Before the rule that stands at ``to`` now; ``to`` may be the length of the list."""

    pos: int
    to: int


@dataclasses.dataclass(frozen=True)
class Edit:
    pos: int
    send: Rule
    delete: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Remove:
    pos: int


Step = t.Union[Insert, Move, Edit, Remove]


def of_api(entry: t.Mapping[str, t.Any]) -> Rule:
    """A listed rule."""
    rule = {key: str(value) for key, value in entry.items() if key not in _NOT_OURS and value not in (None, "")}
    return {**rule, "enable": "0" if str(rule.get("enable", "0")) == "0" else "1"}


def text(rule: Rule) -> str:
    """One line for people: ``in ACCEPT HTTPS source=+admins # web``."""
    what = [rule.get("type", ""), rule.get("macro", ""), rule.get("action", "")]
    limits = [f"{key}={rule[key]}" for key in _WORDS if key in rule]
    off = [] if rule.get("enable") == "1" else ["(off)"]
    comment = [f"# {rule['comment']}"] if rule.get("comment") else []
    return " ".join([word for word in what if word] + limits + off + comment)


def is_marked(rule: Rule) -> bool:
    return rule.get("comment", "").endswith(MARK)


def marked(rule: Rule) -> Rule:
    return rule if is_marked(rule) else {**rule, "comment": f"{rule.get('comment', '')} {MARK}".strip()}


def target(current: t.Sequence[Rule], wanted: t.Sequence[Rule], *, exclusive: bool) -> list[Rule]:
    """The list as it is to be: only ours, or ours at the top and those of others behind them, in their order."""
    if exclusive:
        return list(wanted)
    return [marked(rule) for rule in wanted] + [rule for rule in current if not is_marked(rule)]


def after(step: Step, rules: t.Sequence[Rule]) -> list[Rule]:
    """The list when a step is made: what the server does."""
    new = list(rules)
    if isinstance(step, Insert):
        return [step.rule, *new]
    if isinstance(step, Move):
        rule = new.pop(step.pos)
        new.insert(step.to - 1 if step.to > step.pos else step.to, rule)
        return new
    if isinstance(step, Edit):
        kept = {key: value for key, value in new[step.pos].items() if key not in step.delete}
        new[step.pos] = {**kept, **step.send}
        return new
    del new[step.pos]
    return new


def steps(current: t.Sequence[Rule], wanted: t.Sequence[Rule]) -> list[Step]:
    """The writes that turn ``current`` into ``wanted``."""
    return _Way(current, wanted).steps


class _Way:
    """``places`` follows the list while steps are added: for each position the index in ``wanted``, None for what
    goes."""

    def __init__(self, current: t.Sequence[Rule], wanted: t.Sequence[Rule]) -> None:
        self.rules = list(current)
        self.wanted = wanted
        self.places = _matched(current, wanted)
        self.steps: list[Step] = []
        self._insert()
        self._move()
        self._edit()
        for pos in reversed(range(len(self.places))):
            if self.places[pos] is None:
                self._add(Remove(pos))
                del self.places[pos]
        self._switch_on()

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        self.rules = after(step, self.rules)

    def _insert(self) -> None:
        there = set(self.places)
        for index in reversed(range(len(self.wanted))):
            if index not in there:
                rule = self.wanted[index]
                self._add(Insert({**rule, "enable": "0"} if blocks(rule) else rule))
                self.places.insert(0, index)

    def _move(self) -> None:
        """Rules that stand in order stay; each other one goes behind the one that is to stand before it."""
        staying = _longest_increasing([place for place in self.places if place is not None])
        for index in range(len(self.wanted)):
            if index in staying:
                continue
            pos = self.places.index(index)
            to = self.places.index(index - 1) + 1 if index else 0
            if pos != to:
                self._add(Move(pos, to))
                self.places.insert(to - 1 if to > pos else to, self.places.pop(pos))

    def _edit(self) -> None:
        for pos, index in enumerate(self.places):
            if index is None:
                continue
            was, rule = self.rules[pos], self.wanted[index]
            ready = {**rule, "enable": "0"} if blocks(rule) and not blocks(was) else rule
            send = {key: value for key, value in ready.items() if was.get(key) != value}
            if blocks(rule) and was["enable"] == "0":
                send.pop("enable", None)  # at the end
            delete = tuple(sorted(key for key in was if key not in rule))
            if send or delete:
                self._add(Edit(pos, send, delete))

    def _switch_on(self) -> None:
        for pos, rule in enumerate(self.wanted):
            if self.rules[pos] != rule:
                self._add(Edit(pos, {"enable": rule["enable"]}))


def blocks(rule: Rule) -> bool:
    """Whether it may keep anybody out; of a group that is not known here."""
    return rule.get("action") != "ACCEPT"


def _matched(current: t.Sequence[Rule], wanted: t.Sequence[Rule]) -> list[int | None]:
    """For each rule that is there, the wanted one that it is or can become. Equal ones first, in order."""
    places: list[int | None] = [None] * len(current)
    free = set(range(len(wanted)))
    for pos, index in _common(current, wanted):
        places[pos] = index
        free.discard(index)
    for alike in (_equal, _same_but_for_details, _same_comment):
        for pos, rule in enumerate(current):
            found = [one for one in sorted(free) if places[pos] is None and alike(rule, wanted[one])]
            if found:
                places[pos] = found[0]
                free.discard(found[0])
    return places


def _equal(one: Rule, other: Rule) -> bool:
    return one == other


def _same_but_for_details(one: Rule, other: Rule) -> bool:
    details = ("enable", "comment", "log")
    return all(one.get(key) == other.get(key) for key in {*one, *other} if key not in details)


def _same_comment(one: Rule, other: Rule) -> bool:
    """A comment that says more than whose rule it is names what a rule is for."""
    comment = one.get("comment", "")
    return comment not in ("", MARK) and comment == other.get("comment") and one.get("type") == other.get("type")


def _common(current: t.Sequence[Rule], wanted: t.Sequence[Rule]) -> list[tuple[int, int]]:
    """The longest common subsequence, as pairs of positions."""
    lengths = [[0] * (len(wanted) + 1) for _rule in range(len(current) + 1)]
    for i in reversed(range(len(current))):
        for j in reversed(range(len(wanted))):
            equal = current[i] == wanted[j]
            lengths[i][j] = 1 + lengths[i + 1][j + 1] if equal else max(lengths[i + 1][j], lengths[i][j + 1])
    pairs, i, j = [], 0, 0
    while i < len(current) and j < len(wanted):
        if current[i] == wanted[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _longest_increasing(numbers: t.Sequence[int]) -> set[int]:
    best: list[list[int]] = []
    for number in numbers:
        before = sorted((run for run in best if run[-1] < number), key=len)[-1:]
        best.append([*(before[0] if before else []), number])
    return set(sorted(best, key=len)[-1]) if best else set()


# -- who gets in -----------------------------------------------------------------------------------------------------

API_PORT = 8006


def lets_in(rules: t.Iterable[Rule], groups: t.Mapping[str, t.Sequence[Rule]]) -> bool | None:
    """Whether the first rule that decides on the API's port lets somebody in; None when no rule decides.

    A rule that blocks decides only when it is for all addresses and interfaces.
    """
    for rule in rules:
        if rule.get("enable") != "1" or rule.get("type") not in ("in", "group"):
            continue
        if rule["type"] == "group":
            verdict = lets_in([one for one in groups.get(rule.get("action", ""), ()) if one.get("type") != "group"], {})
            if verdict is not None and (verdict or not rule.get("iface")):
                return verdict
        elif _covers(rule):
            if not blocks(rule):
                return True
            if not any(rule.get(key) for key in ("source", "dest", "iface", "sport")):
                return False
    return None


def _covers(rule: Rule) -> bool:
    if rule.get("macro") or rule.get("proto", "tcp") not in ("tcp", "6"):
        return False
    ports = rule.get("dport", "")
    return not ports or any(_in_range(part) for part in ports.split(","))


def _in_range(part: str) -> bool:
    low, _separator, high = part.strip().partition(":")
    try:
        return int(low) <= API_PORT <= int(high or low)
    except ValueError:
        return False
