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
    "volumeMounts": "mountPath", "volumeDevices": "devicePath", "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey", "ownerReferences": "uid", "conditions": "type", "taints": "key",
    "webhooks": "name", "secrets": "name", "resourceClaims": "name", "schedulingGates": "name", "claims": "name",
}  # fmt: skip
#: What tells members apart besides, where some of them say it.
SECOND = {"containerPort": "protocol", "port": "protocol", "topologyKey": "whenUnsatisfiable"}
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
        return [*patch, *(item for item in old if item not in patch)]
    key = _key(path) if keyed else ""
    if not key or not all(isinstance(item, dict) for item in (*old, *patch)):
        return copy.deepcopy(patch)
    second = SECOND.get(key, "")
    if second and any(second in item for item in (*old, *patch)):
        return _by_two(where, old, patch, path, (key, second))
    return _by_one(where, old, patch, path, key)


def _by_one(where: str, old: list[t.Any], patch: list[t.Any], path: tuple[str, ...], key: str) -> list[t.Any]:
    """First the patch's members, then the others."""
    there = {_name(where, item, path, key): item for item in old}
    found = {
        name: _member(where, there.get(name, {}), item, path)
        for item in patch
        for name in [_name(where, item, path, key)]
    }
    rest = {name: item for name, item in there.items() if name not in found}
    return [item for item in {**found, **rest}.values() if item is not GONE]


def _by_two(
    where: str, old: list[t.Any], patch: list[t.Any], path: tuple[str, ...], keys: tuple[str, str]
) -> list[t.Any]:
    """First the patch's new members, then those that are there, in their order."""
    result = list(old)
    new: list[t.Any] = []
    for item in patch:
        _name(where, item, path, keys[0])
        at = next((index for index, one in enumerate(result) if one is not GONE and _same(one, item, keys)), None)
        if at is None:
            new.append(_member(where, {}, item, path))
        else:
            result[at] = _member(where, result[at], item, path)
    return [item for item in (*new, *result) if item is not GONE]


def _member(where: str, old: Object, patch: Object, path: tuple[str, ...]) -> t.Any:
    if patch.get("$patch") == "replace":
        raise InvalidInput(f"{where}: $patch: replace in a member of {'.'.join(path[1:])} is not supported")
    return _merged(where, old, patch, path, True)


def _name(where: str, item: Object, path: tuple[str, ...], key: str) -> t.Any:
    if key not in item:
        raise InvalidInput(f"{where}: a member of {'.'.join(path[1:])} has no {key}")
    return item[key]


def _key(path: tuple[str, ...]) -> str:
    if path[-1] == "ports":
        if "containers" in path or "initContainers" in path:
            return "containerPort"
        return "port" if path == ("Service", "spec", "ports") else ""
    if path[-1] == "imagePullSecrets":
        return "" if path[0] == "ServiceAccount" else "name"
    return KEYS.get(path[-1], "")


def _same(one: Object, other: Object, keys: tuple[str, str]) -> bool:
    """A member that does not say its second key is any of the first's."""
    first, second = keys
    if one.get(first) != other.get(first):
        return False
    default = "TCP" if second == "protocol" else None
    return bool(one.get(second, default) == other.get(second, default))
