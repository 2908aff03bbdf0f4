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
#: Which generator wrote a definition: projects keep it up to date, so the older release has the older one, or the same.
GENERATOR = (("annotations", "controller-gen.kubebuilder.io/version"),)
#: Where the Gateway API writes its channel; the experimental one has fields and kinds that the other lacks.
CHANNEL = "gateway.networking.k8s.io/channel"
#: So many lost fields are named.
TOLD = 3
Release = tuple[tuple[int, ...], int, tuple[str, ...]]


def downgrade(live: Object, wanted: Object) -> str:
    """Why the wanted definition is older than the one that is there; nothing if it is not."""
    lost = _stored_lost(live, wanted) or _newest_lost(live, wanted)
    if lost:
        return lost
    marked = _releases(live, wanted, MARKS)
    return _older_release(marked) if marked else _older_fields(live, wanted)


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


class Marked(t.NamedTuple):
    """The releases that both definitions say they are of, and where they say it."""

    there: str
    given: str
    key: str

    @property
    def order(self) -> int:
        """Below zero if the given one is the older one."""
        old, new = release(self.there) or (), release(self.given) or ()
        return (new > old) - (new < old)


def _releases(live: Object, wanted: Object, marks: t.Sequence[tuple[str, str]]) -> Marked | None:
    for part, key in marks:
        there, given = (str(((one.get("metadata") or {}).get(part) or {}).get(key) or "") for one in (live, wanted))
        if release(there) and release(given):
            return Marked(there, given, key)
    return None


def _older_release(marked: Marked) -> str:
    return f"it is of release {marked.given}, and {marked.there} is there ({marked.key})" if marked.order < 0 else ""


def _older_fields(live: Object, wanted: Object) -> str:
    """Without a release to go by: a definition that lacks fields, and that an older generator wrote, or that has no other
    fields. What is there can then do all that the wanted one can, so leaving it is no loss. Newer releases take fields away
    too, but bring others, or come from a newer generator."""
    lost, own = lost_fields(live, wanted), lost_fields(there=wanted, given=live)
    generators = _releases(live, wanted, GENERATOR)
    order = generators.order if generators else 0
    brings = set(versions(wanted, served=True)) - set(versions(live, served=True)) or own
    older = order < 0 or (order == 0 and not brings)
    return f"it lacks fields that are there: {_named(lost)}" if lost and older else ""


def _named(fields: list[str]) -> str:
    return ", ".join(fields[:TOLD]) + (f" and {len(fields) - TOLD} more" if len(fields) > TOLD else "")


def lost_fields(there: Object, given: Object) -> list[str]:
    """The fields of one definition that another has not, of versions that both serve; without what is in them."""
    old, new = schemas(there), schemas(given)
    found = [field for name in old if name in new for field in _lost(old[name], new[name])]
    return list(dict.fromkeys(found))


def schemas(definition: Object) -> dict[str, t.Any]:
    """The schema of each served version."""
    found = (definition.get("spec") or {}).get("versions") or []
    served = [one for one in found if isinstance(one, dict) and one.get("served")]
    return {str(one.get("name")): (one.get("schema") or {}).get("openAPIV3Schema") for one in served}


def _lost(old: t.Any, new: t.Any, path: str = "") -> t.Iterator[str]:
    if not isinstance(old, dict) or not isinstance(new, dict) or new.get("x-kubernetes-preserve-unknown-fields"):
        return
    there, given = (one.get("properties") or {} for one in (old, new))
    for name, schema in there.items():
        below = f"{path}.{name}" if path else str(name)
        if name in given:
            yield from _lost(schema, given[name], below)
        elif not new.get("additionalProperties"):
            yield below
    yield from _lost(old.get("items"), new.get("items"), f"{path}[]")
    yield from _lost(old.get("additionalProperties"), new.get("additionalProperties"), f"{path}.*")


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
    lost = lost_fields(live, wanted)
    found = [f"no longer serves {', '.join(gone)}"] if gone else []
    found += [f"no longer has {_named(lost)}"] if lost else []
    if channels == ["experimental", "standard"]:
        found.append("leaves the experimental channel, whose fields are lost")
    return "; ".join(found)
