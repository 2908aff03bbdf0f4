# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has really done when it had to look and plan again: not what it planned first. Pure.

A change whose answer was lost may have been made. The next plan tells: what it does not want any more was made, what it
still wants of it belongs to the same change.
"""

from __future__ import annotations

import dataclasses

from ...errors import HomelabError
from ...plan import Change, Plan

#: Action that was begun -> what of the next plan is only the rest of it.
_RESTS: dict[str, tuple[str, ...]] = {
    "create": ("create", "update"),
    "restart": ("restart", "start"),
    "update": ("update", "create"),  # of what is replaced, when the old one is gone already
}


class Done:
    """Hears of every attempt, and tells in the end."""

    def __init__(self) -> None:
        self._made: list[Change] = []
        self._begun: list[Change] = []
        #: Resources in the order in which they were planned first.
        self._places: dict[str, int] = {}

    def failed(self, plan: Plan, error: HomelabError) -> None:
        """An attempt at this plan, of which the error carries what was made and what was only begun."""
        finished, pairs = self._continued(plan)
        self._made += finished
        begun = []
        for change, told, earlier in pairs:
            if change.as_result() in error.made:
                self._made.append(told)
            elif change.as_result() in error.begun:
                begun.append(told)
            elif earlier is not None:
                begun.append(earlier)
        self._begun = begun

    def succeeded(self, plan: Plan) -> None:
        finished, pairs = self._continued(plan)
        self._made += finished + [told for _change, told, _earlier in pairs]
        self._begun = []

    @property
    def plan(self) -> Plan:
        """The changes of one resource in the order in which they were made."""
        return Plan.of(sorted(self._made, key=lambda change: self._places[change.resource]))

    def _continued(self, plan: Plan) -> tuple[list[Change], list[tuple[Change, Change, Change | None]]]:
        """What was begun and is not wanted any more, so it was made; and each change of the plan, as it is told together
        with what was begun of it before, if anything was."""
        for change in plan:
            self._places.setdefault(change.resource, len(self._places))
        left, taken = list(self._begun), list[Change]()
        pairs: list[tuple[Change, Change, Change | None]] = []
        for change in plan:
            earlier = next((one for one in left if _is_rest(change, one)), None)
            if earlier is not None:
                left.remove(earlier)
                taken.append(earlier)
                pairs.append((change, _together(earlier, change), earlier))
            elif not any(_is_rest(change, one) for one in taken):
                pairs.append((change, change, None))
        return left, pairs


def _is_rest(change: Change, begun: Change) -> bool:
    """Two updates are one when they are about the same things: a guest may move, and be changed after that."""
    if change.resource != begun.resource or change.action not in _RESTS.get(begun.action, (begun.action,)):
        return False
    if begun.action != "update":
        return True
    return bool({*change.before, *change.after} & {*begun.before, *begun.after})


def _together(begun: Change, rest: Change) -> Change:
    """What it was before the first attempt, and what it is after the last."""
    if begun.action != rest.action:
        return begun
    if begun.action != "update":
        return rest
    before, after = {**rest.before, **begun.before}, {**begun.after, **rest.after}
    return dataclasses.replace(rest, before=before, after=after, note=begun.note or rest.note)
