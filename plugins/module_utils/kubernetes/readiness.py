# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until objects have become what they are for: noticed by watch, many at once, with the reason why one is not.

Callers say what they want as :class:`Want` and call :func:`wait`. It ends when all are there, as soon as one has failed for
good, or at the deadline, each time with the cause in the words of whoever knows it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import NotFound, TaskFailed, WaitTimeout
from ..waiting import Backoff, Deadline
from .client import Client
from .conditions import Failure
from .discovery import Resource
from .kinds import is_built_in
from .readiness_board import Board
from .readiness_checks import reason_of
from .readiness_wants import Outcome, State, Want, summary

__all__ = (
    "GONE",
    "READY",
    "Failure",
    "Outcome",
    "Purpose",
    "Target",
    "Want",
    "check_kinds",
    "look",
    "looked_at_once",
    "reason_of",
    "wait",
    "wait_until_gone",
    "wait_until_ready",
)

Target = tuple[Resource, str, str]

#: How long the board is heard before the deadline, and what cannot be watched, are looked at again. Seconds.
PAUSES = Backoff(first=0.1, factor=1.5, most=0.5)
#: Seconds between two lines of progress, and after which one is said again.
TELL_EVERY, TELL_AGAIN = 0.5, 15.0


@dataclasses.dataclass(frozen=True)
class Purpose:
    """How a wait is told: ``see {what} within 60 s``, where ``what`` may have the objects in it."""

    what: str
    hint: str
    #: What is said of one that is done.
    done: str = "is ready"


READY = Purpose("{objects} ready", "Look at the object's conditions and events, correct the cause, and run it again.")
GONE = Purpose(
    "the deletion", "What is named must finish its clean-up first; is its controller still running?", "is gone"
)


def wait(client: Client, wants: t.Sequence[Want], deadline: Deadline, purpose: Purpose = READY) -> list[Outcome]:
    """Until all are there. Raises TaskFailed as soon as one has failed for good, WaitTimeout at the deadline; both have in
    ``details["waiting"]`` what was not there then, and why."""
    teller = Teller(client, wants, deadline, purpose)
    with Board(client, wants, deadline) as board:
        board.begin(follow=not deadline.over())
        for pause in PAUSES.pauses():
            pending = board.pending
            for state in pending:
                if state.failed:
                    raise teller.failed(state, pending)
            if not pending:
                break
            teller.waiting(pending, board.trouble)
            if deadline.over():
                board.look_far()
                raise teller.late(board.pending, board.trouble)
            board.refresh(min(pause, max(deadline.left(), 0.001)))
            teller.done(board.judge())
        return [state.outcome() for state in board.states]


def check_kinds(client: Client, wants: t.Sequence[Want]) -> None:
    """Raises NotFound for a kind that no CustomResourceDefinition can bring, so that nobody waits for it."""
    for want in wants:
        built_in = want.is_versioned and is_built_in(want.api_version)
        if built_in and client.resource(want.api_version, want.kind) is None:
            served = ", ".join(client.kinds(want.api_version)) or "nothing"
            raise NotFound(
                f"find the kind {want.kind}",
                of=client.of,
                answer=f"{want.api_version} has {served}",
                hint="Correct api_version and kind.",
            )


def look(client: Client, wants: t.Sequence[Want]) -> list[Outcome]:
    """How all stand at this moment, in the order given; nothing is waited for."""
    with Board(client, wants, Deadline(0.0)) as board:
        board.begin(follow=False)
        board.look_far()
        return [state.outcome() for state in board.states]


def wait_until_ready(client: Client, targets: t.Sequence[Target], deadline: Deadline) -> None:
    """:func:`wait` for objects whose kinds have been discovered."""
    wait(client, [_want(target) for target in targets], deadline)


def wait_until_gone(client: Client, targets: t.Sequence[Target], deadline: Deadline) -> None:
    """Until none of them exists any more; says which finalizers hold it."""
    wait(client, [dataclasses.replace(_want(target), gone=True) for target in targets], deadline, GONE)


def looked_at_once(client: Client, target: Target) -> str:
    """Why it is not ready at this moment, or has failed; nothing if it is ready."""
    return look(client, [_want(target)])[0].reason


def _want(target: Target) -> Want:
    resource, namespace, name = target
    return Want(resource.kind, resource.api_version, namespace, name, resource=resource)


class Teller:
    """What is said of a wait: while it lasts, and at its end."""

    def __init__(self, client: Client, wants: t.Sequence[Want], deadline: Deadline, purpose: Purpose) -> None:
        self.client, self.deadline, self.purpose = client, deadline, purpose
        objects = wants[0].label if len(wants) == 1 else f"{len(wants)} objects"
        self.what = purpose.what.format(objects=objects)
        self._told, self._told_at = "", -TELL_EVERY

    def waiting(self, pending: t.Sequence[State], trouble: str) -> None:
        text, now = _summary(pending, trouble), self.deadline.elapsed()
        if now - self._told_at >= (TELL_EVERY if text != self._told else TELL_AGAIN):
            self._told, self._told_at = text, now
            self.client.progress(f"waiting for {self.what}: {text} ({now:.0f} s)")

    def done(self, states: t.Sequence[State]) -> None:
        for state in states:
            self.client.progress(f"{state.want.label} {self.purpose.done} ({self.deadline.elapsed():.1f} s)")

    def failed(self, state: State, pending: t.Sequence[State]) -> TaskFailed:
        """Of one; the others that were still waited for are in the details."""
        asked = f"see {self.purpose.what.format(objects=state.want.label)}"
        hint = "Correct the cause and run it again."
        return TaskFailed(asked, of=self.client.of, answer=state.reason, hint=hint, waiting=_waiting(pending))

    def late(self, pending: t.Sequence[State], trouble: str) -> WaitTimeout:
        asked = f"see {self.what} within {self.deadline.seconds:g} s"
        answer, hint = _summary(pending, trouble), self.purpose.hint
        return WaitTimeout(asked, of=self.client.of, answer=answer, hint=hint, waiting=_waiting(pending))


def _summary(pending: t.Sequence[State], trouble: str) -> str:
    reasons = [f"{state.want.label}: {state.told}" for state in pending]
    return summary(reasons) + (f" (the API server does not answer now: {trouble})" if trouble else "")


def _waiting(pending: t.Sequence[State]) -> list[dict[str, t.Any]]:
    return [state.outcome().as_result() for state in pending]
