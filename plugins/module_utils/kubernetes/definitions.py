# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CustomResourceDefinitions are never downgraded: what is stored in a newer form could not be read any more. Pure."""

from __future__ import annotations

import re
import typing as t

from .discovery import priority

Object = t.Mapping[str, t.Any]

#: Where projects write the release of their definitions: the part of the metadata, the key.
MARKS = (
    ("annotations", "gateway.networking.k8s.io/bundle-version"),
    ("labels", "io.cilium.k8s.crd.schema.version"),
    ("labels", "app.kubernetes.io/version"),
)
#: Where the Gateway API writes its channel; the experimental one has fields and kinds that the other lacks.
CHANNEL = "gateway.networking.k8s.io/channel"
Release = tuple[tuple[int, ...], int, tuple[str, ...]]


def downgrade(live: Object, wanted: Object) -> str:
    """Why the wanted definition is older than the one that is there; nothing if it is not."""
    return _stored_lost(live, wanted) or _newest_lost(live, wanted) or _older_release(live, wanted)


def _stored_lost(live: Object, wanted: Object) -> str:
    stored = (live.get("status") or {}).get("storedVersions") or []
    lost = [name for name in stored if name not in versions(wanted)]
    return f"it has no version {', '.join(lost)}, in which objects are stored" if lost else ""


def _newest_lost(live: Object, wanted: Object) -> str:
    served = versions(live, served=True)
    newest = max(served, key=priority, default="")
    if not newest or newest in versions(wanted, served=True):
        return ""
    return f"it does not serve {newest}, the newest version that is there"


def _older_release(live: Object, wanted: Object) -> str:
    for part, key in MARKS:
        there, given = (((one.get("metadata") or {}).get(part) or {}).get(key) for one in (live, wanted))
        if there and given:
            old, new = release(str(there)), release(str(given))
            if old and new and new < old:
                return f"it is of release {given}, and {there} is there ({key})"
            return ""
    return ""


def versions(definition: Object, *, served: bool = False) -> list[str]:
    """The names of its versions, or of those that are served."""
    found = (definition.get("spec") or {}).get("versions") or []
    return [str(one.get("name")) for one in found if isinstance(one, dict) and (one.get("served") or not served)]


def release(text: str) -> Release | None:
    """``v1.2.3-rc.1`` in the order of semantic versions; nothing if it is no release (a commit, a branch)."""
    found = re.fullmatch(r"v?(\d+(?:\.\d+)*)(?:-([0-9A-Za-z.-]+))?(?:\+.*)?", text)
    if not found:
        return None
    numbers = tuple(int(part) for part in found[1].split("."))
    before = tuple(f"{int(part):09}" if part.isdigit() else part for part in (found[2] or "").split(".") if part)
    return (numbers + (0,) * (3 - len(numbers)), 0 if found[2] else 1, before)


def losses(live: Object, wanted: Object) -> str:
    """What an upgrade takes away, to be said with it; nothing if nothing."""
    gone = [name for name in versions(live, served=True) if name not in versions(wanted, served=True)]
    channels = [((one.get("metadata") or {}).get("annotations") or {}).get(CHANNEL) for one in (live, wanted)]
    found = [f"no longer serves {', '.join(gone)}"] if gone else []
    if channels == ["experimental", "standard"]:
        found.append("leaves the experimental channel, whose fields are lost")
    return "; ".join(found)
