# SPDX-License-Identifier: GPL-3.0-or-later
"""The status daemon: what the list of the cluster tells of guests is what it saw a while ago.

A new guest is ``unknown`` until it has been seen; one that was started, stopped, renamed or made into a template is told
as it was before, and so is one that was deleted and made anew under the same id. Where guests are, and their pools,
tags and locks, the list knows at once.
"""

from __future__ import annotations

import asyncio
import collections
import time
import typing as t

from .guest import GuestConfig

if t.TYPE_CHECKING:
    from .cluster import Cluster

Values = dict[str, t.Any]
_IDLE = ("diskread", "diskwrite")
_KEYS = ("name", "status", "cpu", "disk", "maxdisk", "maxmem", "mem", "memhost", "netin", "netout", "uptime")
#: Looks within one delay: by so much more the list is late.
_LOOKS = 20


class StatusDaemon:
    """The list is always as late as that of a real server at most is; without a delay it is never late."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen: collections.deque[tuple[float, dict[int, Values]]] = collections.deque()

    @property
    def delay(self) -> float:
        """In real seconds."""
        return self._cluster.config.status_delay * self._cluster.config.time_scale

    def values(self, guest: GuestConfig) -> Values:
        """What the list tells of a guest besides its place."""
        if not self._cluster.nodes[guest.node].online:
            return {"status": "unknown"}
        if not self.delay:
            return of(guest)
        return self._known().get(guest.vmid, {"status": "unknown"})

    def look(self, ago: float = 0.0) -> None:
        """Remember how all guests are; ``ago`` seconds in which nothing will have changed."""
        self._known()
        now = {vmid: of(guest) for vmid, guest in self._cluster.guests.items()}
        self._seen.append((time.monotonic() - ago, now))

    def start(self) -> None:
        if self.delay:
            self._cluster.later(self._run())

    async def _run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(self.delay / _LOOKS)

    def _known(self) -> dict[int, Values]:
        """The newest look that is old enough; those before it are forgotten."""
        until = time.monotonic() - self.delay
        while len(self._seen) > 1 and self._seen[1][0] <= until:
            self._seen.popleft()
        return self._seen[0][1] if self._seen and self._seen[0][0] <= until else {}


def of(guest: GuestConfig) -> Values:
    """A guest at this moment."""
    summary = guest.summary()
    found = {key: summary[key] for key in _KEYS if key in summary}
    return found | {"maxcpu": summary["cpus"], "template": int(guest.template)} | dict.fromkeys(_IDLE, 0)
