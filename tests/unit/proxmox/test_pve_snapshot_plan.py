# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots: what is predicted is what comes of it, whatever there was and whatever is wanted."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import rights
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.snapshots.snapshot_plan import (
    Guest,
    Operation,
    Snapshot,
    needs,
    plan,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.snapshots.snapshot_spec import Wish, wanted

NAMES = ["auto-1", "auto-2", "auto-3", "mine", "other"]


@dataclasses.dataclass
class Model:
    """A server's guest, in its own words: snapshots as the API lists them, by what the API says of its calls."""

    now: int
    running: bool
    parent: str
    listed: dict[str, dict[str, t.Any]]

    def do(self, operation: Operation) -> None:
        self.now += 1
        name = operation.name
        if operation.verb == "take":
            assert name not in self.listed, "snapshot name already used"
            memory = bool(operation.form.get("vmstate")) and self.running
            text = str(operation.form.get("description", ""))
            self.listed[name] = {"description": text, "time": self.now, "parent": self.parent, "vmstate": memory}
            self.parent = name
        elif operation.verb == "describe":
            self.listed[name]["description"] = operation.form["description"]
        elif operation.verb == "delete":
            gone = self.listed.pop(name)
            for one in self.listed.values():
                one["parent"] = gone["parent"] if one["parent"] == name else one["parent"]
            self.parent = gone["parent"] if self.parent == name else self.parent
        else:
            self.running = self.listed[name]["vmstate"] or bool(operation.form.get("start"))
            self.parent = name

    def guest(self, vmid: int, kind: str) -> Guest:
        found = {name: Snapshot(name, **one) for name, one in self.listed.items()}
        return Guest(vmid, kind, "pve1", running=self.running, parent=self.parent, snapshots=found, able=True)


@st.composite
def models(draw: st.DrawFn) -> Model:
    names = draw(st.permutations(NAMES))[: draw(st.integers(0, 5))]
    listed: dict[str, dict[str, t.Any]] = {}
    for moment, name in enumerate(names, 100):
        parent = draw(st.sampled_from(["", *listed]))
        text = draw(st.sampled_from(["", "text"]))
        listed[name] = {"description": text, "time": moment, "parent": parent, "vmstate": draw(st.booleans())}
    return Model(1000, draw(st.booleans()), draw(st.sampled_from(["", *listed])), listed)


@st.composite
def entries(draw: st.DrawFn) -> dict[str, t.Any]:
    name = draw(st.sampled_from(NAMES))
    entry: dict[str, t.Any] = {"vmid": draw(st.sampled_from([200, 310])), "name": name}
    entry["state"] = draw(st.sampled_from(["present", "present", "absent", "rolled_back"]))
    if entry["state"] == "present":
        entry["description"] = draw(st.sampled_from([None, "", "text", "other\n"]))
        entry["vmstate"] = draw(st.sampled_from([None, True])) if entry["vmid"] == 200 else None
        if name.startswith("auto-") and draw(st.booleans()):
            entry.update(prefix="auto-", keep=draw(st.integers(1, 3)))
    elif entry["state"] == "rolled_back":
        entry["start"] = draw(st.sampled_from([None, True, False]))
    return entry


WISHES = st.lists(entries(), max_size=6, unique_by=lambda entry: (entry["vmid"], entry["name"])).map(wanted)


def as_seen(guest: Guest) -> dict[str, t.Any]:
    """Without times, which only the server knows."""
    snapshots = {name: dataclasses.replace(one, time=0) for name, one in guest.snapshots.items()}
    return {"running": guest.running, "parent": guest.parent, "snapshots": snapshots}


@settings(max_examples=60, deadline=None)
@given(models(), models(), WISHES)
def test_the_prediction_is_what_comes_of_it_and_a_second_plan_is_empty(
    vm: Model, ct: Model, wishes: list[Wish]
) -> None:
    for one in ct.listed.values():
        one["vmstate"] = False
    server = {200: vm, 310: ct}
    kinds = {200: "qemu", 310: "lxc"}
    current = {vmid: model.guest(vmid, kinds[vmid]) for vmid, model in server.items()}
    before = {vmid: as_seen(guest) for vmid, guest in current.items()}
    try:
        planned = plan(wishes, current)
    except InvalidInput:
        event("nothing to roll back to")
        return
    assert {vmid: as_seen(guest) for vmid, guest in current.items()} == before
    for change in planned.plan:
        server[change.operation.guest.vmid].do(change.operation)
    now = {vmid: model.guest(vmid, kinds[vmid]) for vmid, model in server.items()}
    assert {vmid: as_seen(guest) for vmid, guest in now.items()} == {
        vmid: as_seen(guest) for vmid, guest in planned.after.items()
    }
    again = plan([wish for wish in wishes if wish.state != "rolled_back" and not _undone(wish, wishes)], now)
    assert [change.resource for change in again.plan] == []


def _undone(wish: Wish, wishes: list[Wish]) -> bool:
    """A series that a later entry makes shorter takes away what an earlier one asked for: they contradict each other."""
    return wish.name.startswith("auto-") and any(other.keep and other.vmid == wish.vmid for other in wishes)


def test_a_series_of_one_entry_is_stable() -> None:
    model = Model(1000, False, "", {})
    for number in range(1, 9):
        wishes = wanted([{"vmid": 200, "name": f"auto-{number}", "prefix": "auto-", "keep": 3}])
        for change in plan(wishes, {200: model.guest(200, "qemu")}).plan:
            model.do(change.operation)
        assert len(model.listed) == min(number, 3)
        assert not plan(wishes, {200: model.guest(200, "qemu")}).plan
    assert sorted(model.listed) == ["auto-6", "auto-7", "auto-8"]


def test_a_snapshot_that_is_wanted_is_never_the_one_that_makes_room() -> None:
    listed = {f"auto-{n}": {"description": "", "time": n, "parent": "", "vmstate": False} for n in range(1, 5)}
    guest = Model(9, False, "", listed).guest(200, "qemu")
    made = plan(wanted([{"vmid": 200, "name": "auto-1", "prefix": "auto-", "keep": 2}]), {200: guest}).plan
    assert [change.operation.name for change in made] == ["auto-2", "auto-3"]


@pytest.mark.parametrize(
    ("state", "enough"),
    [("present", {"VM.Snapshot"}), ("rolled_back", {"VM.Snapshot", "VM.Snapshot.Rollback"})],
)
def test_rights_may_come_from_the_pool(state: str, enough: set[str]) -> None:
    listed = {"one": {"description": "", "time": 1, "parent": "", "vmstate": False}}
    guest = dataclasses.replace(Model(9, False, "", listed).guest(200, "qemu"), pool="lab")
    name = "one" if state == "rolled_back" else "two"
    wish = Wish(200, name, t.cast("t.Any", state))
    (need,) = needs(plan([wish], {200: guest}).plan)
    assert set(need.any_of) == enough
    for right in enough:
        assert rights.granted({"/pool/lab": {right: 1}}, need)
    assert not rights.granted({"/vms/201": {"VM.Snapshot": 1}}, need)
