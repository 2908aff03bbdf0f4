# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change so that pools are as wished. Pure.

A guest belongs to one pool at most, a storage to any number. A pool below another one has its name before its own:
``lab/media``.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import InvalidInput
from ...plan import Change, Plan
from ..api import rights
from ..api.names import VMIDS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+){0,2}")


@dataclasses.dataclass(frozen=True)
class Pool:
    """A wish. None is left alone. ``release`` lets go of what is in a pool that is to be absent."""

    name: str
    present: bool = True
    comment: str | None = None
    vms: frozenset[int] | None = None
    storages: frozenset[str] | None = None
    exclusive: bool = False
    allow_move: bool = False
    release: bool = False

    @property
    def resource(self) -> str:
        return f"pool/{self.name}"


@dataclasses.dataclass(frozen=True)
class Members:
    vms: frozenset[int] = frozenset()
    storages: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.vms or self.storages)

    def __or__(self, other: Members) -> Members:
        return Members(self.vms | other.vms, self.storages | other.storages)

    def __sub__(self, other: Members) -> Members:
        return Members(self.vms - other.vms, self.storages - other.storages)

    def shown(self) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {"vms": sorted(self.vms), "storages": sorted(self.storages)}
        return {key: value for key, value in found.items() if value}

    def form(self) -> dict[str, str]:
        parts = {"vms": ",".join(map(str, sorted(self.vms))), "storage": ",".join(sorted(self.storages))}
        return {key: value for key, value in parts.items() if value}

    def __str__(self) -> str:
        return ", ".join(
            [*(f"VM {vmid}" for vmid in sorted(self.vms)), *(f"storage {one}" for one in sorted(self.storages))]
        )


@dataclasses.dataclass(frozen=True)
class State:
    """A pool that exists."""

    comment: str = ""
    members: Members = dataclasses.field(default_factory=Members)


@dataclasses.dataclass(frozen=True)
class Current:
    """``names`` are all pools that may be seen, ``pools`` those that wishes are about. ``guests`` (id -> its pool, or
    empty) and ``storages`` are None when nothing is to be added."""

    names: frozenset[str]
    pools: t.Mapping[str, State]
    guests: t.Mapping[int, str] | None = None
    storages: frozenset[str] | None = None


@dataclasses.dataclass(frozen=True)
class Operation:
    """Create or not, then take out, then put in; or take out and delete. ``homes`` are the pools of the guests."""

    verb: t.Literal["create", "update", "delete"]
    name: str
    comment: str | None = None
    remove: Members = dataclasses.field(default_factory=Members)
    add: Members = dataclasses.field(default_factory=Members)
    move: bool = False
    homes: t.Mapping[int, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.verb} the pool {self.name}"


def additions(pools: t.Iterable[Pool], states: t.Mapping[str, State]) -> Members:
    """What the wishes put into pools that it is not in: has to be known before it is planned."""
    found = Members()
    for pool in pools:
        if pool.present:
            wanted = Members(pool.vms or frozenset(), pool.storages or frozenset())
            found |= wanted - states.get(pool.name, State()).members
    return found


def plan(pools: t.Sequence[Pool], current: Current) -> Plan:
    """Pools above before those below; then those that are to go, the lowest first."""
    planner = _Planner(pools, current)
    present = sorted((pool for pool in pools if pool.present), key=lambda pool: pool.name.count("/"))
    absent = sorted((pool for pool in pools if not pool.present), key=lambda pool: -pool.name.count("/"))
    made = [planner.keep(pool) for pool in present] + [planner.drop(pool) for pool in absent]
    return Plan.of(change for change in made if change is not None)


class _Planner:
    """Follows where guests are while changes are made one after the other."""

    def __init__(self, pools: t.Sequence[Pool], current: Current) -> None:
        self.wishes = {pool.name: pool for pool in pools}
        self.current = current
        self.names = set(current.names)
        self.members = {name: state.members for name, state in current.pools.items()}
        self.homes = dict(current.guests or {})
        for name, state in current.pools.items():
            self.homes.update(dict.fromkeys(state.members.vms, name))

    def keep(self, pool: Pool) -> Change | None:
        state = self.current.pools.get(pool.name)
        self._check_parent(pool)
        now = self.members.get(pool.name, Members())
        wanted = Members(pool.vms or frozenset(), pool.storages or frozenset())
        add, remove = wanted - now, self._not_wanted(pool, now)
        self._check_there(pool, add)
        moved = self._moved(pool, add.vms)
        comment = (
            pool.comment if pool.comment is not None and pool.comment != (state.comment if state else "") else None
        )
        if state and comment is None and not add and not remove:
            return None
        homes = {vmid: self.homes.get(vmid, "") for vmid in add.vms | remove.vms}
        operation = Operation("update" if state else "create", pool.name, comment, remove, add, bool(moved), homes)
        self._follow(pool.name, now, operation)
        before, after = _differing(state, comment, now, self.members[pool.name])
        note = "; ".join(f"VM {vmid} moves from the pool {home}" for vmid, home in sorted(moved.items()))
        return Change(pool.resource, operation.verb, before, after, note, operation)

    def drop(self, pool: Pool) -> Change | None:
        if pool.name not in self.names:
            return None
        below = sorted(name for name in self.names if name.startswith(f"{pool.name}/"))
        content = self.members.get(pool.name, Members())
        if below:
            raise InvalidInput(
                f"pool {pool.name} has pools below it: {', '.join(below)}",
                hint="Make these absent as well, in the same task.",
            )
        if content and not pool.release:
            raise InvalidInput(
                f"pool {pool.name} is not empty: {content}",
                hint="Put them elsewhere first, or let go of them with release_members; they are not deleted by that.",
            )
        self.names.discard(pool.name)
        state = self.current.pools.get(pool.name, State())
        before = {**({"comment": state.comment} if state.comment else {}), **content.shown()}
        homes = dict.fromkeys(content.vms, pool.name)
        operation = Operation("delete", pool.name, remove=content, homes=homes)
        return Change(pool.resource, "delete", before, operation=operation)

    def _check_parent(self, pool: Pool) -> None:
        parent, _slash, leaf = pool.name.rpartition("/")
        self.names.add(pool.name)
        if pool.name in self.current.names:
            return
        if not re.match(r"[A-Za-z]", leaf):
            raise InvalidInput(
                f"pool {pool.name} does not exist, and {leaf!r} begins with no letter",
                hint="The server makes no pool of such a name.",
            )
        if not parent:
            return
        if parent not in self.names or (parent in self.wishes and not self.wishes[parent].present):
            raise InvalidInput(
                f"pool {pool.name} is to be below the pool {parent}, which does not exist",
                hint=f"Name {parent} as well.",
            )

    def _not_wanted(self, pool: Pool, now: Members) -> Members:
        if not pool.exclusive:
            return Members()
        return Members(
            now.vms - pool.vms if pool.vms is not None else frozenset(),
            now.storages - pool.storages if pool.storages is not None else frozenset(),
        )

    def _check_there(self, pool: Pool, add: Members) -> None:
        """The server takes members that do not exist, and forgets them."""
        if self.current.guests is not None and (missing := add.vms - self.current.guests.keys()):
            raise InvalidInput(
                f"pool {pool.name} is to have {Members(vms=missing)}, which does not exist",
                hint="If it does, the right VM.Audit on it is missing. In check mode name VMs that are still to be made in planned_vms.",
            )
        if self.current.storages is not None and (lost := add.storages - self.current.storages):
            raise InvalidInput(
                f"pool {pool.name} is to have {Members(storages=lost)}, which does not exist",
                hint="If it does, the right Datastore.Audit on it is missing. In check mode name it in planned_storages.",
            )

    def _moved(self, pool: Pool, vms: t.Iterable[int]) -> dict[int, str]:
        moved = {
            vmid: self.homes[vmid] for vmid in sorted(vms) if self.homes.get(vmid, pool.name) not in ("", pool.name)
        }
        for vmid, home in moved.items():
            if not pool.allow_move and not self._lets_go(home, vmid):
                raise InvalidInput(
                    f"pool {pool.name} is to have VM {vmid}, which belongs to the pool {home}",
                    hint=f"Set allow_move, or describe {home} without it, with exclusive.",
                )
        return moved

    def _lets_go(self, home: str, vmid: int) -> bool:
        wish = self.wishes.get(home)
        if wish is None:
            return False
        if not wish.present:
            return wish.release
        return wish.exclusive and wish.vms is not None and vmid not in wish.vms

    def _follow(self, name: str, now: Members, operation: Operation) -> None:
        for vmid in operation.add.vms:
            home = self.homes.get(vmid, "")
            if home in self.members and home != name:
                self.members[home] = self.members[home] - Members(vms=frozenset({vmid}))
            self.homes[vmid] = name
        for vmid in operation.remove.vms:
            self.homes[vmid] = ""
        self.members[name] = (now - operation.remove) | operation.add


def _differing(
    state: State | None, comment: str | None, was: Members, now: Members
) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    if state is None:
        return {}, {**({"comment": comment} if comment else {}), **now.shown()}
    before: dict[str, t.Any] = {}
    after: dict[str, t.Any] = {}
    if comment is not None:
        before["comment"], after["comment"] = state.comment, comment
    for key, one, other in (("vms", was.vms, now.vms), ("storages", was.storages, now.storages)):
        if one != other:
            before[key], after[key] = sorted(one, key=str), sorted(other, key=str)
    return before, after


def needs(operation: Operation) -> list[rights.Need]:
    """Rights on the pool, and on what goes in or out."""
    on = f"/pool/{operation.name}"
    found = [rights.Need((on,), ("Pool.Allocate",), str(operation))]
    if operation.verb == "create":
        found.append(rights.Need((on,), ("Pool.Audit",), f"see the pool {operation.name}"))
    members = operation.add | operation.remove
    for vmid in sorted(members.vms):
        home = operation.homes.get(vmid, "")
        paths = (f"/vms/{vmid}", f"/pool/{home}") if home else (f"/vms/{vmid}",)
        found.append(rights.Need(paths, ("VM.Allocate", "Permissions.Modify"), f"change the pool of VM {vmid}"))
        if vmid in operation.add.vms and home not in ("", operation.name):
            found.append(rights.Need((f"/pool/{home}",), ("Pool.Allocate",), f"move VM {vmid} from the pool {home}"))
    for storage in sorted(members.storages):
        why = f"change the pools of storage {storage}"
        found.append(rights.Need((f"/storage/{storage}",), ("Datastore.Allocate", "Permissions.Modify"), why))
    return found


def wanted(entries: t.Iterable[t.Mapping[str, t.Any]]) -> list[Pool]:
    """Raises :class:`InvalidInput` for what no server would take."""
    pools = [_pool(entry) for entry in entries]
    homes: dict[int, str] = {}
    names: set[str] = set()
    for pool in pools:
        if pool.name in names:
            raise InvalidInput(f"pool {pool.name} is named twice", hint="Put what you want of it into one entry.")
        names.add(pool.name)
        for vmid in sorted(pool.vms or ()):
            if homes.setdefault(vmid, pool.name) != pool.name:
                raise InvalidInput(
                    f"VM {vmid} is to be in the pools {homes[vmid]} and {pool.name}", hint="It can be in one."
                )
    return pools


def _pool(entry: t.Mapping[str, t.Any]) -> Pool:
    name = str(entry["name"])
    if not NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is no name of a pool",
            hint="Write letters, digits, '-', '_' and '.', and '/' between a pool and one below it.",
        )
    vms, storages = entry.get("vms"), entry.get("storages")
    present = entry.get("state") != "absent"
    if not present and (vms is not None or storages is not None or entry.get("comment") is not None):
        raise InvalidInput(
            f"pool {name} is to be absent and has members or a comment",
            hint="To let go of members, set release_members.",
        )
    if present and entry.get("release_members"):
        raise InvalidInput(
            f"pool {name}: release_members is for a pool that is to be absent",
            hint="Use exclusive, with the members that stay.",
        )
    for vmid in vms or ():
        if int(vmid) not in VMIDS:
            raise InvalidInput(f"pool {name}: {vmid} is no number of a VM", hint="They go from 100 to 999999999.")
    return Pool(
        name,
        present,
        None if entry.get("comment") is None else str(entry["comment"]).strip(),  # as the server keeps it
        frozenset(int(vmid) for vmid in vms) if vms is not None else None,
        frozenset(str(one) for one in storages) if storages is not None else None,
        bool(entry.get("exclusive")),
        bool(entry.get("allow_move")),
        bool(entry.get("release_members")),
    )
