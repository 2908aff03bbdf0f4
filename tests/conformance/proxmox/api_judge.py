# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges single requests by what Proxmox says of its own API, as the package fakepve carries and checks it, and by the recordings.

It shares nothing with the simulated Proxmox VE's own checks, nor with the collection.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import pathlib
import re
import typing as t
import urllib.parse

import fakepve.schema

HERE = pathlib.Path(__file__).parent

#: Storage content may be named with plain slashes, as the real server takes it.
_VOLUME = re.compile(r"^(/nodes/[^/]+/storage/[^/]+/content/)(.+)$")
#: A name that the description's own check is stricter about, or does not know; measured on the real server.
_LENIENT: dict[tuple[str, str], tuple[str, ...]] = {}


def version() -> str:
    """The description's own fingerprint."""
    meta = json.loads(pathlib.Path(fakepve.schema.__file__).with_name("data").joinpath("pve-api.meta.json").read_text())
    return f"API viewer of {meta['fetched']} ({meta['paths']} paths), fakepve {importlib.metadata.version('fakepve')}"


@functools.cache
def _api() -> t.Any:
    """The description; an enumeration without values stands for one that only the node knows."""
    schema = fakepve.schema.load()
    for methods in schema.paths.values():
        for description in methods.values():
            for wanted in ((description.get("parameters") or {}).get("properties") or {}).values():
                if "enum" in wanted and not wanted["enum"]:
                    del wanted["enum"]
    return schema


def template(method: str, path: str) -> tuple[str, dict[str, str], dict[str, t.Any]] | None:
    """The path of the description, its variables and the method's own description; None when there is none."""
    found = _VOLUME.match(path)
    if found:
        path = found[1] + urllib.parse.quote(urllib.parse.unquote(found[2]), safe="")
    match = _api().match(path)
    if match is None or method not in match.methods:
        return None
    variables = {name: urllib.parse.unquote(value) for name, value in match.params.items()}
    return match.template, variables, match.methods[method]


def problems(method: str, path: str, params: t.Mapping[str, t.Any]) -> list[str]:
    """What is wrong with a request: an unknown path or method, unknown, missing or malformed parameters."""
    found = template(method, path)
    if found is None:
        return [f"{method} {path} is not in the API"]
    name, variables, description = found
    specification = description.get("parameters") or {}
    _, errors = fakepve.schema.validate(specification, {**_joined(specification, params), **variables})
    lenient = _LENIENT.get((method, name), ())
    return [
        f"{method} {name}: {key}: {str(text).strip()}" for key, text in sorted(errors.items()) if key not in lenient
    ]


def _joined(specification: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Lists given for list-like parameters, as the real server joins them."""
    properties = specification.get("properties") or {}

    def one(name: str, value: t.Any) -> t.Any:
        listed = (properties.get(name) or {}).get("type") != "array" and isinstance(value, list)
        return ",".join(map(str, value)) if listed else value

    return {name: one(name, value) for name, value in params.items()}


@functools.cache
def recorded() -> frozenset[tuple[str, str]]:
    """Method and path (of the description) of every request that the real server answered with 200 in the recordings."""
    seen = set()
    for line in HERE.joinpath("answers.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        request = record["request"]
        found = template(request["method"], request["path"].partition("?")[0])
        if found and record["status"] == 200:
            seen.add((request["method"], found[0]))
    return frozenset(seen)
