# SPDX-License-Identifier: GPL-3.0-or-later
"""Values over time: of what idles, one point for each step. Pictures (``rrd``) are not drawn."""

from __future__ import annotations

import time
import typing as t

from .api import Call, handles
from .cluster_calls import node_values
from .errors import Failure

#: Seconds between two points.
_STEP = {"hour": 60, "day": 1800, "week": 10800, "month": 43200, "year": 604800}
_POINTS = 70


def _points(call: Call, values: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    step = _STEP[call.text("timeframe")]
    last = int(time.time()) // step * step
    return [{"time": last - step * number, **values} for number in reversed(range(_POINTS))]


def _guest(call: Call) -> list[dict[str, t.Any]]:
    guest = call.cluster.guests.get(call.vmid)
    if guest is None or guest.node != call.node.name:
        kind = "qemu-server" if "/qemu/" in call.template else "lxc"
        raise Failure(f"Configuration file 'nodes/{call.node.name}/{kind}/{call.vmid}.conf' does not exist")
    shown = guest.summary()
    keys = ("cpu", "mem", "maxmem", "disk", "maxdisk", "netin", "netout")
    values = {key: shown[key] for key in keys if key in shown}
    return _points(call, values | {"maxcpu": shown["cpus"], "diskread": 0, "diskwrite": 0})


handles("GET", "/nodes/{node}/qemu/{vmid}/rrddata", "/nodes/{node}/lxc/{vmid}/rrddata")(_guest)


@handles("GET", "/nodes/{node}/rrddata")
def node(call: Call) -> list[dict[str, t.Any]]:
    values = node_values(call, call.node)
    return _points(call, {
        "cpu": values["cpu"], "maxcpu": values["maxcpu"], "memtotal": values["maxmem"], "memused": values["mem"],
        "roottotal": values["maxdisk"], "rootused": values["disk"], "swaptotal": 0, "swapused": 0, "iowait": 0,
        "loadavg": 0.01, "netin": 0, "netout": 0,
    })  # fmt: skip


@handles("GET", "/nodes/{node}/storage/{storage}/rrddata")
def storage(call: Call) -> list[dict[str, t.Any]]:
    store = call.cluster.storages.get(call.node.name, call.text("storage"))
    return _points(call, {"total": store.capacity, "used": store.used()})
