# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a node: nothing runs behind their names, but they remember that they were stopped."""

from __future__ import annotations

import typing as t

from . import fixed
from .api import Call, handles
from .errors import Failure
from .tasks import Task

_ONE = "/nodes/{node}/services/{service}"
_ESSENTIAL = ("pvedaemon", "pveproxy", "pve-cluster")
_INDEX = ("state", "start", "stop", "restart", "reload")
_RUNNING = {"state": "running", "active-state": "active"}
_STOPPED = {"state": "dead", "active-state": "inactive"}


def _changed(call: Call) -> dict[str, dict[str, str]]:
    known: dict[str, dict[str, dict[str, str]]] = call.cluster.extra("services", dict)
    return known.setdefault(call.node.name, {})


@handles("GET", "/nodes/{node}/services")
def listing(call: Call) -> list[dict[str, t.Any]]:
    services = fixed.DATA["/nodes/{node}/services"]
    return [{**service, **_changed(call).get(service["service"], {})} for service in services]


@handles("GET", _ONE)
def index(call: Call) -> list[dict[str, str]]:
    return [{"subdir": name} for name in _INDEX]


@handles("GET", f"{_ONE}/state")
def state(call: Call) -> dict[str, t.Any]:
    return next(service for service in listing(call) if service["service"] == call.text("service"))


def _register(command: str) -> None:
    def run(call: Call) -> str:
        service = call.text("service")

        async def work(task: Task) -> None:
            if command == "stop" and service in _ESSENTIAL:
                raise Failure(f"invalid service cmd '{service} {command}': refusing to stop essential service!")
            if state(call)["unit-state"] == "not-found":
                raise Failure(f"command 'systemctl {command} {service}' failed: exit code 5")
            _changed(call)[service] = _STOPPED if command == "stop" else _RUNNING

        return call.start(f"srv{command}", service, work)

    handles("POST", f"{_ONE}/{command}")(run)


for _command in ("start", "stop", "restart", "reload"):
    _register(_command)
