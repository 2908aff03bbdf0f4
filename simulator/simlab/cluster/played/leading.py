# SPDX-License-Identifier: GPL-3.0-or-later
"""One of several replicas works: whose container runs first. Instead of a Lease, as all of them are in this process: the
lab writes nothing while nothing changes, and the next one takes over at once."""

from __future__ import annotations

import asyncio
import collections.abc as c
import contextlib
import weakref

from .seat import Seat

_LOCKS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str, str], asyncio.Lock]] = (
    weakref.WeakKeyDictionary()
)


@contextlib.asynccontextmanager
async def leading(seat: Seat, name: str) -> c.AsyncIterator[None]:
    """Wait until no other replica in the cluster does this work, and keep it from doing it."""
    cluster = str(seat.node.cluster.get("id") or "") if seat.node is not None else ""
    locks = _LOCKS.setdefault(asyncio.get_running_loop(), {})
    async with locks.setdefault((cluster, seat.namespace, name), asyncio.Lock()):
        yield
