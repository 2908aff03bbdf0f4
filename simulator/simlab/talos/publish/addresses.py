# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses, links and names."""

from __future__ import annotations

import typing as t

from ..network import link_names

if t.TYPE_CHECKING:
    from ..runtime import Runtime


def network(runtime: Runtime) -> None:
    put, keep = runtime.resources.put, runtime.resources.keep_only
    known = {}
    for link in (*runtime.network.links,):
        for cidr in link.addresses:
            known[f"{link.name}/{cidr}"] = (cidr, link.name)
    first = runtime.network.links[0].name if runtime.network.links else ""
    known |= {f"{first}/{address}/32": (f"{address}/32", first) for address in runtime.held}
    known |= {"lo/127.0.0.1/8": ("127.0.0.1/8", "lo"), "lo/::1/128": ("::1/128", "lo")}
    type_ = "AddressStatuses.net.talos.dev"
    keep("network", type_, known)
    for id_, (cidr, name) in known.items():
        put(
            "network",
            type_,
            id_,
            _address(cidr, name),
            owner="network.AddressStatusController",
        )
    _links(runtime)
    spec = {"hostname": runtime.hostname, "domainname": ""}
    put(
        "network",
        "HostnameStatuses.net.talos.dev",
        "hostname",
        spec,
        owner="network.HostnameSpecController",
    )
    _node_addresses(runtime)


def _address(cidr: str, link: str) -> dict[str, t.Any]:
    loopback = link == "lo"
    return {
        "address": cidr,
        "linkIndex": 1 if loopback else 2,
        "linkName": link,
        "family": "inet6" if ":" in cidr else "inet4",
        "scope": "host" if loopback else "global",
        "flags": "permanent",
        "priority": 0,
    }


def _links(runtime: Runtime) -> None:
    put = runtime.resources.put
    nics = link_names(runtime.node.machine)
    described = {name: (index, nic.mac, not nic.link_down) for index, (name, nic) in enumerate(nics.items(), 2)}
    for name, (index, mac, up) in {
        "lo": (1, "00:00:00:00:00:00", True),
        **described,
    }.items():
        loopback = name == "lo"
        spec = {
            "index": index,
            "type": "loopback" if loopback else "ether",
            "linkIndex": 0,
            "flags": "UP,RUNNING" if up else "",
            "hardwareAddr": mac,
            "broadcastAddr": "00:00:00:00:00:00" if loopback else "ff:ff:ff:ff:ff:ff",
            "permanentAddr": mac,
            "mtu": 65536 if loopback else 1500,
            "queueDisc": "noqueue" if loopback else "pfifo_fast",
            "operationalState": "unknown" if loopback else "up" if up else "down",
            "kind": "",
            "slaveKind": "",
            **({} if loopback else {"driver": "virtio_net"}),
            "linkState": up,
            "port": "Other",
            "duplex": "Unknown",
        }
        put(
            "network",
            "LinkStatuses.net.talos.dev",
            name,
            spec,
            owner="network.LinkStatusController",
        )


def _node_addresses(runtime: Runtime) -> None:
    put, cidrs = runtime.resources.put, list(runtime.network.cidrs)
    current = [*cidrs, *(f"{address}/32" for address in runtime.held)]
    lists = {
        "default": cidrs[:1],
        "routed": cidrs,
        "current": current,
        "accumulative": current,
    }
    for id_, addresses in lists.items():
        spec = {"addresses": addresses, "sortAlgorithm": "v1"}
        put(
            "network",
            "NodeAddresses.net.talos.dev",
            id_,
            spec,
            owner="network.NodeAddressController",
        )
