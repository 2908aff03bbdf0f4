# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's event stream: what ``talosctl events`` and the dashboard show. Lives for one boot."""

from __future__ import annotations

import asyncio
import collections
import collections.abc as c
import dataclasses
import itertools
import time
import typing as t

from . import schema

_BUFFERED = 1000
_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_counter = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Happening:
    """``kind`` is a message of package machine (``SequenceEvent``), ``fields`` its content."""

    id: str
    at: float
    kind: str
    fields: c.Mapping[str, t.Any]
    actor: str

    def as_message(self) -> dict[str, t.Any]:
        payload = schema.message(f"machine.{self.kind}")(**self.fields)
        return {
            "data": {
                "type_url": f"talos/runtime/machine.{self.kind}",
                "value": payload.SerializeToString(),
            },
            "id": self.id,
            "actor_id": self.actor,
        }


def new_id() -> str:
    """Sortable by time, 20 characters of base 32 hex, as the node's own."""
    number = int(time.time()) << 64 | next(_counter) & (1 << 64) - 1
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(95, -1, -5))


class Events:
    def __init__(self) -> None:
        self._buffer: collections.deque[Happening] = collections.deque(maxlen=_BUFFERED)
        self._queues: set[asyncio.Queue[Happening]] = set()

    def tell(self, kind: str, actor: str = "", **fields: t.Any) -> None:
        event = Happening(new_id(), time.time(), kind, fields, actor)
        self._buffer.append(event)
        for queue in self._queues:
            queue.put_nowait(event)

    def past(self, tail: int, seconds: int, after: str) -> list[Happening]:
        """What a stream starts with: the last ``tail`` (-1: all buffered), or those since."""
        if after:
            return [event for event in self._buffer if event.id > after]
        if seconds:
            since = time.time() - seconds
            return [event for event in self._buffer if event.at >= since]
        if tail < 0:
            return list(self._buffer)
        return list(self._buffer)[-tail:] if tail else []

    def follow(self) -> asyncio.Queue[Happening]:
        queue: asyncio.Queue[Happening] = asyncio.Queue()
        self._queues.add(queue)
        return queue

    def unfollow(self, queue: asyncio.Queue[Happening]) -> None:
        self._queues.discard(queue)
