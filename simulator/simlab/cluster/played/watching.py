# SPDX-License-Identifier: GPL-3.0-or-later
"""Watched collections, and a loop that works when one of them has changed. Nothing runs while nothing changes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import typing as t

from ..client import KubeClient, KubeError
from .seat import Object, Seat

Key = tuple[str, str]
#: Real seconds: until a collection that is not served is looked for again (shortest, longest, longest for one that work
#: goes on without), until work that failed is tried again (shortest, longest), how long changes are gathered before the
#: work begins, and after how long it is told what the work waits for.
ABSENT, ABSENT_LIMIT, OPTIONAL_LIMIT = 0.2, 3.0, 30.0
RETRY, RETRY_LIMIT = 0.2, 15.0
GATHER = 0.03
PATIENCE = 5.0


@dataclasses.dataclass(frozen=True)
class Kind:
    """A resource of some API group; which of its versions is served is found out. ``optional``: work goes on without it."""

    group: str
    plural: str
    optional: bool = False
    query: tuple[tuple[str, str], ...] = ()


class _NotServed(Exception):
    """The collection is gone, with its definition."""


async def served(client: KubeClient, kind: Kind) -> str:
    """The version's path (``/apis/cilium.io/v2``), "" when the API server does not have this resource."""
    if not kind.group:
        return "/api/v1"
    group = await client.get(f"/apis/{kind.group}")
    for version in (group or {}).get("versions") or ():
        path = f"/apis/{version['groupVersion']}"
        found = await client.get(path)
        if any(resource["name"] == kind.plural for resource in (found or {}).get("resources") or ()):
            return path
    return ""


class Collection:
    """All objects of one kind, as the API server shows them."""

    def __init__(self, client: KubeClient, kind: Kind, changed: t.Callable[[], None]) -> None:
        self.client, self.kind = client, kind
        self.objects: dict[Key, Object] = {}
        self.root = ""  # "" while it is not served
        self.synced = False
        self.problem = ""
        self._changed = changed

    def __iter__(self) -> t.Iterator[Object]:
        return iter(list(self.objects.values()))

    def get(self, namespace: str, name: str) -> Object | None:
        return self.objects.get((namespace, name))

    def path(self, namespace: str = "", name: str = "", part: str = "") -> str:
        inside = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(filter(None, [f"{self.root}{inside}/{self.kind.plural}", name, part]))

    def path_of(self, found: t.Mapping[str, t.Any], part: str = "") -> str:
        meta = found["metadata"]
        return self.path(meta.get("namespace", ""), meta["name"], part)

    @property
    def api_version(self) -> str:
        return self.root.removeprefix("/apis/").removeprefix("/api/")

    async def follow(self) -> None:
        """Keep the objects as they are, for ever."""
        delay = ABSENT
        while True:
            try:
                self.root = await served(self.client, self.kind)
            except KubeError as error:
                self.problem = str(error)
                self.root = ""
            else:
                self._absent()
            if self.root:
                delay = ABSENT
                with contextlib.suppress(_NotServed):
                    await self.client.watch(self.path(), dict(self.kind.query), self._on, self._refused)
                self.root = ""
                self._absent()
            await asyncio.sleep(delay)
            delay = min(delay * 2, OPTIONAL_LIMIT if self.kind.optional else ABSENT_LIMIT)

    def _absent(self) -> None:
        if self.root:
            return
        known, self.objects = self.objects, {}
        if self.kind.optional and not self.synced:
            self.synced = True
            self._changed()
        elif known:
            self._changed()
        if not self.kind.optional:
            self.synced = False
            self.problem = f"{self.kind.plural}.{self.kind.group} is not there"

    def _refused(self, error: KubeError) -> None:
        self.problem = str(error)
        if error.code == 404:
            raise _NotServed

    def _on(self, event: str, found: Object) -> None:
        self.problem = ""
        if event == "SYNC":
            about = {"apiVersion": found["apiVersion"], "kind": str(found["kind"]).removesuffix("List")}
            self.objects = {key_of(item): about | item for item in found.get("items") or ()}
            self.synced = True
        elif event == "DELETED":
            self.objects.pop(key_of(found), None)
        else:
            self.objects[key_of(found)] = found
        self._changed()


def key_of(found: t.Mapping[str, t.Any]) -> Key:
    return found["metadata"].get("namespace", ""), found["metadata"]["name"]


class Controller:
    """Watches ``kinds`` and calls :meth:`reconcile` with everything known when something has changed.

    ``reconcile`` looks at everything, writes what differs, and is called again when it fails. ``needed`` says whether
    the work begins at all; until then nothing is written.
    """

    name = "controller"
    kinds: tuple[Kind, ...] = ()

    def __init__(self, seat: Seat) -> None:
        self.seat, self.client = seat, seat.client
        self._news = asyncio.Event()
        self.known = {kind.plural: Collection(seat.client, kind, self._news.set) for kind in self.kinds}
        self.problem = ""
        self._told = ""

    async def reconcile(self) -> None:
        raise NotImplementedError

    def __getitem__(self, plural: str) -> Collection:
        return self.known[plural]

    def again(self) -> None:
        """Work once more, as if something had changed."""
        self._news.set()

    @property
    def ready(self) -> bool:
        return all(collection.synced for collection in self.known.values())

    async def run(self) -> None:
        """For ever."""
        tasks = [asyncio.create_task(part.follow(), name=f"{self.name} {p}") for p, part in self.known.items()]
        tasks.append(asyncio.create_task(self._work(), name=self.name))
        tasks.append(asyncio.create_task(self._complain(), name=f"{self.name} patience"))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        delay = RETRY
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER)
            self._news.clear()
            if not self.ready:
                continue
            try:
                await self.reconcile()
                self.problem, delay = "", RETRY
                continue
            except KubeError as error:
                await self._stumbled(error)
            except Exception as error:
                self.problem, delay = repr(error), RETRY_LIMIT
                logging.getLogger("simlab.cluster").exception("the played %s stumbled", self.name)
            # it is tried again then, or when there is news: what fails for one object keeps no other waiting
            asyncio.get_running_loop().call_later(delay, self._news.set)
            delay = min(delay * 2, RETRY_LIMIT)

    async def each(self, objects: t.Iterable[Object], work: t.Callable[[Object], t.Awaitable[None]]) -> None:
        """Do the work for all objects: what the API server refuses for one does not keep the others from it. Raises the
        first KubeError at the end."""
        first: KubeError | None = None
        for one in objects:
            try:
                await work(one)
            except KubeError as error:
                if error.code == 0:  # no API server answers
                    raise
                first = first or error
        if first is not None:
            raise first

    async def _complain(self) -> None:
        """What the work waits for (a definition that is missing, a right) is told on the pod."""
        while not self.ready:
            await asyncio.sleep(PATIENCE)
            waiting = sorted({part.problem for part in self.known.values() if not part.synced and part.problem})
            if waiting and self._told != "; ".join(waiting):
                self._told = "; ".join(waiting)
                await self.seat.tell("Warning", "Waiting", f"{self.name}: {self._told}")

    async def _stumbled(self, error: KubeError) -> None:
        """A conflict or an API server that is away is daily life; what is refused for good is told on the pod."""
        self.problem = str(error)
        if error.code in (400, 403, 422) and self._told != self.problem:
            self._told = self.problem
            await self.seat.tell("Warning", error.reason or "Refused", f"{self.name}: {error}")
