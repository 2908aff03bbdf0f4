# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_backup_job`` on the played Proxmox VE."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from playing import play, tasks_of
from pve_backups import guests, prepared
from pve_lab import Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_backup_job

pytestmark = pytest.mark.needs_played("backup jobs are those of the whole datacenter")

SYSTEM = {"AnsibleSystem": ("/", "/storage")}
NIGHT = {"id": "nightly", "schedule": "02:30", "storage": "nas", "all": True}


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with prepared(tmp_path, also=SYSTEM) as lab:
        guests(lab)
        yield lab


def run(lab: PveLab, *jobs: dict[str, t.Any], check: bool = False) -> Outcome:
    return lab.run(proxmox_backup_job, check=check, jobs=[dict(job) for job in jobs])


def truthful(lab: PveLab, *jobs: dict[str, t.Any], writes: int = 1) -> Outcome:
    predicted = run(lab, *jobs, check=True)
    assert not predicted.result.get("failed"), predicted.result
    assert predicted.writes == []
    outcome = run(lab, *jobs)
    assert not outcome.result.get("failed"), outcome.result
    assert (outcome.changes, outcome.result["jobs"]) == (predicted.changes, predicted.result["jobs"])
    assert len(outcome.writes) == writes, outcome.writes
    again = run(lab, *jobs)
    assert (again.changes, again.writes, again.result["changed"]) == ([], [], False)
    assert [f"{entry.verb} {entry.path}" for entry in again.requests] == ["GET /cluster/backup"]
    return outcome


def job(lab: PveLab, name: str) -> dict[str, t.Any]:
    with lab.session() as session:
        found = session.get(f"/cluster/backup/{name}")
    return {key: value for key, value in found.items() if key not in ("id", "type", "next-run")}


def test_jobs_of_all_selections_are_made(lab: PveLab) -> None:
    more = {
        "retention": {"keep_daily": 7, "keep_last": 3}, "exclude": [201], "compress": "zstd", "mode": "stop",
        "notes_template": "{{guestname}}", "repeat_missed": True, "comment": "all", "fleecing": "local",
        "bandwidth_limit": 1000, "mailto": ["a@example.org"], "notification_mode": "notification-system",
    }  # fmt: skip
    outcome = truthful(
        lab,
        {**NIGHT, **more},
        {"id": "few", "schedule": "sat 03:00", "storage": "nas", "vmids": [310, 200], "enabled": False, "node": "pve1"},
        {"id": "pool", "schedule": "mon..fri 22:00", "storage": "nas", "pool": "lab", "protected": True},
        writes=3,
    )
    assert outcome.actions == ["backup-job/nightly create", "backup-job/few create", "backup-job/pool create"]
    assert outcome.warnings == []
    assert outcome.changes[1]["after"] == {
        "schedule": "sat 03:00", "storage": "nas", "vmid": ["200", "310"], "enabled": False, "node": "pve1",
    }  # fmt: skip
    assert job(lab, "nightly") == {
        "schedule": "02:30", "storage": "nas", "all": 1, "exclude": "201", "compress": "zstd", "mode": "stop",
        "prune-backups": {"keep-daily": "7", "keep-last": "3"}, "enabled": 1, "notes-template": "{{guestname}}",
        "repeat-missed": 1, "comment": "all", "fleecing": {"enabled": 1, "storage": "local"}, "bwlimit": 1000,
        "mailto": "a@example.org", "notification-mode": "notification-system",
    }  # fmt: skip


def test_only_what_differs_is_written_and_the_rest_stays(lab: PveLab) -> None:
    run(lab, {**NIGHT, "comment": "by hand", "retention": {"keep_last": 3}})
    outcome = truthful(lab, {"id": "nightly", "schedule": "03:00", "retention": {"keep_last": 5}})
    assert outcome.changes == [
        {
            "resource": "backup-job/nightly",
            "action": "update",
            "before": {"schedule": "02:30", "prune-backups": {"keep-last": "3"}},
            "after": {"schedule": "03:00", "prune-backups": {"keep-last": "5"}},
        }
    ]
    assert job(lab, "nightly")["comment"] == "by hand"


def test_another_selection_takes_the_place_of_the_old_one(lab: PveLab) -> None:
    run(lab, {**NIGHT, "exclude": [201]})
    outcome = truthful(lab, {"id": "nightly", "vmids": [200, 310]})
    assert outcome.changes[0]["before"] == {"all": True, "exclude": ["201"]}
    assert outcome.changes[0]["after"] == {"all": False, "vmid": ["200", "310"]}
    assert "all" not in job(lab, "nightly")
    truthful(lab, {"id": "nightly", "pool": "lab"})
    truthful(lab, {"id": "nightly", "all": True})
    assert set(job(lab, "nightly")) == {"all", "enabled", "schedule", "storage"}


def test_an_empty_value_takes_an_option_away_and_a_default_is_no_change(lab: PveLab) -> None:
    run(lab, {**NIGHT, "comment": "x", "retention": {"keep_last": 3}, "exclude": [201], "fleecing": "local"})
    truthful(lab, {"id": "nightly", "comment": "", "retention": {}, "exclude": [], "fleecing": ""})
    assert set(job(lab, "nightly")) == {"all", "enabled", "schedule", "storage"}
    same = {"mode": "snapshot", "compress": "none", "enabled": True, "protected": False, "bandwidth_limit": 0}
    assert run(lab, {"id": "nightly", **same}).changes == []


def test_a_job_is_switched_off_and_removed(lab: PveLab) -> None:
    run(lab, NIGHT)
    truthful(lab, {"id": "nightly", "enabled": False})
    truthful(lab, {"id": "nightly", "enabled": True})
    outcome = truthful(lab, {"id": "nightly", "state": "absent"}, {"id": "other", "state": "absent"})
    assert outcome.actions == ["backup-job/nightly delete"]


def test_what_would_fail_at_night_is_warned_of(lab: PveLab) -> None:
    outcome = run(lab, {"id": "odd", "schedule": "02:30", "storage": "local", "vmids": [200, 999]}, check=True)
    assert outcome.warnings == [
        "backup job odd: there is no storage local that takes backups.",
        "backup job odd: these guests are not there (or not seen): 999.",
    ]


BAD: list[tuple[dict[str, t.Any], str]] = [
    ({"id": "x"}, "'x' is no id of a backup job. Write two or more letters"),
    ({"id": "a/b"}, "'a/b' is no id of a backup job"),
    ({"id": None}, "missing required arguments: id"),
    ({"vmids": [200]}, "backup job nightly has vmids and all, and takes one of vmids, pool and all"),
    ({"all": None}, "does not exist, and to create it vmids, pool or all must be given"),
    ({"schedule": None}, "backup job nightly does not exist, and to create it schedule must be given"),
    ({"schedule": ""}, "backup job nightly: schedule is empty. Leave it out"),
    ({"storage": "a b"}, "storage 'a b' is not valid"),
    ({"node": "a/b"}, "node 'a/b' is not valid"),
    ({"all": None, "vmids": [7]}, "vmid 7 is no id of a guest"),
    ({"all": None, "vmids": []}, "backup job nightly: vmids is empty"),
    ({"all": None, "pool": "lab", "exclude": [201]}, "backup job nightly: exclude belongs to all"),
    ({"retention": {"keep_last": -1}}, "retention has a negative keep_last"),
    ({"retention": {"keep_all": True, "keep_last": 2}}, "retention says keep_all and other things besides"),
    ({"bandwidth_limit": -5}, "bandwidth_limit is -5. Write KiB/s"),
    ({"mode": "live"}, "value of mode must be one of: snapshot, suspend, stop"),
    ({"state": "absent"}, "is to be absent, and has all, schedule, storage besides"),
]


def test_bad_input_is_said_and_nothing_is_written(lab: PveLab) -> None:
    for given, message in BAD:
        mark = lab.ledger.mark()
        entry = {key: value for key, value in {**NIGHT, **given}.items() if value is not None}
        try:
            text = run(lab, entry).result.get("msg", "")
        except AssertionError as error:
            text = str(error)  # refused by the specification
        assert message in text, (given, text)
        assert [one.path for one in lab.ledger.entries(mark) if one.write] == [], given
    assert "backup job nightly is named twice" in run(lab, NIGHT, NIGHT).result["msg"]


@pytest.mark.sends_bad_requests("a schedule that is none")
def test_a_schedule_that_is_none_is_refused_with_the_servers_words(lab: PveLab) -> None:
    outcome = run(lab, {**NIGHT, "schedule": "whenever"})
    assert "create backup job nightly" in outcome.result["msg"]
    assert "schedule: invalid format" in outcome.result["msg"]


@pytest.mark.parametrize(
    ("right", "message"),
    [
        ("Sys.Modify", "Sys.Modify on / (create backup job nightly)"),
        ("Datastore.Allocate", "Datastore.Allocate on /storage/nas (create backup job nightly)"),
    ],
)
def test_a_missing_right_is_named_with_its_path_and_role(tmp_path: pathlib.Path, right: str, message: str) -> None:
    lab = prepared(tmp_path, also=SYSTEM)
    fewer = {name: tuple(one for one in rights if one != right) for name, rights in lab.config.roles.items()}
    lab.config = dataclasses.replace(lab.config, roles=fewer)
    with lab:
        outcome = run(lab, NIGHT)
        assert message in outcome.result["msg"]
        assert "the role Ansible" in outcome.result["msg"]
        assert outcome.writes == []


def test_the_right_on_the_storage_that_a_job_has_is_needed_to_change_it(tmp_path: pathlib.Path) -> None:
    lab = prepared(tmp_path, also=SYSTEM)
    roles = {
        name: tuple(one for one in rights if one != "Datastore.Allocate") for name, rights in lab.config.roles.items()
    }
    lab.config = dataclasses.replace(lab.config, roles=roles)
    with lab:
        form = {"id": "nightly", "schedule": "02:30", "storage": "nas", "all": 1}
        with lab.session() as session:
            session.post("/cluster/backup", form, asked="prepare a test")
        outcome = run(lab, {"id": "nightly", "enabled": False})
        assert "Datastore.Allocate on /storage/nas (update backup job nightly)" in outcome.result["msg"]
        assert outcome.writes == []
        assert run(lab, {"id": "nightly", "state": "absent"}).result["changed"]


@pytest.mark.sends_bad_requests("without the right to see backup jobs")
def test_who_may_not_see_the_jobs_is_told(tmp_path: pathlib.Path) -> None:
    with prepared(tmp_path) as lab:
        assert "the right Sys.Audit on /" in run(lab, NIGHT).result["msg"]


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut", "garbage"])
@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE"])
def test_a_lost_answer_is_looked_after_in_the_same_run(lab: PveLab, fault: str, verb: str) -> None:
    run(lab, {**NIGHT, "id": "old"}, {**NIGHT, "id": "gone"})
    lab.fault(fault, verb=verb, path="/cluster/backup*")
    outcome = run(lab, NIGHT, {"id": "old", "enabled": False}, {"id": "gone", "state": "absent"})
    assert not outcome.result.get("failed"), outcome.result
    assert (job(lab, "nightly")["storage"], job(lab, "old")["enabled"]) == ("nas", 0)


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_the_examples_run(lab: PveLab, in_process: bool) -> None:
    results = play(lab, tasks_of(lab, proxmox_backup_job.EXAMPLES), in_process=in_process)
    assert [result.get("msg") for result in results if result.get("failed")] == []
    assert [result["changed"] for result in results] == [True, True, True]
