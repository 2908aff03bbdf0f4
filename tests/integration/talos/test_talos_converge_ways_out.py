# SPDX-License-Identifier: GPL-3.0-or-later
"""Reboots and resets from any state to any that is wanted, against a model of what a node keeps and what etcd can miss:
what check mode predicts is what is then made, and it writes nothing; nobody else is touched; a second run does what its
documentation says, which for a wiped node is nothing."""

from __future__ import annotations

import asyncio
import collections.abc as c
import dataclasses
import shutil
import typing as t

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from talos_lab import PlayedLab
from talos_quorum_lab import Membership, fall_ill, stand_up
from test_talos_converge import loop_of_all, played
from test_talos_life import steps
from test_talos_reset import with_disk

Json = dict[str, t.Any]
CONTROLS = ("cp1", "cp2", "cp3")
ALL = (*CONTROLS, "w1")
#: Calls that make a node go away, and the one that goes before them.
GO = {f"/machine.MachineService/{verb}" for verb in ("Reboot", "Reset")}
HAND_OVER = "/machine.MachineService/EtcdForfeitLeadership"


@dataclasses.dataclass(frozen=True)
class Kept:
    """What is on a node's disks, and whether etcd counts it."""

    config: bool
    etcd: bool
    further: bool
    member: bool


@dataclasses.dataclass
class Crowd:
    """Three control planes and a worker, made whole again before each example."""

    lab: PlayedLab
    members: Membership

    def mend(self) -> None:
        self.members.ill.clear()
        lost = [name for name in CONTROLS if name not in self.members.running]
        for name in lost:
            self.members.members.pop(name, None)
            self.lab.nodes[name].storage.wipe("EPHEMERAL")
        for name in ALL:
            storage = self.lab.nodes[name].storage
            again = name in lost or storage.wiped or not self.lab.nodes[name].powered
            if again:  # also what is just going off by itself, as a machine whose disk was wiped
                self.lab.power_off(name)
            if storage.wiped:
                shutil.rmtree(storage.root)
            further(self.lab, name).mkdir(parents=True, exist_ok=True)
            if again:
                self.lab.power_on(name)
        first = next(name for name in CONTROLS if name not in lost)
        for module, params in steps(self.lab, first, *(name for name in ALL if name != first)):
            if module in ("apply_config", "health"):
                made = self.lab.run(module, **params)
                assert not made.get("failed"), made
        assert sorted(self.members.running & set(self.members.members)) == [*CONTROLS]

    def kept(self, name: str) -> Kept:
        storage = self.lab.nodes[name].storage
        return Kept(
            config=storage.read_config() is not None,
            etcd=(storage.ephemeral / "lib" / "etcd" / "member").exists(),
            further=further(self.lab, name).exists(),
            member=name in self.members.members,
        )

    def boots(self) -> dict[str, str]:
        return {name: self.lab.nodes[name].runtime.boot_id for name in ALL if self.lab.nodes[name].powered}

    def asked_to_go(self, mark: int) -> list[str]:
        return [entry.server for entry in self.lab.ledger.entries(mark) if entry.path in GO]

    def well(self) -> set[str]:
        return self.members.running - self.members.ill

    def may_go(self, *names: str) -> bool:
        """Whether etcd can miss them for a while. Without a quorum nobody can tell; the ill are missed by nobody."""
        there = set(self.members.members)
        going = set(names) & there
        if not going:
            return True
        if len(self.well() & there) <= len(there) / 2:
            return False
        return not going & self.well() or len((self.well() & there) - going) > len(there) / 2


def further(lab: PlayedLab, name: str) -> t.Any:
    return lab.path / f"more-{name}" / "data"


@pytest.fixture(scope="module")
def crowd(
    tmp_path_factory: pytest.TempPathFactory, loop_of_all: asyncio.AbstractEventLoop, secrets_text: str
) -> c.Iterator[Crowd]:
    lab = played(tmp_path_factory.mktemp("crowd"), loop_of_all, secrets_text, 249)
    made = Crowd(lab, stand_up(lab, *ALL, furnish=lambda: [with_disk(lab, name) for name in ALL]))
    yield made
    lab.close()


def writes(lab: PlayedLab, mark: int) -> list[str]:
    return [entry.path for entry in lab.ledger.entries(mark) if entry.write]


# -- reboots


@settings(max_examples=3, deadline=None)
@given(
    names=st.lists(st.sampled_from(ALL), min_size=1, max_size=3, unique=True),
    ill=st.sampled_from([(), (), ("cp1",), ("cp1", "cp2")]),
    serial=st.booleans(),
    force=st.booleans(),
    mode=st.sampled_from(["default", "powercycle", "force"]),
)
@example(names=["w1", "cp2"], ill=(), serial=True, force=False, mode="default")
@example(names=["cp2", "cp3"], ill=(), serial=False, force=False, mode="default")
@example(names=["cp1"], ill=("cp1",), serial=True, force=False, mode="force")
def test_those_reboot_that_may_and_nothing_else_changes(
    crowd: Crowd, names: list[str], ill: tuple[str, ...], serial: bool, force: bool, mode: str
) -> None:
    lab = crowd.lab
    crowd.mend()
    fall_ill(lab, crowd.members, *ill)
    names = names[:1] if ill else names  # the second one's turn would come while the first is still ill
    groups = [[name] for name in names] if serial else [names]
    allowed = force or all(crowd.may_go(*group) for group in groups)
    params = {
        "nodes": lab.described(*names), "serial": serial, "force": force, "mode": mode,
        "wait_healthy": not ill, "wait_timeout": 90,
    }  # fmt: skip
    boots, kept, mark = crowd.boots(), {name: crowd.kept(name) for name in ALL}, lab.ledger.mark()
    predicted = lab.run("reboot", check=True, **params)
    assert bool(predicted.get("failed")) != allowed, predicted
    assert writes(lab, mark) == [] and crowd.boots() == boots
    made = lab.run("reboot", **params)
    assert bool(made.get("failed")) != allowed, made
    assert made["changes"] == predicted["changes"] and made["changed"] == allowed
    expected = sorted(names, key=lambda name: name[0] == "w") if allowed else []  # control planes first, in their order
    assert [change["resource"] for change in made["changes"]] == [f"talos-node/{name}" for name in expected]
    asked = crowd.asked_to_go(mark)
    assert (asked if serial else sorted(asked)) == (expected if serial else sorted(expected))
    assert {name for name, boot in crowd.boots().items() if boot != boots[name]} == set(expected)
    assert {name: crowd.kept(name) for name in ALL} == kept
    assert set(writes(lab, mark)) <= {*GO, HAND_OVER}
    if allowed:
        assert {one["name"]: one["boot_id"] for one in made["nodes"]} == {name: crowd.boots()[name] for name in names}


# -- resets


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is asked of talos_reset."""

    partitions: tuple[str, ...] | None = None
    system_disk: bool = False
    further: bool = False
    graceful: bool = True
    reboot: bool = True
    force: bool = False

    @property
    def params(self) -> Json:
        given: Json = {"graceful": self.graceful, "reboot": self.reboot, "force": self.force}
        if self.partitions is not None:
            given["partitions"] = [*self.partitions]
        return {**given, "system_disk": self.system_disk, "user_disks": ["/dev/sdb"] if self.further else []}

    @property
    def wiped(self) -> set[str]:
        if self.system_disk:
            return {"STATE", "EPHEMERAL"}
        return {"STATE", "EPHEMERAL"} if self.partitions is None else set(self.partitions)

    @property
    def nothing(self) -> bool:
        return not (self.wiped or self.further)

    def after(self, kept: Kept, *, joins: bool) -> Kept:
        """A node that keeps its config and boots joins again; one that did not leave is a member that is away."""
        back = joins and self.reboot and "STATE" not in self.wiped
        return Kept(
            config=kept.config and "STATE" not in self.wiped,
            etcd=kept.etcd and (back or (not self.graceful and "EPHEMERAL" not in self.wiped)),
            further=kept.further and not self.further,
            member=kept.member and (back or not self.graceful),
        )

    def stage(self) -> set[str]:
        if not self.reboot or self.system_disk:
            return {"off"}
        return {"maintenance"} if "STATE" in self.wiped else {"booting", "running"}


PARTS = st.sampled_from([None, ("STATE",), ("EPHEMERAL",), ("EPHEMERAL", "STATE"), ()])
WISHES = st.builds(
    Wish,
    partitions=PARTS,
    further=st.booleans(),
    graceful=st.booleans(),
    reboot=st.booleans(),
    force=st.booleans(),
) | st.builds(Wish, system_disk=st.just(True), graceful=st.booleans(), force=st.booleans())


@settings(max_examples=3, deadline=None)
@given(
    name=st.sampled_from(ALL),
    wish=WISHES.filter(lambda wish: not wish.nothing),
    ill=st.sampled_from([(), (), ("cp1",), ("cp1", "cp2")]),
)
@example(name="cp2", wish=Wish(further=True), ill=())
@example(name="cp3", wish=Wish(partitions=("EPHEMERAL",)), ill=())
@example(name="cp3", wish=Wish(partitions=("EPHEMERAL",), graceful=False), ill=("cp1",))
@example(name="w1", wish=Wish(partitions=(), further=True, reboot=False), ill=())
def test_what_is_wiped_is_what_was_meant(crowd: Crowd, name: str, wish: Wish, ill: tuple[str, ...]) -> None:
    lab = crowd.lab
    crowd.mend()
    fall_ill(lab, crowd.members, *ill)
    left = 2 if wish.graceful and name in CONTROLS else 3
    well_without = len(crowd.well() - {name})
    quorum = len(crowd.well()) > 1 and (well_without >= left // 2 + 1 or (not wish.graceful and name in ill))
    allowed = wish.force or name == "w1" or quorum
    params = {"node": lab.address(name), "node_name": name, "wait_timeout": 60, **wish.params}
    boots, kept, mark = crowd.boots(), {one: crowd.kept(one) for one in ALL}, lab.ledger.mark()
    predicted = lab.run("reset", check=True, **params)
    assert bool(predicted.get("failed")) != allowed, predicted
    assert writes(lab, mark) == [] and crowd.boots() == boots and crowd.kept(name) == kept[name]
    if allowed and wish.graceful and len(crowd.well()) < 2:
        return  # forced to leave an etcd that answers nobody: the node itself waits for that
    made = lab.run("reset", **params)
    assert bool(made.get("failed")) != allowed, made
    assert made["changes"] == predicted["changes"] and made["changed"] == allowed
    assert crowd.asked_to_go(mark) == ([name] if allowed else [])
    assert {one: crowd.kept(one) for one in ALL if one != name} == {
        one: was for one, was in kept.items() if one != name
    }
    assert {one: boot for one, boot in crowd.boots().items() if one != name} == {
        one: boot for one, boot in boots.items() if one != name
    }
    if not allowed:
        assert crowd.kept(name) == kept[name] and crowd.boots() == boots
        return
    assert made["node"]["stage"] in wish.stage(), made
    if "etcd" in lab.nodes[name].describe().get("services", {}) and len(crowd.well()) > 1:
        lab.wait_for_service(name, "etcd")
    assert crowd.kept(name) == wish.after(kept[name], joins=name in CONTROLS and len(crowd.well()) > 1)
    again = lab.ledger.mark()
    if wish.stage() == {"maintenance"}:
        second = lab.run("reset", **params)
        assert (second.get("failed"), second["changes"], writes(lab, again)) == (None, [], []), second


__all__ = ["loop_of_all"]
