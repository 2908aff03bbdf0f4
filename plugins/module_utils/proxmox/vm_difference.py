# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between a VM that is wanted and one that is there. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..errors import InvalidInput
from ..plan import HIDDEN
from . import options
from . import propertystring as ps
from .vm_form import (
    Form,
    allocation,
    efi_allocation,
    network,
    shown,
    shown_disk,
    shown_efidisk,
    shown_network,
)
from .vm_spec import Disk, EfiDisk, Network, Vm
from .vm_state import VmState


@dataclasses.dataclass
class Difference:
    """What to send, and what a plan shows of it; false when nothing differs."""

    put: Form = dataclasses.field(default_factory=dict)
    delete: tuple[str, ...] = ()
    allocate: Form = dataclasses.field(default_factory=dict)
    resizes: dict[str, int] = dataclasses.field(default_factory=dict)
    pool: str = ""
    before: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    after: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.put or self.delete or self.allocate or self.resizes or self.pool)

    def show(self, key: str, before: t.Any, after: t.Any) -> None:
        for side, value in ((self.before, before), (self.after, after)):
            if value is not None:
                side[key] = value


def new_parts(vm: Vm, state: VmState | None) -> tuple[tuple[Disk, ...], tuple[Network, ...]]:
    """The disks that are to be made, and the networks that are new or come to another bridge."""
    if state is None:
        return vm.disks, vm.networks
    disks = tuple(disk for disk in vm.disks if disk.slot not in state.config)
    networks = tuple(
        nic for nic in vm.networks if ps.parse_network(str(state.config.get(nic.slot, ""))).get("bridge") != nic.bridge
    )
    return disks, networks


def difference(vm: Vm, state: VmState) -> Difference:
    """Raises :class:`InvalidInput` for what cannot be done to a VM that exists."""
    found = Difference()
    _options(vm, state, found)
    _agent(vm, state, found)
    for nic in vm.networks:
        _network(nic, state, found)
    for disk in vm.disks:
        _disk(vm, disk, state, found)
    if vm.efidisk:
        _efidisk(vm, vm.efidisk, state, found)
    _cloud_init(vm, state, found)
    if vm.pool and vm.pool != state.pool:
        found.pool = vm.pool
        found.show("pool", state.pool or None, vm.pool)
    return found


def _options(vm: Vm, state: VmState, found: Difference) -> None:
    for key, value in vm.options.items():
        current = state.config.get(key)
        if options.comparable(key, current) == options.comparable(key, value):
            continue
        found.show(key, _shown(key, current), None if value == "" else shown(key, value))
        if value == "":
            found.delete += (key,)
        else:
            found.put[key] = value


def _agent(vm: Vm, state: VmState, found: Difference) -> None:
    current = state.config.get("agent")
    enabled = ps.flag(ps.parse(str(current or ""), "enabled").get("enabled", "0")) == "1"
    if vm.agent is None or vm.agent == enabled:
        return
    found.put["agent"] = options.merge_flag(None if current is None else str(current), "enabled", "enabled", vm.agent)
    found.show("agent", current, found.put["agent"])


def _network(nic: Network, state: VmState, found: Difference) -> None:
    text = state.config.get(nic.slot)
    if text is None:
        found.put[nic.slot] = ps.render_network(network(nic))
        found.show(nic.slot, None, shown_network(nic))
        return
    current = ps.parse_network(str(text))
    wanted = network(nic, current)
    if _comparable_network(current) != _comparable_network(wanted):
        found.put[nic.slot] = ps.render_network(wanted)
        found.show(nic.slot, text, found.put[nic.slot])


def _comparable_network(properties: t.Mapping[str, str]) -> ps.Properties:
    comparable = options.without_defaults(properties)
    if re.fullmatch(r"[0-9.]+", comparable.get("rate", "")):
        comparable["rate"] = f"{float(comparable['rate']):g}"
    return comparable


def _disk(vm: Vm, disk: Disk, state: VmState, found: Difference) -> None:
    text = state.config.get(disk.slot)
    if text is None:
        found.allocate[disk.slot] = allocation(disk)
        if disk.import_from and disk.size:
            found.resizes[disk.slot] = disk.size
        found.show(disk.slot, None, shown_disk(disk))
        return
    current = ps.parse_disk(str(text))
    _unmovable(vm, disk.slot, disk.storage, current)
    wanted = {**current, **disk.settings}
    wanted = {key: value for key, value in wanted.items() if value != ""}
    size = _grown(vm, disk, current)
    if options.without_defaults(current) != options.without_defaults(wanted):
        found.put[disk.slot] = ps.render_disk(wanted)
    if size:
        found.resizes[disk.slot] = size
        wanted["size"] = ps.size_text(size)
    if size or disk.slot in found.put:
        found.show(disk.slot, text, ps.render_disk(wanted))


def _grown(vm: Vm, disk: Disk, current: t.Mapping[str, str]) -> int | None:
    """The size that a disk must grow to, None when it has it."""
    is_ = ps.size_in_bytes(current.get("size", "0"), option=f"size of {disk.slot} as the server has it")
    if disk.size is None or disk.size == is_:
        return None
    if disk.size < is_:
        raise InvalidInput(
            f"Disk {disk.slot} of {vm.title} has {ps.size_text(is_)}, wanted are {ps.size_text(disk.size)}",
            hint="Disks only grow: set the size that it has, or make a new disk.",
        )
    return disk.size


def _unmovable(vm: Vm, slot: str, storage: str, current: t.Mapping[str, str]) -> None:
    volume = current.get("file", "")
    if current.get("media") == "cdrom" or volume == "none":
        raise InvalidInput(f"The slot {slot} of {vm.title} holds a CD drive ({volume})", hint="Choose another slot.")
    if ps.storage_of(volume) != storage:
        raise InvalidInput(
            f"Disk {slot} of {vm.title} lies on the storage {ps.storage_of(volume)!r}, wanted is {storage!r}",
            hint="This module does not move disks: move it in Proxmox VE, or set the storage that it has.",
        )


def _efidisk(vm: Vm, efidisk: EfiDisk, state: VmState, found: Difference) -> None:
    text = state.config.get("efidisk0")
    if text is None:
        found.allocate["efidisk0"] = efi_allocation(efidisk)
        found.show("efidisk0", None, shown_efidisk(efidisk))
        return
    current = ps.parse_disk(str(text))
    _unmovable(vm, "efidisk0", efidisk.storage, current)
    is_ = (current.get("efitype", "2m"), ps.flag(current.get("pre-enrolled-keys", "0")))
    if is_ != (efidisk.type, str(int(efidisk.pre_enrolled_keys))):
        raise InvalidInput(
            f"efidisk0 of {vm.title} has type {is_[0]} and pre_enrolled_keys {is_[1]}; this cannot be changed",
            hint="Set what it has, or delete the EFI disk in Proxmox VE first, which loses its variables.",
        )


def _cloud_init(vm: Vm, state: VmState, found: Difference) -> None:
    if vm.cloud_init is None:
        return
    drives = [key for key, value in state.config.items() if _is_cloud_init(key, value)]
    slot = vm.cloud_init.slot
    if not drives:
        current = state.config.get(slot)
        if current is not None and ps.parse_disk(str(current)).get("file") != "none":
            raise InvalidInput(
                f"The slot {slot} of {vm.title} is in use ({current})", hint="Choose another cloud_init slot."
            )
        found.allocate[slot] = f"{vm.cloud_init.storage}:cloudinit"
        found.show(slot, current, found.allocate[slot])
    if vm.cloud_init.password and not state.config.get("cipassword"):
        found.put["cipassword"] = vm.cloud_init.password
        found.show("cipassword", None, HIDDEN)
    if vm.cloud_init.addresses is not None:
        _superfluous_addresses(vm.cloud_init.addresses, state, found)


def _superfluous_addresses(count: int, state: VmState, found: Difference) -> None:
    for key, value in sorted(state.config.items()):
        number = key.removeprefix("ipconfig")
        if key.startswith("ipconfig") and number.isdigit() and int(number) >= count and str(value).strip():
            found.delete += (key,)
            found.show(key, value, None)


def _is_cloud_init(key: str, value: options.Value) -> bool:
    return bool(re.fullmatch(r"(ide|sata|scsi)\d+", key)) and "cloudinit" in ps.parse_disk(str(value)).get("file", "")


def _shown(key: str, value: options.Value | None) -> t.Any:
    return None if value is None or str(value).strip() == "" else shown(key, value)
