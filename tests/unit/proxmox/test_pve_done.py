# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run tells that had to plan again: what it has done in all, and not what it planned first."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import Conflict, Refused
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import Change, Plan, carry_out
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import attempts
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.guests import guest_apply
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.guests.guest_plan import Planned
from ansible_collections.groundwork.homelab.plugins.module_utils.web import AnswerLost

LOST = AnswerLost("do it", answer="the connection was closed")
TAKEN = Conflict("do it", answer="CT 310 already exists")


def change(action: t.Any, resource: str = "ct/310", before: t.Any = None, **after: t.Any) -> Change:
    return Change(resource, action, before=before or {}, after=after, operation=action)


CREATE, START = change("create", memory=512, hostname="a"), change("start")
OTHER = change("update", "ct/311", before={"memory": 256}, memory=512)
MOVE, MEMORY = change("update", before={"node": "a"}, node="b"), change("update", before={"memory": 1}, memory=2)
TWO = change("update", before={"memory": 1, "cores": 1}, memory=2, cores=2)
NEW = change("update", before={"memory": 1}, memory=512)


class Planner:
    """Plans what it is told to, one plan after the other."""

    class session:  # noqa: N801
        @staticmethod
        def progress(_text: str) -> None: ...

    def __init__(self, plans: t.Sequence[t.Sequence[Change]]) -> None:
        self.plans = [Planned(Plan.of(plan)) for plan in plans]

    def look_and_plan(self) -> Planned:
        return self.plans.pop(0)


def run(plans: t.Sequence[t.Sequence[Change]], fails: t.Sequence[tuple[Change, Exception]]) -> list[Change]:
    """``fails``: which change fails in which attempt, and how."""
    left = list(fails)

    def apply(plan: Plan) -> None:
        now = left.pop(0) if left else None

        def one(made: Change) -> None:
            if now and made == now[0]:
                raise now[1]

        carry_out(plan, one)

    planner: t.Any = Planner(plans)
    return list(attempts.carry_out(planner, apply, planner.look_and_plan()).done)


CASES: dict[str, tuple[list[list[Change]], list[tuple[Change, Exception]], list[Change]]] = {
    "nothing goes wrong": ([[CREATE, START]], [], [CREATE, START]),
    "it was done": ([[CREATE, START], [START]], [(CREATE, LOST)], [CREATE, START]),
    "it was not done": ([[CREATE, START], [CREATE, START]], [(CREATE, LOST)], [CREATE, START]),
    "somebody else has done it": ([[OTHER, START], [START]], [(OTHER, TAKEN)], [START]),
    "somebody was faster": (
        [[CREATE], [change("create", "ct/311", memory=512)]],
        [(CREATE, TAKEN)],
        [change("create", "ct/311", memory=512)],
    ),
    "the rest of a copy": ([[CREATE, START], [change("update", memory=512), START]], [(CREATE, LOST)], [CREATE, START]),
    "the rest of a restart": ([[MEMORY, change("restart")], [START]], [(change("restart"), LOST)], [MEMORY, change("restart")]),
    "half an update": ([[TWO], [MEMORY]], [(TWO, LOST)], [TWO]),
    "two updates": ([[MOVE, MEMORY], [MEMORY]], [(MOVE, LOST)], [MOVE, MEMORY]),
    "two updates, none done": ([[MOVE, MEMORY], [MOVE, MEMORY]], [(MOVE, LOST)], [MOVE, MEMORY]),
    "the order of the input": (
        [[CREATE, START, OTHER], [START, OTHER], [START]],
        [(CREATE, LOST), (OTHER, LOST)],
        [CREATE, START, START, OTHER],
    ),
    "the rest of what is replaced": ([[NEW], [CREATE]], [(NEW, LOST)], [NEW]),
    "lost again and again": ([[CREATE], [CREATE], [CREATE], []], [(CREATE, LOST)] * 3, [CREATE]),
}  # fmt: skip


@pytest.mark.parametrize(("plans", "fails", "done"), CASES.values(), ids=CASES)
def test_what_was_done_is_told(
    plans: list[list[Change]], fails: list[tuple[Change, Exception]], done: list[Change]
) -> None:
    assert run(plans, fails) == done


def test_a_failure_in_the_end_tells_what_was_done_before() -> None:
    boom = Refused("start it", answer="no")
    with pytest.raises(Refused) as caught:
        run([[CREATE, START], [START]], [(CREATE, LOST), (START, boom)])
    assert caught.value.made == [CREATE.as_result()]


def test_all_that_is_lost_side_by_side_is_remembered() -> None:
    def apply(operation: str) -> None:
        raise AnswerLost(operation, answer="lost")

    with pytest.raises(AnswerLost) as caught:
        guest_apply.apply_by_guest(Plan.of([MEMORY]), apply)
    assert caught.value.begun == [MEMORY.as_result()]
    assert caught.value.made == []
