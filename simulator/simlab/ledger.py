# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: every API request that the lab received, in order."""

from __future__ import annotations

import dataclasses
import time
import typing as t

Api = t.Literal["proxmox", "talos", "kubernetes", "mirror"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One request. ``write`` says whether it could change something (a dry run cannot); ``refused``
    whether the answer was an error. ``caller`` is who asked, by the API's own account
    (``ansible@pve!groundwork``, ``os:admin``, ``admin``); ``source`` its address.
    """

    number: int
    at: float  # seconds since the epoch
    api: Api
    server: str  # which one: "pve1", "talos-cp01", "factory.talos.dev"
    caller: str
    source: str
    verb: str  # HTTP method, or the RPC's name for Talos, or the Kubernetes verb
    path: str
    write: bool
    result: str  # "200", "OK", "FAILED_PRECONDITION", "dropped"
    refused: bool
    detail: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


class Ledger:
    """Append only. Never holds a body, so never a secret."""

    def __init__(self, clock: t.Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._entries: list[Entry] = []

    def record(
        self,
        api: Api,
        *,
        server: str,
        caller: str,
        source: str,
        verb: str,
        path: str,
        write: bool,
        result: str,
        refused: bool,
        at: float | None = None,
        **detail: t.Any,
    ) -> Entry:
        entry = Entry(
            number=len(self._entries) + 1,
            at=self._clock() if at is None else at,
            api=api,
            server=server,
            caller=caller,
            source=source,
            verb=verb,
            path=path,
            write=write,
            result=result,
            refused=refused,
            detail=detail,
        )
        self._entries.append(entry)
        return entry

    def entries(self, since: int = 0) -> list[Entry]:
        """Those with a number above ``since``."""
        return self._entries[since:]

    def mark(self) -> int:
        """The number of the newest entry, to be given to :meth:`entries` later."""
        return len(self._entries)
