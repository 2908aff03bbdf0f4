# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan says the same in check mode, in a diff and in a run; a failure says what was done before it."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils import errors, plan, task

GROW = plan.Change("vm/200", "update", {"memory": 8192}, {"memory": 16384}, note="needs a restart", operation=object())
START = plan.Change("vm/200", "start")


def test_a_result_shows_changes_without_their_operations() -> None:
    assert plan.Plan.of([GROW, START]).as_result() == [
        {
            "resource": "vm/200",
            "action": "update",
            "before": {"memory": 8192},
            "after": {"memory": 16384},
            "note": "needs a restart",
        },
        {"resource": "vm/200", "action": "start"},
    ]


def test_a_diff_has_one_entry_a_change_and_none_is_empty() -> None:
    update, start = plan.Plan.of([GROW, START]).diff()
    assert (update["before"], update["after"]) == ("memory: 8192\n", "memory: 16384\n")
    assert update["after_header"] == "vm/200 (update: needs a restart)"
    assert start["before"] != start["after"]


def test_an_empty_plan_is_no_change_and_no_diff() -> None:
    outcome = task.Task({}, diff_mode=True).result(plan.Plan())
    assert outcome == {"changed": False, "changes": []}


def test_a_failure_in_the_middle_carries_what_was_done() -> None:
    def apply(change: plan.Change) -> None:
        if change is START:
            raise errors.TaskFailed("start VM 200", of="pve1", answer="no KVM")

    def run(_task: task.Task) -> task.Result:
        plan.carry_out(plan.Plan.of([GROW, START]), apply)
        raise AssertionError("not reached")

    outcome = task.execute(run, task.Task({}))
    assert outcome["failed"] and outcome["changed"]
    assert [change["action"] for change in outcome["changes"]] == ["update"]
    assert outcome["msg"] == "Could not start VM 200 (pve1): no KVM."
    assert outcome["error"] == {"kind": "TaskFailed", "asked": "start VM 200", "of": "pve1", "answer": "no KVM"}


def test_a_failure_before_anything_was_done_is_not_a_change() -> None:
    def run(_task: task.Task) -> task.Result:
        raise errors.InvalidInput("vmid 99 is below 100", hint="Choose 100 to 999999999.")

    outcome = task.execute(run, task.Task({}))
    assert outcome["failed"] and not outcome["changed"]
    assert outcome["msg"] == "vmid 99 is below 100. Choose 100 to 999999999."


def test_a_bug_passes_through() -> None:
    def run(_task: task.Task) -> task.Result:
        return {"x": {}["no such key"]}

    with pytest.raises(KeyError):
        task.execute(run, task.Task({}))


MAPS = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.none() | st.integers() | st.text(max_size=3))


@given(MAPS, MAPS)
def test_a_difference_applied_to_the_current_state_gives_the_desired_one(before: dict, after: dict) -> None:
    old, new = plan.difference(before, after)
    kept = {key: value for key, value in before.items() if key not in old}
    assert {**kept, **new} == after
    assert plan.difference(after, after) == ({}, {})


@given(MAPS)
def test_a_diff_is_yaml_of_what_differs(after: dict) -> None:
    entry = plan.Plan.of([plan.Change("x", "create", {}, after)]).diff()[0]
    assert yaml.safe_load(entry["after"]) == (after or "create")
