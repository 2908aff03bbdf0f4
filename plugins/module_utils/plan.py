# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one shape in which every room says what it would do.

A plan is made by a pure function from the current and the desired state. Check mode stops after
it, diff mode prints it, and a run without check mode applies exactly its changes, in order. So
what ``--check`` lists is what the next run does, because it is the same list.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import HomelabError

#: Stands in a diff where a secret stands in the resource.
HIDDEN = "(hidden)"

#: Marks a value that only the server can choose (a generated MAC, a digest).
COMPUTED = "(known after it is applied)"

Action = t.Literal["create", "update", "delete", "start", "stop", "restart"]


@dataclasses.dataclass(frozen=True)
class Change:
    """One change of one resource.

    ``resource`` names it so that people and tests can tell it from all others of the lab
    (``vm/200``, ``image/pve1/local:import/talos.qcow2``, ``talos-config/192.168.30.50``,
    ``Namespace/media``), and is the same in every run. ``before`` and ``after`` hold only what differs
    (all of it for create and delete), with :data:`HIDDEN` in place of secrets. ``note`` says what it
    costs or needs (``needs a restart``). ``operation`` is what the room applies; it is never shown.
    """

    resource: str
    action: Action
    before: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    after: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    note: str = ""
    operation: t.Any = dataclasses.field(default=None, compare=False, repr=False)

    def as_result(self) -> dict[str, t.Any]:
        shown: dict[str, t.Any] = {"resource": self.resource, "action": self.action}
        for key, value in (("before", self.before), ("after", self.after)):
            if value:
                shown[key] = dict(value)
        if self.note:
            shown["note"] = self.note
        return shown


@dataclasses.dataclass(frozen=True)
class Plan:
    """The changes, in the order in which they are applied."""

    changes: tuple[Change, ...] = ()

    @classmethod
    def of(cls, changes: t.Iterable[Change]) -> Plan:
        return cls(tuple(changes))

    def __add__(self, other: Plan) -> Plan:
        return Plan(self.changes + other.changes)

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> t.Iterator[Change]:
        return iter(self.changes)

    def as_result(self) -> list[dict[str, t.Any]]:
        return [change.as_result() for change in self.changes]

    def diff(self) -> list[dict[str, str]]:
        """What ``--diff`` prints: one entry a change, as YAML, in Ansible's own form."""
        return [
            {
                "before_header": change.resource,
                "after_header": f"{change.resource} ({_label(change)})",
                "before": _text(change.before),
                "after": _text(change.after) or _implied(change),
            }
            for change in self.changes
        ]


def carry_out(plan: Plan, apply: t.Callable[[Change], None]) -> None:
    """Apply the changes in order. If one fails, its error carries those that were made before it."""
    made: list[Change] = []
    for change in plan:
        try:
            apply(change)
        except HomelabError as error:
            error.made = [done.as_result() for done in made]
            error.begun = [change.as_result()] if error.perhaps_done else []
            raise
        made.append(change)


def difference(
    before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]
) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Only the keys whose values differ, on both sides; a key that one side lacks is left out there."""
    keys = [key for key in {**before, **after} if before.get(key, _MISSING) != after.get(key, _MISSING)]
    return (
        {key: before[key] for key in keys if key in before},
        {key: after[key] for key in keys if key in after},
    )


_MISSING = object()


def _label(change: Change) -> str:
    return f"{change.action}: {change.note}" if change.note else change.action


def _implied(change: Change) -> str:
    """Power changes have no fields of their own: say the action, so that a diff is never empty."""
    return "" if change.action == "delete" or change.before else f"{change.action}\n"


def _text(value: t.Mapping[str, t.Any]) -> str:
    if not value:
        return ""
    import yaml  # not there where `ansible-test sanity` imports the collection

    text = yaml.safe_dump(dict(value), sort_keys=True, default_flow_style=False, allow_unicode=True)
    if any(mark in text for mark in _LINE_BREAKS):
        return yaml.safe_dump(dict(value), sort_keys=True, default_flow_style=False)
    return text


#: Line breaks of Unicode, which PyYAML would write as they are and read back as blanks: these texts are escaped.
_LINE_BREAKS = ("\x85", "\u2028", "\u2029")
