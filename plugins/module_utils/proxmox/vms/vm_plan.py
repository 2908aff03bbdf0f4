# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be changed so that VMs are as they are wanted. Pure: nothing is asked and nothing is written here."""

from __future__ import annotations

import typing as t

from ...errors import InvalidInput
from ...plan import Change, Plan
from ..api import propertystring as ps
from ..guests.guest_plan import Planned, plan_each
from . import vm_clone
from .options import gets_pinned, needs_restart, on_drive
from .vm_case import Case, case, needs
from .vm_change import Difference
from .vm_checks import check_parts, check_rights
from .vm_form import shown_config
from .vm_operations import Clone, Create, Destroy, Migrate, Power, Update
from .vm_spec import Vm
from .vm_state import Surroundings, VmState

__all__ = ["Planned", "needs", "plan"]

NEEDS_RESTART = "needs a restart"


def plan(
    wanted: t.Sequence[Vm],
    current: t.Mapping[int, VmState],
    around: Surroundings,
    planned_images: t.Collection[str] = (),
    sources: t.Mapping[int, VmState] | None = None,
) -> Planned:
    """The changes of all VMs, in the order of the input. Raises one :class:`InvalidInput` that names every problem.

    ``sources`` are the VMs that clones are made of.
    """
    planned = plan_each(wanted, current, "VM", lambda vm, state: _vm(vm, state, around, planned_images, sources or {}))
    check_rights([change.operation for change in planned.plan], {**(sources or {}), **current}, around)
    return planned


def _vm(
    vm: Vm,
    state: VmState | None,
    around: Surroundings,
    planned_images: t.Collection[str],
    sources: t.Mapping[int, VmState],
) -> Planned:
    if state is not None:
        _same_guest(vm, state)
    one = case(vm, state, sources)
    if one.goes:
        return Planned(Plan.of(_gone(vm, state) if state else []))
    check_parts(one, around, planned_images)
    if state is not None:
        return _existing(one, state, around)
    return Planned(Plan.of(_cloned(one, one.source, around) if one.source else _new(one)))


def _same_guest(vm: Vm, state: VmState) -> None:
    """A number that belongs to something else must never be changed or deleted."""
    if state.kind != "qemu":
        raise InvalidInput(f"vmid {vm.vmid} is a container on node {state.node}, not a VM", hint="Choose another vmid.")
    if vm.name and state.name.lower() not in (vm.name.lower(), vm.renamed_from.lower() or vm.name.lower()):
        raise InvalidInput(
            f"vmid {vm.vmid} belongs to the VM {state.name or '(without a name)'!r} on node {state.node}, not to {vm.name!r}",
            hint="Choose another vmid, or say with renamed_from that that VM is meant.",
        )
    if state.template and vm.state != "absent" and not vm.template:
        raise InvalidInput(
            f"{vm.title} is a template, which cannot be changed into a VM",
            hint="Choose another vmid, or set template to true.",
        )
    if vm.state == "absent" and int(state.config.get("protection") or 0):
        raise InvalidInput(
            f"VM {vm.vmid} ({state.name}) is protected against removal",
            hint="Set protection to false in a run of its own first.",
        )


def _new(one: Case) -> list[Change]:
    vm, found = one.vm, one.found
    shown = {**found.after, "template": 1} if found.template else found.after
    operation = Create(vm, one.node, found.put, found.resizes, found.template)
    return [Change(_name(vm), "create", after=shown, operation=operation), *_started(vm, one.node)]


def _cloned(one: Case, source: VmState, around: Surroundings) -> list[Change]:
    """One change: what differs in the copy is part of making it."""
    vm, way = one.vm, vm_clone.route(one.vm, source, around)
    made_on = source.node if way == "later" else one.node
    operation = Clone(
        vm=vm,
        node=source.node,
        source=source,
        form=vm_clone.form(vm, source, way),
        storages=frozenset(vm_clone.storages(vm, source)),
        update=Update(vm, made_on, "", one.found, late=True),
        move_to=one.node if way == "later" else "",
    )
    full = vm_clone.is_full(vm, source)
    shown = {"node": one.node, "name": vm.name, "clone": f"{source.vmid} ({source.name})", "full": full}
    shown |= {key: value for key, value in (("pool", vm.pool), ("storage", vm.clone and vm.clone.storage)) if value}
    return [Change(_name(vm), "create", after={**shown, **one.found.after}, operation=operation),
            *_started(vm, one.node)]  # fmt: skip


def _started(vm: Vm, node: str) -> list[Change]:
    return [_power(vm, node, "start")] if vm.runs else []


def _gone(vm: Vm, state: VmState) -> list[Change]:
    before = {"node": state.node, **shown_config(state.config)}
    changes = [_power(vm, state.node, "stop", kill=True)] if state.running else []
    operation = Destroy(vm, state.node, last=bool(state.clones))
    return [*changes, Change(_name(vm), "delete", before=before, operation=operation)]


def _existing(one: Case, state: VmState, around: Surroundings) -> Planned:
    """Stop before the update, so that nothing has to wait; start or restart after it."""
    vm, found = one.vm, one.found
    runs_on = state.running and vm.state != "stopped" and not found.template
    waiting = _waiting(one, state) if runs_on else set()
    if runs_on:
        _disks_that_only_come(one, state, waiting)
    taken_back = {*found.delete, *found.destroy} & state.coming
    waiting -= taken_back
    pending = tuple(sorted((waiting | set(state.pending)) - taken_back if runs_on else ()))
    power = _power_after(one, state, runs_on, pending)
    changes: list[Change] = []
    if state.running and not runs_on:
        changes.append(_power(vm, state.node, "stop", note=_by_ha(state)))
    if one.moves:
        changes.append(_migrate(one, state, runs_on, around))
    if found:
        seeds = runs_on and _seeds(found) and not (power and power.operation.to == "restart")
        operation = Update(vm, one.node, state.digest, found, late=one.moves, seeds=seeds)
        note = NEEDS_RESTART if waiting else ""
        changes.append(Change(_name(vm), "update", found.before, found.after, note, operation))
    warnings = _warnings(one, state, pending)
    if power:
        changes.append(power)
        pending = () if power.operation.to != "reset" else pending
    return Planned(Plan.of(changes), warnings, {vm.vmid: pending} if pending else {})


def _waiting(one: Case, state: VmState) -> set[str]:
    """Options of a VM that goes on running which wait for a restart. A new ``hotplug`` counts for later requests only."""
    found, config = one.found, state.config
    removed = {*found.delete, *found.destroy}
    waiting = set()
    for key in (*found.put, *found.delete, *found.destroy, *found.allocate):
        before = config.get(key)
        if _is_cd(before) and _is_cd(found.put.get(key)):
            continue
        hotplug = config.get("hotplug")
        if key in found.allocate or key in found.destroy:
            hotplug = found.put.get("hotplug", None if "hotplug" in found.delete else hotplug)
        if needs_restart(key, None, None if hotplug is None else str(hotplug), None if key in removed else before):
            waiting.add(key)
    if one.vm.state == "reset":
        waiting = {key for key in waiting if not on_drive(key)}  # the guest boots, with its new drive
    if gets_pinned(found.put, found.delete, config.get("machine")):
        waiting.add("machine")
    return waiting


def _seeds(found: Difference) -> bool:
    """Whether what stands on a cloud-init drive that is there changes."""
    comes = any(str(volume).endswith(":cloudinit") for volume in found.allocate.values())
    return not comes and any(on_drive(key) for key in (*found.put, *found.delete))


def _disks_that_only_come(one: Case, state: VmState, waiting: set[str]) -> None:
    """Raises :class:`InvalidInput` for work on disks that the VM only has from its next start on."""
    work = {*one.found.resizes, *one.found.moves}
    slots = sorted(work & (state.coming | (waiting & set(one.found.allocate))))
    if slots:
        raise InvalidInput(
            f"{', '.join(slots)} of {one.vm.title} only come with its next start, so they can be neither grown nor moved",
            hint="Stop the VM first; or make such a disk on scsi or virtio, which a running VM takes at once.",
        )


def _is_cd(value: t.Any) -> bool:
    return value is not None and ps.parse_disk(str(value)).get("media") == "cdrom"


def _power_after(one: Case, state: VmState, runs_on: bool, pending: tuple[str, ...]) -> Change | None:
    vm, node, ha = one.vm, one.node, _by_ha(state)
    if not state.running:
        return _power(vm, node, "start", note=ha) if vm.runs else None
    if not runs_on:
        return None
    if vm.state == "restarted" or (pending and vm.allow_restart):
        applies = f"applies {', '.join(pending)}" if pending else ""
        return _power(vm, node, "restart", note=", ".join(filter(None, (applies, ha))))
    if vm.state == "reset":
        return _power(vm, node, "reset", note="without a shutdown")
    return None


def _by_ha(state: VmState) -> str:
    return "by the HA manager" if state.ha not in ("", "ignored") else ""


def _migrate(one: Case, state: VmState, online: bool, around: Surroundings) -> Change:
    vm = one.vm
    told = around.migrations.get((vm.vmid, state.node, one.node), {})
    local = [disk for disk in told.get("local_disks") or [] if not int(disk.get("cdrom") or 0)]
    operation = Migrate(vm, state.node, one.node, online, with_local_disks=bool(local))
    note = "while it runs" if online else ""
    return Change(_name(vm), "update", {"node": state.node}, {"node": one.node}, note, operation)


def _warnings(one: Case, state: VmState, pending: tuple[str, ...]) -> tuple[str, ...]:
    vm, warnings = one.vm, []
    if one.node != vm.node:
        warnings.append(f"{vm.title} is on node {one.node}, not on {vm.node}; it stays there. migrate moves it.")
    if pending and not (vm.allow_restart or vm.state == "restarted"):
        warnings.append(
            f"{vm.title} is running and needs a restart before {', '.join(pending)} "
            f"take{'s' if len(pending) == 1 else ''} effect; allow_restart lets this module do it."
        )
    return tuple(warnings)


def _name(vm: Vm) -> str:
    return f"vm/{vm.vmid}"


def _power(
    vm: Vm, node: str, to: t.Literal["start", "stop", "restart", "reset"], *, kill: bool = False, note: str = ""
) -> Change:
    action = "restart" if to == "reset" else to
    return Change(_name(vm), action, note=note, operation=Power(vm, node, to, kill))
