# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading VMs: lists, status, configuration, pending changes."""

from __future__ import annotations

import time
import typing as t

from ..api import Call, handles
from ..errors import Failure
from ..sizes import parse_size
from . import boot, checks, drives, pending
from .vm import Vm, shown

_VM = "/nodes/{node}/qemu/{vmid}"
_ZERO = ("cpu", "disk", "mem", "memhost", "netin", "netout", "uptime")
_PRESSURE = ("cpufull", "cpusome", "iofull", "iosome", "memoryfull", "memorysome")


def boot_disk_size(vm: Vm) -> int:
    """Bytes of the first disk of the boot order, or of the first disk."""
    order = boot.parse(vm.options.get("boot")) or [name for name, _ in vm.volumes()]
    for name in order:
        if drives.is_drive(name) and name in vm.options:
            drive = drives.parse(name, vm.options[name])
            if not drives.is_cdrom(drive):
                return parse_size(drive.get("size", "0")) or 0
    return 0


def summary(vm: Vm) -> dict[str, t.Any]:
    """What lists show of a VM."""
    options = vm.running.options if vm.running else vm.options
    cores = int(options.get("cores", 1)) * int(options.get("sockets", 1))
    found: dict[str, t.Any] = {
        "vmid": vm.vmid, "name": vm.name, "status": "running" if vm.running else "stopped",
        "cpus": min(int(options.get("vcpus", cores)), cores) or 1,
        "maxmem": checks.memory_of(options.get("memory", "512")) << 20,
        "maxdisk": boot_disk_size(vm), **dict.fromkeys(_ZERO, 0),
    }  # fmt: skip
    for key in ("tags", "lock"):
        if key in vm.options:
            found[key] = vm.options[key]
    if vm.template:
        found["template"] = 1
    if "serial0" in options:
        found["serial"] = 1
    if vm.running:
        found |= {"pid": vm.running.pid, "uptime": max(1, int(time.time() - vm.running.since))}
        found |= {f"pressure{what}": 0 for what in _PRESSURE}
    if int(vm.options.get("balloon", 0) or 0):
        found["balloon_min"] = int(vm.options["balloon"]) << 20
        found["shares"] = int(vm.options.get("shares", 1000))
    return found


@handles("GET", "/nodes/{node}/qemu")
def listing(call: Call) -> list[dict[str, t.Any]]:
    found = []
    for guest in call.cluster.guests.values():
        if not isinstance(guest, Vm) or guest.node != call.node.name:
            continue
        if not call.allowed.has(f"/vms/{guest.vmid}", ["VM.Audit"]):
            continue
        entry = summary(guest)
        if call.flag("full"):
            entry["qmpstatus"] = guest.running.qmp_status if guest.running else "stopped"
        found.append(entry)
    return found


@handles("GET", f"{_VM}/status/current")
def current(call: Call) -> dict[str, t.Any]:
    vm = call.cluster.vm(call.node.name, call.vmid)
    found = summary(vm)
    state = call.cluster.ha_state(f"vm:{vm.vmid}")
    found["ha"] = state if state["managed"] else {"managed": 0}
    found["qmpstatus"] = vm.running.qmp_status if vm.running else "stopped"
    if vm.running:
        cards = [name for name in vm.options if name.startswith("net") and name[3:].isdigit()]
        if cards:
            found["nics"] = {f"tap{vm.vmid}i{card[3:]}": {"netin": 0, "netout": 0} for card in sorted(cards)}
        if "agent" in vm.running.options:
            found["agent"] = 1
    return found


@handles("GET", f"{_VM}/config")
def config(call: Call) -> dict[str, t.Any]:
    vm = call.cluster.vm(call.node.name, call.vmid)
    name = call.params.get("snapshot")
    if name:
        if name not in vm.snapshots:
            raise Failure(f"snapshot '{name}' does not exist")
        snapshot = vm.snapshots[name]
        found = shown(snapshot.options) | {"snaptime": snapshot.time, "digest": vm.digest()}
        if snapshot.description:
            found["description"] = snapshot.description
        return found | ({"parent": snapshot.parent} if snapshot.parent else {})
    values = vm.options if call.flag("current") else vm.merged()
    return shown(values) | {"digest": vm.digest()} | ({"parent": vm.parent} if vm.parent else {})


@handles("GET", f"{_VM}/pending")
def pending_changes(call: Call) -> list[dict[str, t.Any]]:
    vm = call.cluster.vm(call.node.name, call.vmid)
    found = [*pending.entries(vm), {"key": "digest", "value": vm.digest()}]
    return found + ([{"key": "parent", "value": vm.parent}] if vm.parent else [])
