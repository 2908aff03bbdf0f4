# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan is carried out, and what is left of it is planned again when an answer was lost or somebody else was faster."""

from __future__ import annotations

import contextlib
import typing as t

from ...errors import Conflict, HomelabError
from ...plan import Plan
from ...web import AnswerLost
from .answers import Locked
from .done import Done
from .session import Session

#: How often an interrupted or overtaken run looks and plans again.
ATTEMPTS = 4


class Planned(t.Protocol):
    @property
    def plan(self) -> Plan: ...


P = t.TypeVar("P", bound=Planned)
P_co = t.TypeVar("P_co", bound=Planned, covariant=True)


class Replans(t.Protocol[P_co]):
    """Whoever can look again and plan what is left."""

    @property
    def session(self) -> Session: ...
    def look_and_plan(self) -> P_co: ...


class Carried(t.NamedTuple, t.Generic[P]):
    """``last`` is the plan that was carried out to its end, ``done`` what the run has done in all its attempts."""

    last: P
    done: Plan


def carry_out(
    planner: Replans[P], apply: t.Callable[[Plan], None], planned: P, *, attempts: int = ATTEMPTS
) -> Carried[P]:
    """A lost answer may have been a success, and somebody else may have been faster: look, and plan what is left."""
    done = Done()
    for attempt in range(1, attempts + 1):
        try:
            apply(planned.plan)
            break
        except HomelabError as error:
            done.failed(planned.plan, error)
            error.made = done.plan.as_result()
            if isinstance(error, Locked) or not isinstance(error, (AnswerLost, Conflict)) or attempt == attempts:
                raise
            planner.session.progress(f"{error.message} Looking again.")
        try:
            planned = planner.look_and_plan()
        except HomelabError as error:
            error.made = done.plan.as_result()
            raise
    done.succeeded(planned.plan)
    return Carried(planned, done.plan)


@contextlib.contextmanager
def one_change(session: Session) -> t.Iterator[None]:
    """Around the requests of one change, in one thread: when some were taken and another one fails, it was begun."""
    before = session.taken
    try:
        yield
    except HomelabError as error:
        error.perhaps_done = error.perhaps_done or session.taken > before
        raise
