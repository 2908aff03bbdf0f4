# SPDX-License-Identifier: GPL-3.0-or-later
"""Network interfaces of a node: what there is, changes that wait in ``interfaces.new``, applying and dropping them."""

from __future__ import annotations

import copy
import typing as t

from . import formats
from .api import Call, handles
from .cluster import Node
from .errors import Failure, ParameterError
from .network_interfaces import Interfaces, check, check_unique, read_back, settle, with_addresses
from .tasks import Task

_NETWORK = "/nodes/{node}/network"
_ANY_BRIDGE = ("any_bridge", "any_local_bridge")


class Network:
    """``active`` is what runs, ``waiting`` what ``interfaces.new`` says (None: there is none)."""

    def __init__(self, node: Node) -> None:
        self.active: Interfaces = {name: _bridge(node, name, n) for n, name in enumerate(sorted(node.bridges))}
        self.waiting: Interfaces | None = None

    @property
    def latest(self) -> Interfaces:
        return self.active if self.waiting is None else self.waiting

    def change(self, edit: t.Callable[[Interfaces], t.Any]) -> None:
        """Edit what waits; nothing changes when the result cannot be written (Failure)."""
        edited = copy.deepcopy(self.latest)
        edit(edited)
        check(edited)
        self.waiting = {name: read_back(name, interface) for name, interface in edited.items()}


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
        a_bridge = entry["type"] in ("bridge", "OVSBridge") and wanted in _ANY_BRIDGE
        if wanted not in (None, "include_sdn", entry["type"]) and not a_bridge:
            continue
        on_bridge = call.allowed.has(f"/sdn/zones/localnetwork/{name}", ["SDN.Audit", "SDN.Use"], True)
        if on_bridge or call.allowed.has(f"/nodes/{call.node.name}", ["Sys.Audit"]):
            found.append(entry)
    return found


@handles("GET", f"{_NETWORK}/{{iface}}")
def interface(call: Call) -> dict[str, t.Any]:
    entry = _existing(call)
    return {key: value for key, value in entry.items() if key != "iface"}


def _existing(call: Call) -> dict[str, t.Any]:
    found = _network(call).latest.get(call.text("iface"))
    if found is None:
        raise ParameterError({"iface": "interface does not exist"})
    return found


@handles("POST", _NETWORK)
def add(call: Call) -> None:
    name, network = call.text("iface"), _network(call)
    if name in network.latest:
        raise ParameterError({"iface": "interface already exists"})
    sent = _sent(call, network)
    if str(sent["type"]).startswith("OVS"):
        raise Failure("Open VSwitch is not installed (need package 'openvswitch-switch')")
    entry = {"iface": name, "priority": len(network.latest) + 3, **sent}
    settle(name, entry)
    network.change(lambda interfaces: interfaces.update({name: entry}))


def _sent(call: Call, network: Network) -> dict[str, t.Any]:
    given = {key: value for key, value in call.params.items() if key not in ("node", "iface", "delete")}
    check_unique(network.latest, call.text("iface"), given)
    if "bridge_vids" in given:
        vids = formats.split_list(str(given["bridge_vids"]))
        if not vids:
            raise ParameterError({"bridge_vids": "VLAN list items are empty"})
        given["bridge_vids"] = " ".join(vids)
    return with_addresses(given)


@handles("PUT", f"{_NETWORK}/{{iface}}")
def update(call: Call) -> None:
    """What is not sent stays, but for addresses."""
    name, network = call.text("iface"), _network(call)
    known = _existing(call)
    dropped = formats.split_list(call.text("delete"))
    kept = {key: value for key, value in known.items() if key not in dropped}
    sent = _sent(call, network)
    for suffix in ("", "6"):
        for key in ("address", "netmask", "cidr"):
            kept.pop(f"{key}{suffix}", None)
    entry = kept | sent
    settle(name, entry)
    network.change(lambda interfaces: interfaces.update({name: entry}))


@handles("DELETE", f"{_NETWORK}/{{iface}}")
def remove(call: Call) -> None:
    _existing(call)
    _network(call).change(lambda interfaces: interfaces.pop(call.text("iface")))


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
