# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an object is shown in changes and diffs: only what differs, in one flat map, without secrets. Pure."""

from __future__ import annotations

import hashlib
import json
import typing as t

from ..object_copies import COPIES
from ..plan import HIDDEN

Object = t.Mapping[str, t.Any]

#: What the server writes by itself at each change.
NOISE = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
#: What names a member of a list, in the order of preference.
NAMES = ("name", "key", "containerPort", "port", "mountPath", "ip", "type")

_MISSING = object()


def whole(wanted: Object) -> dict[str, t.Any]:
    """All of an object, as a change that creates or deletes it shows it."""
    return _hidden(_quiet(wanted))


def differing(live: Object, result: Object) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Before and after, as flat maps of the fields that differ: ``spec.template.spec.containers[app].image``."""
    before: dict[str, t.Any] = {}
    after: dict[str, t.Any] = {}
    _compare("", _quiet(live), _quiet(result), before, after)
    if live.get("kind") == "Secret":
        for side in (before, after):
            side.update({key: HIDDEN for key in side if key.startswith(("data", "stringData"))})
    return before, after


def _quiet(given: Object) -> dict[str, t.Any]:
    meta = {key: value for key, value in (given.get("metadata") or {}).items() if key not in NOISE}
    annotations = meta.get("annotations")
    if isinstance(annotations, dict) and annotations.keys() & set(COPIES):
        meta["annotations"] = {key: value for key, value in annotations.items() if key not in COPIES}
        if not meta["annotations"]:
            del meta["annotations"]
    quiet = {**{key: value for key, value in given.items() if key != "status"}, "metadata": meta}
    return _summarised(quiet) if given.get("kind") == "CustomResourceDefinition" else quiet


def _summarised(definition: dict[str, t.Any]) -> dict[str, t.Any]:
    """A definition with a word for each schema: thousands of lines that nobody reads in a diff."""
    spec = definition.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("versions"), list):
        return definition
    versions = [
        {**one, "schema": _fingerprint(one["schema"])} if isinstance(one, dict) and one.get("schema") else one
        for one in spec["versions"]
    ]
    return {**definition, "spec": {**spec, "versions": versions}}


def _fingerprint(schema: t.Any) -> str:
    text = json.dumps(schema, sort_keys=True)
    number = text.count('"type": ')
    return f"{number} fields, sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _hidden(given: dict[str, t.Any]) -> dict[str, t.Any]:
    if given.get("kind") != "Secret":
        return given
    shown = dict(given)
    for field in ("data", "stringData"):
        if isinstance(shown.get(field), dict):
            shown[field] = dict.fromkeys(shown[field], HIDDEN)
    return shown


def _compare(path: str, old: t.Any, new: t.Any, before: dict[str, t.Any], after: dict[str, t.Any]) -> None:
    if type(old) is type(new) and old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict) and (old or new):
        parts = {name: (old.get(name, _MISSING), new.get(name, _MISSING)) for name in {**old, **new}}
        separator = "." if path else ""
        for name, (one, other) in parts.items():
            _compare(f"{path}{separator}{name}" if _simple(name) else f"{path}[{name}]", one, other, before, after)
        return
    if isinstance(old, list) and isinstance(new, list):
        named = _named(old, new)
        if named is not None:
            for name, (one, other) in named.items():
                _compare(f"{path}[{name}]", one, other, before, after)
            if any(one != other for one, other in named.values()):
                return
            # Only their order differs: show both lists.
    if old is not _MISSING:
        before[path] = old
    if new is not _MISSING:
        after[path] = new


def _named(old: list[t.Any], new: list[t.Any]) -> dict[str, tuple[t.Any, t.Any]] | None:
    """The members of two lists side by side, if one key names each of them."""
    for key in NAMES:
        if all(isinstance(item, dict) and key in item for item in (*old, *new)):
            mine = {str(item[key]): item for item in old}
            theirs = {str(item[key]): item for item in new}
            if len(mine) == len(old) and len(theirs) == len(new):
                return {name: (mine.get(name, _MISSING), theirs.get(name, _MISSING)) for name in {**mine, **theirs}}
    return None


def _simple(name: str) -> bool:
    return "." not in name and "/" not in name
