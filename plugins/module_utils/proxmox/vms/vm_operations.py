# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to VMs: the operations that a plan's changes carry. Each is applied by :mod:`vm_apply`."""

from __future__ import annotations

import dataclasses
import typing as t

from .vm_change import Difference
from .vm_form import Form
from .vm_spec import Vm
from .vm_state import VmState


@dataclasses.dataclass(frozen=True)
class Create:
    """``resizes`` are the wanted sizes in bytes, by slot, of disks that get another size with their image."""

    vm: Vm
    node: str
    form: Form = dataclasses.field(repr=False)
    resizes: t.Mapping[str, int]
    template: bool = False


@dataclasses.dataclass(frozen=True)
class Update:
    """``found`` is guarded by ``digest``. ``late`` ones are worked out anew when it is their turn: what came before them
    may have changed what they start from. ``seeds`` when the cloud-init drive is to be written anew: its values change,
    and the VM goes on running (one that starts gets a new drive anyway)."""

    vm: Vm
    node: str
    digest: str
    found: Difference = dataclasses.field(repr=False)
    late: bool = False
    seeds: bool = False

    @property
    def put(self) -> Form:
        return self.found.put

    @property
    def delete(self) -> tuple[str, ...]:
        return self.found.delete


@dataclasses.dataclass(frozen=True)
class Clone:
    """``node`` is where the copy is made. ``update`` is what is changed in it then; ``move_to`` is the node it goes to
    after that, empty when it stays."""

    vm: Vm
    node: str
    source: VmState
    form: Form
    storages: frozenset[str]
    update: Update
    move_to: str = ""


@dataclasses.dataclass(frozen=True)
class Migrate:
    vm: Vm
    node: str
    target: str
    online: bool
    with_local_disks: bool


@dataclasses.dataclass(frozen=True)
class Power:
    vm: Vm
    node: str
    to: t.Literal["start", "stop", "restart", "reset"]
    kill: bool = False


@dataclasses.dataclass(frozen=True)
class Destroy:
    """``last`` when other guests that go as well are linked to it."""

    vm: Vm
    node: str
    last: bool = False
