# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd from a snapshot: only where none serves, only where no old data is in the way, once, and then nothing."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from talos_etcd_lab import snapshot
from talos_lab import PlayedLab
from talos_quorum_lab import Membership, stand_up

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import recovery
from simlab.faults import Fault

RECOVER, BOOTSTRAP = "/machine.MachineService/EtcdRecover", "/machine.MachineService/Bootstrap"
THREE = ("cp1", "cp2", "cp3")


def recover(lab: PlayedLab, path: pathlib.Path, *, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    params = {
        "node": lab.address("cp1"),
        "control_planes": [lab.address(name) for name in THREE],
        "cluster_name": "lab",
        "recover_from": str(path),
        **more,
    }
    return lab.run("bootstrap", check=check, **params)


def asked(lab: PlayedLab, mark: int) -> list[str]:
    return [f"{entry.server} {entry.verb} {entry.result}" for entry in lab.ledger.entries(mark) if entry.write]


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Played nodes look every second how etcd is."""
    monkeypatch.setattr(recovery, "PATIENCE", 4.0)


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "etcd.snapshot"
    path.write_bytes(snapshot(700))
    return path


def disaster(lab: PlayedLab, *, noticed: bool = True) -> Membership:
    """cp2 and cp3 are gone; new machines with their configs are in their place. cp1 has the old data and no quorum."""
    shared = stand_up(lab, *THREE)
    shared.noticed = noticed
    for name in ("cp2", "cp3"):  # both off before one is back: it would still find two of three, and join them
        lab.power_off(name)
        lab.nodes[name].storage.wipe("EPHEMERAL")
    for name in ("cp2", "cp3"):
        lab.power_on(name)
    lab.wait_until_serving("cp1", "cp2", "cp3")
    return shared


def wipe(lab: PlayedLab, *names: str) -> None:
    for name in names:
        made = lab.run(
            "reset",
            node=lab.address(name),
            node_name=name,
            partitions=["EPHEMERAL"],
            graceful=False,
            force=True,
        )
        assert not made.get("failed"), made


def test_a_lost_quorum_is_recovered_once(lab: PlayedLab, file: pathlib.Path) -> None:
    shared = disaster(lab)
    mark = lab.ledger.mark()
    in_the_way = recover(lab, file)
    assert in_the_way.get("failed"), in_the_way
    assert "still has data of an etcd that does not serve" in in_the_way["msg"]
    assert "talos_reset with partitions [EPHEMERAL]" in in_the_way["msg"]
    assert asked(lab, mark) == []
    wipe(lab, "cp1")
    mark = lab.ledger.mark()
    checked = recover(lab, file, check=True)
    assert asked(lab, mark) == []
    made = recover(lab, file)
    assert not made.get("failed"), made
    after = {"first member": lab.address("cp1"), "recovered from": "etcd.snapshot"}
    assert made["changes"] == checked["changes"] == [{"resource": "etcd/lab", "action": "create", "after": after}]
    assert asked(lab, mark) == ["cp1 EtcdRecover OK", "cp1 Bootstrap OK"]
    assert shared.recovered == [file.read_bytes()]
    assert not lab.run("health", nodes=lab.described(*THREE)).get("failed")
    assert sorted(shared.members) == [*THREE]
    again = recover(lab, file)
    assert not again.get("failed") and again["changes"] == [], again
    assert asked(lab, mark) == ["cp1 EtcdRecover OK", "cp1 Bootstrap OK"]


def test_a_quorum_lost_a_moment_ago_is_no_etcd_that_serves(lab: PlayedLab, file: pathlib.Path) -> None:
    disaster(lab, noticed=False)
    assert lab.nodes["cp1"].runtime.services.healthy("etcd")
    mark = lab.ledger.mark()
    made = recover(lab, file)
    assert made.get("failed"), made
    assert "still has data of an etcd that does not serve" in made["msg"]
    assert "does not tell its members" in made["msg"]
    assert asked(lab, mark) == []


def test_an_etcd_that_serves_needs_no_recovery(lab: PlayedLab, file: pathlib.Path) -> None:
    stand_up(lab, *THREE)
    mark = lab.ledger.mark()
    for check in (True, False):
        assert recover(lab, file, check=check)["changes"] == []
    assert asked(lab, mark) == []


def test_what_is_no_snapshot_goes_to_nobody(lab: PlayedLab, file: pathlib.Path) -> None:
    disaster(lab)
    wipe(lab, "cp1")
    mark = lab.ledger.mark()
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert "which is damaged" in recover(lab, file)["msg"]
    file.write_bytes(file.read_bytes()[:-32])
    assert "which has no checksum" in recover(lab, file)["msg"]
    assert asked(lab, mark) == []
    assert not recover(lab, file, recover_skip_hash_check=True).get("failed")


@pytest.mark.parametrize("verb", ["EtcdRecover", "Bootstrap"])
@pytest.mark.parametrize("kind", ["drop-before", "drop-after"])
def test_a_lost_answer_is_no_second_recovery(lab: PlayedLab, file: pathlib.Path, verb: str, kind: str) -> None:
    shared = disaster(lab)
    wipe(lab, "cp1")
    lab.faults.add(Fault(kind, api="talos", verb=verb))
    made = recover(lab, file)
    assert not made.get("failed"), made
    assert shared.recovered == [file.read_bytes()]


def test_a_node_that_is_not_ready_yet_is_waited_for(lab: PlayedLab, file: pathlib.Path) -> None:
    shared = disaster(lab)
    wipe(lab, "cp1")
    words = {"status": "FAILED_PRECONDITION", "text": "etcd service is not ready for recovery yet"}
    lab.faults.add(Fault("answer", api="talos", verb="EtcdRecover", times=2, args=words))
    assert not recover(lab, file).get("failed")
    assert len(shared.recovered) == 1
    assert any("etcd service is not ready for recovery yet" in line for line in lab.said)
