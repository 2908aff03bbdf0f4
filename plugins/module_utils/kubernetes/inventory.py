# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record in the cluster of what was applied, so that what is defined no more can be found and deleted."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import AccessDenied, Conflict, InvalidInput, NotFound, Refused
from ..plan import Change
from . import kinds
from .client import Client
from .discovery import KNOWN
from .documents import LABEL
from .items import Item

Object = dict[str, t.Any]
#: What an object is called in all versions of its kind: group, kind, namespace, name.
Key = tuple[str, str, str, str]

#: Where the record is kept if the user names no namespace.
HOME = "kube-system"
PREFIX = "homelab-inventory-"
LABELS = {"app.kubernetes.io/managed-by": "groundwork.homelab"}
#: Kinds whose deletion takes other things, or data, with it.
PROTECTED = frozenset({"Namespace", "CustomResourceDefinition", "PersistentVolumeClaim", "PersistentVolume"})
#: Annotations by which an object asks to be kept: ours, and those of the tools that may have it next.
KEEPERS = {
    "groundwork.homelab/prune": ("false", "disabled"),
    "helm.sh/resource-policy": ("keep",),
    "argocd.argoproj.io/sync-options": ("Prune=false", "Delete=false"),
    "kustomize.toolkit.fluxcd.io/prune": ("disabled",),
}
CONFIG_MAP = KNOWN["v1", "ConfigMap"]


@dataclasses.dataclass(frozen=True, order=True)
class Entry:
    """One object of the record."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, item: Item) -> Entry:
        return cls(item.wanted["apiVersion"], item.wanted["kind"], item.namespace, item.name)

    @property
    def key(self) -> Key:
        return (kinds.group_of(self.api_version), self.kind, self.namespace, self.name)

    @property
    def label(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    def item(self) -> Item:
        meta = {"name": self.name, **({"namespace": self.namespace} if self.namespace else {})}
        wanted = {"apiVersion": self.api_version, "kind": self.kind, "metadata": meta}
        return Item(wanted, place=(0, kinds.phase_of(wanted)))


def place(text: str) -> tuple[str, str]:
    """Namespace and name of an inventory: ``media`` or ``namespace/media``. Raises :class:`InvalidInput`."""
    namespace, _slash, name = text.rpartition("/")
    for part in (name, namespace or HOME):
        if not LABEL.match(part) or len(part) > 63:
            raise InvalidInput(
                f"inventory is {text!r}", hint="It is a name, or namespace/name: lower case letters, digits and '-'."
            )
    return namespace or HOME, name


def is_home(item: Item, text: str) -> bool:
    """Whether it is the namespace in which the inventory lives, if there is one."""
    return bool(text) and item.wanted["kind"] == "Namespace" and item.name == place(text)[0]


def label(text: str) -> str:
    return "/".join(("Inventory", *place(text)))


def created(text: str, items: t.Collection[Item]) -> list[Change]:
    """The inventory of a cluster that is to be made, if one is wanted."""
    objects = [entry.label for entry in sorted(Entry.of(item) for item in items)]
    return [Change(label(text), "create", after={"objects": objects})] if text and objects else []


class Inventory:
    """One record; :meth:`read` comes first."""

    def __init__(self, client: Client, text: str, manager: str) -> None:
        self.client, self.manager = client, manager
        self.namespace, self.name = place(text)
        self.label = label(text)
        self.entries: frozenset[Entry] = frozenset()
        self.version = ""

    def read(self) -> None:
        live = self.client.get(CONFIG_MAP, self.namespace, PREFIX + self.name)
        if live is None:
            return
        self.version = live["metadata"]["resourceVersion"]
        lines = _lines(live)
        if any(len(words) != 4 for words in lines):
            name = f"ConfigMap {self.namespace}/{PREFIX}{self.name}"
            raise Refused(f"read {self.label}", of=self.client.of, answer=f"{name} is not a record of ours")
        self.entries = frozenset(map(_entry, lines))

    def besides(self, items: t.Iterable[Item]) -> set[Entry]:
        """What the record has besides these."""
        keys = {Entry.of(item).key for item in items}
        return {one for one in self.entries if one.key not in keys}

    def others(self) -> dict[Key, str]:
        """What stands in other inventories, and in which: in all namespaces, or in this one's for who may not look further."""
        label_name, value = next(iter(LABELS.items()))
        query = {"labelSelector": f"{label_name}={value}"}
        try:
            found = self.client.list(CONFIG_MAP, **query)
        except AccessDenied:
            found = self.client.list(CONFIG_MAP, self.namespace, **query)
        owners: dict[Key, str] = {}
        for live in found:
            space, name = live["metadata"]["namespace"], live["metadata"]["name"]
            if name.startswith(PREFIX) and (space, name) != (self.namespace, PREFIX + self.name):
                owner = label(f"{space}/{name.removeprefix(PREFIX)}")
                owners.update((_entry(words).key, owner) for words in _lines(live) if len(words) == 4)
        return owners

    def change(self, after: t.Collection[Entry]) -> Change | None:
        """What makes the record just these."""
        there = self.entries if self.version or not after else frozenset()
        going, coming = there - set(after), set(after) - there
        if not going and not coming and (self.version or not after):
            return None
        before, after_it = (
            {"objects": [one.label for one in sorted(some)]} if some else {} for some in (going, coming)
        )
        action: t.Literal["create", "update", "delete"] = "update" if self.version else "create"
        if not after:
            action = "delete"
        return Change(self.label, action, before, after_it, operation=self)

    def write(self, entries: t.Collection[Entry], *, dry_run: bool = False) -> None:
        """Raises a Conflict when somebody else wrote it since it was read."""
        if not entries:
            self._delete(dry_run=dry_run)
            return
        lines = [f"{one.api_version} {one.kind} {one.namespace or '-'} {one.name}\n" for one in sorted(entries)]
        meta: Object = {"name": PREFIX + self.name, "namespace": self.namespace, "labels": LABELS}
        if self.version:
            meta["resourceVersion"] = self.version
        wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"objects": "".join(lines)}}
        try:
            made = self._apply(wanted, dry_run=dry_run)
        except NotFound as error:
            error.hint = "Choose a namespace for the inventory that exists, apart from what is applied."
            raise
        if not dry_run:
            self.version = made["metadata"]["resourceVersion"]
            self.entries = frozenset(entries)

    def _apply(self, wanted: Object, *, dry_run: bool) -> Object:
        try:
            if self.version or dry_run:
                return self.client.apply(CONFIG_MAP, wanted, self.manager, force=True, dry_run=dry_run)
            # Applied, it would take the place of what somebody else has made since it was looked for.
            return self.client.create(CONFIG_MAP.path(self.namespace), wanted, f"make {self.label}")
        except Conflict:
            # Perhaps with ourselves: a first try whose answer was lost.
            live = self.client.get(CONFIG_MAP, self.namespace, PREFIX + self.name)
            if live is None or live.get("data") != wanted["data"]:
                raise
            return live

    def _delete(self, *, dry_run: bool) -> None:
        name, same = PREFIX + self.name, {"preconditions": {"resourceVersion": self.version}}
        self.client.delete(CONFIG_MAP, self.namespace, name, dry_run=dry_run, more=same if self.version else None)
        if not dry_run:
            self.version, self.entries = "", frozenset()


def _lines(live: Object) -> list[list[str]]:
    """The words of each line of a record, four of them if it is one of ours."""
    text = str((live.get("data") or {}).get("objects", ""))
    return [line.split(" ") for line in text.splitlines()]


def _entry(words: t.Sequence[str]) -> Entry:
    api_version, kind, namespace, name = words
    return Entry(api_version, kind, namespace.strip("-"), name)


def kept_because(live: Object, prune_also: t.Collection[str]) -> str:
    """Why an object that is defined no more is not deleted; nothing if it is."""
    if live["kind"] in PROTECTED and live["kind"] not in prune_also:
        return f"objects of the kind {live['kind']} are only deleted when prune_also names it"
    annotations = live["metadata"].get("annotations") or {}
    for name, texts in KEEPERS.items():
        said = str(annotations.get(name, ""))
        if any(text in said.replace(" ", "").split(",") for text in texts):
            return f"its annotation {name} says so"
    return ""
