# SPDX-License-Identifier: GPL-3.0-or-later
"""talos_reboot against played nodes: in turn or together, and never at the cost of the quorum."""

from __future__ import annotations

import pytest
from talos_lab import PlayedLab
from talos_quorum_lab import fall_ill, stand_up
from test_talos_life import build

from simlab.faults import Fault

REBOOT = "/machine.MachineService/Reboot"
THREE = ("cp1", "cp2", "cp3")


def reboots(lab: PlayedLab, mark: int) -> list[str]:
    """Who was asked to reboot since then, in order, with what came of it."""
    return [f"{entry.server} {entry.result}" for entry in lab.ledger.entries(mark) if entry.path == REBOOT]


def boot_ids(lab: PlayedLab) -> dict[str, str]:
    return {name: node.runtime.boot_id for name, node in lab.nodes.items()}


def test_nodes_reboot_in_turn_as_check_mode_says(lab: PlayedLab) -> None:
    stand_up(lab, *THREE, "w1")
    nodes, before, mark = lab.described("w1", *THREE), boot_ids(lab), lab.ledger.mark()
    checked = lab.run("reboot", check=True, nodes=nodes)
    assert not checked.get("failed"), checked
    assert boot_ids(lab) == before and not [entry for entry in lab.ledger.entries(mark) if entry.write]
    made = lab.run("reboot", nodes=nodes, wait_timeout=60)
    assert not made.get("failed"), made
    assert made["changes"] == checked["changes"]
    assert [change["resource"] for change in made["changes"]] == [f"talos-node/{name}" for name in (*THREE, "w1")]
    assert {(change["action"], change["note"]) for change in made["changes"]} == {("restart", "reboots")}
    assert reboots(lab, mark) == [f"{name} OK" for name in (*THREE, "w1")]
    now = boot_ids(lab)
    assert not set(now.values()) & set(before.values())
    assert {one["name"]: one["boot_id"] for one in made["nodes"]} == now
    assert {one["stage"] for one in made["nodes"]} == {"running"}


def test_together_only_as_many_as_the_quorum_can_miss(lab: PlayedLab) -> None:
    shared = stand_up(lab, *THREE)
    mark, before = lab.ledger.mark(), boot_ids(lab)
    for check in (True, False):
        refused = lab.run("reboot", check=check, nodes=lab.described("cp2", "cp3"), serial=False)
        assert refused["failed"] and "without cp2, cp3 1 would be left, and its quorum is 2 of 3" in refused["msg"]
        assert refused["changes"] == []
    fall_ill(lab, shared, "cp3")
    refused = lab.run("reboot", nodes=lab.described("cp1"))
    assert "etcd has 3 voting members, not healthy: cp3; without cp1 1 would be left" in refused["msg"]
    assert "Wait until etcd is healthy (talos_health)" in refused["msg"]
    shared.ill.clear()
    assert reboots(lab, mark) == [] and boot_ids(lab) == before
    made = lab.run("reboot", nodes=lab.described(*THREE), serial=False, force=True, wait_timeout=60)
    assert not made.get("failed"), made
    assert not set(boot_ids(lab).values()) & set(before.values())


def test_a_lost_quorum_is_no_time_to_reboot_but_for_who_means_it(lab: PlayedLab) -> None:
    shared = stand_up(lab, *THREE)
    fall_ill(lab, shared, "cp2", "cp3")
    mark = lab.ledger.mark()
    refused = lab.run("reboot", nodes=lab.described("cp1"))
    assert refused["failed"] and "etcd does not tell its members" in refused["msg"], refused
    assert reboots(lab, mark) == []
    made = lab.run("reboot", nodes=lab.described("cp1"), force=True, wait_healthy=False)
    assert not made.get("failed") and reboots(lab, mark) == ["cp1 OK"], made


def test_the_turn_of_a_node_comes_only_when_the_one_before_is_healthy(lab: PlayedLab) -> None:
    shared = stand_up(lab, *THREE)
    mark = lab.ledger.mark()
    lab.faults.add(Fault("delay", api="talos", verb="Reboot", args={"seconds": 0.01}))
    fall_ill(lab, shared, "cp1")  # it does not come back well
    made = lab.run("reboot", nodes=lab.described("cp1", "cp2"), wait_timeout=4)
    assert made["failed"] and "etcd" in made["msg"]
    assert reboots(lab, mark) == [], "cp2 may not go while cp1 is ill, so none goes"
    shared.ill.clear()
    assert not lab.run("reboot", nodes=lab.described("cp1", "cp2"), wait_timeout=60).get("failed")


@pytest.mark.parametrize("mode", ["powercycle", "force"])
def test_the_mode_goes_to_the_node(lab: PlayedLab, mode: str) -> None:
    build(lab, "cp1")
    made = lab.run("reboot", nodes=lab.described("cp1"), mode=mode)
    assert [change["note"] for change in made["changes"]] == [f"reboots ({mode})"]


def test_a_machine_without_a_config_has_no_reboot(lab: PlayedLab) -> None:
    lab.power_on("cp1")
    lab.run("secrets")
    refused = lab.run("reboot", nodes=lab.described("cp1"))
    assert refused["failed"] and "it is in maintenance mode, where the API has no reboot" in refused["msg"]
    assert lab.writes() == []


@pytest.mark.parametrize("kind", ["drop-before", "drop-after", "cut", "garbage"])
def test_a_lost_answer_is_not_a_second_reboot(lab: PlayedLab, kind: str) -> None:
    build(lab, "cp1")
    before, mark = boot_ids(lab), lab.ledger.mark()
    lab.faults.add(Fault(kind, api="talos", verb="Reboot"))
    made = lab.run("reboot", nodes=lab.described("cp1"))
    assert not made.get("failed"), made
    assert boot_ids(lab) != before
    asked = reboots(lab, mark)
    assert asked == (["cp1 dropped"] if kind in ("drop-after", "cut") else ["cp1 dropped", "cp1 OK"])


def test_who_may_not_is_told_of_the_role(lab: PlayedLab) -> None:
    build(lab, "cp1")
    denied = {"status": "PERMISSION_DENIED", "text": "not authorized"}
    lab.faults.add(Fault("answer", api="talos", verb="Reboot", times=0, args=denied))
    failed = lab.run("reboot", nodes=lab.described("cp1"))
    assert failed["error"]["kind"] == "AccessDenied" and "os:admin" in failed["msg"]
    assert failed["changes"] == []


def test_a_node_that_does_not_go_is_named_in_time(lab: PlayedLab) -> None:
    build(lab, "cp1")
    lab.faults.add(Fault("delay", api="talos", verb="Reboot", times=0, args={"seconds": 30}))
    failed = lab.run("reboot", nodes=lab.described("cp1"), timeout=1, wait_timeout=3)
    assert failed["failed"] and "Reboot" in failed["msg"] and "DEADLINE_EXCEEDED" in failed["msg"]


def test_a_node_that_is_off_stops_all_of_them(lab: PlayedLab) -> None:
    stand_up(lab, *THREE)
    lab.power_off("cp2")
    mark = lab.ledger.mark()
    failed = lab.run("reboot", nodes=lab.described("cp1", "cp2"), wait_timeout=2)
    assert failed["failed"] and "the Talos API of cp2" in failed["msg"]
    assert reboots(lab, mark) == []


def test_the_leader_of_etcd_hands_over_before_it_goes(lab: PlayedLab) -> None:
    shared = stand_up(lab, *THREE)
    shared.leader = "cp2"
    mark = lab.ledger.mark()
    made = lab.run("reboot", nodes=lab.described(*THREE), wait_timeout=60)
    assert not made.get("failed"), made
    calls = [(e.server, e.verb) for e in lab.ledger.entries(mark) if e.verb in ("Reboot", "EtcdForfeitLeadership")]
    assert calls == [(name, verb) for name in THREE for verb in ("EtcdForfeitLeadership", "Reboot")]
    assert "cp1 leads etcd in place of cp2" in lab.said
    assert shared.leader == "cp1"


@pytest.mark.parametrize("status", ["PERMISSION_DENIED", "UNAVAILABLE", "FAILED_PRECONDITION"])
def test_a_leadership_that_cannot_be_handed_over_is_said_and_no_obstacle(lab: PlayedLab, status: str) -> None:
    stand_up(lab, *THREE)
    arguments = {"status": status, "text": "no successor"}
    lab.faults.add(Fault("answer", api="talos", verb="EtcdForfeitLeadership", times=0, args=arguments))
    made = lab.run("reboot", nodes=lab.described("cp1"), wait_timeout=60)
    assert not made.get("failed"), made
    assert any(said.startswith("cp1 reboots with etcd's leadership, if it has it: ") for said in lab.said)


def test_force_hands_nothing_over(lab: PlayedLab) -> None:
    build(lab, "cp1")
    lab.run("reboot", nodes=lab.described("cp1"), mode="force")
    assert not [entry for entry in lab.ledger.entries() if entry.verb == "EtcdForfeitLeadership"]
