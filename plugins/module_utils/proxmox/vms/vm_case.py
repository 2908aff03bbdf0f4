# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM that is wanted, beside what is there: what comes to it, and what that needs. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps
from . import vm_clone, vm_drives
from .vm_change import Difference
from .vm_difference import difference, new_parts
from .vm_form import Form, creation
from .vm_spec import Network, Vm
from .vm_state import Needs, VmState

#: A drive that is to be made: ``local:32``, ``local:cloudinit``.
_NEW_VOLUME = re.compile(r"[^/:]+:(\d+(\.\d+)?|cloudinit)")


@dataclasses.dataclass(frozen=True)
class Case:
    """``state`` is None for a VM that is not there; then ``source`` is what it is cloned from. ``node`` is where it will
    be. ``found`` is all of it for a new VM, and what is to be changed in the copy for a clone.
    """

    vm: Vm
    state: VmState | None
    source: VmState | None
    node: str
    found: Difference

    @property
    def moves(self) -> bool:
        """Whether it goes to another node."""
        return self.state is not None and self.state.node != self.node

    @property
    def goes(self) -> bool:
        return self.vm.state == "absent"

    @property
    def changes(self) -> bool:
        if self.goes:
            return self.state is not None
        if self.state is None or self.found or self.moves:
            return True
        return self.vm.state in ("restarted", "reset") or self.power or (
            self.state.running and self.vm.allow_restart and bool(self.state.pending)
        )  # fmt: skip

    @property
    def power(self) -> bool:
        """Whether it is to be started or stopped."""
        running = self.state is not None and self.state.running
        return (self.vm.runs and not running) or (self.vm.state == "stopped" and running)

    @property
    def forms(self) -> Form:
        return {**self.found.put, **self.found.allocate}

    def storages(self) -> set[str]:
        """On which disks are made."""
        found = set(self.found.moves.values())
        for key, value in self.forms.items():
            volume = ps.parse_disk(str(value)).get("file", "") if vm_drives.DRIVE.fullmatch(key) else ""
            if _NEW_VOLUME.fullmatch(volume):
                found.add(ps.storage_of(volume))
        if self.vm.clone and self.source and self.state is None:
            found |= vm_clone.storages(self.vm, self.source)
        return found

    def volumes(self) -> dict[str, str]:
        """Images, ISOs and snippets that are used for the first time -> what for."""
        found: dict[str, str] = {}
        for key, value in self.forms.items():
            if key == "cicustom":
                found.update({volume: "cloud_init" for volume in ps.parse(str(value)).values()})
            elif vm_drives.DRIVE.fullmatch(key):
                properties = ps.parse_disk(str(value))
                iso = properties.get("file", "") if properties.get("media") == "cdrom" else ""
                volume = properties.get("import-from") or ("" if iso == "none" else iso)
                found.update({volume: key} if volume else {})
        return found

    def networks(self) -> tuple[Network, ...]:
        """Those that are new or come to another bridge."""
        if self.moves:
            return tuple(nic for nic in self.vm.networks if not nic.absent)
        return new_parts(self.vm, self.state)[1]

    def mappings(self) -> dict[str, set[str]]:
        """Resource mappings that are used for the first time, by kind."""
        found: dict[str, set[str]] = {}
        for key, value in self.forms.items():
            kind = {"hostpci": "pci", "usb": "usb"}.get(key.rstrip("0123456789"))
            name = ps.parse(str(value), "host").get("mapping") if kind else None
            if kind and name:
                found.setdefault(kind, set()).add(name)
        return found


def case(vm: Vm, state: VmState | None, sources: t.Mapping[int, VmState]) -> Case:
    """Raises :class:`InvalidInput` for what cannot be done to a VM that exists."""
    if vm.state == "absent":
        return Case(vm, state, None, state.node if state else vm.node, Difference())
    if state is not None:
        node = vm.node if vm.migrate else state.node
        found = difference(vm, state) if state.kind == "qemu" else Difference()
        return Case(vm, state, None, node, found)
    if vm.clone is None:
        for disk in vm.disks:
            if disk.presence == "present":
                vm_drives.check_new_disk(vm, disk)
        form, shown, resizes = creation(vm)
        whole = Difference(put=form, resizes=resizes, after=shown, template=bool(vm.template))
        return Case(vm, None, None, vm.node, whole)
    source = vm_clone.source_of(vm, sources)
    return Case(vm, None, source, vm.node, difference(vm, vm_clone.predicted(vm, source)))


def needs(
    wanted: t.Sequence[Vm], current: t.Mapping[int, VmState], sources: t.Mapping[int, VmState] | None = None
) -> Needs:
    """What must be known to judge what is new: nothing when nothing is."""
    nodes: set[str] = set()
    bridges: set[str] = set()
    images: set[tuple[str, str]] = set()
    mappings: set[str] = set()
    migrations: set[tuple[int, str, str]] = set()
    changes = pools = False
    for vm in wanted:
        try:
            one = case(vm, current.get(vm.vmid), sources or {})
        except InvalidInput:
            continue  # said when it is planned
        changes = changes or one.changes
        pools = pools or bool(one.found.pool or (one.state is None and vm.pool))
        new = not one.goes and one.state is None
        if new or one.moves or one.storages() or one.volumes() or one.networks():
            beside = one.source or (one.state if one.moves else None)
            nodes |= {one.node} | ({beside.node} if beside else set())
        bridges |= {one.node} if one.networks() and not one.goes else set()
        images |= {(one.node, volume) for volume in one.volumes()}
        mappings |= set(one.mappings())
        migrations |= {(vm.vmid, one.state.node, one.node)} if one.state and one.moves else set()
    return Needs(frozenset(nodes), frozenset(bridges), frozenset(images), changes, pools, frozenset(mappings),
                 frozenset(migrations))  # fmt: skip
