# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody waits for, and how it stands: one object by its name, or all that a selector finds. No network here."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from . import pods
from .conditions import Check, Failure, Object, conditions, label
from .discovery import Resource
from .readiness_checks import reason_of
from .watches import Key

#: ``v1``, ``v1beta1``: what is no group.
VERSION = re.compile(r"v\d+((alpha|beta)\d+)?\Z")
MISSING = "it is not there"
#: So many reasons are told; of the others how many there are.
TOLD = 3


@dataclasses.dataclass(frozen=True)
class Want:
    """What to wait for.

    ``api_version`` may be a group alone: the best version that has the kind. ``resource`` spares discovery where it is known.
    With ``name`` one object; else all that ``selector`` (of labels, in the API's form) finds in the namespace, in all of them if
    it names none, and at least ``at_least``. ``checks`` take the place of the kind's own readiness. ``gone``: that it is not there,
    with ``uid`` just this one, whatever has its name since.
    """

    kind: str
    api_version: str = ""
    namespace: str = ""
    name: str = ""
    selector: str = ""
    at_least: int = 1
    checks: tuple[Check, ...] = ()
    gone: bool = False
    uid: str = ""
    resource: Resource | None = None

    @property
    def is_versioned(self) -> bool:
        """Whether ``api_version`` is one, not a group alone."""
        return "/" in self.api_version or bool(VERSION.match(self.api_version))

    @property
    def label(self) -> str:
        """``Deployment media/jellyfin``, ``Pods media (app=web)``."""
        if self.name:
            return label(self.kind, self.namespace, self.name)
        where = f" {self.namespace}" if self.namespace else ""
        return f"{self.kind}s{where}" + (f" ({self.selector})" if self.selector else "")

    @property
    def identity(self) -> str:
        """``<Kind>/<namespace>/<name>``, or with the selector in the name's place."""
        last = self.name or (f"[{self.selector}]" if self.selector else "*")
        return "/".join([self.kind, *([self.namespace] if self.namespace else []), last])


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a want stands: an empty reason means that it is there. ``failed``: it will not be without help.
    ``objects``: those it is about, as they were when they were last seen."""

    want: Want
    reason: str
    failed: bool = False
    objects: tuple[Object, ...] = ()

    def as_result(self) -> dict[str, t.Any]:
        return {"resource": self.want.identity, "reason": self.reason}


#: What looks beyond an object for why it is not ready: a reason, nothing if it is ready after all, or a Failure.
Look = t.Callable[[Object, str], str]


class State:
    """One want while it is waited for."""

    def __init__(self, want: Want) -> None:
        self.want = want
        self.reason = "nobody has looked yet"
        self.failed = False
        self.objects: tuple[Object, ...] = ()
        #: What was not ready at the last look.
        self.unready: list[Object] = []
        #: What is known besides, and of which reason.
        self._more = ("", "")
        #: Of an object with a reason of its own: what a look beyond it said last.
        self._beyond: dict[tuple[str, str], str] = {}
        #: Since when a failure that may pass has been there, by the object and the failure's reason.
        self._since: dict[tuple[str, str], float] = {}

    @property
    def done(self) -> bool:
        return not self.reason

    @property
    def told(self) -> str:
        """The reason, with what is known besides."""
        of, more = self._more
        return f"{self.reason}; {more}" if more and of == self.reason else self.reason

    def add(self, more: str) -> None:
        self._more = (self.reason, more)

    def outcome(self) -> Outcome:
        return Outcome(self.want, self.told, self.failed, self.objects)

    def judge(self, store: t.Mapping[Key, Object], now: float, look: Look | None = None) -> None:
        """Set the reason by what is there, and whether it is a failure that stays. ``now``: seconds."""
        self.unready = []
        found = self._found(store)
        self.objects = tuple(found)
        try:
            self.reason = self._gone(found) if self.want.gone else self._ready(found, now, look)
        except Failure as failure:
            self.reason, self.failed = str(failure), True

    def _found(self, store: t.Mapping[Key, Object]) -> list[Object]:
        if self.want.name:
            one = store.get((self.want.namespace, self.want.name))
            return [] if one is None or self.want.uid not in ("", one["metadata"].get("uid")) else [one]
        return [store[key] for key in sorted(store)]

    def _gone(self, found: list[Object]) -> str:
        if not found:
            return ""
        if self.want.name:
            return held_by(found[0])
        return f"{len(found)} are there: " + summary([f"{_short(one)}: {held_by(one)}" for one in found])

    def _ready(self, found: list[Object], now: float, look: Look | None) -> str:
        reasons = [(one, reason) for one in found if (reason := self._reason(one, now, look))]
        self.unready = [one for one, _reason in reasons]
        if self.want.name:
            return MISSING if not found else reasons[0][1] if reasons else ""
        if reasons:
            told = summary([f"{_short(one)}: {reason}" for one, reason in reasons])
            return f"{len(found) - len(reasons)} of {len(found)} are ready; {told}"
        least = self.want.at_least
        return "" if len(found) >= least else f"{len(found)} of at least {least} are there"

    def _reason(self, live: Object, now: float, look: Look | None) -> str:
        uid = str(live["metadata"].get("uid"))
        try:
            reason = self._own(live)
            self._passed(uid)
            if not reason or self.want.checks:
                return reason
            if look is not None:
                self._beyond[uid, reason] = look(live, reason)
            return self._beyond.get((uid, reason), reason)
        except pods.Failure as failure:
            raise Failure(self._of(live, str(failure))) from None
        except Failure as failure:
            since = self._since.setdefault((uid, failure.reason), now)
            if now - since >= failure.grace:
                raise Failure(self._of(live, str(failure))) from None
            return str(failure)

    def _passed(self, uid: str) -> None:
        """No failure any more: the next one begins anew."""
        for key in [key for key in self._since if key[0] == uid]:
            del self._since[key]

    def _own(self, live: Object) -> str:
        if not self.want.checks:
            return reason_of(live)
        return next(filter(None, (check(live) for check in self.want.checks)), "")

    def _of(self, live: Object, reason: str) -> str:
        return reason if self.want.name else f"{_short(live)}: {reason}"


def summary(reasons: list[str]) -> str:
    return "; ".join(reasons[:TOLD]) + (f"; and {len(reasons) - TOLD} more" if len(reasons) > TOLD else "")


def finalizers(live: Object) -> list[str]:
    """What must be done before the object goes; of a namespace also what its spec has."""
    meta, spec = live.get("metadata") or {}, live.get("spec") or {}
    return [
        *(meta.get("finalizers") or []),
        *((spec.get("finalizers") or []) if live.get("kind") == "Namespace" else []),
    ]


def held_by(live: Object) -> str:
    """Why an object is still there: its finalizers, and what their controllers say."""
    holders = finalizers(live)
    words = [
        str(found.get("message"))
        for found in conditions(live)
        if found.get("status") == "True" and found.get("message")
    ]
    if not holders:
        return "it is still there"
    return f"held by {', '.join(holders)}" + (f" ({'; '.join(words)})" if words else "")


def _short(live: Object) -> str:
    return label(live["kind"], str(live["metadata"].get("namespace") or ""), live["metadata"]["name"])
