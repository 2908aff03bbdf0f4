# SPDX-License-Identifier: GPL-3.0-or-later
"""Mappings of PCI devices, USB devices and directories to names that guests use."""

from __future__ import annotations

import hashlib
import json
import typing as t

from . import formats, schema
from .api import Call, handles
from .errors import Failure
from .firewall import CHANGED

_KINDS = ("pci", "usb", "dir")
_WORD = {"pci": "hardware", "usb": "hardware", "dir": "directory"}
#: What the list calls the findings of a check.
_CHECKS = {"pci": "checks", "usb": "errors", "dir": "checks"}
_OPTIONAL = {
    "pci": ("description", "mdev", "live-migration-capable"), "usb": ("description",), "dir": ("description",),
}  # fmt: skip
_REQUEST_ONLY = ("id", "digest", "delete")


def _mappings(call: Call, kind: str) -> dict[str, dict[str, t.Any]]:
    return t.cast("dict[str, dict[str, t.Any]]", call.cluster.extra(f"mapping-{kind}", dict))


def _digest(call: Call, kind: str) -> str:
    text = json.dumps(_mappings(call, kind), sort_keys=True)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _sent(call: Call, failed: str) -> dict[str, t.Any]:
    """What is written, a line each, which is read back without space at its ends."""
    text = call.text("description")
    if "\n" in text:
        raise Failure(f"{failed}: property 'description' contains a line feed")
    given = {key: value for key, value in call.params.items() if key not in _REQUEST_ONLY}
    return given | ({"description": text.strip()} if "description" in given else {})


def _shown(kind: str, mapping: dict[str, t.Any]) -> dict[str, t.Any]:
    numeric = ("mdev", "live-migration-capable")
    return {"type": kind} | {key: int(value) if key in numeric else value for key, value in mapping.items()}


def _entries(call: Call, kind: str, mapping: dict[str, t.Any]) -> list[dict[str, str]]:
    specs = schema.load().paths[f"/cluster/mapping/{kind}"]["POST"]["parameters"]["properties"]
    wanted = specs["map"]["items"]["format"]
    return [formats.parse(wanted, entry, "map") for entry in mapping["map"]]


def _findings(call: Call, kind: str, name: str, mapping: dict[str, t.Any], node: str) -> list[dict[str, str]]:
    here = [entry for entry in _entries(call, kind, mapping) if entry.get("node") == node]
    if not here:
        return [{"message": f"No mapping for node {node}.", "severity": "warning"}]
    if kind == "pci":
        text = f"Invalid configuration: pci device '{here[0]['path']}' not found\n"
        return [{"message": text, "severity": "error"}]
    if kind == "usb":
        text = f"Invalid configuration: usb device '{here[0]['id']}' not found\n"
        return [{"message": text, "severity": "error"}]
    missing = here[0]["path"] not in call.cluster.nodes[node].config.directories
    text = f"Invalid configuration: Path {here[0]['path']} does not exist\n"
    return [{"message": text, "severity": "error"}] if missing else []


def _check_directories(call: Call, failed: str = "") -> None:
    """Raises Failure for a directory that this node has not got, or for two on one node."""
    here = next(iter(call.cluster.nodes.values()))
    entries = _entries(call, "dir", call.params)
    for entry in entries:
        if entry.get("node") == here.name and entry["path"] not in here.config.directories:
            raise Failure(f"{failed}Path {entry['path']} does not exist")
    nodes = [str(entry.get("node")) for entry in entries]
    for node in nodes:
        if nodes.count(node) > 1:
            raise Failure(f"{failed}Node '{node}' is specified {nodes.count(node)} times.")


def _register(kind: str) -> None:
    base = f"/cluster/mapping/{kind}"
    one = f"{base}/{{id}}"

    def listing(call: Call) -> list[dict[str, t.Any]]:
        found = []
        node = call.params.get("check-node")
        for name, mapping in _mappings(call, kind).items():
            rights = ("Mapping.Use", "Mapping.Modify", "Mapping.Audit")
            if not call.allowed.has(f"/mapping/{kind}/{name}", rights, True):
                continue
            entry = {"id": name, **_shown(kind, mapping), "digest": _digest(call, kind)}
            if node:
                entry[_CHECKS[kind]] = _findings(call, kind, name, mapping, str(node))
            found.append(entry)
        return found

    def get(call: Call) -> dict[str, t.Any]:
        name = call.text("id")
        if name not in _mappings(call, kind):
            raise Failure(f"mapping '{name}' not found")
        return _shown(kind, _mappings(call, kind)[name]) | {"digest": _digest(call, kind)}

    def add(call: Call) -> None:
        name, failed = call.text("id"), f"create {_WORD[kind]} mapping failed"
        if kind == "dir":
            _check_directories(call)
        if name in _mappings(call, kind):
            raise Failure(f"{failed}: {kind} ID '{name}' already defined")
        _mappings(call, kind)[name] = _sent(call, failed)

    def update(call: Call) -> None:
        name, failed = call.text("id"), f"update {_WORD[kind]} mapping failed"
        if call.params.get("digest") not in (None, _digest(call, kind)):
            raise Failure(f"{failed}: {CHANGED}")
        if name not in _mappings(call, kind):
            raise Failure(f"{failed}: {kind} ID '{name}' does not exist")
        if "map" not in call.params:
            raise Failure(f"{failed}: missing value for required option 'map'")
        if kind == "dir":
            _check_directories(call, f"{failed}: ")
        mapping = dict(_mappings(call, kind)[name])
        for key in formats.split_list(call.text("delete")):
            if key == "map":
                raise Failure(f"{failed}: unable to delete required option 'map'")
            if key not in _OPTIONAL[kind]:
                raise Failure(f"{failed}: no such option '{key}'")
            if key in call.params:
                raise Failure(f"{failed}: cannot set and delete property '{key}' at the same time!")
            mapping.pop(key, None)
        _mappings(call, kind)[name] = mapping | _sent(call, failed)

    def delete(call: Call) -> None:
        _mappings(call, kind).pop(call.text("id"), None)

    handles("GET", base)(listing)
    handles("POST", base)(add)
    handles("GET", one)(get)
    handles("PUT", one)(update)
    handles("DELETE", one)(delete)


for _kind in _KINDS:
    _register(_kind)


@handles("GET", "/nodes/{node}/hardware/usb", "/nodes/{node}/hardware/pci")
def hardware(call: Call) -> list[dict[str, t.Any]]:
    """The nodes of the lab have nothing to pass through."""
    return []
