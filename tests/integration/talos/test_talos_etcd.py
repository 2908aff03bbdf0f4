# SPDX-License-Identifier: GPL-3.0-or-later
"""talos_etcd_info and talos_etcd_snapshot on played nodes."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
import typing as t

import pytest
from talos_etcd_lab import Cluster, kubernetes, snapshot
from talos_lab import PlayedLab
from test_talos_info import use_talosconfig
from test_talos_life import build

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import client as client_room
from simlab.cluster import EtcdError
from simlab.faults import Fault

Json = dict[str, t.Any]

MACHINE = "/machine.MachineService"
CALLS = [f"{MACHINE}/EtcdStatus", f"{MACHINE}/EtcdMemberList", f"{MACHINE}/EtcdAlarmList"]
SNAPSHOT = f"{MACHINE}/EtcdSnapshot"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def one(lab: PlayedLab, cluster: Cluster) -> PlayedLab:
    """A cluster of one member."""
    lab.settings = dataclasses.replace(lab.settings, kubernetes=kubernetes(cluster))
    cluster.add("cp1", lab.address("cp1"))
    build(lab, "cp1")
    return lab


@pytest.fixture
def two(lab: PlayedLab, cluster: Cluster) -> PlayedLab:
    """Two members on two nodes."""
    lab.settings = dataclasses.replace(lab.settings, kubernetes=kubernetes(cluster))
    for name in ("cp1", "cp2"):
        cluster.add(name, lab.address(name))
    build(lab, "cp1", "cp2")
    return lab


def look(lab: PlayedLab, *names: str, **params: t.Any) -> Json:
    return lab.run("etcd_info", nodes=lab.described(*names), **params)


def calls(lab: PlayedLab, mark: int) -> list[str]:
    return [entry.path for entry in lab.ledger.entries(mark)]


# -- talos_etcd_info


def test_members_are_told_with_three_calls_a_node(one: PlayedLab) -> None:
    mark = one.ledger.mark()
    found = look(one, "cp1")
    assert calls(one, mark) == CALLS
    assert (found["healthy"], found["reasons"], found["leader"], found["dead"]) == (True, [], "cp1", [])
    assert found["quorum"] == {"voters": 1, "needed": 1, "alive": 1, "spare": 0}
    [member] = found["members"]
    expected = {
        "id": f"{1:016x}",
        "name": "cp1",
        "node": "cp1",
        "started": True,
        "learner": False,
        "leader": True,
        "alarms": [],
        "dead": "",
        "answered": True,
        "version": "3.6.8",
        "db_size": 487424,
        "raft_index": 476,
        "raft_lag": 0,
    }
    assert {key: member[key] for key in expected} == expected
    assert found["nodes"][0]["member_id"] == member["id"]
    assert look(one, "cp1") == one.run("etcd_info", check=True, nodes=one.described("cp1"))


def test_members_that_are_not_nodes_are_dead(one: PlayedLab, cluster: Cluster) -> None:
    cluster.add("cp9", "127.99.99.9")
    cluster.add("", one.address("cp3"), learner=True)
    found = look(one, "cp1")
    assert [(member["name"], member["dead"]) for member in found["dead"]] == [
        ("", "it is not one of the nodes"),
        ("cp9", "it is not one of the nodes"),
    ]
    assert found["quorum"] == {"voters": 2, "needed": 2, "alive": 1, "spare": 0}
    assert not found["healthy"] and "The member cp9 is dead: it is not one of the nodes." in found["reasons"]
    assert any("has not started" in reason for reason in found["reasons"])
    assert any("is a learner" in reason for reason in found["reasons"])


def test_a_member_whose_node_is_silent_is_dead(two: PlayedLab) -> None:
    assert look(two, "cp1", "cp2")["healthy"]
    two.power_off("cp2")
    found = look(two, "cp1", "cp2")
    [dead] = found["dead"]
    assert dead["name"] == "cp2" and dead["dead"].startswith("its node did not answer: ")
    assert found["silent"] == ["cp2"] and len(two.warned) == 1
    assert (found["quorum"]["alive"], found["quorum"]["needed"]) == (1, 2)
    failed = look(two, "cp1", "cp2", on_error="fail")
    assert failed["failed"] and "cp2" in failed["msg"]


def test_alarms_errors_and_members_that_lag_are_reasons(two: PlayedLab, cluster: Cluster) -> None:
    cluster.alarms = [(2, "NOSPACE")]
    cluster.index = {1: 9000, 2: 10}
    cluster.errors = {2: ("etcdserver: no leader",)}
    found = look(two, "cp1", "cp2")
    second = found["members"][1]
    assert (second["alarms"], second["raft_lag"]) == (["NOSPACE"], 8990)
    assert found["reasons"] == [
        "The member cp2 has the alarm NOSPACE.",
        "The member cp2 says: etcdserver: no leader.",
        "The member cp2 is 8990 entries behind.",
    ]


def test_no_leader_is_a_reason(one: PlayedLab, cluster: Cluster) -> None:
    cluster.leader = 0
    found = look(one, "cp1")
    assert found["leader"] is None and found["reasons"] == ["etcd has no leader."]


def test_etcd_that_does_not_run_is_told_by_its_service(lab: PlayedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_room, "ETCD_TIMEOUT", 1.0)  # the call hangs as long, and may not even arrive in it
    lab.power_on("cp1")
    assert not lab.run("apply_config", **lab.cluster("cp1")).get("failed")
    lab.wait_for_service("cp1", "cri")
    mark = lab.ledger.mark()
    found = look(lab, "cp1")
    assert found["failed"] and "the service etcd is Preparing" in found["msg"] and "bootstrapped" in found["msg"]
    assert f"{MACHINE}/ServiceList" in calls(lab, mark) and set(calls(lab, mark)) <= {
        CALLS[0],
        f"{MACHINE}/ServiceList",
    }


def test_a_worker_has_no_etcd(one: PlayedLab) -> None:
    one.power_on("w1")
    assert not one.run("apply_config", **one.cluster("cp1", "w1")).get("failed")
    one.wait_for_service("w1", "kubelet")
    found = look(one, "cp1", "w1", on_error="ignore")
    error = found["nodes"][1]["error"]
    assert "Only control plane nodes have a member of etcd" in error["msg"]


@pytest.mark.parametrize("roles", [["os:etcd:backup"], ["os:reader"]])
def test_little_rights_are_enough(one: PlayedLab, roles: list[str]) -> None:
    path = use_talosconfig(one, "cp1", roles=roles)
    assert one.run("etcd_info", secrets_path=None, talosconfig=path)["healthy"]


#: What goes wrong for good, the kind of error that it is, and what its message has.
FAULTS: list[tuple[Json, str, str]] = [
    ({"kind": "answer", "args": {"status": "PERMISSION_DENIED", "text": "not authorized"}}, "AccessDenied", "os:admin"),
    ({"kind": "answer", "args": {"status": "UNAUTHENTICATED", "text": "who"}}, "Unauthenticated", "who"),
    ({"kind": "answer", "args": {"status": "INTERNAL", "text": "disk is gone"}}, "ServerFault", "disk is gone"),
    ({"kind": "answer", "args": {"status": "RESOURCE_EXHAUSTED", "text": "slow down"}}, "ServerFault", "slow down"),
    ({"kind": "drop-before"}, "Unreachable", ""),
    ({"kind": "garbage"}, "", ""),
    ({"kind": "cut"}, "", ""),
]


@pytest.mark.parametrize(("fault", "kind", "text"), FAULTS)
@pytest.mark.parametrize("module", ["etcd_info", "etcd_snapshot"])
def test_what_goes_wrong_for_good_is_told(one: PlayedLab, module: str, fault: Json, kind: str, text: str) -> None:
    one.faults.add(Fault(**fault, api="talos", path=CALLS[0], times=0))
    params: Json = {"nodes": [one.address("cp1")]}
    if module == "etcd_snapshot":
        params["dest"] = str(one.path / "backups" / "etcd.db")
    failed = one.run(module, **params)
    error = failed["error"] if module == "etcd_snapshot" else {"kind": ""}
    assert failed["failed"] and text in failed["msg"] and one.address("cp1") in failed["msg"]
    assert not kind or error["kind"] in (kind, "")
    assert not (one.path / "backups").exists()


@pytest.mark.parametrize("kind", ["drop-before", "garbage", "cut"])
def test_one_lost_answer_is_asked_for_again(one: PlayedLab, kind: str) -> None:
    one.faults.add(Fault(kind, api="talos", path=CALLS[1]))
    assert look(one, "cp1")["healthy"]


# -- talos_etcd_snapshot


def take(lab: PlayedLab, name: str = "etcd-{time}.db", *, nodes: t.Sequence[str] = ("cp1",), **params: t.Any) -> Json:
    return lab.run("etcd_snapshot", nodes=lab.described(*nodes), dest=str(lab.path / "backups" / name), **params)


def files(lab: PlayedLab) -> list[pathlib.Path]:
    folder = lab.path / "backups"
    return sorted(folder.iterdir()) if folder.exists() else []


def older(path: pathlib.Path, days: int) -> pathlib.Path:
    """The same snapshot under the name of an earlier day."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - days * 86400))
    return path.rename(path.with_name(f"etcd-{stamp}.db"))


def test_a_snapshot_is_predicted_taken_private_and_then_young_enough(one: PlayedLab, cluster: Cluster) -> None:
    mark = one.ledger.mark()
    checked = take(one, max_age="24h", check=True)
    assert checked["taken"] and calls(one, mark) == CALLS[:1] and files(one) == []
    made = take(one, max_age="24h")
    assert made["changes"] == checked["changes"] and made["changed"] and made["taken"]
    assert made["diff"] == checked["diff"]
    [path] = files(one)
    assert str(path) == made["path"] and path.read_bytes() == cluster.data
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert (made["size"], made["sha256"]) == (len(cluster.data), cluster.data[-32:].hex())
    assert made["node"] == "cp1"
    mark = one.ledger.mark()
    again = take(one, max_age="24h")
    assert (again["changed"], again["taken"], again["path"]) == (False, False, str(path))
    assert calls(one, mark) == []


def test_one_file_is_replaced_when_it_is_too_old(one: PlayedLab) -> None:
    first = take(one, "etcd.db", max_age="1h")
    path = pathlib.Path(first["path"])
    assert [change["action"] for change in first["changes"]] == ["create"]
    os.utime(path, (time.time() - 7200,) * 2)
    checked, made = take(one, "etcd.db", max_age="1h", check=True), take(one, "etcd.db", max_age="1h")
    assert checked["changes"] == made["changes"]
    assert [(change["action"], change["note"]) for change in made["changes"]] == [
        ("update", "the newest is older than 1h")
    ]
    assert files(one) == [path] and time.time() - path.stat().st_mtime < 600
    assert take(one, "etcd.db")["changed"]  # without max_age, each time


def test_only_so_many_are_kept(one: PlayedLab) -> None:
    for days in (5, 4, 3):
        older(pathlib.Path(take(one)["path"]), days)
    foreign = one.path / "backups" / "etcd-old.db"
    foreign.write_bytes(snapshot())
    before = files(one)
    checked = take(one, keep=2, max_age="1d", check=True)
    assert files(one) == before
    made = take(one, keep=2, max_age="1d")
    assert made["changes"] == checked["changes"]
    assert [change["action"] for change in made["changes"]] == ["create", "delete", "delete"]
    assert set(files(one)) == {before[2], foreign, pathlib.Path(made["path"])}
    assert not take(one, keep=2, max_age="1d")["changed"]
    assert [change["action"] for change in take(one, keep=1, max_age="1d")["changes"]] == ["delete"]


def test_a_file_that_cannot_be_restored_does_not_count(one: PlayedLab) -> None:
    path = pathlib.Path(take(one, "etcd.db", max_age="1h")["path"])
    path.write_bytes(snapshot()[:-600])
    made = take(one, "etcd.db", max_age="1h")
    assert made["taken"] and made["changes"][0]["note"] == "there is none that can be restored"
    assert any("cannot be restored: it ends in the middle" in text for text in one.warned)
    assert path.read_bytes() == snapshot()


def test_a_file_that_others_can_read_is_closed(one: PlayedLab) -> None:
    path = pathlib.Path(take(one, "etcd.db", max_age="1h")["path"])
    path.chmod(0o644)
    made = take(one, "etcd.db", max_age="1h")
    assert [(change["before"], change["after"]) for change in made["changes"]] == [({"mode": "0644"}, {"mode": "0600"})]
    assert not made["taken"] and path.stat().st_mode & 0o777 == 0o600
    assert not take(one, "etcd.db", max_age="1h")["changed"]


BROKEN = {
    "not whole": snapshot()[:-1000],
    "another sum": snapshot()[:-1] + b"?",
    "no database": b"x" * 4096 + bytes(32),
    "nothing": b"",
}


@pytest.mark.parametrize("what", sorted(BROKEN))
def test_what_is_not_whole_leaves_the_old_file(one: PlayedLab, cluster: Cluster, what: str) -> None:
    path = pathlib.Path(take(one, "etcd.db")["path"])
    old = path.read_bytes()
    cluster.data = BROKEN[what]
    failed = take(one, "etcd.db")
    assert failed["failed"] and "what came is not whole" in failed["msg"] and failed["changes"] == []
    assert files(one) == [path] and path.read_bytes() == old


@pytest.mark.parametrize("kind", ["drop-before", "drop-after", "cut", "garbage"])
def test_a_stream_that_is_cut_leaves_nothing_and_is_asked_for_once_more(one: PlayedLab, kind: str) -> None:
    one.faults.add(Fault(kind, api="talos", path=SNAPSHOT))
    assert take(one)["taken"] and len(files(one)) == 1
    [path] = files(one)
    one.faults.add(Fault(kind, api="talos", path=SNAPSHOT, times=0))
    failed = take(one, "other.db")
    assert failed["failed"] and failed["changes"] == [] and not failed["changed"], failed
    assert files(one) == [path]


def test_the_next_node_is_asked(two: PlayedLab, cluster: Cluster) -> None:
    two.faults.add(Fault("cut", api="talos", path=SNAPSHOT))
    assert take(two, nodes=("cp1", "cp2"))["node"] == "cp2"
    two.power_off("cp1")
    assert take(two, "etcd.db", nodes=("cp1", "cp2"))["node"] == "cp2"
    assert cluster.taken_from[-1] == "cp2"


def test_a_node_that_was_made_again_is_passed_over(two: PlayedLab) -> None:
    """In maintenance mode, or another cluster's, it is no reason to have no snapshot of the others."""
    two.power_off("cp1")
    two.nodes["cp1"].storage.wipe("STATE")
    two.power_on("cp1")
    for _ in range(200):
        if two.nodes["cp1"].runtime.stage == "maintenance":
            break
        time.sleep(0.05)
    dest = two.path / "etcd.db"
    made = two.run("etcd_snapshot", nodes=two.described("cp1", "cp2"), dest=str(dest))
    assert not made.get("failed") and made["node"] == "cp2" and dest.exists(), made
    assert any("cp1" in said for said in two.said)
    alone = two.run("etcd_snapshot", nodes=two.described("cp1"), dest=str(dest))
    assert alone["failed"] and alone["error"]["kind"] == "UntrustedNode", alone
    two.power_off("cp2")
    both = two.run("etcd_snapshot", nodes=two.described("cp1", "cp2"), dest=str(dest))
    assert both["failed"] and "trust the node" in both["msg"] and "cp2" in both["msg"], both


def test_etcd_that_fails_while_it_reads_is_told(one: PlayedLab, cluster: Cluster) -> None:
    cluster.broken["status"] = EtcdError(14, "etcdserver: no leader")
    failed = take(one)
    assert failed["failed"] and "no leader" in failed["msg"] and files(one) == []


def test_a_slow_node_ends_at_the_deadline(one: PlayedLab) -> None:
    one.faults.add(Fault("delay", api="talos", path=SNAPSHOT, times=0, args={"seconds": 5}))
    failed = take(one, wait_timeout=1)  # a late answer would be a snapshot
    assert failed["failed"] and "DEADLINE_EXCEEDED" in failed["msg"] and not failed["changed"]
    assert files(one) == []


def test_a_role_that_is_too_little_is_told_before_anybody_is_asked(one: PlayedLab) -> None:
    reader = use_talosconfig(one, "cp1", roles=["os:reader"])
    mark = one.ledger.mark()
    for check in (True, False):
        refused = take(one, secrets_path=None, talosconfig=reader, check=check)
        assert refused["error"]["kind"] == "AccessDenied"
        assert "os:reader" in refused["msg"] and "os:etcd:backup" in refused["msg"]
    assert calls(one, mark) == [] and files(one) == []
    backup = use_talosconfig(one, "cp1", roles=["os:etcd:backup"])
    assert take(one, secrets_path=None, talosconfig=backup)["taken"]


def test_what_a_killed_run_left_is_cleared_away(one: PlayedLab) -> None:
    folder = one.path / "backups"
    folder.mkdir()
    left = folder / ".etcd-20260101T000000Z.db.999999999-abc"
    left.write_bytes(b"half")
    other = folder / ".notes.999999999-abc"
    other.write_bytes(b"mine")
    assert take(one)["taken"]
    assert not left.exists() and other.exists()
