# SPDX-License-Identifier: GPL-3.0-or-later
"""Datacenter: version, status, resources, options, free ids."""

from __future__ import annotations

import hashlib
import typing as t

from . import formats, schema, tags
from .api import Call, handles
from .cluster import Node
from .errors import Failure, ParameterError

VERSION = {"version": "9.1.8", "release": "9.1", "repoid": "a8e257e100000000"}


@handles("GET", "/version")
def version(call: Call) -> dict[str, t.Any]:
    return VERSION


@handles("GET", "/cluster/status")
def status(call: Call) -> list[dict[str, t.Any]]:
    nodes = list(call.cluster.nodes.values())
    alone = len(nodes) == 1
    found: list[dict[str, t.Any]] = [
        {
            "id": f"node/{node.name}", "ip": node.config.address, "level": "", "local": int(number == 0),
            "name": node.name, "nodeid": 0 if alone else number + 1, "online": int(node.online), "type": "node",
        }
        for number, node in enumerate(nodes)
    ]  # fmt: skip
    if not alone:
        whole = {"id": "cluster", "name": call.cluster.name, "type": "cluster", "quorate": 1, "version": len(nodes)}
        found.insert(0, whole | {"nodes": len(nodes)})
    return found


@handles("GET", "/cluster/config/join")
def join(call: Call) -> dict[str, t.Any]:
    nodes = list(call.cluster.nodes.values())
    if len(nodes) == 1:
        raise Failure("node is not in a cluster, no join info available!")
    members = [
        {
            "name": node.name, "nodeid": str(number), "pve_addr": node.config.address, "pve_fp": node.fingerprint,
            "quorum_votes": "1", "ring0_addr": node.config.address,
        }
        for number, node in enumerate(nodes, 1)
    ]  # fmt: skip
    totem = {"cluster_name": call.cluster.name, "config_version": str(len(nodes)), "version": "2"}
    digest = hashlib.sha1(call.cluster.name.encode(), usedforsecurity=False).hexdigest()
    return {"config_digest": digest, "nodelist": members, "preferred_node": nodes[0].name, "totem": totem}


@handles("GET", "/cluster/config/nodes")
def members(call: Call) -> list[dict[str, t.Any]]:
    nodes = list(call.cluster.nodes.values())
    return [] if len(nodes) == 1 else [{"node": node.name} for node in nodes]


@handles("GET", "/cluster/nextid")
def next_id(call: Call) -> str:
    if "vmid" in call.params:
        guest = call.cluster.guests.get(call.vmid)
        if guest is not None:
            raise ParameterError({"vmid": f"{guest.word} {call.vmid} already exists"})
        return str(call.vmid)
    return str(call.cluster.next_id())


# -- resources --------------------------------------------------------------------------------------------


@handles("GET", "/cluster/resources")
def resources(call: Call) -> list[dict[str, t.Any]]:
    wanted = call.params.get("type")
    found: list[dict[str, t.Any]] = []
    if wanted in (None, "vm"):
        found += _pools(call) if wanted is None else []
        found += _guests(call)
    if wanted in (None, "node"):
        found += [_node(call, node) for node in call.cluster.nodes.values()]
    if wanted in (None, "storage"):
        found += _storages(call)
    if wanted is None:
        found += _zones(call)
    return found


def _pools(call: Call) -> list[dict[str, t.Any]]:
    return [
        {"id": f"/pool/{name}", "pool": name, "type": "pool"}
        for name in call.cluster.pools
        if call.allowed.has(f"/pool/{name}", ["Pool.Audit"])
    ]


def _guests(call: Call) -> list[dict[str, t.Any]]:
    found = []
    for guest in call.cluster.guests.values():
        if not call.allowed.has(f"/vms/{guest.vmid}", ["VM.Audit"]):
            continue
        entry: dict[str, t.Any] = {
            "id": f"{guest.kind}/{guest.vmid}", "node": guest.node, "type": guest.kind, "vmid": guest.vmid,
        }  # fmt: skip
        entry |= call.cluster.status.values(guest)
        for key in ("tags", "lock"):
            if guest.options.get(key, "").strip():
                entry[key] = guest.options[key]
        found.append(_with_membership(call, guest.vmid, entry))
    return found


def _with_membership(call: Call, vmid: int, entry: dict[str, t.Any]) -> dict[str, t.Any]:
    pool = call.cluster.pool_of(f"/vms/{vmid}")
    if pool and call.allowed.has(f"/pool/{pool}", ["Pool.Audit"]):
        entry["pool"] = pool
    return entry | call.cluster.ha_wanted(f"{'vm' if entry['type'] == 'qemu' else 'ct'}:{vmid}")


def _node(call: Call, node: Node) -> dict[str, t.Any]:
    base = {"cgroup-mode": 2, "id": f"node/{node.name}", "level": "", "node": node.name}
    found = {**base, "status": "online" if node.online else "offline", "type": "node"}
    if not node.online:
        return found
    return found | node_values(call, node) if call.allowed.has(f"/nodes/{node.name}", ["Sys.Audit"]) else found


def node_values(call: Call, node: Node) -> dict[str, t.Any]:
    """Load of a node: that of an idle one with its running guests' memory."""
    running = [g for g in call.cluster.guests.values() if g.node == node.name and g.running]
    memory = sum(guest.summary()["maxmem"] for guest in running)
    local = call.cluster.storages.of_node(node.name)
    return {
        "cpu": 0.01, "disk": local[0].used() if local else 0, "maxcpu": node.config.cores,
        "maxdisk": local[0].capacity if local else 0, "maxmem": node.config.memory,
        "mem": min(node.config.memory, (2 << 30) + memory), "uptime": node.uptime(),
    }  # fmt: skip


def _storages(call: Call) -> list[dict[str, t.Any]]:
    found = []
    for node in call.cluster.nodes.values():
        for store in call.cluster.storages.of_node(node.name):
            if not call.allowed.has(f"/storage/{store.name}", ["Datastore.Audit", "Datastore.AllocateSpace"], True):
                continue
            entry: dict[str, t.Any] = {
                "content": ",".join(sorted(store.content)), "id": f"storage/{node.name}/{store.name}",
                "node": node.name, "plugintype": store.type, "shared": int(store.shared), "storage": store.name,
                "status": "available" if store.enabled and node.online else "unknown", "type": "storage",
            }  # fmt: skip
            seen = {"disk": store.used(), "maxdisk": store.capacity} if store.enabled and node.online else {}
            found.append(entry | seen)
    return found


def _zones(call: Call) -> list[dict[str, t.Any]]:
    path = "/sdn/zones/localnetwork"
    if not call.allowed.has(path, ["SDN.Audit"]):
        return []
    return [
        {
            "id": f"network/{node}/zone/localnetwork", "network": "localnetwork", "network-type": "zone", "node": node,
            "status": "ok", "type": "network",
        }
        for node in call.cluster.nodes
    ]  # fmt: skip


# -- options ----------------------------------------------------------------------------------------------


#: What everybody may read.
_PUBLIC = ("console", "tag-style")


@handles("GET", "/cluster/options")
def options(call: Call) -> dict[str, t.Any]:
    specs = schema.load().paths["/cluster/options"]["PUT"]["parameters"]["properties"]
    found: dict[str, t.Any] = {"description": "", "mac_prefix": "BC:24:11"}
    for name, value in call.cluster.options.items():
        if name == "registered-tags":
            found[name] = formats.split_list(str(value))
            continue
        wanted = specs[name].get("format")
        found[name] = _typed(wanted, formats.parse(wanted, str(value), name)) if isinstance(wanted, dict) else value
    if not call.allowed.has("/", ["Sys.Audit"]):
        found = {name: value for name, value in found.items() if name in _PUBLIC}
    return found | {"allowed-tags": tags.allowed(call)}


def _typed(wanted: formats.Format, values: dict[str, str]) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {
        key: int(value) if wanted[key].get("type") == "boolean" else value for key, value in values.items()
    }
    if "user-allow-list" in found:
        found["user-allow-list"] = formats.split_list(values["user-allow-list"])
    return found


@handles("PUT", "/cluster/options")
def set_options(call: Call) -> None:
    changed = call.cluster.options | {name: value for name, value in call.params.items() if name != "delete"}
    for name in formats.split_list(call.text("delete")):
        changed.pop(name, None)
    _check_free_ids(str(changed.get("next-id", "")))
    if "description" in changed:
        changed["description"] = kept_notes(str(changed["description"]))
    call.cluster.options.clear()
    call.cluster.options.update(changed)


def kept_notes(text: str) -> str:
    """Notes as a configuration file keeps them: lines that end, without empty ones at the end."""
    lines = text.rstrip("\n")
    return f"{lines}\n" if lines else ""


def _check_free_ids(text: str) -> None:
    bounds = dict(part.partition("=")[::2] for part in text.split(",") if part)
    lower, upper = int(bounds.get("lower", 100)), int(bounds.get("upper", 1000000))
    if lower > upper:
        raise Failure(f"lower ({lower}) <= upper ({upper}) boundary rule broken")
