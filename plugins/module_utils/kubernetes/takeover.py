# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the record of another manager ours: what it set and we do not want goes, as if we had set it. Pure.

``kubectl apply`` without ``--server-side`` records its fields as an *update*, which server-side apply never takes back, and
keeps a copy of what it applied in an annotation. kubectl itself changes over to server-side apply the same way
(``k8s.io/client-go/util/csaupgrade``). The annotation goes too: with a copy that nobody keeps up to date, a later
``kubectl apply`` would delete what it thinks it had set; without one it starts from what is there.
"""

from __future__ import annotations

import copy
import json
import typing as t

from ..object_copies import LAST_APPLIED

Object = dict[str, t.Any]
Path = tuple[str, ...]
#: The annotation in a record of fields.
COPY: Path = ("f:metadata", "f:annotations", f"f:{LAST_APPLIED}")


def records(live: Object, managers: t.Collection[str]) -> list[Object]:
    """What these managers set, by update or apply, but for subresources such as the status."""
    return [entry for entry in _entries(live) if _is_of(entry, managers)]


def _entries(live: Object) -> list[Object]:
    return live["metadata"].get("managedFields") or []


def _is_of(entry: Object, managers: t.Collection[str]) -> bool:
    return entry.get("manager") in managers and not entry.get("subresource")


def has_copy(live: Object) -> bool:
    return LAST_APPLIED in (live["metadata"].get("annotations") or {})


def operations(live: Object, manager: str, managers: t.Collection[str]) -> list[Object]:
    """The JSON patch that makes their records ours, of just this version of the object."""
    found: list[Object] = [
        {"op": "replace", "path": "/metadata/managedFields", "value": migrated(_entries(live), manager, managers)},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]
    if has_copy(live):
        found.append({"op": "remove", "path": f"/metadata/annotations/{LAST_APPLIED.replace('/', '~1')}"})
    return found


def migrated(entries: list[Object], manager: str, managers: t.Collection[str]) -> list[Object]:
    """The records with theirs in ours. Theirs of another apiVersion than ours are dropped: they cannot be one record."""
    theirs = [entry for entry in entries if _is_of(entry, managers)]
    rest = [entry for entry in entries if not _is_of(entry, managers)]
    ours = _ours(entries, manager)
    if ours is None:
        ours = {**theirs[0], "manager": manager, "operation": "Apply", "fieldsV1": {}}
    else:
        rest.remove(ours)
    paths = paths_of(ours.get("fieldsV1") or {})
    for entry in _mergeable(entries, manager, managers):
        paths |= paths_of(entry.get("fieldsV1") or {})
    fields = fields_of({path for path in paths if path != COPY})
    return [*rest, {**ours, "fieldsType": "FieldsV1", "fieldsV1": fields}]


def _ours(entries: list[Object], manager: str) -> Object | None:
    return next((entry for entry in entries if _is_applied_by(entry, manager)), None)


def _mergeable(entries: list[Object], manager: str, managers: t.Collection[str]) -> list[Object]:
    """Their records that can become part of ours: those of its apiVersion, or without one of ours, of their first one's."""
    theirs = [entry for entry in entries if _is_of(entry, managers)]
    into = _ours(entries, manager) or (theirs[0] if theirs else {})
    return [entry for entry in theirs if entry.get("apiVersion") == into.get("apiVersion")]


def _is_applied_by(entry: Object, manager: str) -> bool:
    return entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")


def leftovers(live: Object, result: Object, manager: str, managers: t.Collection[str]) -> set[Path]:
    """The fields that go once their record is ours: theirs, not ours in ``result`` (after our apply), nobody else's. What only
    stands in a record that is dropped is nobody's then, and stays."""
    theirs: set[Path] = set()
    for entry in _mergeable(_entries(live), manager, managers):
        theirs |= paths_of(entry.get("fieldsV1") or {})
    held: set[Path] = set()
    for entry in _entries(result):
        if not _is_of(entry, managers):
            held |= paths_of(entry.get("fieldsV1") or {})
    parents = {path[:length] for path in held for length in range(1, len(path) + 1)}
    return {path for path in theirs if path not in parents} | ({COPY} if has_copy(live) else set())


def without(given: Object, paths: t.Collection[Path]) -> Object:
    """The object without these fields. What names a member of a list only goes with the member."""
    result = copy.deepcopy(given)
    gone = set(paths)
    for path in paths:
        above = {path[:length] for length in range(1, len(path))}
        if not above & gone and not _names_member(path):
            _remove(result, path)
    return result


def _names_member(path: Path) -> bool:
    return len(path) > 1 and path[-2].startswith("k:") and path[-1].removeprefix("f:") in json.loads(path[-2][2:])


def _remove(value: t.Any, path: Path) -> None:
    step, rest = path[0], path[1:]
    found = _selected(value, step)
    if found is None:
        return
    if rest:
        _remove(value[found], rest)
    else:
        del value[found]


def _selected(value: t.Any, step: str) -> t.Any:
    """The key or index that a step of a path means here; nothing if it is not there."""
    kind, _colon, text = step.partition(":")
    if kind == "f":
        return text if isinstance(value, dict) and text in value else None
    if not isinstance(value, list):
        return None
    if kind == "i":
        return int(text) if int(text) < len(value) else None
    wanted = json.loads(text)
    for index, item in enumerate(value):
        if item == wanted if kind == "v" else _has(item, wanted):
            return index
    return None


def _has(item: t.Any, keys: t.Mapping[str, t.Any]) -> bool:
    return isinstance(item, dict) and all(item.get(key) == value for key, value in keys.items())


def paths_of(fields: t.Mapping[str, t.Any], above: Path = ()) -> set[Path]:
    """The fields of a record (``FieldsV1``), as paths of its steps."""
    found: set[Path] = set()
    for step, below in fields.items():
        if step == ".":
            found.add(above)
        elif below:
            found |= paths_of(below, (*above, step))
        else:
            found.add((*above, step))
    return found


def fields_of(paths: t.Collection[Path]) -> Object:
    """A record of these fields: the opposite of :func:`paths_of`."""
    result: Object = {}
    for path in sorted(paths, key=len, reverse=True):
        place = result
        for step in path:
            place = place.setdefault(step, {})
        if place:
            place["."] = {}
    return result
