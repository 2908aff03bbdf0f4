# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mappings of PCI devices, USB devices and directories of the nodes to names that guests use."""

from __future__ import annotations

import re
import typing as t

from ...errors import InvalidInput
from ...task import Result, Task
from ..api import propertystring as ps
from ..api import rights
from ..api.connection import Connection
from ..api.session import Session, listing
from .records import FLAG, TEXT, Field, Form, Kind, Operation, Raw, Records, Wish

#: What a device is described by, by kind: what is required first.
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pci": (("path", "id"), ("subsystem-id", "iommugroup", "description")),
    "usb": (("id",), ("path", "description")),
    "dir": (("path",), ()),
}

_DEVICE_ID = r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}"
_ONE_PCI = r"[a-f0-9]{4,}:[a-f0-9]{2}:[a-f0-9]{2}(\.[a-f0-9])?"
#: (kind or empty for all, part) -> pattern and an example.
_PATTERNS: dict[tuple[str, str], tuple[str, str]] = {
    ("", "id"): (_DEVICE_ID, "8086:1912"),
    ("", "subsystem-id"): (_DEVICE_ID, "17aa:3136"),
    ("pci", "path"): (rf"({_ONE_PCI};)*{_ONE_PCI}", "0000:00:02.0"),
    ("usb", "path"): (r"\d+-\d+(\.\d+)*", "1-4.2"),
    ("", "description"): (r"[^,]*", "a text without commas"),
    ("dir", "path"): (r"/[^,=;]*", "/srv/media"),
}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")


def _devices(raw: t.Any) -> list[dict[str, str]]:
    """Sorted; parsed, because the server keeps the order and spelling in which they were sent."""
    return sorted((_device(one) for one in raw), key=lambda device: (device["node"], ps.render(device)))


def _device(raw: t.Any) -> dict[str, str]:
    device = dict(raw) if isinstance(raw, t.Mapping) else ps.parse(str(raw))
    return {part: value.lower() if part.endswith("id") else value for part, value in sorted(device.items())}


def _rendered(device: t.Mapping[str, str]) -> str:
    rest = {part: value for part, value in device.items() if part != "node"}
    return f"node={device['node']},{ps.render(rest)}"


DEVICES = Form(_devices, lambda devices: [_rendered(device) for device in devices])


def _needs(operation: Operation) -> list[rights.Need]:
    path = operation.kind.path.removeprefix("/cluster")
    on = f"{path}/{operation.name}" if operation.verb == "update" else path
    return [rights.Need((on,), ("Mapping.Modify",), str(operation))]


def _kind(name: str) -> Kind:
    flags = (
        Field("mdev", FLAG, default=False, option="mediated"),
        Field("live-migration-capable", FLAG, default=False, option="live_migration"),
    )
    fields = (Field("map", DEVICES, option="devices"), Field("description", TEXT), *(flags if name == "pci" else ()))
    return Kind(
        word=f"mapping/{name}",
        path=f"/cluster/mapping/{name}",
        key="id",
        fields=fields,
        label=f"{name} mapping",
        always=("map",),
        needs=_needs,
    )


KINDS = {name: _kind(name) for name in PARTS}


def converge(task: Task) -> Result:
    """The module ``proxmox_mapping``."""
    wishes = wanted(task.params["mappings"])
    kept = {
        wish.resource for wish, entry in zip(wishes, task.params["mappings"], strict=True) if not entry["exclusive"]
    }
    connection = Connection.of(task.params)
    task.secret(connection.password, connection.token_secret)
    with Session(connection, progress=task.progress) as session:
        records = Mappings(session, wishes, kept)
        plan = records.look_and_plan().plan
        if not task.check_mode:
            plan = records.carry_out()
        touched = {change.resource for change in plan}
        report = [_report(wish, wish.resource in touched) for wish in wishes]
        return task.result(plan, mappings=report)


class Mappings(Records):
    """``kept`` are the resources whose entries of nodes that the wish does not name stay as they are."""

    def __init__(self, session: Session, wishes: t.Sequence[Wish], kept: t.Collection[str] = ()) -> None:
        super().__init__(session, wishes, check=check_nodes)
        self.kept = kept

    def final(self, wish: Wish, raw: Raw | None) -> Wish:
        return with_others(wish, raw) if wish.resource in self.kept and raw else wish


def with_others(wish: Wish, raw: Raw) -> Wish:
    """The wish with the entries of the nodes that it does not name."""
    devices = wish.values.get("map")
    if devices is None:
        return wish
    named = {device["node"] for device in devices}
    others = [device for device in _devices(raw.get("map") or []) if device["node"] not in named]
    return Wish(wish.kind, wish.name, wish.present, {**wish.values, "map": [*devices, *others]}, wish.required)


def wanted(mappings: t.Sequence[t.Mapping[str, t.Any]]) -> list[Wish]:
    return [_wish(entry) for entry in mappings]


def _wish(entry: t.Mapping[str, t.Any]) -> Wish:
    kind, name = KINDS[entry["type"]], str(entry["name"])
    says = kind.says(name)
    if not NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is no name of a mapping", hint="Write two or more letters, digits, '-' or '_'; a letter first."
        )
    if entry.get("state") == "absent":
        return Wish(kind, name, present=False)
    values: dict[str, t.Any] = {"description": entry.get("description")}
    if "\n" in str(values["description"] or "").strip():
        raise InvalidInput(f"{says}: description has more than one line", hint="The server keeps one.")
    if entry.get("devices") is not None:
        values["map"] = [_checked(says, entry["type"], device) for device in entry["devices"]]
        if not values["map"]:
            raise InvalidInput(
                f"{says}: devices is empty", hint="Make the mapping absent, or name at least one device."
            )
        _refuse_doubles(says, entry["type"], values["map"])
    for option, field in (("mediated", "mdev"), ("live_migration", "live-migration-capable")):
        if entry.get(option) is not None and entry["type"] != "pci":
            raise InvalidInput(f"{says}: {option} is for PCI devices only")
        values[field] = entry.get(option)
    known = {field.name for field in kind.fields}
    return Wish(kind, name, values={key: value for key, value in values.items() if key in known}, required=("map",))


def _checked(says: str, kind: str, device: t.Mapping[str, t.Any]) -> dict[str, str]:
    given = {key.replace("_", "-"): str(value) for key, value in device.items() if value is not None}
    required, optional = PARTS[kind]
    for part in required:
        if not given.get(part):
            raise InvalidInput(f"{says}: the device of node {given['node']} has no {part.replace('-', '_')}")
    for part, value in given.items():
        if part != "node" and part not in required + optional:
            raise InvalidInput(f"{says}: a device of this kind has no {part.replace('-', '_')}")
        pattern, example = _PATTERNS.get((kind, part)) or _PATTERNS.get(("", part)) or ("", "")
        if pattern and not re.fullmatch(pattern, value):
            raise InvalidInput(
                f"{says}: {part.replace('-', '_')} {value!r} is none of a {kind} device", hint=f"For example: {example}"
            )
    return given


def _refuse_doubles(says: str, kind: str, devices: t.Sequence[t.Mapping[str, str]]) -> None:
    seen: set[tuple[str, str]] = set()
    for device in devices:
        place = (device["node"], "" if kind == "dir" else device.get("path", device.get("id", "")))
        if place in seen:
            raise InvalidInput(
                f"{says}: node {device['node']} has the same device twice"
                if place[1]
                else f"{says}: node {device['node']} has two directories"
            )
        seen.add(place)


def check_nodes(session: Session, operations: t.Sequence[Operation]) -> None:
    """The server takes nodes that do not exist."""
    named = {device["node"]: one for one in operations for device in _devices(one.send.get("map", ()))}
    if not named:
        return
    there = {str(entry["node"]) for entry in listing(session, "/nodes", "node", asked="list the nodes")}
    for node, operation in sorted(named.items()):
        if node not in there:
            raise InvalidInput(
                f"{operation.kind.says(operation.name)} names the node {node!r}, which does not exist",
                hint=f"There are: {', '.join(sorted(there))}.",
            )


def _report(wish: Wish, changed: bool) -> dict[str, t.Any]:
    return {
        "name": wish.name,
        "type": wish.kind.word.rpartition("/")[2],
        "state": "present" if wish.present else "absent",
        "changed": changed,
    }
