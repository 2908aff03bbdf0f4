# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that do not disturb each other are made side by side; those that share a file or a node, one by one."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from ...errors import HomelabError
from ...plan import Change
from .transport import POOL

S = t.TypeVar("S")
T = t.TypeVar("T")


def together(what: t.Callable[[S], T], of: t.Sequence[S], *, at_once: int = POOL) -> list[T]:
    """``what`` of each, so many at a time, in order; the first error is raised."""
    if len(of) < 2:
        return [what(one) for one in of]
    with ThreadPoolExecutor(max_workers=min(at_once, len(of))) as pool:
        return list(pool.map(what, of))


def side_by_side(
    changes: t.Iterable[Change], lane: t.Callable[[Change], str], apply: t.Callable[[Change], None]
) -> list[Change]:
    """One lane after its first error stops; the others go on to their end. Then the first error is raised, with what
    was made in any lane.
    """
    lanes: dict[str, list[Change]] = {}
    for change in changes:
        lanes.setdefault(lane(change), []).append(change)
    outcomes = together(lambda of: _one_by_one(of, apply), list(lanes.values()))
    made = [change for done, _error in outcomes for change in done]
    begun = [
        of[len(done)]
        for of, (done, error) in zip(lanes.values(), outcomes, strict=True)
        if error is not None and error.perhaps_done
    ]
    for _done, error in outcomes:
        if error is not None:
            error.made = [change.as_result() for change in made]
            error.begun = [change.as_result() for change in begun]
            raise error
    return made


def _one_by_one(
    changes: t.Iterable[Change], apply: t.Callable[[Change], None]
) -> tuple[list[Change], HomelabError | None]:
    done: list[Change] = []
    for change in changes:
        try:
            apply(change)
        except HomelabError as error:
            return done, error
        done.append(change)
    return done, None
