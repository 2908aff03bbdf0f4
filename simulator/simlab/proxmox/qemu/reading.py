# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading VMs: lists, status, configuration, pending changes."""

from __future__ import annotations

import re
import time
import typing as t

from .. import formats
from ..api import Call, handles
from ..errors import Failure, ParameterError
from ..sizes import parse_size
from . import boot, checks, drives, machine, options, pending
from .vm import Vm, shown

_VM = "/nodes/{node}/qemu/{vmid}"
_ZERO = ("cpu", "disk", "mem", "memhost", "netin", "netout", "uptime")
_PRESSURE = ("cpufull", "cpusome", "iofull", "iosome", "memoryfull", "memorysome")


def boot_disk_size(vm: Vm) -> int:
    """Bytes of the first disk of the boot order; with the old letters, of ``bootdisk``."""
    value = vm.options.get("boot", "")
    letters = not value or re.match(r"legacy=|\w+$", value)
    for name in [vm.options.get("bootdisk", "")] if letters else boot.parse(value):
        if drives.is_drive(name) and name in vm.options:
            drive = drives.parse(name, vm.options[name])
            if not drives.is_cdrom(drive):
                return parse_size(drive.get("size", "0")) or 0
    return 0


def summary(vm: Vm) -> dict[str, t.Any]:
    """What lists show of a VM."""
    values = vm.running.options if vm.running else vm.options
    cores = int(values.get("cores", 1)) * int(values.get("sockets", 1))
    found: dict[str, t.Any] = {
        "vmid": vm.vmid, "name": vm.name, "status": "running" if vm.running else "stopped",
        "cpus": int(values.get("vcpus", 0)) or cores,
        "maxmem": checks.memory_of(values.get("memory", "512")) << 20,
        "maxdisk": boot_disk_size(vm), **dict.fromkeys(_ZERO, 0),
    }  # fmt: skip
    for key in ("tags", "lock"):
        if key in vm.options:
            found[key] = vm.options[key]
    if vm.template:
        found["template"] = 1
    if any(re.fullmatch(r"serial\d", name) for name in values):
        found["serial"] = 1
    if vm.running:
        found |= {"pid": vm.running.pid, "uptime": max(1, int(time.time() - vm.running.since))}
        found |= {f"pressure{what}": 0 for what in _PRESSURE}
    if int(vm.options.get("balloon", 0) or 0):
        found["balloon_min"] = int(vm.options["balloon"]) << 20
        found["shares"] = int(vm.options.get("shares", 1000))
    return found


def _on_node(call: Call, shown_: dict[str, t.Any]) -> dict[str, t.Any]:
    """A VM with more processors than its node is shown with those of the node."""
    vm = call.cluster.guests[shown_["vmid"]]
    if "vcpus" not in vm.options:
        shown_["cpus"] = min(shown_["cpus"], call.node.config.cores)
    return shown_


@handles("GET", "/nodes/{node}/qemu")
def listing(call: Call) -> list[dict[str, t.Any]]:
    found = []
    for guest in call.cluster.guests.values():
        if not isinstance(guest, Vm) or guest.node != call.node.name:
            continue
        if not call.allowed.has(f"/vms/{guest.vmid}", ["VM.Audit"]):
            continue
        entry = _on_node(call, summary(guest))
        if call.flag("full"):
            entry["qmpstatus"] = guest.running.qmp_status if guest.running else "stopped"
        found.append(entry)
    return found


@handles("GET", f"{_VM}/status")
def status_index(call: Call) -> list[dict[str, str]]:
    call.cluster.vm(call.node.name, call.vmid)
    return [{"subdir": name} for name in ("current", "start", "stop", "reset", "shutdown", "suspend", "reboot")]


@handles("GET", f"{_VM}/status/current")
def current(call: Call) -> dict[str, t.Any]:
    vm = call.cluster.vm(call.node.name, call.vmid)
    found = _on_node(call, summary(vm))
    state = call.cluster.ha_state(f"vm:{vm.vmid}")
    found["ha"] = state if state["managed"] else {"managed": 0}
    found["qmpstatus"] = vm.running.qmp_status if vm.running else "stopped"
    if vm.running:
        cards = [name for name in vm.options if name.startswith("net") and name[3:].isdigit()]
        if cards:
            found["nics"] = {f"tap{vm.vmid}i{card[3:]}": {"netin": 0, "netout": 0} for card in sorted(cards)}
    if "vga" in vm.options:
        vga = formats.parse(options.spec_of("vga")["format"], vm.options["vga"], "vga")
        found["clipboard"] = vga.get("clipboard")
        if re.match("virtio|qxl", vga.get("type", "")):
            found["spice"] = 1
    if machine.has_agent(vm):
        found["agent"] = 1
    return found


@handles("GET", f"{_VM}/config")
def config(call: Call) -> dict[str, t.Any]:
    if call.params.get("snapshot") and call.flag("current"):
        text = "cannot use 'snapshot' parameter with 'current'"
        raise ParameterError({"snapshot": text, "current": text})
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
