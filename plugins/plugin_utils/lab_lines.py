# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines that the callback ``lab`` prints, from results. Pure: no output, no Ansible."""

from __future__ import annotations

import collections
import typing as t

#: Action -> symbol, past, future.
ACTIONS: dict[str, tuple[str, str, str]] = {
    "create": ("+", "created", "would be created"),
    "update": ("~", "updated", "would be updated"),
    "delete": ("-", "deleted", "would be deleted"),
    "start": (">", "started", "would be started"),
    "stop": ("<", "stopped", "would be stopped"),
    "restart": ("^", "restarted", "would be restarted"),
    "change": ("~", "changed", "would be changed"),
}

#: Fields of one change that are shown in its line; the rest is counted. ``--diff`` shows all.
MOST_FIELDS = 4
#: Characters of one value.
MOST_CHARACTERS = 60

Change = t.Mapping[str, t.Any]


def change_line(change: Change, *, would: bool) -> str:
    """``~ update vm/200: memory 8192 -> 16384 (needs a restart)``."""
    action = str(change.get("action", "change"))
    symbol = ACTIONS.get(action, ACTIONS["change"])[0]
    verb = f"would {action}" if would else action
    line = f"{symbol} {verb} {change.get('resource', '')}"
    if action == "update":
        shown = fields(change)
        line += f": {shown}" if shown else ""
    else:
        name = (change.get("after") or change.get("before") or {}).get("name")
        line += f" ({short(name)})" if isinstance(name, str) else ""
    return f"{line} [{change['note']}]" if change.get("note") else line


def fields(change: Change) -> str:
    """The fields of an update: ``memory 8192 -> 16384, tags added``."""
    before, after = change.get("before") or {}, change.get("after") or {}
    names = list(dict.fromkeys([*before, *after]))
    shown = [_field(str(name), name in before, before.get(name), name in after, after.get(name)) for name in names]
    more = len(shown) - MOST_FIELDS
    return ", ".join(shown[:MOST_FIELDS]) + (f" and {more} more" if more > 0 else "")


def _field(name: str, was: bool, before: t.Any, will_be: bool, after: t.Any) -> str:
    if was and will_be:
        return f"{name} changed" if short(before) == short(after) else f"{name} {short(before)} -> {short(after)}"
    return f"{name} set to {short(after)}" if will_be else f"{name} removed"


def short(value: t.Any) -> str:
    """A value in one line of bounded length."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or value == "":
        return "nothing" if value is None else '""'
    text = " ".join(str(value).split())
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def counts(changes: t.Iterable[Change], *, would: bool) -> str:
    """``2 created, 1 updated``; in check mode ``2 would be created, …``."""
    number = collections.Counter(str(change.get("action", "change")) for change in changes)
    word = 2 if would else 1
    known = [name for name in ACTIONS if number[name]]
    return ", ".join(f"{number[name]} {ACTIONS[name][word]}" for name in known)


def seconds(duration: float) -> str:
    """``0.3 s``, ``2 min 05 s``."""
    if duration < 60:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest:02d} s"


def failure_lines(result: t.Mapping[str, t.Any]) -> list[str]:
    """What went wrong and what to try, most important first."""
    error = result.get("error")
    lines: list[str] = []
    if isinstance(error, dict) and error.get("asked") and error.get("kind") != "InvalidInput":
        for label, key in (("could not", "asked"), ("of", "of"), ("answer", "answer"), ("try", "hint")):
            lines += _labelled(label, error.get(key))
    elif isinstance(error, dict) and error.get("kind") == "InvalidInput":
        lines += _labelled("wrong", error.get("answer") or result.get("msg"))
        lines += _labelled("try", error.get("hint"))
    else:
        lines += _labelled("cause", result.get("msg") or result.get("reason") or result.get("censored"))
    if "error" not in result:
        for key in ("stderr", "module_stderr", "stdout", "module_stdout"):
            text = result.get(key)
            if isinstance(text, str) and text.strip() and text.strip() != str(result.get("msg", "")).strip():
                lines += _labelled(key.replace("module_", ""), "\n".join(text.strip().splitlines()[-10:]))
    return lines


def _labelled(label: str, value: t.Any) -> list[str]:
    if not value:
        return []
    first, *rest = str(value).strip().splitlines() or [""]
    return [f"{label + ':':<11}{first}", *(f"{'':<11}{line}" for line in rest)]


class Layer:
    """One stage of a run: a role, or a play's own tasks."""

    def __init__(self, name: str, began: float) -> None:
        self.name = name
        self.began = began
        self.duration = 0.0
        self.changes: list[Change] = []
        self.planned: list[Change] = []
        self.failed = False

    def add(self, changes: t.Iterable[Change], *, would: bool) -> None:
        (self.planned if would else self.changes).extend(changes)

    def counted(self) -> str:
        parts = [counts(self.changes, would=False), counts(self.planned, would=True)]
        return ", ".join(part for part in parts if part)

    def line(self, width: int) -> str:
        outcome = ", ".join(part for part in ("failed" if self.failed else "", self.counted()) if part)
        return f"{self.name:<{width}}  {seconds(self.duration):>12}  {outcome}".rstrip()


def merged(layers: t.Sequence[Layer]) -> list[Layer]:
    """A layer that a run came back to counts once, at its first place."""
    found: dict[str, Layer] = {}
    for layer in layers:
        into = found.setdefault(layer.name, Layer(layer.name, layer.began))
        into.duration += layer.duration
        into.changes += layer.changes
        into.planned += layer.planned
        into.failed = into.failed or layer.failed
    return list(found.values())


def verdict(layers: t.Sequence[Layer], failures: t.Sequence[str], *, check: bool) -> list[str]:
    """The end of a run, in sentences that say what to do now."""
    changes = [change for layer in layers for change in layer.changes]
    planned = [change for layer in layers for change in layer.planned]
    lines: list[str] = []
    if changes:
        lines.append(f"Changed: {counts(changes, would=False)}.")
    if planned:
        lines.append(f"{'Check mode wrote nothing' if check else 'Checked only'}: {counts(planned, would=True)}.")
    if not changes and not planned and not failures:
        lines.append("Nothing to change." if not check else "Check mode wrote nothing, and nothing would be changed.")
    if failures:
        lines += [f"Failed: {failure}" for failure in failures]
        lines.append(
            "Correct the cause above, and check again."
            if check
            else "Correct the cause above, then run it again: it goes on from here."
        )
    elif planned and check:
        lines.append("Run it without --check to make these changes.")
    return lines
