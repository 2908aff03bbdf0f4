# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan and apply a set of objects: read what is there, let the server judge what differs, write only that."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import typing as t

from ..errors import HomelabError, InvalidInput, NotFound, Refused
from ..plan import Change, Plan
from ..waiting import Deadline, retry
from . import fields, kinds, readiness, shown
from .answers import NotInstalled, Undeclared
from .client import Client, Resource
from .documents import identity

Object = dict[str, t.Any]
R = t.TypeVar("R")

#: Requests at the same time.
WORKERS = 8
#: From this many objects of one kind in one namespace on, one LIST is better than a GET for each.
LIST_FROM = 3
#: Seconds until a CustomResourceDefinition must be served.
ESTABLISHED_WITHIN = 30.0

OWNERSHIP = "only the record of who manages these fields"
REPLACED = "after the one that is being deleted is gone"


@dataclasses.dataclass(frozen=True)
class Options:
    """How to apply. ``predict``: what is not there yet may be made by an earlier task of this check run. ``adopt``: take over
    fields that have the wanted values under another manager's name."""

    manager: str
    force: bool = False
    namespace: str = "default"
    predict: bool = False
    adopt: bool = True


@dataclasses.dataclass
class Item:
    """One object on its way: what is wanted, how the server serves it, what is there. ``predicted``: not asked yet."""

    wanted: Object
    resource: Resource | None = None
    live: Object | None = None
    predicted: bool = False

    @property
    def namespace(self) -> str:
        return str(self.wanted["metadata"].get("namespace") or "")

    @property
    def name(self) -> str:
        return str(self.wanted["metadata"]["name"])

    @property
    def target(self) -> tuple[Resource, str, str] | None:
        """What to wait for; nothing while the server does not serve the kind."""
        return None if self.resource is None else (self.resource, self.namespace, self.name)

    @property
    def terminating(self) -> bool:
        return bool(self.live and self.live["metadata"].get("deletionTimestamp"))


def parallel(work: t.Callable[[Item], R], given: t.Sequence[Item]) -> list[R]:
    """The results in the order given. The first error in that order is raised once all have ended."""
    if len(given) < 2:
        return [work(item) for item in given]
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return [future.result() for future in [pool.submit(work, item) for item in given]]


class Manifests:
    """A set of objects in one cluster. ``warn`` hears what was taken for granted."""

    def __init__(self, client: Client, objects: list[Object], options: Options, warn: t.Callable[[str], None]) -> None:
        self.client = client
        self.options = options
        self.warn = warn
        self.items = sorted((Item(wanted) for wanted in objects), key=lambda item: kinds.phase_of(item.wanted))
        self.given_kinds = {key: item for item in self.items for key in _defines(item.wanted)}
        self.given_namespaces = {item.name for item in self.items if item.wanted["kind"] == "Namespace"}

    # -- plan: present -----------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """What applying would change, judged by the server; nothing is written."""
        self.resolve()
        self._read()
        new_kinds: set[tuple[str, str]] = set()
        changes: list[Change] = []
        for phase in _phases(self.items):
            found = parallel(lambda item: self._judge(item, new_kinds), phase)
            for item, change in zip(phase, found, strict=True):
                if change is not None:
                    changes.append(change)
                    new_kinds.update(_defines(item.wanted))
        return Plan.of(changes)

    def resolve(self) -> None:
        """How the server serves the objects: what :meth:`targets` needs to name them."""
        for item in self.items:
            self._resolve(item)
        _unique(self.items)

    def _resolve(self, item: Item) -> None:
        """How the server serves the kind, and the namespace."""
        api_version, kind = item.wanted["apiVersion"], item.wanted["kind"]
        item.resource = self.client.resource(api_version, kind) or self._to_be_defined(item)
        if item.resource is None:
            if not self.options.predict or kinds.is_built_in(api_version):
                raise self._no_such_kind(item)
            self.warn(f"{self.client.of} has no kind {kind} of {api_version} yet; taken as made by an earlier task.")
        _settle_namespace(item, self.options.namespace)

    def _to_be_defined(self, item: Item) -> Resource | None:
        """The kind as a CustomResourceDefinition of this very set has it."""
        api_version, kind = item.wanted["apiVersion"], item.wanted["kind"]
        definition = self.given_kinds.get((api_version, kind))
        if definition is None:
            return None
        item.predicted = True
        spec = definition.wanted["spec"]
        return Resource(api_version, kind, str(spec["names"]["plural"]), spec.get("scope") != "Cluster")

    def _no_such_kind(self, item: Item) -> NotFound:
        api_version, kind = item.wanted["apiVersion"], item.wanted["kind"]
        others = self.client.kinds(api_version)
        answer = f"{api_version} has {', '.join(others)}" if others else f"the server does not serve {api_version}"
        return NotFound(
            f"find the kind {kind} of {identity(item.wanted)}",
            of=self.client.of,
            answer=answer,
            hint="Correct apiVersion and kind, or apply the CustomResourceDefinition that brings it first.",
        )

    def _read(self) -> None:
        """What is there: one LIST where many of a kind are wanted, else a GET each."""
        groups: dict[tuple[Resource, str], list[Item]] = {}
        for item in self.items:
            if item.resource is not None and not item.predicted:
                groups.setdefault((item.resource, item.namespace), []).append(item)
        singles: list[Item] = []
        for (resource, namespace), members in groups.items():
            if len(members) < LIST_FROM or not self._read_list(resource, namespace, members):
                singles += members
        parallel(self._read_one, singles)

    def _read_list(self, resource: Resource, namespace: str, members: list[Item]) -> bool:
        try:
            found = {live["metadata"]["name"]: live for live in self.client.list(resource, namespace)}
        except HomelabError as error:
            if error.details.get("status") != 403:
                raise
            return False
        for item in members:
            item.live = found.get(item.name)
        return True

    def _read_one(self, item: Item) -> None:
        if item.resource is not None:
            item.live = self.client.get(item.resource, item.namespace, item.name)

    def _judge(self, item: Item, new_kinds: set[tuple[str, str]]) -> Change | None:
        if item.live is None or item.terminating:
            self._try_create(item)
            note = REPLACED if item.terminating else ""
            return Change(identity(item.wanted), "create", after=shown.whole(item.wanted), note=note, operation=item)
        if fields.settled(item.wanted, item.live, self.options.manager):
            return None
        if not self.options.adopt and fields.holds(item.wanted, item.live):
            return None
        try:
            result = self._apply(item, dry_run=True)
        except (Refused, NotInstalled) as error:
            redefined = (item.wanted["apiVersion"], item.wanted["kind"]) in new_kinds
            if not redefined and not isinstance(error, NotInstalled):
                raise
            # Judged by a schema, or a webhook, that this very run replaces: say what is plain.
            result = _overlay(item.live, item.wanted)
        return self._update(item, item.live, result)

    def _update(self, item: Item, live: Object, result: Object) -> Change | None:
        before, after = shown.differing(live, result)
        note = ""
        if not before and not after:
            if _record(live, self.options.manager) == _record(result, self.options.manager):
                return None
            note = OWNERSHIP
        return Change(identity(item.wanted), "update", before, after, note, operation=item)

    def _try_create(self, item: Item) -> None:
        """Let the server check what does not exist yet, unless what it needs does not exist yet either."""
        if item.resource is None or item.predicted or item.terminating:
            return
        if item.namespace in self.given_namespaces and self._is_to_be_made(item.namespace):
            return
        try:
            self._apply(item, dry_run=True)
        except NotInstalled:
            return
        except NotFound as error:
            if f'namespaces "{item.namespace}" not found' not in error.answer:
                raise
            self._missing_namespace(item, error)

    def _is_to_be_made(self, namespace: str) -> bool:
        return any(
            item.name == namespace and (item.live is None or item.terminating)
            for item in self.items
            if item.wanted["kind"] == "Namespace"
        )

    def _missing_namespace(self, item: Item, error: NotFound) -> None:
        if not self.options.predict:
            error.hint = f"Define the Namespace {item.namespace} in the same task, or apply it first."
            raise NotFound(error.asked, of=error.of, answer=error.answer, hint=error.hint, **error.details)
        self.warn(f"The namespace {item.namespace} does not exist yet; taken as made by an earlier task.")

    # -- apply -------------------------------------------------------------------------------------------------------

    def apply(self, plan: Plan, deadline: Deadline) -> None:
        """Apply the plan's changes, phase by phase; a failure carries what was made before and beside it."""
        made: list[Change] = []
        for phase in _phases([change.operation for change in plan]):
            wanted = [change for change in plan if change.operation in phase]
            try:
                self._apply_phase(wanted, made, deadline)
            except HomelabError as error:
                error.made = [change.as_result() for change in plan if change in made]
                raise

    def _apply_phase(self, changes: list[Change], made: list[Change], deadline: Deadline) -> None:
        by_item = {id(change.operation): change for change in changes}

        def write(item: Item) -> None:
            change = by_item[id(item)]
            if change.action == "delete":
                self.client.delete(_served(item), item.namespace, item.name)
            else:
                self._write(item, deadline)
            made.append(change)

        parallel(write, [change.operation for change in changes])
        definitions = [change.operation for change in changes if _defines(change.operation.wanted)]
        if definitions and changes[0].action != "delete":
            readiness.wait_until_ready(
                self.client,
                [(_served(item), item.namespace, item.name) for item in definitions],
                Deadline(min(ESTABLISHED_WITHIN, max(deadline.left(), 5.0))),
            )
            self.client.forget()

    def _write(self, item: Item, deadline: Deadline) -> None:
        if item.terminating:
            readiness.wait_until_gone(self.client, [(_served(item), item.namespace, item.name)], deadline)
        if item.predicted or item.resource is None:
            item.resource = self.client.resource(item.wanted["apiVersion"], item.wanted["kind"])
            if item.resource is None:
                raise self._no_such_kind(item)
        if (item.wanted["apiVersion"], item.wanted["kind"]) not in self.given_kinds:
            self._apply(item, dry_run=False)
            return
        # A schema that this run has changed is in force a moment later.
        retry(
            lambda: self._apply(item, dry_run=False),
            deadline=Deadline(ESTABLISHED_WITHIN),
            when=lambda error: isinstance(error, Undeclared),
        )

    def _apply(self, item: Item, *, dry_run: bool) -> Object:
        options = self.options
        return self.client.apply(_served(item), item.wanted, options.manager, force=options.force, dry_run=dry_run)

    def targets(self) -> list[tuple[Resource, str, str]]:
        """What to wait for."""
        return [item.target for item in self.items if item.target is not None]

    # -- plan: absent ------------------------------------------------------------------------------------------------

    def plan_removal(self) -> Plan:
        """What removing would change: only what is named, in the opposite order."""
        for item in self.items:
            item.resource = self.client.resource(item.wanted["apiVersion"], item.wanted["kind"])
            _settle_namespace(item, self.options.namespace)
        _unique(self.items)
        self._read()
        self.items.reverse()
        found = [item for item in self.items if item.live is not None and not item.terminating]
        parallel(lambda item: self.client.delete(_served(item), item.namespace, item.name, dry_run=True), found)
        return Plan.of(
            Change(
                identity(item.wanted),
                "delete",
                before=shown.whole(item.live or {}),
                note="and everything in it" if item.wanted["kind"] == "Namespace" else "",
                operation=item,
            )
            for item in found
        )


def predicted_plan(objects: list[Object], namespace: str) -> Plan:
    """All of it as creations, for a cluster that an earlier task of the same check run would make."""
    items = sorted((Item(wanted) for wanted in objects), key=lambda item: kinds.phase_of(item.wanted))
    scopes = {key: item.wanted["spec"].get("scope") for item in items for key in _defines(item.wanted)}
    for item in items:
        api_version, kind = item.wanted["apiVersion"], item.wanted["kind"]
        scope = scopes.get((api_version, kind), "Cluster" if kind in kinds.CLUSTER_WIDE else "Namespaced")
        item.resource = Resource(api_version, kind, "", scope != "Cluster")
        _settle_namespace(item, namespace)
    _unique(items)
    return Plan.of(
        Change(identity(item.wanted), "create", after=shown.whole(item.wanted), operation=item) for item in items
    )


def _settle_namespace(item: Item, default: str) -> None:
    """Objects of namespaced kinds get the default namespace, cluster-wide ones lose theirs."""
    meta = item.wanted["metadata"]
    if item.resource is None:
        return
    if item.resource.namespaced:
        meta.setdefault("namespace", default)
    else:
        meta.pop("namespace", None)


def _unique(items: t.Sequence[Item]) -> None:
    """Once more, as the namespaces are known only now."""
    seen: set[tuple[str, str]] = set()
    for item in items:
        key = (kinds.group_of(item.wanted["apiVersion"]), identity(item.wanted))
        if key in seen:
            raise InvalidInput(
                f"{identity(item.wanted)} is given twice: once without a namespace, which means this one"
            )
        seen.add(key)


def _phases(items: t.Sequence[Item]) -> list[list[Item]]:
    """Neighbours of the same phase together, in the order given."""
    found: list[list[Item]] = []
    for item in items:
        if found and kinds.phase_of(found[-1][0].wanted) == kinds.phase_of(item.wanted):
            found[-1].append(item)
        else:
            found.append([item])
    return found


def _served(item: Item) -> Resource:
    if item.resource is None:
        raise NotFound(f"find the kind {item.wanted['kind']} of {identity(item.wanted)}")
    return item.resource


def _defines(wanted: Object) -> list[tuple[str, str]]:
    """The (apiVersion, kind) pairs that a CustomResourceDefinition brings; nothing for other objects."""
    if wanted["kind"] != "CustomResourceDefinition":
        return []
    spec = wanted.get("spec") or {}
    try:
        return [(f"{spec['group']}/{version['name']}", spec["names"]["kind"]) for version in spec["versions"]]
    except (KeyError, TypeError):
        # Not a definition that the server takes: it will say so.
        return []


def _record(live: Object, manager: str) -> t.Any:
    return fields.owned_fields(live, manager, str(live.get("apiVersion")))


def _overlay(live: t.Any, wanted: t.Any) -> t.Any:
    """The wanted fields laid over what is there: an estimate, where the server cannot be the judge."""
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {**live, **{key: _overlay(live.get(key), value) for key, value in wanted.items()}}
    return wanted
