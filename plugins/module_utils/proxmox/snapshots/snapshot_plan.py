# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the snapshots that guests have to those that are wanted. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ...errors import InvalidInput
from ...plan import COMPUTED, Change, Plan
from ..api import rights
from .snapshot_spec import Wish

#: Time of a snapshot that is yet to be taken: after all others.
_NOT_YET = 1 << 62


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """``time`` in seconds since the epoch; ``parent`` is empty for the first of a line."""

    name: str
    description: str = ""
    time: int = 0
    parent: str = ""
    vmstate: bool = False


@dataclasses.dataclass(frozen=True)
class Guest:
    """A guest with its snapshots by name. ``parent`` is the snapshot that its present state comes from. ``node`` is empty
    for one that is yet to be made."""

    vmid: int
    kind: str  # "qemu" or "lxc"
    node: str
    name: str = ""
    pool: str = ""
    template: bool = False
    running: bool = False
    parent: str = ""
    snapshots: t.Mapping[str, Snapshot] = dataclasses.field(default_factory=dict)
    #: Whether its disks can have snapshots; None when nobody asked.
    able: bool | None = None
    lock: str = ""

    @property
    def word(self) -> str:
        return "vm" if self.kind == "qemu" else "ct"

    @property
    def title(self) -> str:
        plain = f"{'VM' if self.kind == 'qemu' else 'CT'} {self.vmid}"
        return f"{plain} ({self.name})" if self.name not in ("", plain) else plain

    def children(self, name: str) -> list[str]:
        return sorted(one.name for one in self.snapshots.values() if one.parent == name)


Verb = t.Literal["take", "describe", "delete", "roll back to"]


@dataclasses.dataclass(frozen=True)
class Operation:
    verb: Verb
    guest: Guest
    name: str
    form: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    wish: Wish | None = None

    @property
    def node(self) -> str:
        return self.guest.node

    def __str__(self) -> str:
        return f"{self.verb} the snapshot {self.name} of {self.guest.title}"


@dataclasses.dataclass(frozen=True)
class Planned:
    """``after`` are the guests as they will be, by id."""

    plan: Plan
    after: t.Mapping[int, Guest]


def plan(wishes: t.Sequence[Wish], current: t.Mapping[int, Guest]) -> Planned:
    """The wishes in their order, each upon what the one before left. Raises :class:`InvalidInput`."""
    after = dict(current)
    changes: list[Change] = []
    for wish in wishes:
        guest = after.get(wish.vmid)
        if guest is None:
            if wish.state == "absent":
                continue  # it went with its guest
            raise InvalidInput(
                f"The {wish} is wanted, but there is no such guest",
                hint="If there is one, the right VM.Audit on it is missing. In check mode, planned_vms and "
                "planned_containers may name it.",
            )
        made, after[wish.vmid] = _STATES[wish.state](wish, guest)
        changes += made
    return Planned(Plan.of(changes), after)


def needs(made: t.Iterable[Change]) -> list[rights.Need]:
    found = []
    for change in made:
        guest = change.operation.guest
        if not guest.node:
            continue  # whose pool, and so whose rights, nobody knows yet
        paths = rights.guest_paths(guest.vmid, guest.pool)
        back = ("VM.Snapshot.Rollback",) if change.operation.verb == "roll back to" else ()
        found.append(rights.Need(paths, (*back, "VM.Snapshot"), str(change.operation)))
    return found


Made = tuple[list[Change], Guest]


def _present(wish: Wish, guest: Guest) -> Made:
    there = guest.snapshots.get(wish.name)
    changes, guest = _take(wish, guest) if there is None else _describe(wish, guest, there)
    for name in _surplus(wish, guest):
        made, guest = _delete(guest, name, f"only {wish.keep} of {wish.prefix}* are kept", wish)
        changes += made
    return changes, guest


def _take(wish: Wish, guest: Guest) -> Made:
    if wish.vmstate and guest.kind == "lxc":
        raise InvalidInput(f"The {wish} is to have the memory, which only VMs can have", hint="Leave out vmstate.")
    if guest.template:
        raise InvalidInput(f"{guest.title} is a template, of which no snapshots can be taken")
    if guest.able is False:
        raise InvalidInput(
            f"{guest.title} has disks or mount points that cannot have snapshots",
            hint="It takes qcow2, or storages such as LVM-thin and ZFS.",
        )
    memory = wish.vmstate and guest.running
    shown = {"description": wish.description or "", "parent": guest.parent, "vmstate": memory}
    form = {"snapname": wish.name, "description": wish.description, "vmstate": 1 if memory else None}
    operation = Operation("take", guest, wish.name, {k: v for k, v in form.items() if v}, wish)
    new = Snapshot(wish.name, wish.description or "", _NOT_YET, guest.parent, memory)
    left = {**guest.snapshots, wish.name: new}
    change = Change(_resource(guest, wish.name), "create", after=_filled(shown), operation=operation)
    return [change], dataclasses.replace(guest, snapshots=left, parent=wish.name)


def _describe(wish: Wish, guest: Guest, there: Snapshot) -> Made:
    if wish.description is None or wish.description == there.description:
        return [], guest
    operation = Operation("describe", guest, wish.name, {"description": wish.description}, wish)
    change = Change(
        _resource(guest, wish.name),
        "update",
        {"description": there.description},
        {"description": wish.description},
        operation=operation,
    )
    new = dataclasses.replace(there, description=wish.description)
    return [change], dataclasses.replace(guest, snapshots={**guest.snapshots, wish.name: new})


def _surplus(wish: Wish, guest: Guest) -> list[str]:
    """The oldest of the series, as many as are too many; never the one that is wanted."""
    if not wish.keep:
        return []
    series = [one for one in guest.snapshots.values() if one.name.startswith(wish.prefix)]
    others = sorted((one.time, one.name) for one in series if one.name != wish.name)
    return [name for _time, name in others[: max(0, len(series) - wish.keep)]]


def _absent(wish: Wish, guest: Guest) -> Made:
    return _delete(guest, wish.name, "", wish) if wish.name in guest.snapshots else ([], guest)


def _delete(guest: Guest, name: str, why: str, wish: Wish) -> Made:
    gone = guest.snapshots[name]
    before = _filled({"description": gone.description, "parent": gone.parent, "vmstate": gone.vmstate})
    before["taken"] = _when(gone.time)
    operation = Operation("delete", guest, name, wish=wish)
    change = Change(_resource(guest, name), "delete", before=before, note=why, operation=operation)
    left = {
        one.name: dataclasses.replace(one, parent=gone.parent) if one.parent == name else one
        for one in guest.snapshots.values()
        if one.name != name
    }
    parent = gone.parent if guest.parent == name else guest.parent
    return [change], dataclasses.replace(guest, snapshots=left, parent=parent)


def _rolled_back(wish: Wish, guest: Guest) -> Made:
    """Always a change: what the disks hold now is not known to be what they held then."""
    there = guest.snapshots.get(wish.name)
    if there is None:
        known = ", ".join(sorted(guest.snapshots)) or "none"
        raise InvalidInput(f"{guest.title} has no snapshot {wish.name} to roll back to", hint=f"It has: {known}.")
    running = there.vmstate or (guest.running if wish.start is None else wish.start)
    operation = Operation("roll back to", guest, wish.name, {"start": 1} if running and not there.vmstate else {}, wish)
    change = Change(
        _resource(guest, wish.name),
        "update",
        {"parent": guest.parent, "running": guest.running},
        {"parent": wish.name, "running": running},
        note=_lost(guest, there),
        operation=operation,
    )
    return [change], dataclasses.replace(guest, parent=wish.name, running=running)


def _lost(guest: Guest, there: Snapshot) -> str:
    what = "disks and configuration" if guest.kind == "qemu" else "file systems and configuration"
    memory = ", and the memory" if guest.running else ""
    note = f"lost is what was written to {what} since {_when(there.time)}{memory}"
    later = sorted(one.name for one in guest.snapshots.values() if one.time > there.time)
    return note + (f"; taken later, and not lost: {', '.join(later)}" if later else "")


_STATES: dict[str, t.Callable[[Wish, Guest], Made]] = {
    "present": _present,
    "absent": _absent,
    "rolled_back": _rolled_back,
}


def _resource(guest: Guest, name: str) -> str:
    return f"snapshot/{guest.word}/{guest.vmid}/{name}"


def _filled(values: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key: value for key, value in values.items() if value}


def _when(moment: int) -> str:
    if moment == _NOT_YET:
        return COMPUTED
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
