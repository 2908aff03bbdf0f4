# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between a VM that is wanted and one that is there. Pure."""

from __future__ import annotations

import re
import typing as t

from ...errors import InvalidInput
from ...plan import HIDDEN
from ..api import propertystring as ps
from . import options, sha_crypt, vm_drives
from .vm_change import Difference
from .vm_form import agent, network, shown, shown_network
from .vm_spec import Disk, Network, Vm
from .vm_state import VmState

__all__ = ["Difference", "difference", "new_parts"]


def new_parts(vm: Vm, state: VmState | None) -> tuple[tuple[Disk, ...], tuple[Network, ...]]:
    """The disks that are to be made or moved, and the networks that are new or come to another bridge."""
    disks = tuple(disk for disk in vm.disks if disk.presence == "present")
    networks = tuple(nic for nic in vm.networks if not nic.absent)
    if state is None:
        return disks, networks
    config = state.config
    return (
        tuple(disk for disk in disks if disk.slot not in config or vm_drives.elsewhere(disk, str(config[disk.slot]))),
        tuple(nic for nic in networks if ps.parse_network(str(config.get(nic.slot, ""))).get("bridge") != nic.bridge),
    )


def difference(vm: Vm, state: VmState) -> Difference:
    """Raises :class:`InvalidInput` for what cannot be done to a VM that exists."""
    found = Difference()
    _options(vm, state, found)
    _agent(vm, state, found)
    for nic in vm.networks:
        _network(nic, state, found)
    vm_drives.drives(vm, state, found)
    _password(vm, state, found)
    if vm.cloud_init and vm.cloud_init.addresses is not None:
        _superfluous_addresses(vm.cloud_init.addresses, state, found)
    if vm.pool is not None and vm.pool != state.pool:
        found.pool, found.leaves = vm.pool, state.pool if not vm.pool else ""
        found.show("pool", state.pool or None, vm.pool or None)
    if vm.template and not state.template:
        found.template = True
        found.show("template", 0, 1)
    _boot_after(vm, state, found)
    _possible(vm, state, found)
    return found


def _options(vm: Vm, state: VmState, found: Difference) -> None:
    ostype = vm.options.get("ostype", state.config.get("ostype"))
    for key, value in vm.options.items():
        current = state.config.get(key)
        if key == "machine":
            value = options.with_pin(value, current, ostype)
        if value == "" and key not in _EMPTY_IS_DEFAULT:
            if current is None or str(current).strip() == "":
                continue
        elif options.comparable(key, current) == options.comparable(key, value):
            continue
        found.show(key, _shown(key, current), None if value == "" else shown(key, value))
        if value == "":
            found.delete += (key,)
        else:
            found.put[key] = value


#: Options whose empty text says the same as their absence, in any spelling.
_EMPTY_IS_DEFAULT = ("description", "tags", "nameserver", "searchdomain", "sshkeys", "ciuser", "cicustom")


def _agent(vm: Vm, state: VmState, found: Difference) -> None:
    if not vm.agent or "agent" in vm.options:
        return
    current = state.config.get("agent")
    wanted = agent(vm, "" if current is None else str(current))
    if options.comparable("agent", current) != options.comparable("agent", wanted):
        found.put["agent"] = wanted
        found.show("agent", current, wanted)


def _network(nic: Network, state: VmState, found: Difference) -> None:
    text = state.config.get(nic.slot)
    if nic.absent:
        if text is not None:
            found.delete += (nic.slot,)
            found.show(nic.slot, text, None)
        return
    if text is None:
        found.put[nic.slot] = ps.render_network(network(nic))
        found.show(nic.slot, None, shown_network(nic))
        return
    current = ps.parse_network(str(text))
    wanted = network(nic, current)
    if _comparable_network(current) != _comparable_network(wanted):
        found.put[nic.slot] = ps.render_network(_spelt_as_it_is(wanted, str(text)))
        found.show(nic.slot, text, shown_network(nic, current))


def _spelt_as_it_is(wanted: t.Mapping[str, str], text: str) -> t.Mapping[str, str]:
    """For the server another spelling of a MAC is another card, for which it unplugs that of a running VM."""
    mac = wanted.get("macaddr", "")
    there = re.search(re.escape(mac), text, re.IGNORECASE) if mac else None
    return {**wanted, "macaddr": there[0]} if there else wanted


def _comparable_network(properties: t.Mapping[str, str]) -> ps.Properties:
    comparable = options.without_defaults(properties)
    if re.fullmatch(r"[0-9.]+", comparable.get("rate", "")):
        comparable["rate"] = f"{float(comparable['rate']):g}"
    return comparable


def _password(vm: Vm, state: VmState, found: Difference) -> None:
    """By the hash that the server keeps; where it did not tell, a password that is there is left alone."""
    password = vm.cloud_init.password if vm.cloud_init else ""
    if not password:
        return
    is_set, known = bool(state.config.get("cipassword")), state.password_hash
    if is_set and (not known or known == password or sha_crypt.matches(password, known)):
        return
    found.put["cipassword"] = password
    found.show("cipassword", HIDDEN if is_set else None, HIDDEN if not is_set else f"{HIDDEN}, another one")


def _superfluous_addresses(count: int, state: VmState, found: Difference) -> None:
    for key, value in sorted(state.config.items()):
        number = key.removeprefix("ipconfig")
        if key.startswith("ipconfig") and number.isdigit() and int(number) >= count and str(value).strip():
            found.delete += (key,)
            found.show(key, value, None)


def _boot_after(vm: Vm, state: VmState, found: Difference) -> None:
    """The server puts a CD drive into the boot order that comes to a VM: an order that is given is sent with it."""
    comes = [cdrom.slot for cdrom in vm.cdroms if cdrom.slot in found.put and cdrom.slot not in state.config]
    if comes and vm.options.get("boot"):
        found.put["boot"] = vm.options["boot"]


def _possible(vm: Vm, state: VmState, found: Difference) -> None:
    goes = [key for key in (*found.delete, *found.destroy) if vm_drives.DRIVE.fullmatch(key)]
    if goes and int(state.config.get("protection") or 0) and found.put.get("protection") != 0:
        raise InvalidInput(
            f"{vm.title} is protected, so {', '.join(goes)} cannot be removed", hint="Set protection to false."
        )
    if found.template and state.snapshots:
        raise InvalidInput(
            f"{vm.title} is to be a template, but has the snapshots {', '.join(state.snapshots)}",
            hint="Delete them first (proxmox_snapshot): a template has none.",
        )
    disk_work = [*found.resizes, *found.moves, *found.allocate, *goes]
    if state.template and disk_work:
        raise InvalidInput(
            f"{vm.title} is a template: its disks ({', '.join(sorted(set(disk_work)))}) cannot be changed",
            hint="Clone it, change the clone, and make that a template.",
        )


def _shown(key: str, value: options.Value | None) -> t.Any:
    return None if value is None or str(value).strip() == "" else shown(key, value)
