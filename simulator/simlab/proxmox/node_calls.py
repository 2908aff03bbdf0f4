# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes: list, status, network, time, capabilities, metadata of a URL."""

from __future__ import annotations

import time
import typing as t

from . import fetching
from .api import Call, handles
from .cluster_calls import VERSION, node_values
from .errors import Failure

_MIB = 1 << 20


@handles("GET", "/nodes")
def nodes(call: Call) -> list[dict[str, t.Any]]:
    found = []
    for node in call.cluster.nodes.values():
        entry: dict[str, t.Any] = {
            "id": f"node/{node.name}", "level": "", "node": node.name, "ssl_fingerprint": node.fingerprint,
            "status": "online", "type": "node",
        }  # fmt: skip
        if call.allowed.has(f"/nodes/{node.name}", ["Sys.Audit"]):
            entry |= node_values(call, node)
        found.append(entry)
    return found


@handles("GET", "/nodes/{node}/version")
def version(call: Call) -> dict[str, t.Any]:
    return VERSION


@handles("GET", "/nodes/{node}/time")
def clock(call: Call) -> dict[str, t.Any]:
    now = int(time.time())
    return {"localtime": now, "time": now, "timezone": "Etc/UTC"}


@handles("GET", "/nodes/{node}/dns")
def dns(call: Call) -> dict[str, t.Any]:
    return {"dns1": "10.255.255.53"}


@handles("GET", "/nodes/{node}/network")
def network(call: Call) -> list[dict[str, t.Any]]:
    node = call.node
    found = []
    for number, name in enumerate(sorted(node.bridges)):
        if not call.allowed.has(f"/sdn/zones/localnetwork/{name}", ["SDN.Audit", "SDN.Use"], True):
            if not call.allowed.has(f"/nodes/{node.name}", ["Sys.Audit"]):
                continue
        entry: dict[str, t.Any] = {
            "active": 1, "autostart": 1, "bridge_fd": "0", "bridge_ports": "", "bridge_stp": "off",
            "families": ["inet"], "iface": name, "method": "manual", "method6": "manual", "priority": 3 + number,
            "type": "bridge",
        }  # fmt: skip
        if number == 0:
            address = node.config.address
            entry |= {"method": "static", "address": address, "cidr": f"{address}/24", "netmask": "24"}
        found.append(entry)
    return found


@handles("GET", "/nodes/{node}/query-url-metadata")
async def url_metadata(call: Call) -> dict[str, t.Any]:
    url = call.text("url")
    try:
        async with call.cluster.fetch("HEAD", url) as fetched:
            headers, final = fetched.headers, fetched.url
    except fetching.FetchError as error:
        raise Failure(f"invalid server response: '{_response(url, error)}'") from None
    name = final.rstrip("/").rpartition("/")[2].partition("?")[0]
    disposition = headers.get("content-disposition", "")
    if "filename=" in disposition:
        name = disposition.partition("filename=")[2].split(";")[0].strip('"')
    found: dict[str, t.Any] = {"mimetype": headers.get("content-type", "").partition(";")[0]}
    if headers.get("content-length", "").isdigit():
        found["size"] = int(headers["content-length"])
    return found | ({"filename": name} if name else {})


def _response(url: str, error: fetching.FetchError) -> str:
    if error.status:
        return f"{error.status} {error.text}"
    return f"500 Can't connect to {fetching.host_of(url)} ({error.text})"
