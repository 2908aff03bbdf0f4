# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that are given without a number: found by their names, or made under a free one."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import Conflict, Refused
from ..api.names import VMIDS
from ..api.session import Session, no_records
from ..api.tasks import Upid

#: How many numbers in a row are asked about before a free one is given up.
_NUMBERS = 1000

#: Locks under which a guest has not got its name yet, and the kinds of task that hold them.
MAKING = frozenset({"create", "clone"})
MAKERS = frozenset({"vzcreate", "vzclone", "vzrestore", "qmcreate", "qmclone", "qmrestore"})


class Wish(t.Protocol):
    """``vmid`` is 0 where it is not known."""

    @property
    def vmid(self) -> int: ...
    @property
    def state(self) -> str: ...


W = t.TypeVar("W", bound=Wish)


def with_number(wish: W, vmid: int) -> W:
    return t.cast("W", dataclasses.replace(t.cast("t.Any", wish), vmid=vmid))


def with_new_numbers(session: Session, wishes: t.Iterable[W]) -> list[W]:
    """Free numbers for guests that are not there. They are not reserved: creating one is what takes it."""
    wishes = list(wishes)
    taken = {wish.vmid for wish in wishes}
    numbered = []
    for wish in wishes:
        if not wish.vmid and wish.state != "absent":
            wish = with_number(wish, _free(session, taken))
            taken.add(wish.vmid)
        numbered.append(wish)
    return numbered


def _free(session: Session, taken: t.Collection[int]) -> int:
    first = _next(session)
    for vmid in range(first, first + _NUMBERS):
        if vmid in taken:
            continue
        if vmid == first:
            return vmid
        try:
            session.get("/cluster/nextid", {"vmid": vmid}, asked=f"ask whether the vmid {vmid} is free")
        except (Conflict, Refused):
            continue
        return vmid
    raise Refused("find a free vmid", of=session.of, answer=f"{_NUMBERS} in a row are taken", hint="Give one.")


def _next(session: Session) -> int:
    asked = "ask for a free vmid"
    answer = session.get("/cluster/nextid", asked=asked)
    number = int(answer) if str(answer).isdecimal() else 0
    if number not in VMIDS:
        raise no_records(session, asked, "no number of a guest", answer)
    return number


def makers(tasks: t.Iterable[Upid]) -> list[Upid]:
    """Those that make guests."""
    return [task for task in tasks if task.kind in MAKERS]
