# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to wait: a deadline, back-off, progress, and the reason why it is not there yet.

A wait ends when the thing is there, or as soon as it has failed: the check raises, with the
server's own words. There are no fixed sleeps, and no time-out that hides a failure.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from .errors import HomelabError, WaitTimeout

T = t.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Pending:
    """Not there yet, and why: ``etcd is Preparing``, ``pod cilium-x: ImagePullBackOff``."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Clock:
    """Time as the waits see it; tests pass one that does not really sleep."""

    now: t.Callable[[], float] = time.monotonic
    sleep: t.Callable[[float], None] = time.sleep


class Deadline:
    """A point in time that several waits of one task share. Seconds."""

    def __init__(self, seconds: float, clock: Clock | None = None) -> None:
        self.seconds = seconds
        self.clock = clock or Clock()
        self._start = self.clock.now()

    def elapsed(self) -> float:
        return self.clock.now() - self._start

    def left(self) -> float:
        return max(0.0, self.seconds - self.elapsed())

    def over(self) -> bool:
        return self.elapsed() >= self.seconds


@dataclasses.dataclass(frozen=True)
class Backoff:
    """The pauses between two looks: from ``first`` seconds, times ``factor``, up to ``most``."""

    first: float = 0.05
    factor: float = 1.6
    most: float = 1.0

    def pauses(self) -> t.Iterator[float]:
        pause = self.first
        while True:
            yield pause
            pause = min(self.most, pause * self.factor)


def no_progress(_text: str) -> None:
    """For callers who do not want to hear what is being waited for."""


def wait_for(
    what: str,
    check: t.Callable[[], T | Pending],
    *,
    deadline: Deadline,
    of: str = "",
    progress: t.Callable[[str], None] = no_progress,
    backoff: Backoff | None = None,
    hint: str = "",
    repeat_progress: float = 15.0,
) -> T:
    """Look until ``check`` returns something else than :class:`Pending`, and return that.

    ``what`` completes "Could not see …": ``node talos-cp01 become Ready``. ``check`` raises as soon
    as waiting is pointless. ``progress`` hears the reason when it changes, and again every
    ``repeat_progress`` seconds. Raises :class:`errors.WaitTimeout` with the last reason.
    """
    told, told_at = "", 0.0
    for pause in (backoff or Backoff()).pauses():
        outcome = check()
        if not isinstance(outcome, Pending):
            return outcome
        waited = deadline.elapsed()
        if outcome.reason != told or waited - told_at >= repeat_progress:
            told, told_at = outcome.reason, waited
            progress(f"waiting for {what}: {outcome.reason} ({waited:.0f} s)")
        if deadline.over():
            raise WaitTimeout(f"see {what} within {deadline.seconds:g} s", of=of, answer=outcome.reason, hint=hint)
        deadline.clock.sleep(min(pause, max(deadline.left(), 0.001)))
    raise AssertionError("unreachable: the back-off never ends")


def retry(
    what: t.Callable[[], T],
    *,
    deadline: Deadline,
    when: t.Callable[[HomelabError], bool] = lambda error: error.retryable,
    progress: t.Callable[[str], None] = no_progress,
    backoff: Backoff | None = None,
) -> T:
    """Do ``what`` again while it fails with an error that ``when`` calls passing.

    Only for requests that are safe to repeat. The last error is raised as it came.
    """
    for pause in (backoff or Backoff(first=0.2, most=5.0)).pauses():
        try:
            return what()
        except HomelabError as error:
            if not when(error) or deadline.over():
                raise
            progress(f"{error.message} Trying again in {pause:.1f} s")
        deadline.clock.sleep(min(pause, max(deadline.left(), 0.001)))
    raise AssertionError("unreachable: the back-off never ends")
