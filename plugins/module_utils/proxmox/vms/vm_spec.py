# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs as they are wanted: a module's parameters checked and brought into the words of the API."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import InvalidInput
from ..api.names import NODE, STORAGE
from ..guests.guest_spec import NAME, Params, check_vmid, claimed_twice, each, match
from . import options, vm_devices
from .vm_devices import Cdrom, CloudInit, Disk, Firmware, Network
from .vm_options import agent_of, options_of

__all__ = ["Cdrom", "CloneOf", "CloudInit", "Disk", "Firmware", "Network", "Vm", "wanted"]

State = t.Literal["started", "stopped", "present", "absent", "restarted", "reset"]

#: States after which a VM runs.
RUNNING: tuple[State, ...] = ("started", "restarted", "reset")

_SNAPSHOT = re.compile(r"[A-Za-z][A-Za-z0-9_\-]{1,39}")


@dataclasses.dataclass(frozen=True)
class CloneOf:
    """``vmid`` is 0 where the source is known by its ``name``. ``full`` is None for what the source allows."""

    vmid: int
    name: str
    full: bool | None = None
    storage: str = ""
    format: str = ""
    snapshot: str = ""

    @property
    def title(self) -> str:
        return f"VM {self.vmid}" if self.vmid else f"the VM {self.name!r}"


@dataclasses.dataclass(frozen=True)
class Vm:
    """``options`` are whole values; an empty text removes the option. ``vmid`` is 0 where it is to be found by the name.
    ``agent`` holds the sub-keys that are wanted. ``pool`` and ``template`` are None when left alone.
    """

    vmid: int
    name: str
    node: str
    state: State
    options: t.Mapping[str, options.Value]
    disks: tuple[Disk, ...] = ()
    networks: tuple[Network, ...] = ()
    efidisk: Firmware | None = None
    tpm: Firmware | None = None
    cdroms: tuple[Cdrom, ...] = ()
    cloud_init: CloudInit | None = None
    agent: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    pool: str | None = None
    template: bool | None = None
    clone: CloneOf | None = None
    renamed_from: str = ""
    allow_restart: bool = False
    migrate: bool = False
    move_disks: bool = False

    @property
    def title(self) -> str:
        if not self.vmid:
            return f"the VM {self.name!r}"
        return f"VM {self.vmid} ({self.name})" if self.name else f"VM {self.vmid}"

    @property
    def runs(self) -> bool:
        return self.state in RUNNING


def wanted(entries: t.Iterable[Params]) -> list[Vm]:
    """All entries checked; raises one :class:`InvalidInput` that names every problem with its place."""
    vms, problems = each("vms", entries, _vm)
    problems += _doubles(vms)
    if problems:
        raise InvalidInput(" ".join(problems))
    return vms


def _doubles(vms: t.Sequence[Vm]) -> list[str]:
    """Two entries must not mean one guest, or claim one MAC."""
    macs = [(nic.mac, vm.title) for vm in vms for nic in vm.networks if nic.mac and vm.state != "absent"]
    claims = [("vmid", str(vm.vmid), vm.title) for vm in vms if vm.vmid]
    claims += [("name", vm.name.lower(), vm.title) for vm in vms if vm.name and vm.state != "absent"]
    claims += [("MAC", mac, title) for mac, title in macs]
    return claimed_twice(claims)


def _vm(entry: Params) -> Vm:
    vmid, name = int(entry.get("vmid") or 0), entry.get("name") or ""
    if entry.get("vmid") is not None:
        check_vmid(vmid)
    state: State = entry.get("state") or "started"
    if name:
        match(NAME, name, "name", "Use letters, digits, hyphens and dots, as in a DNS name.")
    if not vmid and not name:
        raise InvalidInput("vmid and name are missing", hint="One of them says which VM is meant.")
    if state == "absent":
        return Vm(vmid, name, entry.get("node") or "", state, {})
    if not name or not entry.get("node"):
        raise InvalidInput(f"{'node' if name else 'name'} is missing for {f'vmid {vmid}' if vmid else name}",
                           hint="Only absent VMs go without.")  # fmt: skip
    vm = _described(entry, vmid, name, state)
    _consistent(vm)
    return vm


def _described(entry: Params, vmid: int, name: str, state: State) -> Vm:
    disks = tuple(vm_devices.disk(disk, index) for index, disk in enumerate(entry.get("disks") or []))
    cloud_init = vm_devices.cloud_init(entry.get("cloud_init"))
    taken = {disk.slot for disk in disks} | ({cloud_init.slot} if cloud_init else set())
    return Vm(
        vmid=vmid,
        name=name,
        node=match(NODE, entry["node"], "node", "Give the name that the web interface shows."),
        state=state,
        options={**options_of(entry), **vm_devices.passed_through(entry)},
        disks=disks,
        networks=tuple(vm_devices.network(nic, index) for index, nic in enumerate(entry.get("networks") or [])),
        efidisk=vm_devices.efidisk(entry.get("efidisk")),
        tpm=vm_devices.tpm(entry.get("tpm")),
        cdroms=vm_devices.cdroms(entry.get("cdroms") or [], taken),
        cloud_init=cloud_init,
        agent=agent_of(entry),
        pool=entry.get("pool"),
        template=entry.get("template"),
        clone=_clone(entry.get("clone")),
        renamed_from=entry.get("renamed_from") or "",
        allow_restart=bool(entry.get("allow_restart")),
        migrate=bool(entry.get("migrate")),
        move_disks=bool(entry.get("move_disks")),
    )


def _clone(entry: Params | None) -> CloneOf | None:
    if not entry:
        return None
    vmid, name = int(entry.get("vmid") or 0), entry.get("name") or ""
    if bool(vmid) == bool(name):
        raise InvalidInput("clone needs either vmid or name", hint="It says which VM or template is copied.")
    full, storage = entry.get("full"), entry.get("storage") or ""
    if storage:
        match(STORAGE, storage, "storage of clone", "Give the name of a storage.")
    if full is False and (storage or entry.get("format")):
        raise InvalidInput("A linked clone lies where its template does: it takes neither storage nor format")
    if entry.get("snapshot"):
        match(_SNAPSHOT, entry["snapshot"], "snapshot of clone", "Give the name of a snapshot.")
    return CloneOf(vmid, name, full, storage, entry.get("format") or "", entry.get("snapshot") or "")


def _consistent(vm: Vm) -> None:
    """What no single option can know."""
    slots = [disk.slot for disk in vm.disks] + ([vm.cloud_init.slot] if vm.cloud_init else [])
    slots += [nic.slot for nic in vm.networks] + [cdrom.slot for cdrom in vm.cdroms]
    twice = sorted({slot for slot in slots if slots.count(slot) > 1})
    if twice:
        raise InvalidInput(f"{vm.title} uses the slot {', '.join(twice)} twice")
    if vm.options.get("bios") == "seabios" and vm.efidisk:
        raise InvalidInput(f"{vm.title} has an efidisk, but bios is seabios", hint="Set bios to ovmf.")
    memory, balloon = vm.options.get("memory"), vm.options.get("balloon")
    if memory and balloon and int(balloon) > int(memory):
        raise InvalidInput(f"{vm.title}: balloon {balloon} is above memory {memory}")
    if vm.template and vm.runs:
        raise InvalidInput(f"{vm.title} is to be a template, which never runs", hint="Set state to stopped or present.")
    _boots_from_what_goes(vm)


def _boots_from_what_goes(vm: Vm) -> None:
    gone = {disk.slot for disk in vm.disks if disk.presence != "present"}
    gone |= {nic.slot for nic in vm.networks if nic.absent} | {cdrom.slot for cdrom in vm.cdroms if cdrom.absent}
    order = str(vm.options.get("boot", "")).removeprefix("order=").split(";")
    both = [slot for slot in order if slot in gone]
    if both:
        raise InvalidInput(f"{vm.title} is to boot from {', '.join(both)}, which it is not to have")
