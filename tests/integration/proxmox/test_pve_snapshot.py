# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_snapshot`` on the played Proxmox VE."""

from __future__ import annotations

import pathlib
import time
import typing as t

import pytest
from playing import play, tasks_of
from pve_backups import made, settled
from pve_lab import ROLE, Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_snapshot
from simlab.proxmox.config import StorageConfig

SNAP = {"vmid": 200, "name": "one"}


def prepared(root: pathlib.Path, **more: t.Any) -> PveLab:
    thin = StorageConfig("thin", "lvmthin", ("images", "rootdir"), options={"vgname": "pve", "thinpool": "data"})
    zfs = StorageConfig("tank", "zfspool", ("images", "rootdir"), options={"pool": "tank"})
    return PveLab(root, storages=[thin, zfs], **more)


def guests(lab: PveLab) -> None:
    """VMs 200 (runs), 201; 202 has a raw disk; container 310 on LVM-thin, 311 on a directory."""
    for vmid in (200, 201):
        made(lab, "/nodes/pve1/qemu", vmid=vmid, name=f"vm{vmid}", memory=256, scsi0="local:1,format=qcow2")
    made(lab, "/nodes/pve1/qemu/200/status/start")
    made(lab, "/nodes/pve1/qemu", vmid=202, memory=256, scsi0="local:1,format=raw")
    lab.put_file("vztmpl", "debian-13.tar.zst", b"0" * 100)
    for vmid, storage in ((310, "thin"), (311, "local")):
        if not lab.has_storage(storage):
            continue
        form = {"ostemplate": "local:vztmpl/debian-13.tar.zst", "rootfs": f"{storage}:1", "hostname": f"ct{vmid}"}
        made(lab, "/nodes/pve1/lxc", vmid=vmid, **form)


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with prepared(tmp_path) as lab:
        guests(lab)
        yield lab


def run(lab: PveLab, *snapshots: dict[str, t.Any], check: bool = False) -> Outcome:
    return lab.run(proxmox_snapshot, check=check, snapshots=list(snapshots))


def truthful(lab: PveLab, *snapshots: dict[str, t.Any], writes: int, again: bool = True) -> Outcome:
    predicted = run(lab, *snapshots, check=True)
    assert not predicted.result.get("failed"), predicted.result
    assert predicted.writes == []
    outcome = run(lab, *snapshots)
    assert not outcome.result.get("failed"), outcome.result
    assert (outcome.changes, outcome.result["snapshots"]) == (predicted.changes, predicted.result["snapshots"])
    assert len(outcome.writes) == writes, outcome.writes
    if again:
        second = run(lab, *snapshots)
        assert (second.changes, second.writes, second.result["changed"]) == ([], [], False)
    return outcome


def listed(lab: PveLab, vmid: int, kind: str = "qemu") -> dict[str, dict[str, t.Any]]:
    with lab.session() as session:
        return {one["name"]: one for one in session.get(f"/nodes/pve1/{kind}/{vmid}/snapshot")}


def rollbacks(lab: PveLab) -> set[str]:
    """The tasks that there are."""
    with lab.session() as session:
        found = session.get("/nodes/pve1/tasks", {"typefilter": "qmrollback", "source": "all", "limit": 500})
    return {one["upid"] for one in found}


# -- what it does ----------------------------------------------------------------------------------------------------


def test_snapshots_of_vms_and_containers_are_taken_once(lab: PveLab) -> None:
    lab.needs_storage("thin")
    wanted = [
        {**SNAP, "description": "first", "vmstate": True},
        {**SNAP, "vmid": 201, "vmstate": True},
        {**SNAP, "vmid": 310},
        {**SNAP, "name": "two"},
    ]
    outcome = truthful(lab, *wanted, writes=4)
    assert outcome.actions == [
        "snapshot/vm/200/one create",
        "snapshot/vm/201/one create",
        "snapshot/ct/310/one create",
        "snapshot/vm/200/two create",
    ]
    assert [change.get("after", {}) for change in outcome.changes] == [
        {"description": "first", "vmstate": True}, {}, {}, {"parent": "one"},
    ]  # fmt: skip
    assert (listed(lab, 200)["two"]["parent"], listed(lab, 200)["one"]["vmstate"]) == ("one", 1)
    assert listed(lab, 201)["one"]["vmstate"] == 0, "a VM that is off has no memory"
    assert listed(lab, 310, "lxc")["one"]["description"] == ""


def test_nothing_to_do_costs_one_list_and_one_read_a_guest(lab: PveLab) -> None:
    lab.needs_storage("thin")
    run(lab, SNAP, {**SNAP, "vmid": 310})
    outcome = run(lab, SNAP, {**SNAP, "vmid": 310})
    assert sorted(f"{entry.verb} {entry.path}" for entry in outcome.requests) == [
        "GET /cluster/resources", "GET /nodes/pve1/lxc/310/snapshot", "GET /nodes/pve1/qemu/200/snapshot",
    ]  # fmt: skip
    assert outcome.changes == []


def test_a_description_is_changed_in_place(lab: PveLab) -> None:
    run(lab, {**SNAP, "description": "a"})
    outcome = truthful(lab, {**SNAP, "description": "b\n"}, writes=1)
    assert outcome.changes == [
        {
            "resource": "snapshot/vm/200/one",
            "action": "update",
            "before": {"description": "a"},
            "after": {"description": "b"},
        }
    ]
    assert run(lab, SNAP).changes == [], "what is left out is left alone"


def test_the_oldest_of_a_series_make_room_and_others_stay(lab: PveLab) -> None:
    for name in ("auto-1", "auto-2", "mine", "auto-3"):
        run(lab, {"vmid": 200, "name": name})
        time.sleep(1.0)  # their times are in seconds
    outcome = truthful(lab, {"vmid": 200, "name": "auto-4", "prefix": "auto-", "keep": 2}, writes=3)
    assert outcome.actions == [
        "snapshot/vm/200/auto-4 create",
        "snapshot/vm/200/auto-1 delete",
        "snapshot/vm/200/auto-2 delete",
    ]
    assert outcome.changes[1]["note"] == "only 2 of auto-* are kept"
    assert set(listed(lab, 200)) == {"mine", "auto-3", "auto-4", "current"}
    assert listed(lab, 200)["mine"].get("parent") is None


def test_deleting_hands_the_children_to_the_parent(lab: PveLab) -> None:
    run(lab, *({"vmid": 200, "name": name} for name in ("aa", "bb", "cc")))
    outcome = truthful(lab, {"vmid": 200, "name": "bb", "state": "absent"}, {"vmid": 200, "name": "cc"}, writes=1)
    assert outcome.changes[0]["before"]["parent"] == "aa"
    assert [(one["parent"], one["children"], one["current"]) for one in outcome.result["snapshots"]] == [
        ("", [], False),
        ("aa", [], True),
    ]
    assert listed(lab, 200)["cc"]["parent"] == "aa"


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_going_back_is_a_change_in_every_run_and_says_what_is_lost(lab: PveLab, kind: str) -> None:
    vmid = 200 if kind == "qemu" else 310
    if kind == "lxc":
        lab.needs_storage("thin")
        made(lab, "/nodes/pve1/lxc/310/status/start")
    run(lab, {"vmid": vmid, "name": "one"})
    time.sleep(1.0)
    run(lab, {"vmid": vmid, "name": "two"})
    with lab.session() as session:
        session.put(f"/nodes/pve1/{kind}/{vmid}/config", {"memory": 640}, asked="drift")
    back = {"vmid": vmid, "name": "one", "state": "rolled_back"}
    outcome = truthful(lab, back, writes=1, again=False)
    change = outcome.changes[0]
    assert (change["before"], change["after"]) == (
        {"parent": "two", "running": True},
        {"parent": "one", "running": True},
    )
    assert "lost is what was written to" in change["note"]
    assert "taken later, and not lost: two" in change["note"]
    with lab.session() as session:
        assert str(session.get(f"/nodes/pve1/{kind}/{vmid}/config")["memory"]) != "640"
        assert session.get(f"/nodes/pve1/{kind}/{vmid}/status/current")["status"] == "running"
    assert run(lab, back).result["changed"] is True
    outcome = run(lab, {**back, "start": False})
    assert outcome.changes[0]["after"]["running"] is False
    with lab.session() as session:
        assert session.get(f"/nodes/pve1/{kind}/{vmid}/status/current")["status"] == "stopped"
    assert run(lab, {**back, "start": True}).changes[0]["after"]["running"] is True


def test_with_memory_the_vm_goes_on_running(lab: PveLab) -> None:
    run(lab, {**SNAP, "vmstate": True})
    outcome = run(lab, {**SNAP, "state": "rolled_back", "start": False})
    assert outcome.changes[0]["after"]["running"] is True
    assert lab.status_of(200) == "running"


# -- what it says before it writes -----------------------------------------------------------------------------------

BAD: list[tuple[dict[str, t.Any], str]] = [
    ({"vmid": 7}, "vmid 7 is no id of a guest"),
    ({"vmid": "many"}, "unable to convert to int"),
    ({"name": "x"}, "'x' is no name of a snapshot (guest 200). Write 2 to 40 letters"),
    ({"name": "1x"}, "'1x' is no name of a snapshot"),
    ({"name": "current"}, "'current' is no name of a snapshot"),
    ({"name": "a" * 41}, "is no name of a snapshot"),
    ({"name": None}, "missing required arguments: name"),
    ({"state": "gone"}, "value of state must be one of: present, absent, rolled_back"),
    ({"state": "absent", "vmstate": True}, "is to be absent, and vmstate belongs to the state present"),
    ({"state": "rolled_back", "description": "x"}, "and description belongs to the state present"),
    ({"start": True}, "is to be present, and start belongs to the state rolled_back"),
    ({"keep": 3}, "has only one of keep and prefix"),
    ({"prefix": "on"}, "has only one of keep and prefix"),
    ({"keep": 0, "prefix": "on"}, "has keep 0. At least the snapshot itself stays: 1 or more."),
    ({"keep": 1, "prefix": "auto-"}, "does not begin with its prefix 'auto-'"),
    ({"vmid": 999}, "there is no such guest. If there is one, the right VM.Audit on it is missing."),
    ({"state": "rolled_back"}, "VM 200 (vm200) has no snapshot one to roll back to. It has: none."),
    ({"vmid": 202}, "VM 202 has disks or mount points that cannot have snapshots. It takes qcow2"),
    ({"vmid": 311}, "CT 311 (ct311) has disks or mount points that cannot have snapshots"),
    ({"vmid": 310, "vmstate": True}, "is to have the memory, which only VMs can have"),
]


def test_bad_input_is_said_and_nothing_is_written(lab: PveLab) -> None:
    settled(lab, 200, 202, 310, 311)
    for given, message in BAD:
        if given.get("vmid") == 310 and not lab.has_storage("thin"):
            continue
        mark = lab.ledger.mark()
        entry = {key: value for key, value in {**SNAP, **given}.items() if value is not None}
        try:
            text = run(lab, entry).result.get("msg", "")
        except AssertionError as error:
            text = str(error)  # refused by the specification
        assert message in text, given
        assert [one.path for one in lab.ledger.entries(mark) if one.write] == [], given


def test_a_snapshot_that_is_named_twice_is_refused(lab: PveLab) -> None:
    outcome = run(lab, SNAP, {**SNAP, "state": "absent"})
    assert "The snapshot one of guest 200 is named twice" in outcome.result["msg"]
    assert outcome.requests == []


def test_a_snapshot_of_a_guest_that_is_gone_is_absent(lab: PveLab) -> None:
    assert run(lab, {"vmid": 999, "name": "one", "state": "absent"}).changes == []


def test_guests_that_are_yet_to_be_made_get_a_snapshot_in_check_mode(lab: PveLab) -> None:
    lab.needs_storage("thin")
    wishes = [{"vmid": vmid, "name": "fresh", "description": "as made"} for vmid in (400, 401)]
    planned = {"planned_vms": [400], "planned_containers": [401]}
    predicted = lab.run(proxmox_snapshot, check=True, snapshots=wishes, **planned)
    assert [change["resource"] for change in predicted.changes] == ["snapshot/vm/400/fresh", "snapshot/ct/401/fresh"]
    assert predicted.writes == []
    assert "there is no such guest" in lab.run(proxmox_snapshot, snapshots=wishes, **planned).result["msg"]
    made(lab, "/nodes/pve1/qemu", vmid=400, name="new", memory=64, scsi0="local:1,format=qcow2")
    made(lab, "/nodes/pve1/lxc", vmid=401, ostemplate="local:vztmpl/debian-13.tar.zst", rootfs="thin:1")
    outcome = lab.run(proxmox_snapshot, snapshots=wishes, **planned)
    assert outcome.changes == predicted.changes


def test_a_missing_right_is_named_with_its_path_and_role(tmp_path: pathlib.Path) -> None:
    fewer = [one for one in ROLE if not one.startswith("VM.Snapshot")]
    with prepared(tmp_path, rights=fewer) as lab:
        guests(lab)
        outcome = run(lab, SNAP)
        assert "VM.Snapshot on /vms/200" in outcome.result["msg"]
        assert "AnsibleGuests" in outcome.result["msg"]
        assert outcome.writes == []


def test_who_may_only_go_back_can(tmp_path: pathlib.Path) -> None:
    with prepared(tmp_path, rights=[one for one in ROLE if one != "VM.Snapshot"]) as lab:
        guests(lab)
        made(lab, "/nodes/pve1/qemu/200/snapshot", snapname="one")
        assert run(lab, {**SNAP, "state": "rolled_back"}).result["changed"] is True
        assert "VM.Snapshot on /vms/200" in run(lab, {**SNAP, "name": "two"}).result["msg"]


# -- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut", "garbage"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_lost_answer_is_looked_after_in_the_same_run(lab: PveLab, fault: str, nth: int) -> None:
    """Of a creation, a rollback, a description and a deletion; none of them is done twice."""
    run(lab, {"vmid": 200, "name": "old"}, {"vmid": 201, "name": "old"})
    before = rollbacks(lab)
    lab.fault(fault, writes=True, nth=nth)
    outcome = run(
        lab,
        {"vmid": 200, "name": "old", "state": "rolled_back"},
        {"vmid": 200, "name": "new"},
        {"vmid": 201, "name": "new", "description": "d"},
        {"vmid": 201, "name": "old", "state": "absent"},
    )
    assert not outcome.result.get("failed"), outcome.result
    assert (set(listed(lab, 200)), set(listed(lab, 201))) == ({"old", "new", "current"}, {"new", "current"})
    assert len(rollbacks(lab) - before) == 1


def test_a_task_that_fails_says_why_with_its_log(lab: PveLab) -> None:
    lab.fault("task-error", verb="POST", path="*/qemu/201/snapshot", text="snapshot feature is not available")
    outcome = run(lab, SNAP, {**SNAP, "vmid": 201})
    assert "take the snapshot one of VM 201" in outcome.result["msg"]
    assert "snapshot feature is not available. Snapshots take qcow2" in outcome.result["msg"]
    assert outcome.result["error"]["log"] == ["TASK ERROR: snapshot feature is not available"]
    assert [change["resource"] for change in outcome.changes] in (["snapshot/vm/200/one"], [])
    assert not run(lab, SNAP, {**SNAP, "vmid": 201}).result.get("failed")


def test_a_lock_is_waited_for(lab: PveLab) -> None:
    lab.fault("lock", verb="POST", path="*/qemu/200/snapshot", seconds=0.7)
    outcome = run(lab, SNAP)
    assert not outcome.result.get("failed"), outcome.result
    assert any("is locked" in line for line in outcome.progress)
    assert "one" in listed(lab, 200)


def test_zfs_goes_back_only_to_the_latest_and_says_so(lab: PveLab) -> None:
    lab.needs_storage("tank")
    made(lab, "/nodes/pve1/qemu", vmid=205, memory=256, scsi0="tank:1")
    run(lab, {"vmid": 205, "name": "one"}, {"vmid": 205, "name": "two"})
    outcome = run(lab, {"vmid": 205, "name": "one", "state": "rolled_back"})
    assert "is not most recent snapshot" in outcome.result["msg"]
    assert "delete those that were taken later first" in outcome.result["msg"]


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_the_examples_run(lab: PveLab, in_process: bool) -> None:
    results = play(lab, tasks_of(lab, proxmox_snapshot.EXAMPLES), in_process=in_process)
    assert [result.get("msg") for result in results if result.get("failed")] == []
    assert [result["changed"] for result in results] == [True, True, True, True]


def test_a_guest_that_cannot_be_started_after_going_back_is_told_with_the_reason(lab: PveLab) -> None:
    """The server begins the start when it has gone back; its answer tells of that alone."""
    lab.put_file("iso", "lost.iso", b"0" * 100)
    with lab.session() as session:
        session.put("/nodes/pve1/qemu/201/config", {"ide2": "local:iso/lost.iso,media=cdrom"}, asked="prepare")
    made(lab, "/nodes/pve1/qemu/201/status/start")
    run(lab, {"vmid": 201, "name": "one"})
    with lab.session() as session:
        session.delete("/nodes/pve1/storage/local/content/local:iso%2Flost.iso", asked="prepare")
    settled(lab)
    outcome = run(lab, {"vmid": 201, "name": "one", "state": "rolled_back"})
    assert outcome.result.get("failed"), outcome.result
    assert "start guest 201" in outcome.result["msg"] and "lost.iso" in outcome.result["msg"]
    with lab.session() as session:
        assert session.get("/nodes/pve1/qemu/201/status/current")["status"] == "stopped"
