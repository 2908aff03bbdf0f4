# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read to plan VMs and containers, and what of it is read again before the first write."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import InvalidInput
from ..api.session import Session
from ..api.tasks import Tasks
from ..vms.vm_state import Entry, Kind, Needs, Surroundings, VmState, look_around, read
from . import guest_plan, guest_run
from .guest_lists import GuestLists
from .restarts import Restarts

P = t.TypeVar("P", bound=guest_plan.Planned)
K = t.TypeVar("K")


class GuestPlanner(guest_run.Planner[VmState, P]):
    """A second look is for the guests that are to be changed; the others, and what is around them, were just read."""

    kind: Kind = "qemu"
    #: Several of them.
    words = "VMs"

    def __init__(self, session: Session, tasks: Tasks, vmids: t.Collection[int]) -> None:
        super().__init__(session, tasks, vmids)
        self.lists = GuestLists(session, self.kind)
        self.restarts = Restarts()
        self._warned: set[str] = set()
        self._looked_at: frozenset[int] = frozenset()
        self._around: dict[Needs, Surroundings] = {}
        #: Of whom pool and high availability are known.
        self._whole: set[int] = set()

    def look(self, only: frozenset[int] | None) -> dict[int, VmState]:
        """All guests; or, when ``only`` are to be read again, these again and the others as they are in ``current``."""
        raise NotImplementedError

    def look_and_plan(self) -> P:
        """Warns of what is planned, after a lost answer only of what was not said before."""
        planned = super().look_and_plan()
        for warning in planned.warnings:
            if warning not in self._warned:
                self.tasks.warn(warning)
        self._warned |= set(planned.warnings)
        return planned

    def read(self) -> dict[int, VmState]:
        self.current = {}
        self._looked_at, self._around, self._whole = frozenset(), {}, set()
        self.lists = GuestLists(self.session, self.kind)
        return self.look(None)

    def read_again(self, vmids: frozenset[int]) -> dict[int, VmState]:
        self.lists = GuestLists(self.session, self.kind)
        return self.look(vmids)

    def states(
        self, places: t.Mapping[int, str], *, whole: bool, only: frozenset[int] | None = None
    ) -> dict[int, VmState]:
        """``places``: where each should be, by its number; an empty one is looked for everywhere."""
        vmids, before = frozenset(places), self.current
        again = vmids if only is None else (vmids & only) | (vmids - self._looked_at)
        # What was not there is looked for in the list of the cluster, which is whole by itself.
        nodes = {places[vmid] for vmid in again if only is None or vmid in before} - {""}
        found = read(self.session, again, self.kind, self.lists.find(again, nodes, whole=whole and only is None))
        self._looked_at = vmids
        for vmid, state in found.items():
            if vmid in before:
                found[vmid] = dataclasses.replace(state, pool=before[vmid].pool, ha=before[vmid].ha)
        return {vmid: before[vmid] for vmid in vmids - again if vmid in before} | found

    def completed(self, states: t.Mapping[K, VmState]) -> dict[K, VmState]:
        """With their pools and what high availability wants of them."""
        whole = {
            key: state if state.vmid in self._whole else self.lists.completed(state) for key, state in states.items()
        }
        self._whole |= {state.vmid for state in whole.values()}
        return whole

    def only_one(self, name: str, what: str) -> Entry | None:
        """The guest of this name, if there is one. Raises :class:`InvalidInput` when several have it."""
        entries = self.lists.named(name)
        if len(entries) < 2:
            return entries[0] if entries else None
        entries = sorted(entries, key=lambda entry: int(entry["vmid"]))
        known = ", ".join(f"{entry['vmid']} on node {entry['node']}" for entry in entries)
        raise InvalidInput(
            f"{what}, and {len(entries)} {self.words} have the name {name!r}: {known}", hint="Give the vmid."
        )

    def around(self, need: Needs) -> Surroundings:
        if need not in self._around:
            self._around[need] = look_around(self.session, need)
        return self._around[need]
