# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to objects, told as it happens: one LIST and one WATCH for all objects of a kind in a namespace."""

from __future__ import annotations

import dataclasses
import json
import queue
import threading
import time
import typing as t

from ..errors import AccessDenied, NotFound, Refused, ServerFault, Unreachable
from ..waiting import Backoff, Deadline
from .answers import error_of
from .client import Client
from .discovery import Resource
from .transport import Answer, Stream

Object = dict[str, t.Any]
Key = tuple[str, str]

#: Seconds after which a watch is asked for anew, so that one that was lost without a word is noticed.
RENEWED = 30.0
#: A watch that ends within so many seconds has not gone well.
QUICK = 1.0
#: Between two attempts then, in seconds.
PAUSES = Backoff(first=0.05, factor=2.0, most=1.0)
GONE = 410


@dataclasses.dataclass(frozen=True)
class Scope:
    """What one list reads and one watch follows: a kind, in a namespace (or all), with a selector of the API's (or none)."""

    resource: Resource
    namespace: str = ""
    query: tuple[tuple[str, str], ...] = ()

    @property
    def is_wide(self) -> bool:
        """All of a kind in all namespaces."""
        return self.resource.namespaced and not self.namespace and not self.query

    def listed(self, client: Client) -> tuple[dict[Key, Object], str]:
        """What is there, by namespace and name, and the version to watch from."""
        try:
            found, version = client.listed(self.resource, self.namespace, **dict(self.query))
        except NotFound:
            # Its CustomResourceDefinition is gone.
            return {}, ""
        return {key_of(one): one for one in found}, version


@dataclasses.dataclass(frozen=True)
class News:
    """Of a scope: all of it anew (``whole``), one object that ``changed`` (nothing if deleted), or why nothing more comes."""

    scope: Scope
    whole: dict[Key, Object] | None = None
    key: Key = ("", "")
    changed: Object | None = None
    #: Who may not watch can still ask again and again.
    denied: Exception | None = None
    broken: Exception | None = None
    #: The server does not answer for now; nothing when it does again.
    trouble: str | None = None


class Expired(Exception):
    """The version is too old for the server: list anew."""


def key_of(live: Object) -> Key:
    return str(live["metadata"].get("namespace") or ""), str(live["metadata"]["name"])


class Watch(threading.Thread):
    """Follows a scope from a version on until it is stopped, whatever the server does meanwhile; says it to ``hear``."""

    def __init__(
        self, client: Client, scope: Scope, version: str, deadline: Deadline, hear: queue.SimpleQueue[News]
    ) -> None:
        super().__init__(name=f"watch {scope.resource.plural}", daemon=True)
        self.client, self.scope, self.version, self.deadline, self.hear = client, scope, version, deadline, hear
        self.stopped = threading.Event()
        self._stream: Stream | None = None
        self._lock = threading.Lock()
        self._troubled = False

    def stop(self) -> None:
        self.stopped.set()
        with self._lock:
            if self._stream is not None:
                self._stream.interrupt()

    def run(self) -> None:
        """A watch that ends as agreed is asked for anew at once, one that ends sooner after a pause that grows."""
        waits = PAUSES.pauses()
        while not self.stopped.is_set() and not self.deadline.over():
            begun = time.monotonic()
            try:
                self._once()
            except Expired:
                self.version = ""
            except Exception as error:
                if self.stopped.is_set() or self._ends(error):
                    return
                self.stopped.wait(_retry_after(error))
            if time.monotonic() - begun > QUICK:
                waits = PAUSES.pauses()
            else:
                self.stopped.wait(next(waits))

    def _once(self) -> None:
        if not self.version:
            whole, self.version = self.scope.listed(self.client)
            self._tell(News(self.scope, whole=whole))
            if not self.version:
                return
        seconds = min(RENEWED, max(1.0, self.deadline.left()))
        scope = self.scope
        try:
            stream = self.client.watch(scope.resource, scope.namespace, self.version, seconds, **dict(scope.query))
        except NotFound:
            raise Expired from None
        except Refused as error:
            if error.details.get("status") == GONE:
                raise Expired from None
            raise
        self._follow(stream)

    def _follow(self, stream: Stream) -> None:
        with self._lock:
            self._stream = stream
        try:
            if self.stopped.is_set():
                return
            if self._troubled:
                self._troubled = False
                self._tell(News(self.scope, trouble=""))
            for line in stream.lines():
                self._event(line)
        finally:
            with self._lock:
                self._stream = None
            stream.close()

    def _event(self, line: bytes) -> None:
        """One line: ``{"type": …, "object": …}``; one that was cut off is an error of the server's."""
        try:
            event = json.loads(line)
            kind, found = str(event["type"]), event["object"]
            if kind == "ERROR":
                raise self._error(found)
            self.version = str(found["metadata"]["resourceVersion"])
        except (ValueError, KeyError, TypeError) as error:
            self.version = ""
            raise ServerFault(
                f"watch {self.scope.resource.plural}", of=self.client.of, answer=f"not an event of a watch ({error})"
            ) from None
        if kind != "BOOKMARK":
            live = {"apiVersion": self.scope.resource.api_version, "kind": self.scope.resource.kind, **found}
            self._tell(News(self.scope, key=key_of(live), changed=None if kind == "DELETED" else live))

    def _error(self, status: Object) -> Exception:
        if status.get("code") == GONE:
            return Expired()
        answer = Answer(int(status.get("code") or 500), status, 0.0)
        return error_of(answer, f"watch {self.scope.resource.plural}", self.client.of)

    def _ends(self, error: Exception) -> bool:
        """Whether it is over: what the server will not let us do, or a bug; what may pass is told and tried again."""
        if isinstance(error, (ServerFault, Unreachable)):
            self._troubled = True
            self._tell(News(self.scope, trouble=error.answer or error.message))
            return False
        denied = isinstance(error, (AccessDenied, Refused))
        self._tell(News(self.scope, denied=error) if denied else News(self.scope, broken=error))
        return True

    def _tell(self, news: News) -> None:
        if not self.stopped.is_set():
            self.hear.put(news)


def _retry_after(error: Exception) -> float:
    """Seconds after which the server wants to be asked again, if it said so."""
    return float(error.details.get("retry_after", 0.0)) if isinstance(error, ServerFault) else 0.0


class Watches:
    """Watches of many scopes, heard in one place."""

    def __init__(self, client: Client, deadline: Deadline) -> None:
        self.client, self.deadline = client, deadline
        self._heard: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._watches: dict[Scope, Watch] = {}

    def __len__(self) -> int:
        return len(self._watches)

    @property
    def scopes(self) -> list[Scope]:
        return list(self._watches)

    def follow(self, scope: Scope, version: str) -> None:
        """From this version on; without one it lists first."""
        watch = Watch(self.client, scope, version, self.deadline, self._heard)
        self._watches[scope] = watch
        watch.start()

    def leave(self, scope: Scope) -> None:
        """Nothing more is to be heard of it."""
        watch = self._watches.pop(scope, None)
        if watch is not None:
            watch.stop()

    def news(self, seconds: float) -> list[News]:
        """What came: at once if something is there, else what comes first within so many seconds."""
        found: list[News] = []
        try:
            found.append(self._heard.get(timeout=max(seconds, 0.0)))
            while True:
                found.append(self._heard.get_nowait())
        except queue.Empty:
            return [one for one in found if one.scope in self._watches]

    def close(self) -> None:
        for scope in list(self._watches):
            self.leave(scope)
