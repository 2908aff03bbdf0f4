# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_backup`` and ``proxmox_backup_info`` on the played Proxmox VE."""

from __future__ import annotations

import pathlib
import threading
import time
import typing as t

import pytest
from playing import play, tasks_of
from pve_backups import aged, backups, dumps, guests, made, prepared, settled
from pve_lab import ROLE, Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_backup, proxmox_backup_info

HOUR, DAY = 3600, 86400


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with prepared(tmp_path) as lab:
        lab.needs_storage("nas")
        guests(lab)
        yield lab


def run(lab: PveLab, *, check: bool = False, **params: t.Any) -> Outcome:
    return lab.run(proxmox_backup, check=check, **params)


def dump(lab: PveLab, *vmids: int, check: bool = False, **more: t.Any) -> Outcome:
    return run(lab, check=check, **{"storage": "nas", **({"vmids": list(vmids)} if vmids else {}), **more})


def truthful(lab: PveLab, *, writes: int, **params: t.Any) -> Outcome:
    predicted = run(lab, check=True, **params)
    assert not predicted.result.get("failed"), predicted.result
    assert predicted.writes == []
    outcome = run(lab, **params)
    assert not outcome.result.get("failed"), outcome.result
    assert outcome.changes == predicted.changes
    assert len(outcome.writes) == writes, outcome.writes
    return outcome


def quiet(lab: PveLab, **params: t.Any) -> None:
    """A second run has nothing to do."""
    again = run(lab, **params)
    assert (again.result["changed"], again.changes, again.writes) == (False, [], [])


# -- backups ---------------------------------------------------------------------------------------------------------


def test_guests_of_both_kinds_get_a_backup_that_is_there_and_whole(lab: PveLab) -> None:
    wanted = {"vmids": [200, 310], "storage": "nas", "max_age": "1h", "notes_template": "{{guestname}} {{vmid}}"}
    outcome = truthful(lab, writes=2, **wanted)
    assert outcome.actions == ["backup/vm/200/nas create", "backup/ct/310/nas create"]
    assert outcome.changes[0]["after"] == {
        "storage": "nas",
        "mode": "snapshot",
        "compress": "zstd",
        "notes_template": "{{guestname}} {{vmid}}",
    }
    assert outcome.changes[0]["note"] == "there is no whole one yet"
    first, second = outcome.result["backups"]
    assert [first["volid"], second["volid"]] == [backups(lab, 200)[0], backups(lab, 310)[0]]
    assert (first["notes"], first["changed"], first["size"] > 0) == ("cp 200", True, True)
    quiet(lab, **wanted)


@pytest.mark.needs_played("backups of other days are there")
def test_nothing_to_do_costs_four_reads_whatever_the_number_of_guests(lab: PveLab) -> None:
    for vmid, kind in ((200, "qemu"), (201, "qemu"), (310, "lxc")):
        aged(lab, vmid, HOUR, kind=kind)
    outcome = run(lab, all=True, storage="nas", max_age="2h", retention={"keep_last": 1})
    assert outcome.changes == []
    assert sorted(f"{entry.verb} {entry.path}" for entry in outcome.requests) == [
        "GET /cluster/resources",
        "GET /nodes/pve1/storage/nas/content",
        "GET /nodes/pve1/storage/nas/prunebackups",
        "GET /nodes/pve1/time",
    ]


@pytest.mark.needs_played("backups of other days are there")
@pytest.mark.parametrize(
    ("more", "new"),
    [
        ({"max_age": "3h"}, False),
        ({"max_age": "90m"}, True),
        ({}, True),
    ],
)
def test_a_young_whole_backup_is_enough(lab: PveLab, more: dict[str, t.Any], new: bool) -> None:
    aged(lab, 201, 2 * HOUR)
    assert dump(lab, 201, check=True, **more).result["changed"] is new


@pytest.mark.needs_played("backups of other days are there")
@pytest.mark.parametrize("broken", [{"size": 0}, {"verification": {"state": "failed", "upid": "UPID"}}])
def test_a_backup_that_is_not_whole_does_not_count(lab: PveLab, broken: dict[str, t.Any]) -> None:
    aged(lab, 201, HOUR, **broken)
    outcome = dump(lab, 201, max_age="3h")
    assert outcome.actions == ["backup/vm/201/nas create"]
    assert not outcome.result.get("failed")


@pytest.mark.needs_played("backups of other days are there")
def test_a_backup_of_another_guest_with_that_number_does_not_count(lab: PveLab) -> None:
    aged(lab, 201, HOUR, kind="lxc")
    assert dump(lab, 201, max_age="3h", check=True).result["changed"] is True


def test_pools_and_all_but_some(lab: PveLab) -> None:
    assert dump(lab, pool="lab", check=True).actions == ["backup/vm/200/nas create"]
    actions = dump(lab, all=True, exclude=[201], check=True).actions
    assert actions == ["backup/vm/200/nas create", "backup/ct/310/nas create"]
    assert dump(lab, all=True, node=["pve9"], check=True).actions == []


@pytest.mark.needs_played("backups of other days are there")
def test_the_retention_removes_what_the_node_reckons_and_check_mode_knows(lab: PveLab) -> None:
    old = aged(lab, 201, 5 * DAY, 4 * DAY, 3 * DAY)
    kept = aged(lab, 201, 6 * DAY, protected=1)
    wanted = {"vmids": [201], "storage": "nas", "retention": {"keep_last": 2}, "max_age": "1h"}
    outcome = truthful(lab, writes=3, **wanted)
    assert outcome.actions == [
        "backup/vm/201/nas create",
        f"backup/{old[0]} delete",
        f"backup/{old[1]} delete",
    ]
    assert outcome.changes[1]["note"] == "by the retention"
    assert set(backups(lab, 201)) == {old[2], *kept, outcome.result["backups"][0]["volid"]}
    quiet(lab, **wanted)


@pytest.mark.needs_played("backups of other days are there")
def test_the_retention_alone_asks_the_node(lab: PveLab) -> None:
    old = aged(lab, 201, 5 * DAY, 4 * DAY, HOUR)
    other = aged(lab, 200, 5 * DAY, 4 * DAY)
    outcome = truthful(lab, writes=2, vmids=[201], storage="nas", retention={"keep_last": 1}, max_age="1d")
    assert [change["resource"] for change in outcome.changes] == [f"backup/{old[0]}", f"backup/{old[1]}"]
    assert set(backups(lab)) == {old[2], *other}, "backups of guests that are not meant stay"


@pytest.mark.needs_played("backups of other days are there")
def test_periods_are_kept_as_check_mode_says(lab: PveLab) -> None:
    aged(lab, 201, *(day * DAY + hour * HOUR for day in range(1, 12) for hour in (0, 3)))
    wanted = {
        "vmids": [201],
        "storage": "nas",
        "max_age": "1h",
        "retention": {"keep_last": 1, "keep_daily": 3, "keep_weekly": 1, "keep_monthly": 1, "keep_yearly": 1},
    }
    predicted = run(lab, check=True, **wanted)
    outcome = run(lab, **wanted)
    assert (outcome.changes, outcome.warnings) == (predicted.changes, [])
    assert len(outcome.changes) > 10
    quiet(lab, **wanted)


@pytest.mark.needs_played("backups of other days are there")
def test_what_the_node_would_keep_after_all_is_spared(lab: PveLab) -> None:
    old = aged(lab, 201, 5 * DAY)
    lab.server.cluster.extra("backups", dict)
    wanted = {"vmids": [201], "storage": "nas", "retention": {"keep_last": 1}}
    assert f"backup/{old[0]} delete" in run(lab, check=True, **wanted).actions
    store = lab.server.cluster.extra("backups", dict)
    lab.fault("task-time", verb="POST", path="*/vzdump", seconds=2)
    mark = lab.ledger.mark()

    def protect_meanwhile() -> None:
        for _look in range(1000):
            if any(entry.path.endswith("/vzdump") for entry in lab.ledger.entries(mark)):
                break
            time.sleep(0.02)
        store[old[0]].update(protected=1)

    meanwhile = threading.Thread(target=protect_meanwhile)
    meanwhile.start()
    outcome = run(lab, **wanted)
    meanwhile.join(30)
    assert outcome.actions == ["backup/vm/201/nas create"]
    assert any("was kept: by the node's own reckoning" in line for line in outcome.warnings)
    assert old[0] in backups(lab, 201)


@pytest.mark.needs_played("backups of other days are there")
def test_backups_that_are_named_are_deleted(lab: PveLab) -> None:
    one, two = aged(lab, 201, 2 * DAY, DAY)
    gone = f"nas:backup/vzdump-qemu-999-{'2020_01_01-00_00_00'}.vma.zst"
    outcome = truthful(lab, writes=1, state="absent", volids=[one, gone])
    assert outcome.actions == [f"backup/{one} delete"]
    assert backups(lab, 201) == [two]
    quiet(lab, state="absent", volids=[one, gone])


# -- restores --------------------------------------------------------------------------------------------------------


def test_a_guest_comes_back_under_another_id_and_only_once(lab: PveLab) -> None:
    dump(lab, 201)
    wanted = {
        "state": "restored", "storage": "nas", "restores": [{"vmid": 9201, "source_vmid": 201, "unique": True}],
    }  # fmt: skip
    outcome = truthful(lab, writes=1, **wanted)
    assert outcome.actions == ["vm/9201 create"]
    assert outcome.changes[0]["after"]["restored_from"] == backups(lab, 201)[0]
    assert lab.config_of(9201)["net0"] != lab.config_of(201)["net0"]
    assert lab.config_of(9201)["name"] == "worker"
    assert lab.status_of(9201) == "stopped"
    quiet(lab, **wanted)


def test_a_running_vm_is_overwritten_by_force_and_runs_again(lab: PveLab) -> None:
    dump(lab, 200)
    with lab.session() as session:
        session.put("/nodes/pve1/qemu/200/config", {"description": "broken"}, asked="drift")
    volid = backups(lab, 200)[0]
    wanted = {
        "state": "restored",
        "restores": [{"vmid": 200, "volid": volid, "force": True, "target_storage": "local"}],
    }
    outcome = truthful(lab, writes=2, **wanted)
    assert outcome.changes == [
        {
            "resource": "vm/200",
            "action": "update",
            "before": {"running": True},
            "after": {
                "restored_from": volid, "taken": outcome.changes[0]["after"]["taken"], "node": "pve1",
                "storage": "local", "running": True,
            },
            "note": "lost is all that is on it now",
        }
    ]  # fmt: skip
    assert "description" not in lab.config_of(200)
    assert lab.status_of(200) == "running"
    assert run(lab, **wanted).result["changed"] is True


def test_containers_too_to_another_storage(lab: PveLab) -> None:
    dump(lab, 310)
    restore = {"vmid": 311, "source_vmid": 310, "target_storage": "thin", "start": True, "pool": "lab"}
    outcome = truthful(lab, writes=1, state="restored", storage="nas", restores=[restore])
    assert outcome.actions == ["ct/311 create"]
    with lab.session() as session:
        assert session.get("/nodes/pve1/lxc/311/config")["rootfs"].startswith("thin:")
        assert session.get("/nodes/pve1/lxc/311/status/current")["status"] == "running"
    over = {"vmid": 311, "source_vmid": 310, "force": True, "start": False, "target_storage": "local"}
    assert truthful(lab, writes=2, state="restored", storage="nas", restores=[over]).actions == ["ct/311 update"]


def test_whether_it_runs_is_asked_when_it_is_restored_over(tmp_path: pathlib.Path) -> None:
    """The list of the cluster is ten seconds late: 200 was started and 201 stopped only now."""
    with prepared(tmp_path) as lab:
        lab.needs_storage("nas")
        guests(lab)
        for vmid in (200, 201):
            dump(lab, vmid)
        made(lab, "/nodes/pve1/qemu/201/status/start")
        made(lab, "/nodes/pve1/qemu/200/status/stop")
        lab.late()
        made(lab, "/nodes/pve1/qemu/201/status/stop")
        made(lab, "/nodes/pve1/qemu/200/status/start")
        over = [{"vmid": vmid, "source_vmid": vmid, "force": True} for vmid in (200, 201)]
        outcome = truthful(lab, writes=3, state="restored", storage="nas", restores=over)
        assert [change["before"] for change in outcome.changes] == [{"running": True}, {"running": False}]
        assert (lab.status_of(200), lab.status_of(201)) == ("running", "stopped")


# -- what it says before it writes -----------------------------------------------------------------------------------

VOLID = "nas:backup/vzdump-qemu-201-2020_01_01-00_00_00.vma.zst"
BAD: list[tuple[dict[str, t.Any], str]] = [
    ({}, "none of vmids, pool and all is given, and it takes one of them"),
    ({"vmids": [200], "all": True}, "vmids and all is given, and it takes one of them"),
    ({"vmids": [200], "storage": None}, "storage is missing. Name the storage that takes the backups."),
    ({"vmids": [7]}, "vmid 7 is no id of a guest"),
    ({"vmids": [200, 999]}, "These guests are not there: 999. If they are, the right VM.Audit"),
    ({"vmids": [200], "exclude": [201]}, "exclude is given with vmids. It belongs to all and pool."),
    ({"pool": "none"}, "No guest of the pool 'none' can be seen"),
    ({"vmids": [200], "max_age": "soon"}, "max_age 'soon' is no time. Write a number of s, m, h, d or w, such as 20h."),
    ({"vmids": [200], "max_age": "0h"}, "max_age '0h' is no time"),
    ({"vmids": [200], "retention": {}}, "retention keeps nothing"),
    ({"vmids": [200], "retention": {"keep_last": 0}}, "retention keeps nothing"),
    ({"vmids": [200], "retention": {"keep_last": -1}}, "retention has a negative keep_last"),
    ({"vmids": [200], "retention": {"keep_all": True, "keep_last": 1}}, "retention says keep_all and other things besides"),
    ({"vmids": [200], "mode": "live"}, "value of mode must be one of: snapshot, suspend, stop"),
    ({"vmids": [200], "compress": "xz"}, "value of compress must be one of: none, lzo, gzip, zstd"),
    ({"vmids": [200], "bandwidth_limit": 0}, "bandwidth_limit is 0. Write KiB/s, 1 or more"),
    ({"vmids": [200], "storage": "nowhere"}, "storage 'nowhere' does not exist"),
    ({"vmids": [200], "storage": "local"}, "The storage 'local' of node pve1 takes no backups. These do: nas."),
    ({"vmids": [200], "fleecing": "none-such"}, "Node pve1 has no storage 'none-such' for fleecing"),
    ({"vmids": [200], "volids": [VOLID]}, "volids belongs to the state absent, and the state is present"),
    ({"state": "absent"}, "volids is missing. Name the backups that are to be absent."),
    ({"state": "absent", "volids": ["x"]}, "'x' is no volume id of a backup. It looks like nas:backup/"),
    ({"state": "absent", "volids": ["nas:backup/../../etc/x"]}, "is no volume id of a backup"),
    ({"state": "absent", "volids": [VOLID.replace("nas:", "nope:")]}, "There is no storage 'nope' that is available"),
    ({"state": "restored"}, "restores is missing. Say which guests are to be there again."),
    ({"state": "restored", "restores": [{"vmid": 300}]}, "guest 300 takes one of volid and source_vmid"),
    ({"state": "restored", "restores": [{"vmid": 300, "volid": VOLID}] * 2}, "guest 300 is to be restored twice"),
    ({"state": "restored", "restores": [{"vmid": 300, "volid": VOLID}]}, f"The backup {VOLID}, that guest 300 is restored from, is not there."),
    ({"state": "restored", "restores": [{"vmid": 300, "source_vmid": 200}]}, "A whole backup of guest 200 on nas, that guest 300 is restored from, is not there."),
]  # fmt: skip


def test_bad_input_is_said_and_nothing_is_written(lab: PveLab) -> None:
    for given, message in BAD:
        mark = lab.ledger.mark()
        try:
            text = run(lab, **{"storage": "nas", **given}).result.get("msg", "")
        except AssertionError as error:
            text = str(error)  # refused by the specification
        assert message in text, (given, text)
        assert [one.path for one in lab.ledger.entries(mark) if one.write] == [], given


@pytest.mark.needs_played("backups of other days are there")
def test_what_cannot_be_restored_over_is_said(lab: PveLab) -> None:
    aged(lab, 201, HOUR)
    (empty,) = aged(lab, 201, 2 * HOUR, size=0)
    (safe,) = aged(lab, 201, 3 * HOUR, protected=1)
    restore = {"vmid": 310, "source_vmid": 201, "force": True}
    cases: list[tuple[dict[str, t.Any], str]] = [
        ({"state": "restored", "restores": [restore]}, "CT 310 (dns) cannot be restored from"),
        ({"state": "restored", "restores": [{"vmid": 400, "volid": empty}]}, "is not whole: it is empty"),
        (
            {"state": "restored", "restores": [{"vmid": 400, "source_vmid": 201, "target_storage": "gone"}]},
            "Node pve1, where guest 400 is restored, has no storage 'gone' that is available",
        ),
        ({"state": "absent", "volids": [safe]}, "is protected. Take the protection off before it is deleted."),
    ]
    for given, message in cases:
        outcome = run(lab, **{"storage": "nas", **given})
        assert message in outcome.result["msg"]
        assert outcome.writes == []


@pytest.mark.needs_played("backups of other days are there")
def test_a_protected_guest_is_not_restored_over_and_goes_on_running(lab: PveLab) -> None:
    aged(lab, 200, HOUR)
    with lab.session() as session:
        session.put("/nodes/pve1/qemu/200/config", {"protection": 1}, asked="prepare a test")
    params = {"state": "restored", "storage": "nas", "restores": [{"vmid": 200, "source_vmid": 200, "force": True}]}
    for check in (True, False):
        outcome = run(lab, check=check, **params)
        assert "VM 200 (cp) is protected, and cannot be restored over" in outcome.result["msg"]
        assert outcome.writes == []
    assert lab.status_of(200) == "running"


def test_guests_that_are_yet_to_be_made_get_a_backup_in_check_mode(lab: PveLab) -> None:
    wanted = {"storage": "nas", "vmids": [400, 401], "max_age": "1d", "retention": {"keep_last": 2}}
    assert "These guests are not there: 400, 401" in run(lab, check=True, **wanted).result["msg"]
    planned = {"planned_vms": [400], "planned_containers": [401]}
    predicted = run(lab, check=True, **wanted, **planned)
    assert predicted.writes == []
    refused = run(lab, **wanted, **planned)  # only in check mode
    assert "In check mode, planned_vms and planned_containers may name them." in refused.result["msg"]
    made(lab, "/nodes/pve1/qemu", vmid=400, name="new", memory=64)
    template = {"ostemplate": "local:vztmpl/debian-13.tar.zst", "rootfs": "local:1", "hostname": "new"}
    made(lab, "/nodes/pve1/lxc", vmid=401, **template)
    settled(lab, 400, 401)
    outcome = run(lab, **wanted, **planned)
    assert outcome.actions == ["backup/vm/400/nas create", "backup/ct/401/nas create"]
    assert outcome.changes == predicted.changes


@pytest.mark.parametrize(
    ("right", "params", "message"),
    [
        ("VM.Backup", {"vmids": [201]}, "VM.Backup on /vms/201 (back up VM 201"),
        ("Datastore.AllocateSpace", {"vmids": [201]}, "Datastore.AllocateSpace on /storage/nas"),
    ],
)
def test_a_missing_right_is_named_before_anything_is_written(
    tmp_path: pathlib.Path, right: str, params: dict[str, t.Any], message: str
) -> None:
    fewer = [one for one in ROLE if one not in (right, "Datastore.Allocate")]
    with prepared(tmp_path, rights=fewer) as lab:
        guests(lab)
        outcome = run(lab, storage="nas", **params)
        assert message in outcome.result["msg"], outcome.result
        assert outcome.writes == []


def test_a_limit_takes_a_right_of_another_role(lab: PveLab) -> None:
    lab.needs_least_rights()
    outcome = dump(lab, 201, bandwidth_limit=1000)
    assert "Sys.Modify on / (bandwidth_limit, to back up VM 201" in outcome.result["msg"]
    assert "AnsibleSystem" in outcome.result["msg"]


# -- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut", "garbage"])
def test_a_lost_answer_is_looked_after_and_nothing_is_done_twice(lab: PveLab, fault: str) -> None:
    lab.fault(fault, verb="POST", path="*/vzdump")
    assert not dump(lab, 201).result.get("failed")
    assert len(backups(lab, 201)) == 1
    lab.fault(fault, verb="POST", path="*/qemu")
    restored = run(lab, state="restored", storage="nas", restores=[{"vmid": 9201, "source_vmid": 201}])
    assert not restored.result.get("failed"), restored.result
    assert 9201 in lab.vmids()
    lab.fault(fault, verb="DELETE", path="*")
    assert not run(lab, state="absent", volids=backups(lab, 201)).result.get("failed")
    assert backups(lab, 201) == []


@pytest.mark.needs_played("backups of other days are there")
def test_a_guest_that_fails_does_not_keep_the_others_and_its_old_backups_stay(lab: PveLab) -> None:
    old = aged(lab, 200, 5 * DAY, 4 * DAY)
    lab.server.cluster.guests[200].options["lock"] = "migrate"
    outcome = lab.run(proxmox_backup, vmids=[200, 201], storage="nas", retention={"keep_last": 1}, task_timeout=1.0)
    assert outcome.result["failed"]
    assert "VM is locked (migrate)" in outcome.result["msg"]
    assert [change["resource"] for change in outcome.changes] == ["backup/vm/201/nas"]
    assert set(old) <= set(backups(lab, 200))
    assert len(backups(lab, 201)) == 1


def test_a_lock_is_waited_for(lab: PveLab) -> None:
    lab.server.cluster.guests[201].options["lock"] = "snapshot"
    timer = threading.Timer(3.0, lambda: lab.server.cluster.guests[201].options.pop("lock", None))
    timer.start()
    outcome = dump(lab, 201)
    timer.join()
    assert not outcome.result.get("failed"), outcome.result
    assert any("is locked (snapshot)" in line for line in outcome.progress)


def test_a_failure_is_told_with_its_reason_and_its_log(lab: PveLab) -> None:
    lab.fault("task-error", verb="POST", path="*/vzdump", text="write error: No space left on device")
    outcome = dump(lab, 201)
    assert "back up VM 201 (worker) to storage nas" in outcome.result["msg"]
    assert "No space left on device. Free space on the storage" in outcome.result["msg"]
    assert outcome.result["error"]["log"][-1].startswith("TASK ERROR")
    assert not dump(lab, 201).result.get("failed")


@pytest.mark.needs_played("a node that writes empty backups")
def test_a_backup_that_is_empty_is_an_error_though_its_task_ended_well(
    lab: PveLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simlab.proxmox import backup

    monkeypatch.setattr(backup, "write_archive", lambda path, call, guest: path.write_bytes(b""))
    outcome = dump(lab, 201)
    assert "see the backup of VM 201 (worker) there and whole" in outcome.result["msg"]
    assert "its task ended well, but it is empty" in outcome.result["msg"]


# -- looking ---------------------------------------------------------------------------------------------------------


@pytest.mark.needs_played("backups of other days are there")
def test_who_has_no_backup_is_told(lab: PveLab) -> None:
    young, old = aged(lab, 200, HOUR, 3 * DAY)
    aged(lab, 201, 2 * DAY)
    aged(lab, 310, HOUR, kind="lxc", size=0)
    outcome = lab.run(proxmox_backup_info, max_age="1d")
    assert outcome.writes == []
    assert outcome.result["not_covered"] == [201, 310]
    assert [one["volid"] for one in outcome.result["backups"]][:2] == [young, old]
    assert outcome.result["backups"][-1]["problem"] == "it is empty"
    assert HOUR - 5 < outcome.result["backups"][0]["age"] < HOUR + 60
    assert len(outcome.requests) == 4
    one = lab.run(proxmox_backup_info, vmid=[200, 999]).result
    assert (one["missing"], [guest["count"] for guest in one["guests"]]) == ([999], [2])
    assert "There is no storage 'gone'" in lab.run(proxmox_backup_info, storage=["gone"]).result["msg"]
    assert "max_age 'x' is no time" in lab.run(proxmox_backup_info, max_age="x").result["msg"]


@pytest.mark.needs_played("backups of other days are there")
@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_the_examples_run(lab: PveLab, in_process: bool) -> None:
    aged(lab, 201, HOUR)
    (dumps(lab) / "vzdump-qemu-200-2026_11_21-03_00_00.vma.zst").write_bytes(b"0")
    made(lab, "/nodes/pve1/vzdump", vmid=200, storage="nas")
    time.sleep(1.1)
    tasks = tasks_of(lab, proxmox_backup.EXAMPLES.replace("!unsafe ", "")) + tasks_of(lab, proxmox_backup_info.EXAMPLES)
    tasks[0]["groundwork.homelab.proxmox_backup"]["notes_template"] = "before the upgrade"
    results = play(lab, tasks, in_process=in_process)
    assert [result.get("msg") for result in results if result.get("failed")] == []
    assert [result["changed"] for result in results] == [True, True, True, True, True, False, False]
