# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of several guests, put together."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import InvalidInput
from ...plan import Change, Plan

G = t.TypeVar("G")


@dataclasses.dataclass(frozen=True)
class Planned:
    """``pending`` says by vmid which options wait for a restart that nobody allowed."""

    plan: Plan
    warnings: tuple[str, ...] = ()
    pending: t.Mapping[int, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def runs_then(plan: Plan, resource: str, runs: bool) -> bool:
    """Whether the guest runs when the plan is done. ``runs``: whether it does now."""
    for change in plan:
        if change.resource == resource and change.action in ("start", "restart", "stop"):
            runs = change.action != "stop"
    return runs


def plan_each(guests: t.Iterable[G], plan_one: t.Callable[[G], Planned]) -> Planned:
    """In the order of the input. Raises one :class:`InvalidInput` that names every problem."""
    changes: list[Change] = []
    warnings: list[str] = []
    problems: list[str] = []
    pending: dict[int, tuple[str, ...]] = {}
    for guest in guests:
        try:
            planned = plan_one(guest)
        except InvalidInput as error:
            problems.append(error.message)
            continue
        changes += planned.plan
        warnings += planned.warnings
        pending.update(planned.pending)
    if problems:
        raise InvalidInput(" ".join(problems))
    return Planned(Plan.of(changes), tuple(warnings), pending)
