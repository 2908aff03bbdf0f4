# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ConfigMaps and Secrets of a kustomization, and the hash in their names. Pure, but for the files that are read."""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t

from ...errors import InvalidInput
from .resources import Res

Object = dict[str, t.Any]
#: Reads a file below the kustomization.
Read = t.Callable[[str], bytes]

OPTIONS = frozenset({"labels", "annotations", "disableNameSuffixHash", "immutable"})
FIELDS = frozenset({"name", "namespace", "behavior", "files", "literals", "envs", "env", "options"})


def generated(kind: str, where: str, spec: Object, shared: Object, read: Read) -> Res:
    """The ConfigMap or Secret of one entry. ``shared`` are the generatorOptions. Raises :class:`InvalidInput`."""
    allowed = FIELDS | ({"type"} if kind == "Secret" else set())
    _only(where, spec, allowed)
    name = spec.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"{where} has no name")
    options = spec.get("options") or {}
    for given in (options, shared):
        _only(f"{where}, options", given, OPTIONS)
    meta: Object = {"name": name, **({"namespace": spec["namespace"]} if spec.get("namespace") else {})}
    for field in ("labels", "annotations"):
        both = {**(shared.get(field) or {}), **(options.get(field) or {})}
        if both:
            meta[field] = both
    result: Object = {"apiVersion": "v1", "kind": kind, "metadata": meta}
    if kind == "Secret":
        result["type"] = spec.get("type") or "Opaque"
    _fill(result, _pairs(where, spec, read))
    if options.get("immutable") or shared.get("immutable"):
        result["immutable"] = True
    plain = options.get("disableNameSuffixHash") or shared.get("disableNameSuffixHash")
    return Res(result, hashed=not plain)


def _only(where: str, given: t.Any, allowed: t.Collection[str]) -> None:
    if not isinstance(given, dict):
        raise InvalidInput(f"{where} is not a mapping")
    for key in given:
        if key not in allowed:
            raise InvalidInput(f"{where}: {key} is not supported", hint=f"Supported are {', '.join(sorted(allowed))}.")


def _fill(result: Object, pairs: dict[str, bytes]) -> None:
    for key, value in sorted(pairs.items()):
        if result["kind"] == "Secret":
            result.setdefault("data", {})[key] = base64.b64encode(value).decode()
            continue
        try:
            result.setdefault("data", {})[key] = value.decode()
        except UnicodeDecodeError:
            if not result["data"]:
                del result["data"]
            result.setdefault("binaryData", {})[key] = base64.b64encode(value).decode()


def _pairs(where: str, spec: Object, read: Read) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def add(key: str, value: bytes) -> None:
        if key in found:
            raise InvalidInput(f"{where} ({spec['name']}) has {key} twice")
        found[key] = value

    for path in [*(spec.get("envs") or []), *([spec["env"]] if spec.get("env") else [])]:
        for key, value in _environment(f"{where} ({spec['name']}), {path}", read(path)):
            add(key, value)
    for text in spec.get("files") or []:
        key, equals, path = str(text).partition("=")
        add(key if equals else key.rpartition("/")[2], read(path if equals else key))
    for text in spec.get("literals") or []:
        key, equals, plain = str(text).partition("=")
        if not equals or not key:
            raise InvalidInput(f"{where} ({spec['name']}): the literal {key} is not name=value")
        if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "\"'":
            plain = plain[1:-1]
        add(key, plain.encode())
    return found


def _environment(where: str, raw: bytes) -> t.Iterator[tuple[str, bytes]]:
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InvalidInput(f"{where} is not text in UTF-8") from None
    for number, line in enumerate(lines, 1):
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise InvalidInput(
                f"{where}, line {number}: {key} has no value, which would stand for one of the environment",
                hint="Write it as name=value.",
            )
        yield key, value.encode()


def merged(old: Res, new: Res, behaviour: str) -> None:
    """Lay a generated object over one of the base (``merge``), or put it in its place (``replace``)."""
    fresh = new.given
    for field in ("labels", "annotations"):
        both = {**(old.given["metadata"].get(field) or {}), **(fresh["metadata"].get(field) or {})}
        if both:
            old.given["metadata"][field] = both
    for field in ("data", "binaryData"):
        before = (old.given.pop(field, None) or {}) if behaviour == "merge" else (old.given.pop(field, None), {})[1]
        other = fresh.get("binaryData" if field == "data" else "data") or {}
        both = {**{key: value for key, value in before.items() if key not in other}, **(fresh.get(field) or {})}
        if both:
            old.given[field] = both
    for field in ("type", "immutable"):
        if field in fresh:
            old.given[field] = fresh[field]
    old.hashed = new.hashed


#: Characters of a hexadecimal number that could spell words.
SPELLING = str.maketrans({"0": "g", "1": "h", "3": "k", "a": "m", "e": "t"})


def name_hash(given: Object) -> str:
    """What kustomize appends to the names of generated objects: ten characters of a hash of what they hold."""
    told: Object = {"kind": given["kind"], "name": "", "data": given.get("data", "")}
    if given["kind"] == "Secret":
        told["type"] = given.get("type", "")
    for field in ("binaryData",) if given["kind"] == "ConfigMap" else ("stringData",):
        if isinstance(given.get(field), dict):
            told[field] = given[field]
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        # As Go writes JSON.
        text = text.replace(character, f"\\u{ord(character):04x}")
    text = text.replace("\\b", "\\u0008").replace("\\f", "\\u000c")
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(SPELLING)
