# SPDX-License-Identifier: GPL-3.0-or-later
"""The API's own description (Proxmox's ``apidoc``, as the package fakepve carries it): routes and parameter checks."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import importlib.resources
import json
import re
import typing as t

from . import formats

Method = dict[str, t.Any]
Properties = dict[str, dict[str, t.Any]]

NOT_DEFINED = "property is not defined in schema and the schema does not allow additional properties"
MISSING = "property is missing and it is not optional"

#: Numbered options: how many there are of each.
INDEXED = {
    "net": 32, "ipconfig": 32, "ide": 4, "sata": 6, "scsi": 31, "virtio": 16, "unused": 256, "numa": 8, "hostpci": 16,
    "usb": 14, "virtiofs": 10, "serial": 4, "parallel": 3, "mp": 256, "dev": 256,
}  # fmt: skip
_INDEXED = re.compile(r"([a-z]+)(0|[1-9]\d*)")


@dataclasses.dataclass(frozen=True)
class Route:
    """A path of the description with the values of its variables."""

    template: str
    variables: dict[str, str]
    methods: dict[str, Method]


class _Node:
    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.variable: tuple[str, _Node] | None = None
        self.template: str | None = None


class Schema:
    def __init__(self, paths: dict[str, dict[str, Method]]) -> None:
        self.paths = paths
        self._root = _Node()
        for template in paths:
            self._add(template)

    def _add(self, template: str) -> None:
        node = self._root
        for part in template.strip("/").split("/"):
            if part.startswith("{"):
                if node.variable is None:
                    node.variable = (part[1:-1], _Node())
                node = node.variable[1]
            else:
                node = node.literal.setdefault(part, _Node())
        node.template = template

    def match(self, parts: t.Sequence[str]) -> Route | None:
        """The route of a path, given as its decoded segments."""
        found = self._walk(self._root, parts, {})
        return Route(found[0], found[1], self.paths[found[0]]) if found else None

    def _walk(self, node: _Node, parts: t.Sequence[str], seen: dict[str, str]) -> tuple[str, dict[str, str]] | None:
        if not parts:
            return (node.template, seen) if node.template else None
        if parts[0] in node.literal:
            found = self._walk(node.literal[parts[0]], parts[1:], seen)
            if found:
                return found
        if node.variable is None or not parts[0]:
            return None
        name, child = node.variable
        if name in ("volume", "cidr"):  # volume names and networks have slashes of their own
            return self._walk(child, [], {**seen, name: "/".join(parts)})
        return self._walk(child, parts[1:], {**seen, name: parts[0]})

    def children(self, template: str) -> list[str]:
        """The literal names one step below a path."""
        prefix = template.rstrip("/") + "/"
        names = {path[len(prefix) :].split("/")[0] for path in self.paths if path.startswith(prefix)}
        return sorted(name for name in names if not name.startswith("{"))


#: What the description (of a later version) has and 9.1.8 has not.
_NEWER_PARAMETERS = {("/access/users/{userid}/token/{tokenid}", "PUT"): ("regenerate",)}


@functools.cache
def load() -> Schema:
    raw = (importlib.resources.files("fakepve") / "data" / "pve-api.json.gz").read_bytes()
    paths = json.loads(gzip.decompress(raw))["paths"]
    paths["/"] = {"GET": {"permissions": {"user": "all"}, "parameters": {"properties": {}}}}
    for (path, method), names in _NEWER_PARAMETERS.items():
        for name in names:
            del paths[path][method]["parameters"]["properties"][name]
    return Schema(paths)


def property_of(properties: Properties, name: str) -> dict[str, t.Any] | None:
    """The schema of a parameter; ``net0`` stands under ``net[n]``."""
    if name in properties:
        return properties[name]
    match = _INDEXED.fullmatch(name)
    if match and int(match[2]) < INDEXED.get(match[1], 0):
        return properties.get(f"{match[1]}[n]")
    return None


def check_parameters(specification: dict[str, t.Any], values: dict[str, t.Any]) -> dict[str, str]:
    """The errors of a request's parameters, by name. List-like values are joined in place."""
    properties: Properties = specification.get("properties") or {}
    errors: dict[str, str] = {}
    for name, wanted in properties.items():
        if name not in values and not wanted.get("optional") and "[n]" not in name:
            errors[name] = MISSING
    for name in list(values):
        wanted_ = property_of(properties, name)
        if wanted_ is None:
            if specification.get("additionalProperties", 1) in (0, "0", False):
                errors[name] = NOT_DEFINED
            continue
        if values[name] is None:
            continue
        values[name] = _joined(wanted_, values[name])
        errors |= formats.check(wanted_, values[name], name)
    _check_required(properties, values, errors)
    return errors


def _joined(wanted: dict[str, t.Any], value: t.Any) -> t.Any:
    if wanted.get("type") == "array":
        return value if isinstance(value, list) else [value]
    listed = str(wanted.get("format", "")).endswith("-list")
    return "\0".join(map(str, value)) if isinstance(value, list) and listed else value


def _check_required(properties: Properties, values: dict[str, t.Any], errors: dict[str, str]) -> None:
    for name in values:
        needed = (property_of(properties, name) or {}).get("requires")
        if needed and needed not in values:
            errors[needed] = f"missing property required by '{name}'"
