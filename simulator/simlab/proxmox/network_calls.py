# SPDX-License-Identifier: GPL-3.0-or-later
"""Network interfaces of a node: what there is, changes that wait in ``interfaces.new``, applying and dropping them."""

from __future__ import annotations

import copy
import ipaddress
import typing as t

from . import formats
from .api import Call, handles
from .cluster import Node
from .errors import Failure, ParameterError
from .tasks import Task

_NETWORK = "/nodes/{node}/network"
_BRIDGES = (None, "bridge", "any_bridge", "any_local_bridge", "include_sdn")
Interfaces = dict[str, dict[str, t.Any]]


class Network:
    """``active`` is what runs, ``waiting`` what ``interfaces.new`` says (None: there is none)."""

    def __init__(self, node: Node) -> None:
        self.active: Interfaces = {name: _bridge(node, name, n) for n, name in enumerate(sorted(node.bridges))}
        self.waiting: Interfaces | None = None

    @property
    def latest(self) -> Interfaces:
        return self.active if self.waiting is None else self.waiting

    def change(self) -> Interfaces:
        if self.waiting is None:
            self.waiting = copy.deepcopy(self.active)
        return self.waiting


def _bridge(node: Node, name: str, number: int) -> dict[str, t.Any]:
    entry: dict[str, t.Any] = {
        "active": 1, "autostart": 1, "bridge_fd": "0", "bridge_ports": "", "bridge_stp": "off",
        "families": ["inet"], "iface": name, "method": "manual", "method6": "manual", "priority": 3 + number,
        "type": "bridge",
    }  # fmt: skip
    if number == 0:
        address = node.config.address
        entry |= {"method": "static", "address": address, "cidr": f"{address}/24", "netmask": "24"}
    return entry


def _network(call: Call) -> Network:
    networks: dict[str, Network] = call.cluster.extra("network", dict)
    if call.node.name not in networks:
        networks[call.node.name] = Network(call.node)
    return networks[call.node.name]


@handles("GET", _NETWORK)
def listing(call: Call) -> list[dict[str, t.Any]]:
    wanted, found = call.params.get("type"), []
    for name, entry in _network(call).latest.items():
        if entry["type"] != wanted and not (wanted in _BRIDGES and (entry["type"] == "bridge" or wanted is None)):
            continue
        on_bridge = call.allowed.has(f"/sdn/zones/localnetwork/{name}", ["SDN.Audit", "SDN.Use"], True)
        if on_bridge or call.allowed.has(f"/nodes/{call.node.name}", ["Sys.Audit"]):
            found.append(entry)
    return found


@handles("GET", f"{_NETWORK}/{{iface}}")
def interface(call: Call) -> dict[str, t.Any]:
    for entry in listing(call):
        if entry["iface"] == call.params["iface"]:
            return {key: value for key, value in entry.items() if key != "iface"}
    raise ParameterError({"iface": "interface does not exist"})


@handles("POST", _NETWORK)
def add(call: Call) -> None:
    name = call.text("iface")
    if name in _network(call).latest:
        raise ParameterError({"iface": "interface already exists"})
    _network(call).change()[name] = _entry(call, len(_network(call).latest) + 3)


def _entry(call: Call, priority: int) -> dict[str, t.Any]:
    given = {key: value for key, value in call.params.items() if key not in ("node", "delete")}
    kind = given["type"]
    base: dict[str, t.Any] = {"families": ["inet"], "method": "manual", "method6": "manual", "priority": priority}
    if kind == "bridge":
        base |= {"bridge_fd": "0", "bridge_ports": "", "bridge_stp": "off"}
    if "cidr" in given:
        address = ipaddress.ip_interface(given["cidr"])
        given |= {"address": str(address.ip), "netmask": str(address.network.prefixlen)}
    elif "address" in given:
        given["cidr"] = f"{given['address']}/{given.get('netmask', '24')}"
    if "address" in given:
        base["method"] = "static"
    if "comments" in given:
        given["comments"] = str(given["comments"]).rstrip("\n") + "\n"
    for flag in ("autostart", "bridge_vlan_aware"):
        if flag in given:
            given[flag] = int(given[flag])
    return base | given


@handles("PUT", f"{_NETWORK}/{{iface}}")
def update(call: Call) -> None:
    name = call.text("iface")
    known = _network(call).latest.get(name)
    if known is None:
        raise ParameterError({"iface": "interface does not exist"})
    kept = dict(known)
    for key in formats.split_list(call.text("delete")):
        kept.pop(key, None)
        if key == "cidr":
            kept |= {"method": "manual"}
            kept.pop("address", None)
            kept.pop("netmask", None)
    _network(call).change()[name] = kept | {
        key: value for key, value in _entry(call, known["priority"]).items() if key in call.params or key not in kept
    }


@handles("DELETE", f"{_NETWORK}/{{iface}}")
def remove(call: Call) -> None:
    name = call.text("iface")
    if name not in _network(call).latest:
        raise ParameterError({"iface": "interface does not exist"})
    del _network(call).change()[name]


@handles("DELETE", _NETWORK)
def revert(call: Call) -> None:
    _network(call).waiting = None


@handles("PUT", _NETWORK)
def apply(call: Call) -> str:
    network, node = _network(call), call.node

    async def work(task: Task) -> None:
        if network.waiting is None:
            return
        gone = [name for name in network.active if name not in network.waiting]
        used = {
            name for guest in call.cluster.guests.values() if guest.running for name in gone if name in guest.file()
        }
        if used:
            raise Failure(f"interface '{sorted(used)[0]}' is in use")
        network.active, network.waiting = network.waiting, None
        for entry in network.active.values():
            entry["active"] = 1
        node.bridges = {name for name, entry in network.active.items() if entry["type"] in ("bridge", "OVSBridge")}

    return call.start("srvreload", "networking", work)
