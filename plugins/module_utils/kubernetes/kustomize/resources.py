# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of a kustomization while it is built: each remembers what it was called before."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import InvalidInput
from ..kinds import CLUSTER_WIDE, group_of

Object = dict[str, t.Any]


class Id(t.NamedTuple):
    """What an object is called at one time."""

    group: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, given: Object) -> Id:
        meta = given["metadata"]
        return cls(group_of(given["apiVersion"]), given["kind"], str(meta.get("namespace") or ""), str(meta["name"]))

    def normal(self) -> Id:
        """Nobody's namespace is the namespace ``default``."""
        if self.kind in CLUSTER_WIDE:
            return self._replace(namespace="")
        return self._replace(namespace=self.namespace or "default")


def fresh(value: t.Any) -> t.Any:
    """A copy in which nothing is shared, as YAML's anchors let parts be."""
    if isinstance(value, dict):
        return {key: fresh(item) for key, item in value.items()}
    return [fresh(item) for item in value] if isinstance(value, list) else value


@dataclasses.dataclass
class Res:
    """``ids`` are its former names, the first one first. ``added`` are the prefixes and suffixes that it got. ``hashed``:
    its name gets a hash of its content in the end."""

    given: Object
    ids: list[Id] = dataclasses.field(default_factory=list)
    added: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    hashed: bool = False

    def __post_init__(self) -> None:
        self.given = fresh(self.given)
        self.ids = self.ids or [Id.of(self.given)]

    @property
    def now(self) -> Id:
        return Id.of(self.given)

    @property
    def every(self) -> list[Id]:
        return [*self.ids, self.now]

    def remember(self) -> None:
        """Call it before its name or namespace changes."""
        if self.ids[-1] != self.now:
            self.ids.append(self.now)


def matching(everything: t.Iterable[Res], wanted: Id) -> list[Res]:
    """Those that are, or were, called so."""
    return [one for one in everything if any(wanted.normal() == each.normal() for each in one.every)]


def distinct(where: str, everything: t.Sequence[Res]) -> None:
    """No two may be called the same at one time. Raises :class:`InvalidInput`."""
    seen: set[Id] = set()
    for one in everything:
        if one.now.normal() in seen:
            raise InvalidInput(f"{where}: {one.now.kind} {one.now.name} is there twice")
        seen.add(one.now.normal())
