# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools from wish to reality: read, plan, apply."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import Conflict, HomelabError, NotFound
from ...plan import Change, Plan, carry_out
from ...task import Result, Task
from ..api import attempts, rights
from ..api.connection import Connection
from ..api.lanes import together
from ..api.session import Session, listing
from .pool_plan import Current, Members, Operation, Pool, State, additions, needs, plan, wanted


def converge(task: Task) -> Result:
    """The module ``proxmox_pool``."""
    pools = wanted(task.params["pools"])
    connection = Connection.of(task.params)
    task.secret(connection.password, connection.token_secret)
    planned = Members()
    if task.check_mode:
        vms, storages = task.params.get("planned_vms") or (), task.params.get("planned_storages") or ()
        planned = Members(frozenset(int(vmid) for vmid in vms), frozenset(map(str, storages)))
    with Session(connection, progress=task.progress) as session:
        planner = _Planner(session, pools, planned)
        made = planner.look_and_plan()
        done = made.plan
        if not task.check_mode:
            done = attempts.carry_out(planner, lambda some: carry_out(some, planner.apply), made).done
        return task.result(done, pools=_report(pools, done))


@dataclasses.dataclass(frozen=True)
class _Planned:
    plan: Plan


class _Planner:
    def __init__(self, session: Session, pools: t.Sequence[Pool], planned: Members) -> None:
        self.session = session
        self.pools = pools
        self.planned = planned

    def look_and_plan(self) -> _Planned:
        made = plan(self.pools, read(self.session, self.pools, self.planned))
        if made:
            operations: list[Operation] = [change.operation for change in made]
            wanting = [need for operation in operations for need in needs(operation)]
            rights.check(rights.read(self.session), wanting, asked=", ".join(map(str, operations)))
        return _Planned(made)

    def apply(self, change: Change) -> None:
        with attempts.one_change(self.session):
            self._apply(change.operation)

    def _apply(self, operation: Operation) -> None:
        self.session.progress(str(operation))
        try:
            self._send(operation)
        except HomelabError as error:
            if re.search(r"already (exists|a pool member)|is not a pool member|belongs already to", error.answer):
                raise Conflict(error.asked, of=error.of, answer=error.answer, hint="Run the task again.") from error
            raise

    def _send(self, operation: Operation) -> None:
        asked, name = str(operation), {"poolid": operation.name}
        comment = {} if operation.comment is None else {"comment": operation.comment}
        if operation.verb == "create":
            self.session.post("/pools", {**name, **comment}, asked=asked)
            comment = {}
        if operation.remove:
            self.session.put("/pools", {**name, **operation.remove.form(), "delete": "1"}, asked=asked)
        if operation.add or comment:
            move = {"allow-move": "1"} if operation.move else {}
            self.session.put("/pools", {**name, **comment, **operation.add.form(), **move}, asked=asked)
        if operation.verb == "delete":
            try:
                self.session.delete("/pools", name, asked=asked)
            except NotFound:
                return  # somebody else was faster


def read(session: Session, pools: t.Sequence[Pool], planned: Members) -> Current:
    """One list, one request for each pool that is there, and what there is to put into pools when something is."""
    listed = listing(session, "/pools", "poolid", asked="list the pools")
    names = frozenset(str(entry["poolid"]) for entry in listed)
    there = [pool.name for pool in pools if pool.name in names]
    states = dict(zip(there, together(lambda name: _state(session, name), there), strict=True))
    add = additions(pools, states)
    return Current(
        names,
        states,
        _guests(session, planned.vms) if add.vms else None,
        _storages(session, planned.storages) if add.storages else None,
    )


def _state(session: Session, name: str) -> State:
    found = listing(session, "/pools", "members", {"poolid": name}, asked=f"read the pool {name}")
    entry = found[0] if found else {}
    members = entry.get("members") or []
    return State(
        str(entry.get("comment") or ""),
        Members(
            frozenset(int(one["vmid"]) for one in members if one.get("vmid") is not None),
            frozenset(str(one["storage"]) for one in members if one.get("type") == "storage"),
        ),
    )


def _guests(session: Session, planned: t.Iterable[int]) -> dict[int, str]:
    found = listing(session, "/cluster/resources", "vmid", {"type": "vm"}, asked="list the guests of the cluster")
    return {**dict.fromkeys(planned, ""), **{int(one["vmid"]): str(one.get("pool") or "") for one in found}}


def _storages(session: Session, planned: frozenset[str]) -> frozenset[str]:
    return planned | {str(one["storage"]) for one in listing(session, "/storage", "storage", asked="list the storages")}


def _report(pools: t.Sequence[Pool], made: Plan) -> list[dict[str, t.Any]]:
    touched = {change.resource for change in made}
    return [
        {"name": pool.name, "state": "present" if pool.present else "absent", "changed": pool.resource in touched}
        for pool in pools
    ]
