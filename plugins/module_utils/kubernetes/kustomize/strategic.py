# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategic merge patches: lists of named members are merged by their names, others replaced. Pure."""

from __future__ import annotations

import copy
import typing as t

from ...errors import InvalidInput
from ..kinds import is_built_in

Object = dict[str, t.Any]

#: Lists of built-in kinds whose members are told apart by a key.
KEYS = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "env": "name", "volumes": "name",
    "imagePullSecrets": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath", "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey", "ownerReferences": "uid", "conditions": "type", "taints": "key",
    "webhooks": "name", "secrets": "name", "resourceClaims": "name", "schedulingGates": "name", "claims": "name",
}  # fmt: skip
#: Lists of plain values that are added to.
SETS = frozenset({"finalizers"})
DIRECTIVES = ("$patch", "$setElementOrder", "$retainKeys", "$deleteFromPrimitiveList")
GONE = object()


def patched(where: str, given: Object, patch: Object) -> Object | None:
    """The object after the patch; nothing if the patch deletes it. Raises :class:`InvalidInput`."""
    keyed = is_built_in(str(given["apiVersion"]))
    kept = {key: given[key] for key in ("apiVersion", "kind")}
    result = _merged(where, given, patch, (str(given["kind"]),), keyed)
    if result is GONE:
        return None
    meta = {**result["metadata"], "name": given["metadata"]["name"]}
    return {**result, **kept, "metadata": meta}


def _merged(where: str, old: t.Any, patch: t.Any, path: tuple[str, ...], keyed: bool) -> t.Any:
    if isinstance(patch, dict):
        return _map(where, old if isinstance(old, dict) else {}, patch, path, keyed)
    if isinstance(patch, list):
        return _list(where, old if isinstance(old, list) else [], patch, path, keyed)
    return patch


def _map(where: str, old: Object, patch: Object, path: tuple[str, ...], keyed: bool) -> t.Any:
    directive = _directive(where, patch, path)
    if directive == "delete":
        return GONE
    content = {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "replace":
        return copy.deepcopy(content)
    result = dict(old)
    for key, value in content.items():
        if value is None:
            result.pop(key, None)
            continue
        merged = _merged(where, old.get(key), value, (*path, key), keyed)
        if merged is GONE:
            result.pop(key, None)
        else:
            result[key] = merged
    return result


def _directive(where: str, patch: Object, path: tuple[str, ...]) -> str:
    for key in patch:
        if isinstance(key, str) and key.startswith(DIRECTIVES[1:]):
            raise InvalidInput(f"{where}: {key} at {'.'.join(path[1:]) or 'the top'} is not supported")
    found = patch.get("$patch", "merge")
    if found not in ("merge", "replace", "delete"):
        raise InvalidInput(f"{where}: $patch at {'.'.join(path[1:]) or 'the top'} is {found!r}")
    return str(found)


def _list(where: str, old: list[t.Any], patch: list[t.Any], path: tuple[str, ...], keyed: bool) -> t.Any:
    if {"$patch": "replace"} in patch:
        return copy.deepcopy([item for item in patch if item != {"$patch": "replace"}])
    if keyed and path[-1] in SETS:
        return [*old, *(item for item in patch if item not in old)]
    key = _key(path) if keyed else ""
    if not key or not all(isinstance(item, dict) for item in (*old, *patch)):
        return copy.deepcopy(patch)
    result = list(old)
    new: list[t.Any] = []
    for item in patch:
        if key not in item:
            raise InvalidInput(f"{where}: a member of {'.'.join(path[1:])} has no {key}")
        at = next((index for index, one in enumerate(result) if _same(one, item, key)), None)
        merged = _merged(where, result[at] if at is not None else {}, item, path, keyed)
        if merged is GONE:
            result = [one for one in result if not _same(one, item, key)]
        elif at is None:
            new.append(merged)
        else:
            result[at] = merged
    return [*new, *result]


def _key(path: tuple[str, ...]) -> str:
    if path[-1] == "ports":
        if "containers" in path or "initContainers" in path:
            return "containerPort"
        return "port" if path == ("Service", "spec", "ports") else ""
    return KEYS.get(path[-1], "")


def _same(one: Object, other: Object, key: str) -> bool:
    if one.get(key) != other.get(key):
        return False
    if key in ("port", "containerPort"):
        return bool(one.get("protocol", "TCP") == other.get("protocol", one.get("protocol", "TCP")))
    return True
