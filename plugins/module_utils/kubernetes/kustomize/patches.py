# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches of a kustomization: which objects they are for, and of which form they are."""

from __future__ import annotations

import re
import typing as t

from ...errors import InvalidInput
from ..kinds import group_of
from . import json_patch, strategic
from .resources import Id, Res, matching

Object = dict[str, t.Any]
#: The documents of a file, or of a text.
Load = t.Callable[[str], list[t.Any]]

TARGET = frozenset({"group", "version", "kind", "name", "namespace", "labelSelector", "annotationSelector"})
ENTRY = frozenset({"path", "patch", "target"})


def apply(where: str, everything: list[Res], entry: Object, load: Load, read: Load) -> list[Res]:
    """The objects after one entry of ``patches``. ``load`` is for texts, ``read`` for files."""
    for key in entry:
        if key not in ENTRY:
            raise InvalidInput(f"{where}: {key} is not supported", hint=f"Supported are {', '.join(sorted(ENTRY))}.")
    if bool(entry.get("path")) == bool(entry.get("patch")):
        raise InvalidInput(f"{where} needs either a path or a patch")
    documents = read(entry["path"]) if entry.get("path") else load(str(entry["patch"]))
    target = entry.get("target")
    if documents and all(isinstance(one, list) for one in documents):
        if not target:
            raise InvalidInput(f"{where} is a JSON patch without a target")
        operations = json_patch.checked(where, [one for document in documents for one in document])
        return by_operations(where, everything, selected(where, everything, target), operations)
    for document in documents:
        if not isinstance(document, dict):
            raise InvalidInput(f"{where} is neither a list of operations nor an object")
        targets = selected(where, everything, target) if target else named(where, everything, document)
        everything = by_merging(where, everything, targets, document)
    return everything


def named(where: str, everything: list[Res], patch: Object) -> list[Res]:
    """What a patch without a target is for."""
    meta = patch.get("metadata") or {}
    if not patch.get("kind") or not meta.get("name"):
        raise InvalidInput(f"{where} has no target, and does not name an object by kind and metadata.name")
    wanted = Id(
        group_of(str(patch.get("apiVersion") or "")), patch["kind"], str(meta.get("namespace") or ""), meta["name"]
    )
    found = matching(everything, wanted)
    if not found and not wanted.namespace:
        # Whose namespace was set by the base may be patched by its name.
        found = [one for one in everything if any(each._replace(namespace="") == wanted for each in one.every)]
    if not found:
        raise InvalidInput(f"{where}: there is no {wanted.kind} {wanted.name} to patch")
    if len(found) > 1:
        raise InvalidInput(
            f"{where}: there are several {wanted.kind} {wanted.name}", hint="Give it a namespace, or a target."
        )
    return found


def selected(where: str, everything: list[Res], target: Object) -> list[Res]:
    """What a target means; perhaps nothing."""
    for key in target:
        if key not in TARGET:
            raise InvalidInput(
                f"{where}, target: {key} is not supported", hint=f"Supported are {', '.join(sorted(TARGET))}."
            )
    return [one for one in everything if _is_meant(where, one, target)]


def _is_meant(where: str, one: Res, target: Object) -> bool:
    meta = one.given["metadata"]
    version = one.given["apiVersion"].rpartition("/")[2]
    plain = (("group", one.now.group), ("version", version), ("kind", one.now.kind))
    if any(target.get(key) and not _matches(where, target[key], value) for key, value in plain):
        return False
    for key, values in (
        ("name", [each.name for each in one.every]),
        ("namespace", [each.namespace for each in one.every]),
    ):
        if target.get(key) and not any(_matches(where, target[key], value) for value in values):
            return False
    selectors = (("labelSelector", meta.get("labels")), ("annotationSelector", meta.get("annotations")))
    return all(_selects(where, str(target[key]), found or {}) for key, found in selectors if target.get(key))


def _matches(where: str, pattern: t.Any, value: str) -> bool:
    try:
        return re.fullmatch(str(pattern).removeprefix("^").removesuffix("$"), value) is not None
    except re.error as error:
        raise InvalidInput(f"{where}, target: {pattern!r} is no regular expression: {error}") from None


def _selects(where: str, selector: str, pairs: t.Mapping[str, t.Any]) -> bool:
    """``a=b,c!=d,e,!f,g in (h,i)``."""
    for part in re.split(r",(?![^(]*\))", selector):
        text = part.strip()
        listed = re.fullmatch(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)", text)
        compared = re.fullmatch(r"([^=!\s]+)\s*(==|=|!=)\s*([^=\s]*)", text)
        if listed:
            values = [value.strip() for value in listed[3].split(",")]
            fits = (pairs.get(listed[1]) in values) == (listed[2] == "in")
        elif compared:
            fits = (pairs.get(compared[1]) == compared[3]) == (compared[2] != "!=")
        elif re.fullmatch(r"!?[\w./-]+", text):
            fits = (text.lstrip("!") in pairs) != text.startswith("!")
        else:
            raise InvalidInput(f"{where}, target: the selector {selector!r} cannot be understood")
        if not fits:
            return False
    return True


def by_merging(where: str, everything: list[Res], targets: list[Res], patch: Object) -> list[Res]:
    """A strategic merge patch."""
    gone = []
    for one in targets:
        given = strategic.patched(where, one.given, patch)
        if given is None:
            gone.append(id(one))
        else:
            one.given = given
    return [one for one in everything if id(one) not in gone]


def by_operations(where: str, everything: list[Res], targets: list[Res], operations: list[Object]) -> list[Res]:
    """A JSON patch."""
    for one in targets:
        one.given = json_patch.patched(f"{where} on {one.now.kind} {one.now.name}", one.given, operations)
    return everything
