# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of the callback ``lab``."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.plugin_utils import lab_lines

UPDATE = {"resource": "vm/200", "action": "update", "before": {"memory": 8192}, "after": {"memory": 16384}}


@pytest.mark.parametrize(
    ("change", "would", "line"),
    [
        (UPDATE, False, "~ update vm/200: memory 8192 -> 16384"),
        (UPDATE, True, "~ would update vm/200: memory 8192 -> 16384"),
        ({**UPDATE, "note": "needs a restart"}, False, "~ update vm/200: memory 8192 -> 16384 [needs a restart]"),
        ({"resource": "vm/200", "action": "create", "after": {"name": "cp1"}}, False, "+ create vm/200 (cp1)"),
        ({"resource": "Namespace/a", "action": "delete", "before": {"kind": "x"}}, True, "- would delete Namespace/a"),
        ({"resource": "vm/1", "action": "start"}, False, "> start vm/1"),
        (
            {"resource": "s", "action": "update", "before": {"a": "(hidden)"}, "after": {"a": "(hidden)"}},
            False,
            "~ update s: a changed",
        ),
        (
            {"resource": "s", "action": "update", "before": {"a": 1}, "after": {"b": True}},
            False,
            "~ update s: a removed, b set to true",
        ),
        ({"resource": "x", "action": "paint"}, False, "~ paint x"),
    ],
)
def test_a_change_is_one_line(change: dict[str, t.Any], would: bool, line: str) -> None:
    assert lab_lines.change_line(change, would=would) == line


def test_many_fields_are_counted() -> None:
    after = {f"field{n}": n for n in range(7)}
    line = lab_lines.change_line({"resource": "x", "action": "update", "after": after}, would=False)
    assert line.endswith("field3 set to 3 and 3 more")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_a_value_is_one_line_of_bounded_length(value: t.Any) -> None:
    shown = lab_lines.short(value)
    assert len(shown) <= lab_lines.MOST_CHARACTERS
    assert "\n" not in shown


def test_a_failure_of_ours_says_asked_of_answer_and_try() -> None:
    error = {"kind": "Refused", "asked": "create VM 200", "of": "pve1", "answer": "no\nspace", "hint": "Free some."}
    assert lab_lines.failure_lines({"msg": "…", "error": error}) == [
        "could not: create VM 200",
        "of:        pve1",
        "answer:    no",
        "           space",
        "try:       Free some.",
    ]


def test_a_failure_of_others_says_its_message_and_the_end_of_its_output() -> None:
    result = {"msg": "non-zero return code", "stderr": "\n".join(f"line {n}" for n in range(20)), "stdout": ""}
    lines = lab_lines.failure_lines(result)
    assert lines[0] == "cause:     non-zero return code"
    assert lines[1] == "stderr:    line 10"
    assert len(lines) == 11


def test_a_censored_failure_shows_only_that() -> None:
    assert lab_lines.failure_lines({"censored": "the output has been hidden"}) == [
        "cause:     the output has been hidden"
    ]


@pytest.mark.parametrize(
    ("duration", "text"), [(0.34, "0.3 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (125.4, "2 min 05 s")]
)
def test_times_are_in_the_unit_that_people_read(duration: float, text: str) -> None:
    assert lab_lines.seconds(duration) == text


def layer(name: str, changes: int = 0, planned: int = 0) -> lab_lines.Layer:
    one = lab_lines.Layer(name, 0.0)
    one.duration = 1.0
    one.add([UPDATE] * changes, would=False)
    one.add([UPDATE] * planned, would=True)
    return one


def test_the_verdict_says_how_to_go_on() -> None:
    assert lab_lines.verdict([layer("a")], [], check=False) == ["Nothing to change."]
    assert lab_lines.verdict([layer("a", 2)], [], check=False) == ["Changed: 2 updated."]
    assert lab_lines.verdict([layer("a", 0, 2)], [], check=True) == [
        "Check mode wrote nothing: 2 would be updated.",
        "Run it without --check to make these changes.",
    ]
    failed = lab_lines.verdict([layer("a", 1)], ["machines: VMs"], check=False)
    assert failed[1:] == ["Failed: machines: VMs", "Correct the cause above, then run it again: it goes on from here."]


def test_a_layer_that_comes_back_counts_once() -> None:
    found = lab_lines.merged([layer("a", 1), layer("b"), layer("a", 2)])
    assert [(one.name, len(one.changes), one.duration) for one in found] == [("a", 3, 2.0), ("b", 0, 1.0)]
