# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of nodes and their storages. A node that is offline, or may not be looked into, hides no other."""

from __future__ import annotations

import re
import typing as t

from ...task import Result, Task
from ..api.lanes import together
from ..api.names import STORAGE
from ..api.session import Session, listing, record, segment
from .reading import attempt, checked, opened

Entry = dict[str, t.Any]

#: What may be asked for besides the list of nodes.
FACTS = ("network", "status", "version")

#: Our name -> that of a network interface.
_INTERFACE = ("iface", "type", "cidr", "address", "gateway", "cidr6", "gateway6", "bridge_ports", "slaves", "mtu")


def look_up_nodes(task: Task) -> Result:
    """The module ``proxmox_node_info``."""
    names = checked("name", task.params.get("name"))
    facts = task.params.get("facts") or ()
    with opened(task) as session:
        nodes = [node for node in _nodes(session) if not names or node["name"] in names]
        if facts:
            together(lambda node: _more(session, node, facts), nodes)
    missing = sorted(set(names) - {node["name"] for node in nodes})
    return {"changed": False, "nodes": nodes, "missing": missing}


def look_up_storages(task: Task) -> Result:
    """The module ``proxmox_storage_info``."""
    params = task.params
    names = checked("name", params.get("name"), STORAGE)
    nodes = checked("node", params.get("node"))
    with opened(task) as session:
        known = [node for node in _nodes(session) if not nodes or node["name"] in nodes]
        found = [one for some in together(lambda node: _storages(session, node), known) for one in some]
        storages = [one for one in found if _fits(one, names, params.get("content"), params.get("active"))]
        if params.get("contents"):
            _contents(session, storages, params.get("content"))
    errors = {node["name"]: node["errors"]["storages"] for node in known if "storages" in node["errors"]}
    missing = sorted(set(nodes) - {node["name"] for node in known})
    missing_names = sorted(set(names) - {one["name"] for one in found})
    for name, error in errors.items():
        task.warn(f"The storages of node {name} could not be read: {error}")
    return {"changed": False, "storages": storages, "errors": errors, "missing": missing_names + missing}


# -- nodes -----------------------------------------------------------------------------------------------------------


def _nodes(session: Session) -> list[Entry]:
    """By name. Without the right Sys.Audit only names and states are known; the numbers are 0 then."""
    found = listing(session, "/nodes", "node", asked="list the nodes")
    return sorted((_node(entry) for entry in found), key=lambda node: str(node["name"]))


def _node(entry: t.Mapping[str, t.Any]) -> Entry:
    return {
        "name": str(entry["node"]),
        "status": str(entry.get("status") or "unknown"),
        "cpus": int(entry.get("maxcpu") or 0),
        "memory": int(entry.get("maxmem") or 0),
        "memory_used": int(entry.get("mem") or 0),
        "uptime": int(entry.get("uptime") or 0),
        "errors": {},
    }


def _more(session: Session, node: Entry, facts: t.Collection[str]) -> None:
    if node["status"] != "online":
        node["errors"].update(dict.fromkeys(facts, f"node {node['name']} is {node['status']}"))
        return
    for fact in sorted(facts):
        found = attempt(node["errors"], fact, lambda fact=fact: _read(session, node, fact))  # type: ignore[misc]
        if found is not None:
            node[_KEYS.get(fact, fact)] = _SHAPES[fact](found)


#: What is a list -> the key that all its records have.
_LISTS = {"network": "iface", "storage": "storage"}


def _read(session: Session, node: Entry, what: str) -> t.Any:
    path, asked = f"/nodes/{segment(node['name'])}/{what}", f"read the {what} of node {node['name']}"
    return listing(session, path, _LISTS[what], asked=asked) if what in _LISTS else record(session, path, asked=asked)


def _status(found: t.Mapping[str, t.Any]) -> Entry:
    """What stays the same for a while, in our words, and the usage in bytes."""
    cpu, kernel = found.get("cpuinfo") or {}, found.get("current-kernel") or {}
    return {
        "cpu_model": str(cpu.get("model") or ""),
        "sockets": int(cpu.get("sockets") or 0),
        "hardware_virtualisation": bool(int(cpu.get("hvm") or 0)),
        "kernel": str(kernel.get("release") or found.get("kversion") or ""),
        "pve_version": str(found.get("pveversion") or ""),
        "boot_mode": str((found.get("boot-info") or {}).get("mode") or ""),
        "load": [float(number) for number in found.get("loadavg") or ()],
        **{name: _usage(found.get(name) or {}) for name in ("memory", "rootfs", "swap")},
    }


def _usage(found: t.Mapping[str, t.Any]) -> dict[str, int]:
    return {key: int(found.get(key) or 0) for key in ("total", "used", "free")}


def _version(found: t.Mapping[str, t.Any]) -> Entry:
    return {key: str(found.get(key) or "") for key in ("version", "release", "repoid")}


def _network(found: t.Iterable[t.Mapping[str, t.Any]]) -> list[Entry]:
    interfaces = [{key: str(entry[key]) for key in _INTERFACE if entry.get(key)} | _flags(entry) for entry in found]
    return sorted(interfaces, key=lambda interface: str(interface["iface"]))


def _flags(entry: t.Mapping[str, t.Any]) -> dict[str, bool]:
    names = {"active": "active", "autostart": "autostart", "vlan_aware": "bridge_vlan_aware"}
    return {ours: bool(int(entry.get(theirs) or 0)) for ours, theirs in names.items()}


#: The fact whose name is taken in the list already.
_KEYS = {"status": "node_status"}

_SHAPES: dict[str, t.Callable[[t.Any], t.Any]] = {"status": _status, "version": _version, "network": _network}


# -- storages --------------------------------------------------------------------------------------------------------


def _storages(session: Session, node: Entry) -> list[Entry]:
    if node["status"] != "online":
        node["errors"]["storages"] = f"node {node['name']} is {node['status']}"
        return []
    found = attempt(node["errors"], "storages", lambda: _read(session, node, "storage"))
    return sorted((_storage(node["name"], entry) for entry in found or ()), key=lambda one: str(one["name"]))


def _storage(node: str, entry: t.Mapping[str, t.Any]) -> Entry:
    numbers = {key: int(entry.get(key) or 0) for key in ("total", "used", "avail")}
    return {
        "name": str(entry["storage"]),
        "node": node,
        "type": str(entry.get("type") or ""),
        "content": sorted(part for part in re.split(r"[,\s]+", entry.get("content") or "") if part),
        "shared": bool(int(entry.get("shared") or 0)),
        "enabled": bool(int(entry.get("enabled", 1))),
        "active": bool(int(entry.get("active", 1))),
        "total": numbers["total"],
        "used": numbers["used"],
        "available": numbers["avail"],
        "errors": {},
    }


def _fits(storage: Entry, names: t.Collection[str], content: t.Collection[str] | None, active: bool | None) -> bool:
    return (
        (not names or storage["name"] in names)
        and (not content or bool(set(content) & set(storage["content"])))
        and (active is None or storage["active"] == active)
    )


def _contents(session: Session, storages: t.Sequence[Entry], content: t.Collection[str] | None) -> None:
    """The volumes of each; a shared storage has the same on all nodes and is read of one."""
    first: dict[str, Entry] = {}
    for storage in storages:
        if storage["active"]:
            first.setdefault(storage["name"] if storage["shared"] else f"{storage['node']}/{storage['name']}", storage)
    together(lambda storage: _fill(session, storage, content), list(first.values()))
    for storage in storages:
        if storage["shared"] and storage["name"] in first:
            same = first[storage["name"]]
            storage.update(contents=same["contents"], errors=same["errors"])
        storage.setdefault("contents", [])


def _fill(session: Session, storage: Entry, content: t.Collection[str] | None) -> None:
    """One list; of several kinds of content the others are left out here, as the API filters by one only."""
    path = f"/nodes/{segment(storage['node'])}/storage/{segment(storage['name'])}/content"
    query = {"content": next(iter(content))} if content and len(content) == 1 else {}
    asked = f"list the content of storage {storage['name']} on node {storage['node']}"
    found = attempt(storage["errors"], "contents", lambda: listing(session, path, "volid", query, asked=asked)) or ()
    kinds = [entry for entry in found if not content or entry.get("content") in content]
    storage["contents"] = sorted((_volume(entry) for entry in kinds), key=lambda volume: str(volume["volid"]))


def _volume(entry: t.Mapping[str, t.Any]) -> Entry:
    volume: Entry = {
        "volid": str(entry["volid"]),
        "content": str(entry.get("content") or ""),
        "format": str(entry.get("format") or ""),
        "size": int(entry.get("size") or 0),
        "time": int(entry.get("ctime") or 0),
    }
    for key in ("vmid", "used"):
        if entry.get(key) is not None:
            volume[key] = int(entry[key])
    notes = {key: entry[key] for key in ("notes", "protected", "parent", "verification") if entry.get(key)}
    return volume | notes
