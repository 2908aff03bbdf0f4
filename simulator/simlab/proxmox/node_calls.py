# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes: list, status, network, time, capabilities, metadata of a URL."""

from __future__ import annotations

import typing as t

from . import fetching
from .api import Call, handles
from .cluster_calls import VERSION, node_values
from .errors import Failure

KERNEL = "6.17.2-1-pve"


@handles("GET", "/nodes")
def nodes(call: Call) -> list[dict[str, t.Any]]:
    found = []
    for node in call.cluster.nodes.values():
        entry: dict[str, t.Any] = {
            "id": f"node/{node.name}", "level": "", "node": node.name, "ssl_fingerprint": node.fingerprint,
            "status": "online" if node.online else "offline", "type": "node",
        }  # fmt: skip
        if node.online and call.allowed.has(f"/nodes/{node.name}", ["Sys.Audit"]):
            entry |= node_values(call, node)
        found.append(entry)
    return found


@handles("GET", "/nodes/{node}/status")
def status(call: Call) -> dict[str, t.Any]:
    node = call.node
    values = node_values(call, node)
    total, used = values["maxmem"], values["mem"]
    kernel = {"machine": "x86_64", "release": KERNEL, "sysname": "Linux", "version": "#1 SMP PREEMPT_DYNAMIC"}
    cores = node.config.cores
    return {
        "boot-info": {"mode": "efi", "secureboot": 0}, "cpu": values["cpu"], "current-kernel": kernel, "idle": 0,
        "cpuinfo": {
            "cores": cores, "cpus": cores, "sockets": 1, "model": "AMD EPYC", "vendor": "AuthenticAMD",
            "mhz": "2596.122", "user_hz": 100, "hvm": "1", "family": "26", "flags": "fpu svm aes avx avx2 sse4_2",
        },
        "ksm": {"shared": 0}, "kversion": f"Linux {KERNEL} #1 SMP PREEMPT_DYNAMIC", "loadavg": ["0.01", "0.02", "0.00"],
        "memory": {"available": total - used, "free": total - used, "total": total, "used": used},
        "pveversion": f"pve-manager/{VERSION['version']}/{VERSION['repoid']}",
        "rootfs": _disk(values["maxdisk"], values["disk"]), "swap": {"free": 0, "total": 0, "used": 0},
        "uptime": values["uptime"], "wait": 0,
    }  # fmt: skip


def _disk(total: int, used: int) -> dict[str, int]:
    return {"avail": total - used, "free": total - used, "total": total, "used": used}


@handles("GET", "/nodes/{node}/version")
def version(call: Call) -> dict[str, t.Any]:
    return VERSION


@handles("GET", "/nodes/{node}/query-url-metadata")
async def url_metadata(call: Call) -> dict[str, t.Any]:
    url, verify = call.text("url"), call.flag("verify-certificates", True)
    try:
        async with call.cluster.fetch("HEAD" if verify else "HEAD-INSECURE", url) as fetched:
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
