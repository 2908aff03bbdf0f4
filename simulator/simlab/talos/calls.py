# SPDX-License-Identifier: GPL-3.0-or-later
"""One RPC as its handler sees it, and the table of handlers."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import time
import typing as t

if t.TYPE_CHECKING:
    from .node import TalosNode

#: A reply: the fields of the reply message.
Reply = c.Mapping[str, t.Any]
Unary = t.Callable[["TalosNode", "Call"], c.Awaitable[Reply]]
Refuses = t.Callable[["TalosNode", "Call"], None]
Stream = t.Callable[["TalosNode", "Call"], c.AsyncIterator[Reply]]

#: Handlers by gRPC path. What the API has and is not in here is answered "not simulated".
UNARY: dict[str, Unary] = {}
STREAMS: dict[str, Stream] = {}
#: Judges of requests to RPCs that are not simulated: one that finds nothing wrong is followed by that answer.
REFUSALS: dict[str, Refuses] = {}
#: As UNARY, but for a request that is a stream.
UPLOADS: dict[str, Unary] = {}


@dataclasses.dataclass
class Call:
    """``request`` is the request message; for client streams None, and ``upload`` yields the messages."""

    path: str
    request: t.Any
    roles: frozenset[str]
    maintenance: bool
    source: str
    deadline: float | None  # time.monotonic
    upload: c.AsyncIterator[t.Any] | None = None
    #: What the ledger shall know besides: nothing secret.
    detail: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    #: Found out by the handler: this call can change nothing (a dry run).
    reads_only: bool = False

    @property
    def admin(self) -> bool:
        return "os:admin" in self.roles

    def remaining(self) -> float | None:
        """Seconds until the client gives up, None if it never does."""
        return None if self.deadline is None else self.deadline - time.monotonic()


def unary(*paths: str) -> t.Callable[[Unary], Unary]:
    def register(handler: Unary) -> Unary:
        UNARY.update(dict.fromkeys(paths, handler))
        return handler

    return register


def streams(*paths: str) -> t.Callable[[Stream], Stream]:
    def register(handler: Stream) -> Stream:
        STREAMS.update(dict.fromkeys(paths, handler))
        return handler

    return register


def refuses(*paths: str) -> t.Callable[[Refuses], Refuses]:
    def register(judge: Refuses) -> Refuses:
        REFUSALS.update(dict.fromkeys(paths, judge))
        return judge

    return register


def uploads(path: str) -> t.Callable[[Unary], Unary]:
    def register(handler: Unary) -> Unary:
        UPLOADS[path] = handler
        return handler

    return register


def machine(*names: str) -> tuple[str, ...]:
    """Paths of methods of the MachineService."""
    return tuple(f"/machine.MachineService/{name}" for name in names)


def single(**fields: t.Any) -> Reply:
    """The usual reply: one message."""
    return {"messages": [fields]}
