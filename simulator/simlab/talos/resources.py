# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's COSI state: typed resources with versions, that clients get, list and watch."""

from __future__ import annotations

import asyncio
import collections.abc as c
import dataclasses
import time
import typing as t

from . import goyaml

Key = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class Resource:
    """``spec`` is plain data; ``text`` is its YAML, kept because a watch may send it long after a change."""

    namespace: str
    type: str
    id: str
    spec: t.Any
    text: str
    owner: str
    version: int
    created: float
    updated: float
    labels: c.Mapping[str, str] = dataclasses.field(default_factory=dict)
    annotations: c.Mapping[str, str] = dataclasses.field(default_factory=dict)
    message: bytes = b""

    def as_message(self) -> dict[str, t.Any]:
        """The fields of ``cosi.resource.Resource``."""
        return {
            "metadata": {
                "namespace": self.namespace,
                "type": self.type,
                "id": self.id,
                "version": str(self.version),
                "owner": self.owner,
                "phase": "running",
                "created": timestamp(self.created),
                "updated": timestamp(self.updated),
                "labels": dict(self.labels),
                "annotations": dict(self.annotations),
            },
            "spec": {"yaml_spec": self.text, "proto_spec": self.message},
        }


@dataclasses.dataclass(frozen=True)
class Change:
    kind: str  # CREATED, UPDATED, DESTROYED
    resource: Resource
    old: Resource | None = None


def timestamp(at: float) -> dict[str, int]:
    """The fields of a protobuf Timestamp."""
    return {"seconds": int(at), "nanos": int((at - int(at)) * 1e9)}


class Resources:
    """All resources of one boot. A write that changes nothing is not a new version."""

    def __init__(self, clock: t.Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: dict[Key, Resource] = {}
        self._watchers: set[asyncio.Queue[Change]] = set()

    def put(
        self,
        namespace: str,
        type_: str,
        id_: str,
        spec: t.Any,
        *,
        owner: str,
        labels: c.Mapping[str, str] | None = None,
        annotations: c.Mapping[str, str] | None = None,
        message: bytes = b"",
    ) -> Resource:
        """Create or update. ``spec`` a str stands for itself as a YAML scalar; ``message`` is it in protobuf, for the
        few types that clients read so."""
        key, text, now = (namespace, type_, id_), goyaml.dump(spec), self._clock()
        old = self._kept.get(key)
        if old is not None and (old.text, old.labels, old.annotations) == (
            text,
            labels or {},
            annotations or {},
        ):
            return old
        new = Resource(
            namespace=namespace,
            type=type_,
            id=id_,
            spec=spec,
            text=text,
            owner=owner,
            version=old.version + 1 if old else 1,
            created=old.created if old else now,
            updated=now,
            labels=labels or {},
            annotations=annotations or {},
            message=message,
        )
        self._kept[key] = new
        self._tell(Change("UPDATED" if old else "CREATED", new, old))
        return new

    def remove(self, namespace: str, type_: str, id_: str) -> None:
        old = self._kept.pop((namespace, type_, id_), None)
        if old is not None:
            self._tell(Change("DESTROYED", old))

    def keep_only(self, namespace: str, type_: str, ids: c.Container[str]) -> None:
        """Remove those of a type whose id is not wanted any more."""
        for key in [key for key in self._kept if key[:2] == (namespace, type_) and key[2] not in ids]:
            self.remove(*key)

    def get(self, namespace: str, type_: str, id_: str) -> Resource | None:
        return self._kept.get((namespace, type_, id_))

    def list(self, namespace: str, type_: str) -> list[Resource]:
        """Sorted by id, as the node lists them."""
        found = [self._kept[key] for key in self._kept if key[:2] == (namespace, type_)]
        return sorted(found, key=lambda resource: resource.id)

    def watch(self) -> asyncio.Queue[Change]:
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._watchers.add(queue)
        return queue

    def unwatch(self, queue: asyncio.Queue[Change]) -> None:
        self._watchers.discard(queue)

    def _tell(self, change: Change) -> None:
        for queue in self._watchers:
            queue.put_nowait(change)
