# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete objects step by step: what a finalizer holds is gone before that goes which may have to clear it."""

from __future__ import annotations

import dataclasses
import typing as t

from ..plan import Change
from ..waiting import Deadline
from . import readiness
from .client import Client
from .items import Item, steps
from .readiness_wants import finalizers
from .together import together


@dataclasses.dataclass
class Deleting:
    """``made`` hears of each deletion. ``wait`` for all of a step before the next one, not only for what has finalizers;
    ``to_the_end`` for the last step, too."""

    client: Client
    made: list[Change]
    deadline: Deadline
    wait: bool = False
    to_the_end: bool = False

    def delete(self, items: t.Sequence[Item], changes: t.Iterable[Change]) -> None:
        """What ``changes`` say of ``items``. Those are in the order of deletion; some may be going since an earlier run."""
        by_item = {id(change.operation): change for change in changes if change.action == "delete"}
        several = steps(items)
        for number, step in enumerate(several):
            together(self._delete, [by_item[id(item)] for item in step if id(item) in by_item])
            more = any(id(item) in by_item for later in several[number + 1 :] for item in later)
            if more or self.to_the_end:
                self._wait([item for item in step if self.wait or finalizers(item.live or {})])

    def _delete(self, change: Change) -> None:
        item = change.operation
        same = {"preconditions": {"uid": item.live["metadata"]["uid"]}}
        self.client.delete(item.served, item.namespace, item.name, more=same)
        self.made.append(change)

    def _wait(self, items: list[Item]) -> None:
        """Until just these objects are gone; one that was made anew under the same name is another."""
        if items:
            readiness.wait(self.client, [gone(item) for item in items], self.deadline, readiness.GONE)


def gone(item: Item) -> readiness.Want:
    """That just this object is there no more."""
    uid = str((item.live or {}).get("metadata", {}).get("uid") or "")
    return readiness.Want(
        item.served.kind, item.served.api_version, item.namespace, item.name, gone=True, uid=uid, resource=item.served
    )
