# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan and apply a set of objects: read what is there, let the server judge what differs, write only that."""

from __future__ import annotations

import typing as t

from ..errors import HomelabError, InvalidInput
from ..plan import Change, Plan
from ..waiting import Deadline, retry
from . import inventory, kinds, readiness, reading, shown
from .answers import Undeclared, UnknownKind
from .client import Client, Resource
from .inventory import Entry, Inventory
from .items import Item, Options, brought, defines, in_order, settle_namespace, steps, unique
from .judging import Judge
from .together import together

Object = dict[str, t.Any]

#: Seconds until a CustomResourceDefinition must be served.
ESTABLISHED_WITHIN = 30.0
UNWANTED = "no longer defined"


class Manifests:
    """A set of objects in one cluster. ``warn`` hears what was taken for granted. ``kept`` is known after the plan: what is
    not defined any more, and is left nevertheless, with the reason."""

    def __init__(self, client: Client, objects: list[Object], options: Options, warn: t.Callable[[str], None]) -> None:
        self.client = client
        self.options = options
        self.warn = warn
        self.items = in_order(objects, options.wave)
        self.judge = Judge(client, options, self.items, warn)
        self.given = {key: item.wanted for item in self.items for key in defines(item.wanted)}
        self.inventory = Inventory(client, options.inventory, options.manager) if options.inventory else None
        self.kept: dict[Entry, str] = {}
        #: What the inventory is to have in the end.
        self.rest: set[Entry] = set()

    # -- plan: present -----------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """What applying would change, judged by the server; nothing is written."""
        self.resolve()
        if self.inventory and self.options.prune and not self.items:
            raise InvalidInput(
                "There are no objects, and prune would delete all that were applied before",
                hint="To delete all of them, use state: absent with prune: true.",
            )
        self._read()
        unwanted = self._unwanted()
        first = [item for item in self.items if defines(item.wanted)]
        rest = [item for item in self.items if not defines(item.wanted)]
        found = [change for some in (first, rest) for change in together(self.judge.judge, some)]
        changes = {id(change.operation): change for change in found if change is not None}
        ordered = [changes[id(item)] for item in self.items if id(item) in changes]
        return Plan.of([*self._recorded(), *ordered, *_deletions(self._try_delete(unwanted), UNWANTED)])

    def resolve(self) -> None:
        """How the server serves the objects: what :meth:`targets` needs to name them."""
        for item in self.items:
            api_version, kind = item.wanted["apiVersion"], item.wanted["kind"]
            definition = self.given.get((api_version, kind))
            if definition is not None:
                item.resource = brought(definition, api_version, kind)
            else:
                item.resource = self.client.resource(api_version, kind)
            if item.resource is None:
                self.judge.unserved(item)
            settle_namespace(item, self.options.namespace)
        unique(self.items)

    def _read(self) -> None:
        if self.inventory is None:
            reading.read(self.client, self.items, self.judge.unserved)
            return
        record = self.inventory
        jobs: list[t.Callable[[], None]] = [
            record.read,
            lambda: reading.read(self.client, self.items, self.judge.unserved),
        ]
        together(lambda job: job(), jobs)

    # -- the inventory -----------------------------------------------------------------------------------------------

    def _recorded(self) -> list[Change]:
        """The inventory as it is to be in the end."""
        entries = {Entry.of(item) for item in self.items}
        self.rest = entries | (set(self.kept) if self.options.prune else self._others(entries))
        change = self.inventory.change(self.rest) if self.inventory else None
        return [change] if change else []

    def _others(self, entries: set[Entry]) -> set[Entry]:
        """What the inventory has besides these."""
        keys = {one.key for one in entries}
        return {one for one in (self.inventory.entries if self.inventory else ()) if one.key not in keys}

    def _unwanted(self) -> list[Item]:
        """What the inventory has, and is to be deleted. What is to be kept goes into ``kept``."""
        if not self.options.prune:
            return []
        items = [entry.item() for entry in sorted(self._others({Entry.of(item) for item in self.items}))]
        for item in items:
            item.resource = self._as_served(item)
        there = [item for item in items if item.resource is not None]
        reading.read(self.client, there, _not_there)
        return [item for item in sorted(there, key=lambda one: one.place, reverse=True) if self._may_go(item)]

    def _as_served(self, item: Item) -> Resource | None:
        """The kind in the version of the record, or in another."""
        api_version, kind = item.wanted["apiVersion"], item.wanted["kind"]
        found = self.client.resource(api_version, kind)
        for other in self.client.discovery.versions(kinds.group_of(api_version), kind) if found is None else ():
            found = found or self.client.resource(other, kind)
        return found

    def _may_go(self, item: Item) -> bool:
        live = item.live
        if live is None or item.terminating:
            return False
        if not inventory.is_ours(live, self.options.manager):
            self.warn(f"{item.label} is no longer defined, but is left: somebody else has made it anew.")
            return False
        why = inventory.kept_because(live, self.options.prune_also)
        if why:
            self.kept[Entry.of(item)] = why
        return not why

    # -- apply -------------------------------------------------------------------------------------------------------

    def apply(self, plan: Plan, deadline: Deadline, *, wait: bool = False) -> None:
        """Apply the plan's changes, wave by wave and phase by phase; a failure carries what was made before and beside it.
        ``wait``: each wave's objects must be ready before the next."""
        made: list[Change] = []
        record = next((change for change in plan if isinstance(change.operation, Inventory)), None)
        try:
            if record is not None and self.inventory and record.action != "delete":
                # First all that may come into being, so that nothing is forgotten if this run is cut off.
                self.inventory.write(self.inventory.entries | self.rest)
                made.append(record)
            self._apply_items([change for change in plan if change is not record], made, deadline, wait=wait)
            if record is not None and self.inventory and self.inventory.entries != self.rest:
                self.inventory.write(self.rest)
                made += [] if record in made else [record]
        except HomelabError as error:
            error.made = [change.as_result() for change in plan if any(change is one for one in made)]
            raise

    def _apply_items(self, changes: list[Change], made: list[Change], deadline: Deadline, *, wait: bool) -> None:
        by_item = {id(change.operation): change for change in changes}
        written = [change.operation for change in changes if change.action != "delete"]
        deleted = [change.operation for change in changes if change.action == "delete"]
        for done, step in zip(_before(written), steps(written), strict=True):
            if wait and done and done[-1].place[0] != step[0].place[0]:
                wave = [item.target for item in self.items if item.place[0] < step[0].place[0] and item.target]
                readiness.wait_until_ready(self.client, wave, deadline)
            together(lambda item: self._write(by_item[id(item)], made, deadline), step)
            self._serve(step, deadline)
        if wait and deleted and written:
            readiness.wait_until_ready(self.client, self.targets(), deadline)
        for step in steps(deleted):
            together(lambda item: self._delete(by_item[id(item)], made), step)

    def _serve(self, step: list[Item], deadline: Deadline) -> None:
        """New definitions are in force before what they define is applied."""
        targets = [item.target for item in step if defines(item.wanted) and item.target]
        if targets:
            within = min(ESTABLISHED_WITHIN, max(deadline.left(), 5.0))
            readiness.wait_until_ready(self.client, targets, Deadline(within))
            self.client.forget()

    def _delete(self, change: Change, made: list[Change]) -> None:
        item = change.operation
        same = {"preconditions": {"uid": item.live["metadata"]["uid"]}}
        self.client.delete(item.served, item.namespace, item.name, more=same)
        made.append(change)

    def _write(self, change: Change, made: list[Change], deadline: Deadline) -> None:
        item = change.operation
        if item.terminating:
            readiness.wait_until_gone(self.client, [(item.served, item.namespace, item.name)], deadline)
        if item.resource is None:
            item.resource = self.client.resource(item.wanted["apiVersion"], item.wanted["kind"])
            if item.resource is None:
                raise self.judge.no_such_kind(item)
        if item.taken:
            self.judge.take(item)
        if (item.wanted["apiVersion"], item.wanted["kind"]) in self.given:
            # A kind, or a schema, that this run has changed is in force a moment later.
            retry(
                lambda: self.judge.apply(item, dry_run=False),
                deadline=Deadline(ESTABLISHED_WITHIN),
                when=lambda error: isinstance(error, (Undeclared, UnknownKind)),
            )
        else:
            self.judge.apply(item, dry_run=False)
        made.append(change)

    def targets(self) -> list[tuple[Resource, str, str]]:
        """What to wait for."""
        return [item.target for item in self.items if item.target is not None]

    # -- plan: absent ------------------------------------------------------------------------------------------------

    def plan_removal(self) -> Plan:
        """What removing would change: what is named and, with ``prune``, what the inventory has; in the opposite order."""
        for item in self.items:
            item.resource = self.client.resource(item.wanted["apiVersion"], item.wanted["kind"])
            settle_namespace(item, self.options.namespace)
        unique(self.items)
        if self.inventory:
            self.inventory.read()
        reading.read(self.client, self.items, _not_there)
        unwanted = self._unwanted()
        self.items.reverse()
        named = [item for item in self.items if item.live is not None and not item.terminating]
        changes = [*_deletions(self._try_delete(named)), *_deletions(self._try_delete(unwanted), UNWANTED)]
        left = self._others({Entry.of(item) for item in self.items})
        self.items = [*self.items, *unwanted]
        change = (
            self.inventory.change(left & set(self.kept) if self.options.prune else left) if self.inventory else None
        )
        return Plan.of([*changes, *([change] if change else [])])

    def remove(self, plan: Plan) -> None:
        """Delete what the plan says; the record is the last, so that nothing is forgotten if this run is cut off."""
        made: list[Change] = []
        record = next((change for change in plan if isinstance(change.operation, Inventory)), None)
        try:
            self._apply_items([change for change in plan if change is not record], made, Deadline(0), wait=False)
            if record is not None and self.inventory:
                self.inventory.write(self.rest)
                made.append(record)
        except HomelabError as error:
            error.made = [change.as_result() for change in plan if any(change is one for one in made)]
            raise

    def _try_delete(self, items: list[Item]) -> list[Item]:
        """What a right, or a webhook, does not allow is said before anything is written."""
        together(lambda item: self.client.delete(item.served, item.namespace, item.name, dry_run=True), items)
        return items


def predicted_plan(objects: list[Object], options: Options) -> Plan:
    """All of it as creations, for a cluster that an earlier task of the same check run would make."""
    items = in_order(objects, options.wave)
    given = {key: item.wanted for item in items for key in defines(item.wanted)}
    for item in items:
        api_version, kind = item.wanted["apiVersion"], item.wanted["kind"]
        definition = given.get((api_version, kind))
        if definition is not None:
            item.resource = brought(definition, api_version, kind)
        else:
            item.resource = Resource(api_version, kind, "", kind not in kinds.CLUSTER_WIDE)
        settle_namespace(item, options.namespace)
    unique(items)
    changes = [Change(item.label, "create", after=shown.whole(item.wanted), operation=item) for item in items]
    return Plan.of([*inventory.created(options.inventory, items), *changes])


def _deletions(items: t.Iterable[Item], why: str = "") -> t.Iterator[Change]:
    for item in items:
        notes = [why, "and everything in it" if item.wanted["kind"] == "Namespace" else ""]
        before = shown.whole(item.live or {})
        yield Change(item.label, "delete", before=before, note=", ".join(filter(None, notes)), operation=item)


def _before(items: list[Item]) -> list[list[Item]]:
    """For each step what came before it."""
    found: list[list[Item]] = []
    done: list[Item] = []
    for step in steps(items):
        found.append(list(done))
        done += step
    return found


def _not_there(_item: Item, _error: UnknownKind) -> None:
    """A kind that is not served has no objects."""
