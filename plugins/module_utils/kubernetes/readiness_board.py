# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is waited for on one board: read once, then followed by few watches; who may not watch asks again and again."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import typing as t

from ..errors import AccessDenied, ServerFault, Unreachable
from ..waiting import Deadline
from . import pods
from .client import Client
from .conditions import Object
from .discovery import Resource
from .readiness_causes import CROWD, Causes
from .readiness_wants import State, Want
from .watches import Key, News, Scope, Watches

#: Requests at the same time.
WORKERS = 8
#: Watches at the same time; what is beyond is asked again and again.
MOST_WATCHES = 24
#: From this many namespaces of one kind on, all of its namespaces are followed together.
WIDE_FROM = 4
#: Seconds between looks at pods, at kinds that are not served yet, and at what is further away.
NEAR_EVERY = 1.0
KINDS_EVERY = 1.0
FAR_AFTER, FAR_EVERY = 2.0, 5.0
#: Of how many objects each time.
FAR_MOST = 10
#: Seconds between two reads of what cannot be watched.
ASKED_EVERY = 0.4

Placed = t.Sequence[tuple[State, Resource]]


class Every:
    """Whether it is time again; for the first time after so many seconds."""

    def __init__(self, deadline: Deadline, seconds: float, after: float = 0.0) -> None:
        self._deadline, self._seconds, self._next = deadline, seconds, after

    def due(self) -> bool:
        now = self._deadline.elapsed()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class Board:
    """How all wants stand. As a context it ends its watches."""

    def __init__(self, client: Client, wants: t.Sequence[Want], deadline: Deadline) -> None:
        self.client, self.deadline = client, deadline
        self.states = [State(want) for want in wants]
        #: Why the server tells nothing of a scope for now, or (no scope) does not answer.
        self._silent: dict[Scope | None, str] = {}
        self._watches = Watches(client, deadline)
        self._causes = Causes(client, deadline)
        self._scopes: dict[State, Scope] = {}
        self._stores: dict[Scope, dict[Key, Object]] = {}
        #: Scopes that are asked again and again: by list, or else by name.
        self._asked: dict[Scope, bool] = {}
        self._near = Every(deadline, NEAR_EVERY)
        self._far = Every(deadline, FAR_EVERY, FAR_AFTER)
        self._kinds = Every(deadline, KINDS_EVERY, KINDS_EVERY)
        self._ask = Every(deadline, ASKED_EVERY, ASKED_EVERY)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_error: object) -> None:
        self._watches.close()

    @property
    def trouble(self) -> str:
        """Why the server tells nothing for now."""
        return next(iter(self._silent.values()), "")

    @property
    def pending(self) -> list[State]:
        return [state for state in self.states if not state.done]

    # -- reading -----------------------------------------------------------------------------------------------------

    def begin(self, *, follow: bool) -> None:
        """Read all of it once; ``follow`` what is not there yet."""
        versions = self._settle(self.states)
        self.judge()
        if follow:
            self._follow(versions)

    def _settle(self, states: list[State]) -> dict[Scope, str]:
        """Read what is there, and the versions to watch from. Kinds that are not served yet get no scope."""
        placed = [(state, resource) for state in states if (resource := self._place(state)) is not None]
        self._scopes.update(scopes_of(placed, wide=True))
        versions = self._read([state for state, _resource in placed], wide=True)
        refused = [one for one in placed if self._scopes[one[0]] not in self._stores]
        if refused:
            # Who may not read all namespaces at once reads each by itself.
            self._scopes.update(scopes_of(refused, wide=False))
            versions |= self._read([state for state, _resource in refused], wide=False)
        return versions

    def _place(self, state: State) -> Resource | None:
        """How the server serves it; its namespace is settled then."""
        want = state.want
        resource = want.resource or self._served(want)
        if resource is not None and not resource.namespaced:
            state.want = dataclasses.replace(want, namespace="")
        elif resource is not None and want.name and not want.namespace:
            state.want = dataclasses.replace(want, namespace=self.client.access.namespace)
        return resource

    def _served(self, want: Want) -> Resource | None:
        if want.is_versioned:
            # What its server cannot say now is waited for, as what is not there yet.
            return self.client.discovery.resource(want.api_version, want.kind)
        versions = self.client.discovery.versions(want.api_version, want.kind)
        return self.client.resource(versions[0], want.kind) if versions else None

    def _read(self, states: t.Sequence[State], *, wide: bool) -> dict[Scope, str]:
        scopes = list(dict.fromkeys(self._scopes[state] for state in states))
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as workers:
            found = list(workers.map(lambda scope: self._listed(scope, wide=wide), scopes))
        versions = {}
        for scope, (store, version) in zip(scopes, found, strict=True):
            if store is not None:
                self._stores[scope], versions[scope] = store, version
        return versions

    def _listed(self, scope: Scope, *, wide: bool) -> tuple[dict[Key, Object] | None, str]:
        """What a scope holds; nothing if it is of all namespaces, and these may not be read at once."""
        try:
            return scope.listed(self.client)
        except AccessDenied:
            if wide and scope.is_wide:
                return None, ""
            store = self._by_name(scope)
            self._asked[scope] = False
            return store, ""

    def _by_name(self, scope: Scope) -> dict[Key, Object]:
        """Each object by itself, for who may read but not list. What has no name is refused as the list was."""
        mine = [state.want for state in self._in(scope)]
        if any(not want.name for want in mine):
            return scope.listed(self.client)[0]
        lives = [(want, self.client.get(scope.resource, want.namespace, want.name)) for want in mine]
        return {(want.namespace, want.name): live for want, live in lives if live is not None}

    def _in(self, scope: Scope) -> list[State]:
        """What is not done in a scope."""
        return [state for state in self.pending if self._scopes.get(state) == scope]

    # -- following ---------------------------------------------------------------------------------------------------

    def _follow(self, versions: t.Mapping[Scope, str]) -> None:
        for scope, version in versions.items():
            if scope in self._asked or not self._in(scope):
                continue
            if len(self._watches) < MOST_WATCHES:
                self._watches.follow(scope, version)
            else:
                self._asked[scope] = True

    def refresh(self, seconds: float) -> None:
        """Take in what happens, as soon as it does; wait for it at most so long."""
        if len(self._watches):
            for news in self._watches.news(seconds):
                self._take(news)
        else:
            self.deadline.clock.sleep(seconds)
        try:
            self._ask_again()
        except (ServerFault, Unreachable) as error:
            # It may be back before the deadline, as a watch may.
            self._silent[None] = error.answer or error.message

    def _ask_again(self) -> None:
        """What cannot be watched, and kinds that are not served yet."""
        if self._asked and self._ask.due():
            for scope, by_list in self._asked.items():
                self._stores[scope] = scope.listed(self.client)[0] if by_list else self._by_name(scope)
            self._silent.pop(None, None)
        unserved = [state for state in self.pending if state not in self._scopes]
        if unserved and self._kinds.due():
            self.client.forget()
            self._follow(self._settle(unserved))
            self._silent.pop(None, None)

    def _take(self, news: News) -> None:
        if news.broken is not None:
            raise news.broken
        if news.trouble:
            self._silent[news.scope] = news.trouble
            return
        self._silent.pop(news.scope, None)
        if news.denied is not None:
            self._watches.leave(news.scope)
            self._asked[news.scope] = True
        elif news.whole is not None:
            self._stores[news.scope] = news.whole
        elif news.changed is not None:
            self._stores[news.scope][news.key] = news.changed
        elif news.trouble is None:
            self._stores[news.scope].pop(news.key, None)

    # -- judging -----------------------------------------------------------------------------------------------------

    def judge(self) -> list[State]:
        """Those of the pending that are done now. Whoever is not is looked at further from time to time."""
        before = self.pending
        for state in before:
            self._judge(state)
        # Nobody answers questions now: each would take its time.
        if not self.trouble and self._near.due():
            self._look_near()
        if self._far.due():
            self.look_far()
        for scope in [*self._watches.scopes, *self._asked]:
            if not self._in(scope):
                self._watches.leave(scope)
                self._asked.pop(scope, None)
                self._silent.pop(scope, None)
        return [state for state in before if state.done]

    def _judge(self, state: State, look: t.Callable[[Object, str], str] | None = None) -> None:
        if state in self._scopes:
            state.judge(self._stores[self._scopes[state]], self.deadline.elapsed(), look)
        else:
            state.reason = (
                "" if state.want.gone else f"the server does not serve this kind ({state.want.api_version or 'v1'})"
            )

    def _look_near(self) -> None:
        counts: dict[str, int] = {}
        for live in (live for state in self.pending for live in state.unready):
            namespace = str(live["metadata"].get("namespace") or "")
            counts[namespace] = counts.get(namespace, 0) + (live["kind"] in pods.OWNERS)
        self._causes.glance.begin([namespace for namespace, number in counts.items() if number >= CROWD])
        for state in self.pending:
            if state.unready and not state.failed:
                self._judge(state, self._causes.near)

    def look_far(self) -> None:
        """Add what others know about those that are not ready."""
        if self.trouble:
            return
        for state in [state for state in self.pending if state.unready][:FAR_MOST]:
            state.add(self._causes.far(state.unready[0], state.reason))


def scopes_of(placed: Placed, *, wide: bool) -> dict[State, Scope]:
    """By which list and watch each is read: as few as can be without reading much that nobody wants."""
    names: dict[tuple[Resource, str], set[str]] = {}
    namespaces: dict[Resource, set[str]] = {}
    for state, resource in placed:
        if state.want.name:
            names.setdefault((resource, state.want.namespace), set()).add(state.want.name)
            namespaces.setdefault(resource, set()).add(state.want.namespace)
    found: dict[State, Scope] = {}
    for state, resource in placed:
        want = state.want
        if not want.name:
            found[state] = Scope(resource, want.namespace, (("labelSelector", want.selector),) if want.selector else ())
        elif wide and len(namespaces[resource]) >= WIDE_FROM:
            found[state] = Scope(resource)
        else:
            alone = len(names[resource, want.namespace]) == 1
            query = (("fieldSelector", f"metadata.name={want.name}"),) if alone else ()
            found[state] = Scope(resource, want.namespace, query)
    return found
