# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be changed so that VMs are as they are wanted. Pure: nothing is asked and nothing is written here."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import InvalidInput
from ..plan import Change, Plan
from . import vm_difference as differ
from .options import needs_restart
from .vm_checks import check_new, check_pool, check_rights
from .vm_form import Form, creation, shown_config
from .vm_spec import Vm
from .vm_state import Needs, Surroundings, VmState

NEEDS_RESTART = "needs a restart"


@dataclasses.dataclass(frozen=True)
class Create:
    """``resizes`` are the wanted sizes in bytes, by slot, of disks that get another size with their image."""

    vm: Vm
    node: str
    form: Form = dataclasses.field(repr=False)
    resizes: t.Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Update:
    """``put`` is done at once and guarded by ``digest``; ``allocate`` is disk work, which is a task of the node."""

    vm: Vm
    node: str
    digest: str
    put: Form = dataclasses.field(repr=False)
    delete: tuple[str, ...]
    allocate: Form
    resizes: t.Mapping[str, int]
    pool: str


@dataclasses.dataclass(frozen=True)
class Power:
    vm: Vm
    node: str
    to: t.Literal["start", "stop", "restart"]
    kill: bool = False


@dataclasses.dataclass(frozen=True)
class Destroy:
    vm: Vm
    node: str


@dataclasses.dataclass(frozen=True)
class Planned:
    """``pending`` says by vmid which options wait for a restart that nobody allowed."""

    plan: Plan
    warnings: tuple[str, ...] = ()
    pending: t.Mapping[int, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def needs(wanted: t.Sequence[Vm], current: t.Mapping[int, VmState]) -> Needs:
    """What must be known to judge what is new: nothing when nothing is."""
    nodes, bridges, images, changes, pools = set(), set(), set(), False, False
    for vm in wanted:
        state = current.get(vm.vmid)
        if vm.state == "absent":
            changes = changes or state is not None
            continue
        node = state.node if state else vm.node
        pools = pools or bool(vm.pool and (state is None or state.pool != vm.pool))
        disks, networks = differ.new_parts(vm, state)
        if state is None or disks or networks:
            nodes.add(node)
        if networks:
            bridges.add(node)
        images |= {(node, disk.import_from) for disk in disks if disk.import_from}
        changes = changes or state is None or bool(differ.difference(vm, state))
    return Needs(frozenset(nodes), frozenset(bridges), frozenset(images), changes, pools)


def plan(
    wanted: t.Sequence[Vm],
    current: t.Mapping[int, VmState],
    around: Surroundings,
    planned_images: t.Collection[str] = (),
) -> Planned:
    """The changes of all VMs, in the order of the input. Raises one :class:`InvalidInput` that names every problem."""
    changes: list[Change] = []
    warnings: list[str] = []
    problems: list[str] = []
    pending: dict[int, tuple[str, ...]] = {}
    for vm in wanted:
        try:
            planned = _vm(vm, current.get(vm.vmid), around, planned_images)
        except InvalidInput as error:
            problems.append(error.message)
            continue
        changes += planned.plan
        warnings += planned.warnings
        pending.update(planned.pending)
    if problems:
        raise InvalidInput(" ".join(problems))
    check_rights([change.operation for change in changes], current, around)
    return Planned(Plan.of(changes), tuple(warnings), pending)


def _vm(vm: Vm, state: VmState | None, around: Surroundings, planned_images: t.Collection[str]) -> Planned:
    if state is None:
        if vm.state == "absent":
            return Planned(Plan())
        check_pool(vm, state, around)
        check_new(vm, vm.node, vm.disks, vm.networks, around, planned_images, whole=True)
        return Planned(Plan.of(_new(vm)))
    _same_guest(vm, state)
    if vm.state == "absent":
        return Planned(Plan.of(_gone(vm, state)))
    disks, networks = differ.new_parts(vm, state)
    check_pool(vm, state, around)
    check_new(vm, state.node, disks, networks, around, planned_images)
    return _existing(vm, state)


def _same_guest(vm: Vm, state: VmState) -> None:
    """A number that belongs to something else must never be changed or deleted."""
    if state.kind != "qemu":
        raise InvalidInput(f"vmid {vm.vmid} is a container on node {state.node}, not a VM", hint="Choose another vmid.")
    if vm.name and state.name.lower() != vm.name.lower():
        raise InvalidInput(
            f"vmid {vm.vmid} belongs to the VM {state.name or '(without a name)'!r} on node {state.node}, not to {vm.name!r}",
            hint="Choose another vmid, or rename that VM first if it is the one that is meant.",
        )
    if state.template and vm.state != "absent":
        raise InvalidInput(f"{vm.title} is a template, which cannot be changed into a VM", hint="Choose another vmid.")
    if vm.state == "absent" and int(state.config.get("protection") or 0):
        raise InvalidInput(
            f"VM {vm.vmid} ({state.name}) is protected against removal",
            hint="Set protection to false in a run of its own first.",
        )


def _new(vm: Vm) -> list[Change]:
    form, shown, resizes = creation(vm)
    operation = Create(vm, vm.node, form, resizes)
    changes = [Change(f"vm/{vm.vmid}", "create", after=shown, operation=operation)]
    if vm.state == "started":
        changes.append(_power(vm, vm.node, "start"))
    return changes


def _gone(vm: Vm, state: VmState) -> list[Change]:
    before = {"node": state.node, **shown_config(state.config)}
    changes = [_power(vm, state.node, "stop", kill=True)] if state.running else []
    operation = Destroy(vm, state.node)
    return [*changes, Change(f"vm/{vm.vmid}", "delete", before=before, operation=operation)]


def _existing(vm: Vm, state: VmState) -> Planned:
    """Stop before the update, so that nothing has to wait; start or restart after it."""
    found = differ.difference(vm, state)
    running = state.running and vm.state != "stopped"
    hotplug = state.config.get("hotplug")
    waiting = {
        key
        for key in (*found.put, *found.delete, *found.allocate)
        if running and needs_restart(key, None, None if hotplug is None else str(hotplug), state.config.get(key))
    }
    pending = tuple(sorted(waiting | (set(state.pending) if running else set())))
    changes: list[Change] = []
    if state.running and vm.state == "stopped":
        changes.append(_power(vm, state.node, "stop"))
    if found:
        operation = Update(
            vm, state.node, state.digest, found.put, found.delete, found.allocate, found.resizes, found.pool
        )
        note = NEEDS_RESTART if waiting else ""
        changes.append(Change(f"vm/{vm.vmid}", "update", found.before, found.after, note, operation))
    warnings = _warnings(vm, state, pending)
    if not state.running and vm.state == "started":
        changes.append(_power(vm, state.node, "start"))
    elif pending and vm.allow_restart:
        changes.append(_power(vm, state.node, "restart", note="applies " + ", ".join(pending)))
        pending = ()
    return Planned(Plan.of(changes), warnings, {vm.vmid: pending} if pending else {})


def _warnings(vm: Vm, state: VmState, pending: tuple[str, ...]) -> tuple[str, ...]:
    warnings = []
    if state.node != vm.node:
        warnings.append(f"{vm.title} is on node {state.node}, not on {vm.node}; it stays there.")
    if pending and not vm.allow_restart:
        warnings.append(
            f"{vm.title} is running and needs a restart before {', '.join(pending)} "
            f"take{'s' if len(pending) == 1 else ''} effect; allow_restart lets this module do it."
        )
    return tuple(warnings)


def _power(
    vm: Vm, node: str, to: t.Literal["start", "stop", "restart"], *, kill: bool = False, note: str = ""
) -> Change:
    return Change(f"vm/{vm.vmid}", to, note=note, operation=Power(vm, node, to, kill))
