# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an object's status says: its conditions, whether they are about its latest change, a failure that will stay. Pure."""

from __future__ import annotations

import typing as t

Object = dict[str, t.Any]

UNSEEN = "its controller has not seen it yet"


class Failure(Exception):
    """An object will not become ready without help; the text is the cause in its own words.

    ``grace``: seconds for which it may pass by itself all the same, as what it needs is often made a moment later. ``reason``:
    it stays the same failure while this stays the same, whatever its text says besides; the text itself if left out.
    """

    def __init__(self, text: str, grace: float = 0.0, reason: str = "") -> None:
        super().__init__(text)
        self.grace = grace
        self.reason = reason or text


#: What a check says: nothing when the object is ready, else why not yet. It raises :class:`Failure`.
Check = t.Callable[[Object], str]


def conditions(live: t.Mapping[str, t.Any]) -> list[Object]:
    """All conditions of an object, or of a part of its status that has its own."""
    status = live.get("status", live)
    found = status.get("conditions") if isinstance(status, dict) else None
    return [one for one in found or [] if isinstance(one, dict)]


def condition(live: t.Mapping[str, t.Any], name: str) -> Object:
    """The condition of this type, or an empty one."""
    return next((one for one in conditions(live) if one.get("type") == name), {})


def said(found: t.Mapping[str, t.Any]) -> str:
    """``Reason: the controller's message``."""
    words = [str(found[key]) for key in ("reason", "message") if found.get(key)]
    return ": ".join(words)


def generation(live: Object) -> int:
    return int(live["metadata"].get("generation") or 0)


def behind(live: Object, found: t.Mapping[str, t.Any] | None = None) -> bool:
    """Whether the controller has not seen the latest change: by the status, or by a condition of it."""
    seen = ((live.get("status") or {}) if found is None else found).get("observedGeneration")
    return seen is not None and int(seen) < generation(live)


def must_be_true(name: str) -> Check:
    def check(live: Object) -> str:
        found = condition(live, name)
        if behind(live) or behind(live, found):
            return UNSEEN
        if found.get("status") == "True":
            return ""
        return said(found) or f"it has no condition {name} yet"

    return check


def wants(name: str, status: str = "True", reason: str = "") -> Check:
    """The check for a condition that a user names."""

    def check(live: Object) -> str:
        found = condition(live, name)
        if not found:
            return f"it has no condition {name} yet"
        if behind(live) or behind(live, found):
            return UNSEEN
        if found.get("status") == status and reason in ("", found.get("reason")):
            return ""
        words = said(found)
        return f"its condition {name} is {found.get('status')}" + (f" ({words})" if words else "")

    return check


def deleted(live: Object) -> bool:
    return bool(live["metadata"].get("deletionTimestamp"))


def label(kind: str, namespace: str, name: str) -> str:
    """How messages name an object: ``Deployment media/jellyfin``."""
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
