# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan and apply a set of objects: read what is there, let the server judge what differs, write only that."""

from __future__ import annotations

import typing as t

from ..errors import AccessDenied, HomelabError, InvalidInput, NotFound
from ..plan import Change, Plan
from ..waiting import Deadline, retry
from . import inventory, kinds, readiness, reading, shown
from .answers import Undeclared, UnknownKind
from .client import Client, Resource
from .deleting import Deleting, gone
from .inventory import CONFIG_MAP, Entry, Inventory
from .items import Item, Options, brought, defines, in_order, settle_namespace, steps, unique
from .judging import Judge
from .pruning import Pruning, not_there
from .together import together

Object = dict[str, t.Any]

#: Seconds until a CustomResourceDefinition must be served, or a right be in force.
ESTABLISHED_WITHIN = 30.0
UNWANTED = "no longer defined"
#: What goes with an object that is deleted, by its kind.
ALONG = {"Namespace": "and everything in it", "CustomResourceDefinition": "and all objects of its kind"}


class Manifests:
    """A set of objects in one cluster. ``warn`` hears what was taken for granted."""

    def __init__(self, client: Client, objects: list[Object], options: Options, warn: t.Callable[[str], None]) -> None:
        self.client = client
        self.options = options
        self.warn = warn
        self.items = in_order(objects, options.wave)
        self.judge = Judge(client, options, self.items, warn)
        self.given = {key: item.wanted for item in self.items for key in defines(item.wanted)}
        self.inventory = Inventory(client, options.inventory, options.manager) if options.inventory else None
        prune = self.inventory if options.prune else None
        self.pruning = Pruning(client, prune, options, warn) if prune else None
        #: What the inventory is to have in the end.
        self.rest: set[Entry] = set()
        #: What is to go, in the order of deletion; also what is going already.
        self.going: list[Item] = []

    @property
    def kept(self) -> dict[Entry, str]:
        """Known after the plan: what is not defined any more, and is left nevertheless, with the reason."""
        return {**self.pruning.kept, **self.pruning.left} if self.pruning else {}

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
        self.going = self._unwanted(keep_home=True)
        first = [item for item in self.items if defines(item.wanted)]
        rest = [item for item in self.items if not defines(item.wanted)]
        found = [change for some in (first, rest) for change in together(self.judge.judge, some)]
        changes = {id(change.operation): change for change in found if change is not None}
        ordered = [changes[id(item)] for item in self.items if id(item) in changes]
        deletions = _deletions(self._try_delete(self.going), dict.fromkeys(map(id, self.going), UNWANTED))
        record = self._recorded({Entry.of(item) for item in self.items})
        self.judge.untried.demand(changes)
        return Plan.of([*_home_first(record, ordered, self.options.inventory), *deletions])

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
            self._read_objects()
            return
        record = self.inventory
        jobs: list[t.Callable[[], None]] = [record.read, self._read_objects]
        together(lambda job: job(), jobs)

    def _read_objects(self) -> None:
        reading.read(self.client, self.items, self.judge.unserved, self.judge.unread)

    # -- the inventory -----------------------------------------------------------------------------------------------

    def _recorded(self, entries: set[Entry]) -> list[Change]:
        """The inventory as it is to be in the end, with these entries and what else it keeps; the server has judged it."""
        record = self.inventory
        if record is None:
            return []
        others = record.besides(self.items) if self.pruning is None else set(self.pruning.kept)
        # It goes with its namespace, whatever else is kept.
        goes = any(inventory.is_home(item, self.options.inventory) for item in self.going)
        self.rest = set() if goes else entries | others
        if self.rest and self.judge.makes_space(record.namespace):
            # The record goes with the old one.
            record.version = ""
        change = record.change(self.rest)
        if change is None:
            return []
        self._try_record(record, record.entries | self.rest if entries else self.rest)
        return [change]

    def _try_record(self, record: Inventory, entries: t.Collection[Entry]) -> None:
        """A right, or a namespace, that is missing is said before anything is written."""
        if self.judge.makes_space(record.namespace):
            self.judge.untried.leave(CONFIG_MAP, record.namespace)
            return
        try:
            record.write(entries, dry_run=True)
        except NotFound:
            if not self.options.predict:
                raise
            self.warn(f"The namespace {record.namespace} does not exist yet; taken as made by an earlier task.")

    def _unwanted(self, *, keep_home: bool) -> list[Item]:
        return self.pruning.unwanted(self.items, keep_home=keep_home) if self.pruning else []

    # -- apply -------------------------------------------------------------------------------------------------------

    def apply(self, plan: Plan, deadline: Deadline, *, wait: bool = False) -> None:
        """Apply the plan's changes, wave by wave and phase by phase; a failure carries what was made before and beside it.
        ``wait``: each wave's objects must be ready before the next, and all of them before anything is deleted."""
        made: list[Change] = []
        record = next((change for change in plan if isinstance(change.operation, Inventory)), None)
        changes = [change for change in plan if change is not record]
        writes = [change for change in changes if change.action != "delete"]
        try:
            if record is not None:
                self._record_first(record, writes, made, deadline)
            self._write_all(writes, made, deadline, wait=wait)
            if wait and len(writes) < len(changes) and self.targets():
                readiness.wait_until_ready(self.client, self.targets(), deadline)
            Deleting(self.client, made, deadline, wait=wait).delete(self.going, changes)
            if record is not None and self.inventory and self.inventory.entries != self.rest:
                self.inventory.write(self.rest)
                made += [] if record in made else [record]
        except HomelabError as error:
            error.made = _among(plan, made)
            raise

    def _record_first(self, record: Change, writes: list[Change], made: list[Change], deadline: Deadline) -> None:
        """Before anything else, all that may come into being, so that nothing is forgotten if this run is cut off."""
        kept: Inventory = record.operation
        for change in writes:
            if inventory.is_home(change.operation, self.options.inventory):
                self._write(change, made, deadline)
                # If it was made anew, the old record went with the old one.
                kept.version = ""
        if not kept.version or not kept.entries >= self.rest:
            kept.write(kept.entries | self.rest)
            made.append(record)

    def _write_all(self, changes: list[Change], made: list[Change], deadline: Deadline, *, wait: bool) -> None:
        by_item = {id(change.operation): change for change in changes if change not in made}
        reached: int | None = None
        for step in steps([change.operation for change in changes if id(change.operation) in by_item]):
            wave = step[0].place[0]
            if wait and wave != reached:
                self._wait_below(wave, deadline)
            reached = wave
            together(lambda item: self._write(by_item[id(item)], made, deadline), step)
            self._serve(step, deadline)

    def _wait_below(self, wave: int, deadline: Deadline) -> None:
        """Also for what this run has not written: an earlier one may have waited for it in vain."""
        below = [item.target for item in self.items if item.place[0] < wave and item.target]
        if below:
            readiness.wait_until_ready(self.client, below, deadline)

    def _serve(self, step: list[Item], deadline: Deadline) -> None:
        """New definitions are in force before what they define is applied."""
        targets = [item.target for item in step if defines(item.wanted) and item.target]
        if targets:
            within = min(ESTABLISHED_WITHIN, max(deadline.left(), 5.0))
            readiness.wait_until_ready(self.client, targets, Deadline(within))
            self.client.forget()

    def _write(self, change: Change, made: list[Change], deadline: Deadline) -> None:
        item = change.operation
        if item.terminating:
            readiness.wait(self.client, [gone(item)], deadline, readiness.GONE)
        if item.resource is None:
            item.resource = self.client.resource(item.wanted["apiVersion"], item.wanted["kind"])
            if item.resource is None:
                raise self.judge.no_such_kind(item)
        if item.taken:
            self.judge.take(item)
        passing = self._passing(item)
        retry(
            lambda: self.judge.apply(item, dry_run=False),
            deadline=Deadline(ESTABLISHED_WITHIN),
            when=lambda error: isinstance(error, passing),
        )
        made.append(change)

    def _passing(self, item: Item) -> tuple[type[HomelabError], ...]:
        """Errors about what this run has changed, and is in force a moment later: a kind, or a schema; a right."""
        given = (item.wanted["apiVersion"], item.wanted["kind"]) in self.given
        changed: tuple[type[HomelabError], ...] = (Undeclared, UnknownKind) if given else ()
        return (*changed, AccessDenied) if self.judge.untried.is_promised(item) else changed

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
        reading.read(self.client, self.items, not_there)
        unwanted = self._unwanted(keep_home=False)
        self.items.reverse()
        found = [item for item in [*self.items, *unwanted] if item.live is not None]
        self.going = sorted(found, key=lambda item: item.place, reverse=True)
        reasons = dict.fromkeys(map(id, unwanted), UNWANTED)
        changes = list(_deletions(self._try_delete(self.going), reasons))
        record = self._recorded(set())
        self.items = [*self.items, *unwanted]
        return Plan.of([*changes, *record])

    def remove(self, plan: Plan, deadline: Deadline, *, wait: bool = False) -> None:
        """Delete what the plan says; the record is the last, so that nothing is forgotten if this run is cut off.
        ``wait`` until all of it is gone."""
        made: list[Change] = []
        record = next((change for change in plan if isinstance(change.operation, Inventory)), None)
        try:
            deleting = Deleting(self.client, made, deadline, wait=wait, to_the_end=wait)
            deleting.delete(self.going, [change for change in plan if change is not record])
            if record is not None and self.inventory:
                self.inventory.write(self.rest)
                made.append(record)
        except HomelabError as error:
            error.made = _among(plan, made)
            raise

    def _try_delete(self, items: list[Item]) -> list[Item]:
        """Those that are not going already. What a right, or a webhook, does not allow is said before anything is written."""
        there = [item for item in items if not item.terminating]
        together(lambda item: self.client.delete(item.served, item.namespace, item.name, dry_run=True), there)
        return there


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
    return Plan.of(_home_first(inventory.created(options.inventory, items), changes, options.inventory))


def _home_first(record: list[Change], changes: list[Change], text: str) -> list[Change]:
    """The inventory before everything else, but for the namespace that it lives in."""
    home = [change for change in changes if inventory.is_home(change.operation, text)] if record else []
    return [*home, *record, *(change for change in changes if not any(change is one for one in home))]


def _deletions(items: t.Iterable[Item], reasons: t.Mapping[int, str]) -> t.Iterator[Change]:
    """``reasons``: why an item is deleted that nobody named, by its id."""
    for item in items:
        notes = [reasons.get(id(item), ""), ALONG.get(item.wanted["kind"], "")]
        before = shown.whole(item.live or {})
        yield Change(item.label, "delete", before=before, note=", ".join(filter(None, notes)), operation=item)


def _among(plan: Plan, made: list[Change]) -> list[Object]:
    """What was made, in the plan's order."""
    return [change.as_result() for change in plan if any(change is one for one in made)]
