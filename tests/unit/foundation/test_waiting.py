# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits end when the thing is there or has failed, and say why it is not there."""

from __future__ import annotations

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils import errors, waiting


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 0.0
        self.pauses: list[float] = []

    def clock(self) -> waiting.Clock:
        return waiting.Clock(now=lambda: self.at, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.at += seconds


def test_a_thing_that_is_there_costs_one_look_and_no_sleep() -> None:
    time = Time()
    assert waiting.wait_for("x", lambda: 7, deadline=waiting.Deadline(5, time.clock())) == 7
    assert time.pauses == []


def test_pauses_grow_to_their_limit_and_never_pass_the_deadline() -> None:
    time = Time()
    with pytest.raises(errors.WaitTimeout):
        waiting.wait_for(
            "x",
            lambda: waiting.Pending("no"),
            deadline=waiting.Deadline(5, time.clock()),
            backoff=waiting.Backoff(first=0.1, factor=10, most=2),
        )
    assert time.pauses[:4] == [0.1, 1.0, 2, pytest.approx(1.9)]
    assert time.at == pytest.approx(5, abs=0.01)


def test_the_time_out_names_the_thing_the_peer_and_the_last_reason() -> None:
    time, reasons = Time(), iter(["etcd is Preparing", "etcd is Starting"] + ["etcd is Failed"] * 50)
    with pytest.raises(errors.WaitTimeout) as caught:
        waiting.wait_for(
            "etcd become healthy",
            lambda: waiting.Pending(next(reasons)),
            deadline=waiting.Deadline(3, time.clock()),
            of="node talos-cp01",
            hint="Look at its log.",
        )
    assert caught.value.message == (
        "Could not see etcd become healthy within 3 s (node talos-cp01): etcd is Failed. Look at its log."
    )


def test_a_check_that_raises_ends_the_wait_at_once() -> None:
    time, looks = Time(), iter([waiting.Pending("starting"), errors.TaskFailed("start VM 1", answer="no KVM")])

    def check() -> waiting.Pending:
        look = next(looks)
        if isinstance(look, Exception):
            raise look
        return look

    with pytest.raises(errors.TaskFailed, match="no KVM"):
        waiting.wait_for("x", check, deadline=waiting.Deadline(600, time.clock()))
    assert time.at < 1


def test_progress_is_heard_when_the_reason_changes_and_now_and_then() -> None:
    time, heard = Time(), []
    reasons = iter(["a", "a", "b"] + ["b"] * 100)
    with pytest.raises(errors.WaitTimeout):
        waiting.wait_for(
            "x",
            lambda: waiting.Pending(next(reasons)),
            deadline=waiting.Deadline(40, time.clock()),
            progress=heard.append,
        )
    assert [line.split(": ")[1].split(" ")[0] for line in heard] == ["a", "b", "b", "b"]


def test_retry_repeats_passing_errors_only() -> None:
    time, answers = Time(), iter([errors.Unreachable("x"), errors.ServerFault("x"), 3])

    def ask() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert waiting.retry(ask, deadline=waiting.Deadline(60, time.clock())) == 3
    with pytest.raises(errors.AccessDenied):
        waiting.retry(_denied, deadline=waiting.Deadline(60, time.clock()))


def _denied() -> None:
    raise errors.AccessDenied("x")
