# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers that are none are refused before anything is asked: a wait of "nan" seconds would never end."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute


def run(task: Task) -> dict[str, t.Any]:
    return task.params


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", ["by itself", "in a list of options"])
def test_a_number_that_is_none_is_named(value: float, place: str) -> None:
    params: dict[str, t.Any] = {"wait_timeout": value} if place == "by itself" else {"vms": [{"wait_timeout": value}]}
    failed = execute(run, Task(params=params))
    assert failed["error"]["kind"] == "InvalidInput"
    assert "wait_timeout" in failed["msg"]
    assert str(value) in failed["msg"]


def test_other_numbers_and_what_is_only_given_on_pass() -> None:
    params = {"wait_timeout": 1.5, "api_timeout": 0.0, "number": 3, "definitions": [{"data": {"x": "nan"}}]}
    assert execute(run, Task(params=params)) == params
