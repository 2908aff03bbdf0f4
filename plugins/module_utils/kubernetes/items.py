# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One object of a set on its way: what is wanted, how the server serves it, what is there."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import InvalidInput, NotFound
from . import kinds
from .client import Resource
from .documents import identity

Object = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Options:
    """How to apply.

    ``predict``: what is not there yet may be made by an earlier task of this check run. ``adopt``: take over fields that have
    the wanted values under another manager's name. ``take_over``: managers whose whole record becomes ours. ``keep_newer``:
    leave a CustomResourceDefinition that would be downgraded as it is, instead of an error. ``inventory``: where is recorded
    what was applied (``namespace/name``), ``prune``: delete what stands there and is wanted no more, ``prune_also``: also of
    these kinds, which are kept otherwise. ``wave``: the annotation with the number of an object's wave.
    """

    manager: str
    force: bool = False
    namespace: str = "default"
    predict: bool = False
    adopt: bool = True
    take_over: frozenset[str] = frozenset()
    keep_newer: bool = False
    inventory: str = ""
    prune: bool = False
    prune_also: frozenset[str] = frozenset()
    wave: str = kinds.WAVE


@dataclasses.dataclass
class Item:
    """``predicted``: the server does not serve the kind yet. ``taken``: the managers whose record becomes ours."""

    wanted: Object
    resource: Resource | None = None
    live: Object | None = None
    predicted: bool = False
    taken: bool = False
    place: tuple[int, int] = (0, 0)

    @property
    def namespace(self) -> str:
        return str(self.wanted["metadata"].get("namespace") or "")

    @property
    def name(self) -> str:
        return str(self.wanted["metadata"]["name"])

    @property
    def label(self) -> str:
        return identity(self.wanted)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is called in all versions of its kind."""
        return (kinds.group_of(self.wanted["apiVersion"]), self.wanted["kind"], self.namespace, self.name)

    @property
    def target(self) -> tuple[Resource, str, str] | None:
        """What to wait for; nothing while the server does not serve the kind."""
        return None if self.resource is None else (self.resource, self.namespace, self.name)

    @property
    def terminating(self) -> bool:
        return bool(self.live and self.live["metadata"].get("deletionTimestamp"))

    @property
    def served(self) -> Resource:
        if self.resource is None:
            raise NotFound(f"find the kind {self.wanted['kind']} of {self.label}")
        return self.resource


def in_order(objects: t.Iterable[Object], wave: str) -> list[Item]:
    """By wave, and in it by what needs what."""
    items = [Item(wanted, place=(kinds.wave_of(wanted, wave), kinds.phase_of(wanted))) for wanted in objects]
    return sorted(items, key=lambda item: item.place)


def steps(items: t.Sequence[Item]) -> list[list[Item]]:
    """Neighbours of the same place together, in the order given."""
    found: list[list[Item]] = []
    for item in items:
        if found and found[-1][0].place == item.place:
            found[-1].append(item)
        else:
            found.append([item])
    return found


def settle_namespace(item: Item, default: str) -> None:
    """Objects of namespaced kinds get the default namespace, cluster-wide ones lose theirs. Of a kind that the server does not
    serve yet its name tells; one that is not expected either is left as it is."""
    meta = item.wanted["metadata"]
    if item.resource is None and not item.predicted:
        return
    if item.resource.namespaced if item.resource is not None else item.wanted["kind"] not in kinds.CLUSTER_WIDE:
        meta.setdefault("namespace", default)
    else:
        meta.pop("namespace", None)


def unique(items: t.Sequence[Item]) -> None:
    """Once more, as the namespaces are known only now."""
    seen: set[tuple[str, ...]] = set()
    for item in items:
        if item.key in seen:
            raise InvalidInput(f"{item.label} is given twice: once without a namespace, which means this one")
        seen.add(item.key)


def defines(wanted: Object) -> list[tuple[str, str]]:
    """The (apiVersion, kind) pairs that a CustomResourceDefinition brings; nothing for other objects."""
    if wanted["kind"] != "CustomResourceDefinition":
        return []
    spec = wanted.get("spec") or {}
    try:
        return [(f"{spec['group']}/{version['name']}", spec["names"]["kind"]) for version in spec["versions"]]
    except (KeyError, TypeError):
        # Not a definition that the server takes: it will say so.
        return []


def brought(definition: Object, api_version: str, kind: str) -> Resource:
    """The kind as a CustomResourceDefinition brings it."""
    spec = definition["spec"]
    return Resource(api_version, kind, str(spec["names"].get("plural")), spec.get("scope") != "Cluster")


def overlay(live: t.Any, wanted: t.Any) -> t.Any:
    """The wanted fields laid over what is there: an estimate, where the server cannot be the judge."""
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {**live, **{key: overlay(live.get(key), value) for key, value in wanted.items()}}
    return wanted
