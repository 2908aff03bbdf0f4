# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU guest agent, as far as a guest of the lab has one."""

from __future__ import annotations

import typing as t

from ..api import Call, handles
from ..errors import Failure, NotSimulated
from . import machine

_AGENT = "/nodes/{node}/qemu/{vmid}/agent"
_READ = ("get-fsinfo", "get-host-name", "get-memory-block-info", "get-memory-blocks", "get-time",
         "get-timezone", "get-users", "get-vcpus", "info")  # fmt: skip
_WRITE = ("fsfreeze-freeze", "fsfreeze-status", "fsfreeze-thaw", "fstrim", "ping", "set-user-password", "shutdown",
          "suspend-disk", "suspend-hybrid", "suspend-ram", "exec", "file-write")  # fmt: skip


def _interfaces(call: Call) -> list[dict[str, t.Any]]:
    """Raises Failure when no agent answers."""
    vm = call.cluster.vm(call.node.name, call.vmid)
    if not machine.has_agent(vm):
        raise Failure("No QEMU guest agent configured")
    if vm.running is None:
        raise Failure(f"VM {vm.vmid} is not running")
    found = call.cluster.host.agent_interfaces(vm.vmid) if call.cluster.host is not None else None
    if found is None:
        raise Failure("QEMU guest agent is not running")
    return found


@handles("GET", f"{_AGENT}/network-get-interfaces")
def interfaces(call: Call) -> dict[str, t.Any]:
    return {"result": _interfaces(call)}


@handles("POST", f"{_AGENT}/ping")
def ping(call: Call) -> dict[str, t.Any]:
    _interfaces(call)
    return {"result": {}}


@handles("GET", f"{_AGENT}/get-osinfo")
def system(call: Call) -> dict[str, t.Any]:
    _interfaces(call)
    found = call.cluster.host.agent_system(call.vmid) if call.cluster.host is not None else None
    if found is None:
        raise NotSimulated(call.method, call.template)
    return {"result": found}


def _other(call: Call) -> t.NoReturn:
    _interfaces(call)
    raise NotSimulated(call.method, call.template)


for _name in _READ:
    handles("GET", f"{_AGENT}/{_name}")(_other)
for _name in _WRITE:
    if _name != "ping":
        handles("POST", f"{_AGENT}/{_name}")(_other)
handles("GET", f"{_AGENT}/exec-status")(_other)
handles("GET", f"{_AGENT}/file-read")(_other)
handles("POST", _AGENT)(_other)
