# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of several guests, put together."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import InvalidInput
from ...plan import Change, Plan
from ..vms.vm_state import VmState
from .guest_clones import check_gone


class Guest(t.Protocol):
    """A VM or a container, as it is wanted."""

    @property
    def vmid(self) -> int: ...

    @property
    def state(self) -> str: ...

    @property
    def title(self) -> str: ...


G = t.TypeVar("G", bound=Guest)


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


def plan_each(
    guests: t.Sequence[G],
    current: t.Mapping[int, VmState],
    word: str,
    plan_one: t.Callable[[G, VmState | None], Planned],
) -> Planned:
    """In the order of the input. Raises one :class:`InvalidInput` that names every problem. ``word``: ``VM`` or ``CT``."""
    going = {guest.vmid for guest in guests if guest.state == "absent"}
    changes: list[Change] = []
    warnings: list[str] = []
    problems: list[str] = []
    pending: dict[int, tuple[str, ...]] = {}
    for guest in guests:
        state = current.get(guest.vmid)
        try:
            if state and guest.vmid in going:
                check_gone(guest.title, state, going, word)
            planned = plan_one(guest, state)
        except InvalidInput as error:
            problems.append(error.message)
            continue
        changes += planned.plan
        warnings += planned.warnings
        pending.update(planned.pending)
    if problems:
        raise InvalidInput(" ".join(problems))
    return Planned(Plan.of(changes), tuple(warnings), pending)
