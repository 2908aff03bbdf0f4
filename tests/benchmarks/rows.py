# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark measures: one row says what we needed and what a peer needed for the same work in the same run."""

from __future__ import annotations

import dataclasses
import typing as t

Json = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Cost:
    """``seconds`` of the tasks themselves, ``whole`` and ``cpu`` (user and system) seconds of the program from its start
    to its end with all its children, and the requests that the server saw."""

    seconds: float
    whole: float
    cpu: float
    reads: int
    writes: int

    def __str__(self) -> str:
        return f"{self.seconds:7.2f} s {self.cpu:6.2f} s CPU {self.reads:4} reads {self.writes:3} writes"


@dataclasses.dataclass(frozen=True)
class Row:
    """``bench`` is ``B2``; ``delay`` is in milliseconds, added to each request; ``aim`` says what is wanted and ``met``
    whether it was so in this run; ``note`` says what the figures do not, such as the message of an error."""

    bench: str
    name: str
    delay: int
    ours: Cost
    peer: Cost | None = None
    peer_is: str = ""
    aim: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as long the peer took."""
        return round(self.peer.seconds / self.ours.seconds, 1) if self.peer and self.ours.seconds else None

    def as_json(self) -> Json:
        return {**dataclasses.asdict(self), "ratio": self.ratio}

    def __str__(self) -> str:
        lines = [f"{self.bench} {self.name}, {self.delay} ms", f"    ours {self.ours}"]
        if self.peer:
            lines.append(f"    peer {self.peer}   {self.ratio} times")
        if self.aim:
            lines.append(f"    aim: {self.aim}: {'met' if self.met else 'MISSED'}")
        return "\n".join([*lines, *([f"    {self.note}"] if self.note else [])])


@dataclasses.dataclass(frozen=True)
class Settings:
    """``delays`` in milliseconds; ``size`` shrinks the numbers of guests to that percentage, for a look at a busy machine."""

    delays: tuple[int, ...] = (0, 20)
    size: int = 100

    def with_peer(self, milliseconds: int) -> bool:
        """Where the delay makes no difference to what is shown, the peer is measured once: its minutes are many."""
        return milliseconds == self.delays[0]

    def of(self, number: int, least: int = 2) -> int:
        return max(least, number * self.size // 100)
