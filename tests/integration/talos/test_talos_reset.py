# SPDX-License-Identifier: GPL-3.0-or-later
"""talos_reset against played nodes: what is wiped, who is not, and what a second run does."""

from __future__ import annotations

import dataclasses
import pathlib
import time
import typing as t

import pytest
from talos_lab import PlayedLab
from talos_quorum_lab import fall_ill, stand_up
from test_talos_life import build, steps

from simlab.contracts import Disk
from simlab.faults import Fault

RESET = "/machine.MachineService/Reset"
THREE = ("cp1", "cp2", "cp3")


def wiped(lab: PlayedLab, mark: int) -> list[str]:
    return [f"{entry.server} {entry.result}" for entry in lab.ledger.entries(mark) if entry.path == RESET]


def reset(lab: PlayedLab, name: str, *, check: bool = False, **params: t.Any) -> dict[str, t.Any]:
    return lab.run("reset", check=check, **{"node": lab.address(name), "node_name": name, **params})


def test_a_node_leaves_is_wiped_and_comes_back(lab: PlayedLab) -> None:
    shared = stand_up(lab, *THREE)
    mark = lab.ledger.mark()
    checked = reset(lab, "cp3", check=True)
    assert wiped(lab, mark) == []
    made = reset(lab, "cp3")
    assert not made.get("failed"), made
    assert (
        made["changes"]
        == checked["changes"]
        == [
            {
                "resource": "talos-node/cp3",
                "action": "delete",
                "before": {"partitions": ["STATE", "EPHEMERAL"]},
                "note": "leaves etcd, is wiped, reboots",
            }
        ]
    )
    assert made["node"] == {"name": "cp3", "address": lab.address("cp3"), "stage": "maintenance"}
    assert sorted(shared.members) == ["cp1", "cp2"]
    again = reset(lab, "cp3")
    assert (again["changed"], wiped(lab, mark)) == (False, ["cp3 OK"])
    for module, params in steps(lab, *THREE):
        back = lab.run(module, **params)
        assert not back.get("failed"), back
    assert sorted(shared.members) == [*THREE]


def test_the_data_alone_is_wiped_and_the_config_stays(lab: PlayedLab) -> None:
    shared = stand_up(lab, *THREE)
    boot = lab.nodes["cp3"].runtime.boot_id
    made = reset(lab, "cp3", partitions=["EPHEMERAL"])
    assert not made.get("failed"), made
    assert made["node"]["stage"] in ("booting", "running") and lab.nodes["cp3"].runtime.boot_id != boot
    assert lab.nodes["cp3"].storage.read_config() is not None
    assert not lab.run("health", nodes=lab.described(*THREE)).get("failed")
    assert sorted(shared.members) == [*THREE], "it joined again by itself"


def test_etcd_does_not_lose_its_quorum_or_its_last_data(lab: PlayedLab) -> None:
    shared = stand_up(lab, *THREE)
    lab.power_off("cp3")
    mark = lab.ledger.mark()
    for check in (True, False):
        refused = reset(lab, "cp2", graceful=False, check=check)
        assert "not healthy: cp3; without cp2 1 would be left, and its quorum is 2 of 3" in refused["msg"], refused
        refused = reset(lab, "cp2", check=check)
        assert "without cp2 1 would be left, and its quorum is 2 of 2" in refused["msg"]
    fall_ill(lab, shared, "cp2")
    refused = reset(lab, "cp1")
    assert "etcd does not tell its members" in refused["msg"] and "Nothing was wiped." in refused["msg"]
    assert wiped(lab, mark) == []
    forced = reset(lab, "cp1", graceful=False, force=True)
    assert not forced.get("failed") and wiped(lab, mark) == ["cp1 OK"], forced


def test_the_only_control_plane_is_wiped_for_who_means_it(lab: PlayedLab) -> None:
    stand_up(lab, "cp1")
    for graceful in (True, False):
        refused = reset(lab, "cp1", graceful=graceful)
        assert "cp1 would take the last data of etcd along, and with it the cluster" in refused["msg"]
    assert RESET not in lab.writes()
    assert reset(lab, "cp1", force=True)["node"]["stage"] == "maintenance"


def test_another_machine_at_the_address_is_left_alone(lab: PlayedLab) -> None:
    build(lab, "cp1")
    refused = lab.run("reset", node=lab.address("cp1"), node_name="cp2", force=True)
    assert "the machine there calls itself 'cp1'" in refused["msg"] and "Nothing was wiped." in refused["msg"]
    assert RESET not in lab.writes()


def test_another_cluster_s_node_is_left_alone(lab: PlayedLab) -> None:
    build(lab, "cp1")
    other = lab.path / "other" / "talos-secrets.yaml"
    lab.run("secrets", secrets_path=str(other))
    refused = reset(lab, "cp1", secrets_path=str(other), force=True, wait_timeout=20)
    assert refused["failed"] and "as a node of this cluster" in refused["msg"]
    assert RESET not in lab.writes()


def with_disk(lab: PlayedLab, name: str) -> pathlib.Path:
    """One more disk for a machine that was never on; where its data is."""
    lab.nodes[name] = lab._machine(name)
    path = lab.path / f"more-{name}"
    (path / "data").mkdir(parents=True)
    (path / "data" / "pool").write_text("x")
    machine = lab.nodes[name].machine
    disks = (*machine.guest.disks, Disk("scsi1", "local-lvm:more", path, 1 << 30, None))
    lab.machines[name].guest = dataclasses.replace(machine.guest, disks=disks)
    return path / "data"


def test_further_disks_are_wiped_and_only_those_that_are_there(lab: PlayedLab) -> None:
    data = with_disk(lab, "cp1")
    build(lab, "cp1")
    for disk, why in (
        ("/dev/sdx", "cp1 has no disk /dev/sdx. It has /dev/sdb"),
        ("/dev/sda", "which is the system disk"),
    ):
        refused = reset(lab, "cp1", user_disks=[disk], partitions=[], graceful=False)
        assert refused["failed"] and why in refused["msg"], refused
    assert RESET not in lab.writes() and data.exists()
    made = reset(lab, "cp1", user_disks=["/dev/sdb"], partitions=[], graceful=False)
    assert not made.get("failed"), made
    assert made["changes"][0]["before"] == {"user disks": ["/dev/sdb"]}
    assert not data.exists() and lab.nodes["cp1"].storage.read_config() is not None


def test_a_machine_that_powers_off_or_has_nothing_to_boot_is_off(lab: PlayedLab) -> None:
    stand_up(lab, "cp1", "w1")
    assert reset(lab, "w1", reboot=False)["node"]["stage"] == "off"
    assert reset(lab, "cp1", system_disk=True, force=True)["node"]["stage"] == "off"
    for _ in range(100):
        if any("no bootable device" in problem for problem in lab.nodes["cp1"].problems):
            return
        time.sleep(0.05)
    pytest.fail(str(lab.nodes["cp1"].describe()))


@pytest.mark.parametrize("kind", ["drop-before", "drop-after", "cut"])
def test_a_lost_answer_is_not_a_second_reset(lab: PlayedLab, kind: str) -> None:
    build(lab, "cp1")
    mark = lab.ledger.mark()
    lab.faults.add(Fault(kind, api="talos", verb="Reset"))
    made = reset(lab, "cp1", force=True)
    assert not made.get("failed"), made
    assert made["node"]["stage"] == "maintenance"
    assert len(wiped(lab, mark)) == (2 if kind == "drop-before" else 1)


def test_a_refusal_is_told_in_the_node_s_words(lab: PlayedLab) -> None:
    build(lab, "cp1")
    words = {"status": "FAILED_PRECONDITION", "text": "the node is locked"}
    lab.faults.add(Fault("answer", api="talos", verb="Reset", times=0, args=words))
    failed = reset(lab, "cp1", force=True)
    assert failed["failed"] and "the node is locked" in failed["msg"] and failed["changes"] == []


@pytest.mark.parametrize("given", [{}, {"reboot": False}, {"force": True, "graceful": False}])
def test_a_container_is_left_alone_as_a_reset_would_only_switch_it_off(lab: PlayedLab, given: dict[str, t.Any]) -> None:
    stand_up(lab, "cp1", "w1")
    lab.nodes["w1"].image = dataclasses.replace(lab.nodes["w1"].image, platform="container")
    mark = lab.ledger.mark()
    for check in (True, False):
        refused = reset(lab, "w1", check=check, **given)
        assert refused["failed"] and refused["error"]["kind"] == "Refused", refused
        assert "it runs in a container, which has no disk to wipe: a reset only switches it off" in refused["msg"]
        assert "Remove the container with its volumes" in refused["msg"] and refused["changes"] == []
    assert wiped(lab, mark) == [] and lab.nodes["w1"].serving
