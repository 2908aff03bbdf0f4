# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON patches (RFC 6902). Pure."""

from __future__ import annotations

import copy
import typing as t

from ...errors import InvalidInput

Object = dict[str, t.Any]
OPERATIONS = {
    "add": ("value",),
    "remove": (),
    "replace": ("value",),
    "move": ("from",),
    "copy": ("from",),
    "test": ("value",),
}


def checked(where: str, operations: t.Any) -> list[Object]:
    """The operations, if they are such. Raises :class:`InvalidInput`."""
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise InvalidInput(f"{where} is not a list of operations")
    for number, one in enumerate(operations, 1):
        name = one.get("op")
        if name not in OPERATIONS:
            raise InvalidInput(f"{where}, operation {number}: op is {name!r}, not one of {', '.join(OPERATIONS)}")
        for field in ("path", *OPERATIONS[name]):
            if field not in one:
                raise InvalidInput(f"{where}, operation {number} ({name}) has no {field}")
        for field in ("path", "from"):
            if not str(one.get(field, "/")).startswith("/"):
                raise InvalidInput(f"{where}, operation {number} ({name}): {field} does not begin with /")
    return operations


def patched(where: str, given: t.Any, operations: list[Object]) -> t.Any:
    """The object after the operations. Raises :class:`InvalidInput` where one does not fit."""
    result = copy.deepcopy(given)
    for number, one in enumerate(operations, 1):
        try:
            result = _done(result, one)
        except (KeyError, IndexError, ValueError, TypeError):
            raise InvalidInput(
                f"{where}, operation {number} ({one['op']}): there is no {one.get('from') or one['path']}"
            ) from None
    return result


def _done(document: t.Any, one: Object) -> t.Any:
    name, path = one["op"], _steps(one["path"])
    if name == "test":
        if _get(document, path) != one["value"]:
            raise ValueError("another value")
        return document
    if name in ("move", "copy"):
        source = _steps(one["from"])
        value = copy.deepcopy(_get(document, source))
        if name == "move":
            _remove(document, source)
        _add(document, path, value)
    elif name == "remove":
        _remove(document, path)
    elif name == "add":
        _add(document, path, copy.deepcopy(one["value"]))
    else:
        _get(document, path)
        _replace(document, path, copy.deepcopy(one["value"]))
    return document


def _steps(path: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _key(place: t.Any, step: str) -> t.Any:
    if isinstance(place, list):
        index = int(step)
        if index < 0 or index >= len(place):
            raise IndexError(step)
        return index
    if isinstance(place, dict):
        return step
    raise TypeError(step)


def _get(place: t.Any, path: list[str]) -> t.Any:
    for step in path:
        place = place[_key(place, step)]
    return place


def _add(document: t.Any, path: list[str], value: t.Any) -> None:
    place = _get(document, path[:-1])
    if not isinstance(place, list):
        place[_key(place, path[-1])] = value
    elif path[-1] == "-":
        place.append(value)
    elif 0 <= int(path[-1]) <= len(place):
        place.insert(int(path[-1]), value)
    else:
        raise IndexError(path[-1])


def _replace(document: t.Any, path: list[str], value: t.Any) -> None:
    place = _get(document, path[:-1])
    place[_key(place, path[-1])] = value


def _remove(document: t.Any, path: list[str]) -> None:
    place = _get(document, path[:-1])
    del place[_key(place, path[-1])]
