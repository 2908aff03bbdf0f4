# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an inventory is defined no more, and whether it may be deleted."""

from __future__ import annotations

import typing as t

from . import claims, inventory, kinds, reading
from .answers import UnknownKind
from .client import Client, Resource
from .inventory import Entry, Inventory
from .items import Item, Options


class Pruning:
    """``kept``: what is left although it is defined no more, and stays in the record, with the reason. ``left``: what is left
    because it has become somebody else's; the record forgets it."""

    def __init__(self, client: Client, record: Inventory, options: Options, warn: t.Callable[[str], None]) -> None:
        self.client, self.record, self.options, self.warn = client, record, options, warn
        self.kept: dict[Entry, str] = {}
        self.left: dict[Entry, str] = {}

    def unwanted(self, items: t.Sequence[Item], *, keep_home: bool) -> list[Item]:
        """What the record has besides these and is to go, in the order of deletion; also what is going already.
        ``keep_home``: not the namespace of the record itself."""
        found = [entry.item() for entry in sorted(self.record.besides(items))]
        for item in found:
            item.resource = self._as_served(item)
        there = [item for item in found if item.resource is not None]
        reading.read(self.client, there, not_there)
        left = [item for item in sorted(there, key=lambda one: one.place, reverse=True) if item.live is not None]
        free = [item for item in left if item.terminating or not self._is_kept(item, keep_home=keep_home)]
        ours = [item for item in free if self._is_ours(item)]
        claimed = {id(item) for item in self._claimed([item for item in ours if not item.terminating])}
        return [item for item in ours if id(item) not in claimed]

    def _as_served(self, item: Item) -> Resource | None:
        """The kind in the version of the record, or in another."""
        api_version, kind = item.wanted["apiVersion"], item.wanted["kind"]
        found = self.client.resource(api_version, kind)
        for other in self.client.discovery.versions(kinds.group_of(api_version), kind) if found is None else ():
            found = found or self.client.resource(other, kind)
        return found

    def _is_ours(self, item: Item) -> bool:
        ours = claims.is_ours(item.live or {}, self.options.manager)
        if not ours and not item.terminating:
            self.warn(f"{item.label} is no longer defined, but is left: somebody else has made it anew.")
        return ours

    def _is_kept(self, item: Item, *, keep_home: bool) -> bool:
        why = inventory.kept_because(item.live or {}, self.options.prune_also)
        if keep_home and inventory.is_home(item, self.options.inventory):
            why = why or "the inventory itself is kept in it"
        if why:
            self.kept[Entry.of(item)] = why
        return bool(why)

    def _claimed(self, items: list[Item]) -> list[Item]:
        """Those that somebody else has taken over. Other inventories are only asked for if there is something to delete."""
        owners = self.record.others() if items else {}
        found = []
        for item in items:
            owner = owners.get(item.key) or claims.claimed_by(item.live or {}, self.options.manager)
            if owner:
                self.left[Entry.of(item)] = f"it belongs to {owner}"
                self.warn(f"{item.label} is no longer defined, but is left: it belongs to {owner}.")
                found.append(item)
        return found


def not_there(_item: Item, _error: UnknownKind) -> None:
    """A kind that is not served has no objects."""
