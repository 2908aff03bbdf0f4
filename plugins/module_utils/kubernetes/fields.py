# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an object is already as wanted, from what the server says we own of it. Pure.

Server-side apply records for each manager the fields that it set (``metadata.managedFields``). An object needs no
write if our record has exactly the fields that we want, and each has the value that we want. Only then: this module
answers "certainly as wanted" or "perhaps not", and for "perhaps not" the server's dry run is the judge.
Source: the ``FieldsV1`` format, kubernetes.io/docs/reference/using-api/server-side-apply.
"""

from __future__ import annotations

import decimal
import json
import typing as t

Fields = t.Mapping[str, t.Any]

#: Parents of maps whose values are quantities: the server rewrites ``1000m`` to ``1``.
QUANTITIES = frozenset(
    {"requests", "limits", "capacity", "hard", "max", "min", "default", "defaultRequest", "allocatable"}
)
#: Single fields that are quantities.
QUANTITY_FIELDS = frozenset({"sizeLimit", "divisor", "averageValue", "minAvailable"})

SUFFIXES: dict[str, str | int] = {
    "n": "1e-9", "u": "1e-6", "m": "1e-3", "": "1", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12", "P": "1e15", "E": "1e18",
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60,
}  # fmt: skip

#: What the server fills in below fields that have one owner as a whole, by the name of the field that it stands in. Had
#: somebody else set it, that field would be theirs.
DEFAULTS: dict[str, dict[str, t.Any]] = {
    "ports": {"protocol": "TCP"},
    "fieldRef": {"apiVersion": "v1"},
    "serviceAccountToken": {"expirationSeconds": 3600},
}
GATEWAY = "gateway.networking.k8s.io"
#: The same for objects of the Gateway API.
GATEWAY_DEFAULTS: dict[str, dict[str, t.Any]] = {
    "parentRefs": {"group": GATEWAY, "kind": "Gateway"},
    "backendRefs": {"group": "", "kind": "Service", "weight": 1},
    "certificateRefs": {"group": "", "kind": "Secret"},
    "rules": {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]},
    "matches": {"path": {"type": "PathPrefix", "value": "/"}},
    "path": {"type": "PathPrefix", "value": "/"},
    "headers": {"type": "Exact"},
}

#: Keys of associative lists that the server fills in where they are left out.
DEFAULT_KEYS = {"protocol": "TCP"}

MISSING = object()


def settled(wanted: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any], manager: str) -> bool:
    """True only if applying ``wanted`` as ``manager`` would certainly change nothing."""
    if live.get("metadata", {}).get("deletionTimestamp"):
        return False
    body = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind", "metadata")}
    meta = {k: v for k, v in wanted.get("metadata", {}).items() if k not in ("name", "namespace")}
    if meta:
        body["metadata"] = meta
    owned = owned_fields(live, manager, str(wanted.get("apiVersion")))
    if owned is None:
        # Who wants no fields, such as of a bare namespace, has no record.
        return not body and not records(live, manager)
    return _map_settled(body, live, owned, (str(wanted.get("apiVersion")).rpartition("/")[0],))


def holds(wanted: t.Any, live: t.Any, path: tuple[str, ...] = ()) -> bool:
    """True if every wanted field has its value already, whoever set it. What else is there does not matter."""
    if not isinstance(wanted, dict) or not isinstance(live, dict):
        return same(wanted, live, path)
    return all(name in live and holds(value, live[name], (*path, name)) for name, value in wanted.items())


def owned_fields(live: t.Mapping[str, t.Any], manager: str, api_version: str) -> Fields | None:
    """Our record, if there is exactly one and it speaks the same version of the kind."""
    entries = records(live, manager)
    if len(entries) != 1 or entries[0].get("apiVersion") != api_version:
        return None
    fields = entries[0].get("fieldsV1")
    return fields if isinstance(fields, dict) else {}


def records(live: t.Mapping[str, t.Any], manager: str) -> list[t.Mapping[str, t.Any]]:
    return [
        entry
        for entry in live.get("metadata", {}).get("managedFields") or []
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")
    ]


def _settled(wanted: t.Any, live: t.Any, owned: Fields, path: tuple[str, ...]) -> bool:
    children = {key: sub for key, sub in owned.items() if key != "."}
    if wanted in ({}, []) and type(wanted) in (dict, list):
        # The server keeps some empty maps and drops others; either way nothing below may be ours.
        return not children and (live is MISSING or live == wanted)
    if not children:
        return same(wanted, live, path)
    if isinstance(wanted, dict) and isinstance(live, dict):
        return _map_settled(wanted, live, children, path)
    if isinstance(wanted, list) and isinstance(live, list):
        return _list_settled(wanted, live, children, path)
    return False


def _map_settled(
    wanted: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any], owned: Fields, path: tuple[str, ...]
) -> bool:
    names = {key[2:] for key in owned if key.startswith("f:")}
    if len(names) != len([key for key in owned if key != "."]) or names != set(wanted):
        return False
    return all(
        _settled(value, live.get(name, MISSING), owned[f"f:{name}"] or {}, (*path, name))
        for name, value in wanted.items()
    )


def _list_settled(wanted: list[t.Any], live: list[t.Any], owned: Fields, path: tuple[str, ...]) -> bool:
    """An associative list (``k:``) or a set (``v:``); the order of our members must be theirs."""
    if len(owned) != len(wanted):
        return False
    places: list[int] = []
    for key, below in owned.items():
        selector = json.loads(key[2:]) if key[:2] in ("k:", "v:") else MISSING
        if selector is MISSING:
            return False
        mine = [n for n, item in enumerate(wanted) if _selected(item, selector, key[0])]
        theirs = [n for n, item in enumerate(live) if _selected(item, selector, key[0])]
        if len(mine) != 1 or len(theirs) != 1:
            return False
        if key[0] == "k" and not _member_settled(wanted[mine[0]], live[theirs[0]], below or {}, path):
            return False
        places.append(mine[0] * len(live) + theirs[0])
    order = [place % len(live) for place in sorted(places)]
    return order == sorted(order)


def _member_settled(wanted: t.Any, live: t.Any, owned: Fields, path: tuple[str, ...]) -> bool:
    children = {key: sub for key, sub in owned.items() if key != "."}
    if not isinstance(wanted, dict) or not isinstance(live, dict):
        return False
    return _map_settled(wanted, live, children, path) if children else not wanted


def _selected(item: t.Any, selector: t.Any, kind: str) -> bool:
    if kind == "v":
        return same(item, selector, ())
    return isinstance(item, dict) and all(
        same(item.get(name, DEFAULT_KEYS.get(name, MISSING)), value, ()) for name, value in selector.items()
    )


def same(wanted: t.Any, live: t.Any, path: tuple[str, ...]) -> bool:
    """Equal as JSON (true is not 1), or the same quantity where a quantity stands, or what the server fills in."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        if wanted.keys() != live.keys() and not _filled_in(wanted, live, path):
            return False
        return all(same(wanted[key], live[key], (*path, key)) for key in wanted)
    if isinstance(wanted, list) and isinstance(live, list):
        return len(wanted) == len(live) and all(same(a, b, path) for a, b in zip(wanted, live, strict=True))
    if isinstance(wanted, bool) != isinstance(live, bool):
        return False
    if wanted == live:
        return True
    return is_quantity(path) and quantity(wanted) is not None and quantity(wanted) == quantity(live)


def _filled_in(wanted: Fields, live: Fields, path: tuple[str, ...]) -> bool:
    """Whether all that is there besides the wanted fields are defaults."""
    if not path or wanted.keys() - live.keys():
        return False
    known = GATEWAY_DEFAULTS if path[0] == GATEWAY else DEFAULTS
    defaults = known.get(path[-1], {})
    return all(name in defaults and defaults[name] == live[name] for name in live.keys() - wanted.keys())


def is_quantity(path: tuple[str, ...]) -> bool:
    return bool(path) and (path[-1] in QUANTITY_FIELDS or (len(path) > 1 and path[-2] in QUANTITIES))


def quantity(value: t.Any) -> decimal.Decimal | None:
    """A quantity as a number: ``1500m`` and ``1.5`` are the same. Nothing if it is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    text = str(value)
    number = text.rstrip("numkMGTPEi")
    factor = SUFFIXES.get(text[len(number) :])
    if factor is None:
        return None
    try:
        return decimal.Decimal(number) * decimal.Decimal(factor)
    except decimal.InvalidOperation:
        return None
