# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read to plan VMs and containers, and what of it is read again before the first write."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import Conflict, InvalidInput, NotFound
from ..api.lanes import together
from ..api.session import Session, listing, segment
from ..api.tasks import Tasks
from ..vms.vm_state import Entry, Kind, Needs, Surroundings, VmState, look_around, read
from . import guest_clones, guest_plan, guest_run
from .guest_lists import GuestLists
from .guest_names import MAKING, Wish, makers, with_number
from .restarts import Restarts

P = t.TypeVar("P", bound=guest_plan.Planned)
K = t.TypeVar("K")


class Named(Wish, t.Protocol):
    """``title`` is how people know it."""

    @property
    def title(self) -> str: ...


W = t.TypeVar("W", bound=Named)


class Template(Wish, t.Protocol):
    """``template`` is None when that is left alone."""

    @property
    def template(self) -> bool | None: ...


def becoming_templates(wishes: t.Iterable[Template], states: t.Mapping[int, VmState]) -> set[int]:
    """The numbers of those that are there and are to be made templates."""
    wanted = {wish.vmid for wish in wishes if wish.template and wish.state != "absent"}
    return {vmid for vmid in wanted if vmid in states and not states[vmid].template}


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
        #: Guests as they were when this run last saw them, also those that it has deleted since.
        self.seen: dict[int, VmState] = {}
        self._numbers: dict[str, int] = {}
        #: Of whom pool and high availability are known.
        self._whole: set[int] = set()

    def look(self, only: frozenset[int] | None) -> dict[int, VmState]:
        """All guests; or, when ``only`` are to be read again, these again and the others as they are in ``current``."""
        raise NotImplementedError

    def look_and_plan(self) -> P:
        """Warns of what is planned, after a lost answer only of what was not said before."""
        planned = super().look_and_plan()
        self.seen |= self.current
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

    def numbered(self, wish: W, name: str) -> W:
        """With the number of the guest of this name, if there is one. One that is to go may have gone in this run."""
        if wish.vmid:
            return wish
        entry = self.only_one(name, f"{wish.title} is given without vmid")
        if entry:
            self._numbers[name] = int(entry["vmid"])
        elif wish.state != "absent":
            return wish
        return with_number(wish, self._numbers.get(name, 0))

    def only_one(self, name: str, what: str) -> Entry | None:
        """The guest of this name, if there is one. Raises :class:`InvalidInput` when several have it."""
        entries = self.lists.named(name)
        if not entries and self._makings_ended():
            entries = self.lists.named(name)
        if len(entries) < 2:
            return entries[0] if entries else None
        entries = sorted(entries, key=lambda entry: int(entry["vmid"]))
        known = ", ".join(f"{entry['vmid']} on node {entry['node']}" for entry in entries)
        raise InvalidInput(
            f"{what}, and {len(entries)} {self.words} have the name {name!r}: {known}", hint="Give the vmid."
        )

    def _makings_ended(self) -> bool:
        """Whether guests were just being made, which is waited for: they have no names until then, and one of them may be
        all that is left of an earlier run."""
        making = [
            entry for entry in self.lists.cluster() if entry.get("type") == self.kind and entry.get("lock") in MAKING
        ]
        nodes = sorted({str(entry["node"]) for entry in making})
        found = [task for running in together(self.tasks.running, nodes) for task in makers(running)]
        for task in found:
            self.tasks.outlive(task)
        if found:
            self.lists = GuestLists(self.session, self.kind)
        return bool(found)

    def with_snapshots(self, states: dict[int, VmState], vmids: t.Collection[int]) -> dict[int, VmState]:
        """Those with these numbers know their snapshots: who is to become a template must not have any."""
        asking = [states[vmid] for vmid in sorted(vmids) if vmid in states and states[vmid].kind == self.kind]
        for state, names in zip(asking, together(self._snapshots, asking), strict=True):
            states[state.vmid] = dataclasses.replace(state, snapshots=names)
        return states

    def with_clones(self, states: dict[int, VmState], wishes: t.Iterable[Wish]) -> dict[int, VmState]:
        """Templates that are to go know who is linked to them."""
        going = {wish.vmid for wish in wishes if wish.state == "absent"}
        asking = [states[vmid] for vmid in sorted(going) if vmid in states and states[vmid].template]
        for state, clones in zip(asking, together(self._clones, asking), strict=True):
            states[state.vmid] = dataclasses.replace(state, clones=clones)
        return states

    def _clones(self, state: VmState) -> tuple[int, ...]:
        return guest_clones.read(self.session, state)

    def _snapshots(self, state: VmState) -> tuple[str, ...]:
        path = f"/nodes/{segment(state.node)}/{self.kind}/{state.vmid}/snapshot"
        asked = f"list the snapshots of {self.word} {state.vmid}"
        try:
            found = listing(self.session, path, "name", asked=asked)
        except NotFound as error:
            raise Conflict(asked, of=error.of, answer=error.answer, hint="It was there a moment ago.") from error
        return tuple(sorted(str(entry["name"]) for entry in found if entry["name"] != "current"))

    def around(self, need: Needs) -> Surroundings:
        if need not in self._around:
            self._around[need] = look_around(self.session, need)
        return self._around[need]
