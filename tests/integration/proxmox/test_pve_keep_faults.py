# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots, backups and restores when the server says no, is slow, or is another one. One table for all of them."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from playing import play, without_ways
from pve_backups import aged, guests, made, prepared
from pve_lab import Outcome, PveLab
from test_pve_records import REFUSALS

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.session import Session
from ansible_collections.groundwork.homelab.plugins.modules import (
    proxmox_backup,
    proxmox_backup_info,
    proxmox_snapshot,
)

pytestmark = pytest.mark.needs_played("a backup of another day is there")


@dataclasses.dataclass(frozen=True)
class Case:
    """What is wanted; where its write and its first list go; whether a second run has nothing to do."""

    module: t.Any
    params: dict[str, t.Any]
    path: str
    listed: str = "/cluster/resources"
    verb: str = "POST"


def _snapshot(**more: t.Any) -> dict[str, t.Any]:
    return {"snapshots": [{"vmid": 200, "name": "one", **more}]}


OLD = "nas:backup/vzdump-qemu-200-2026_01_01-00_00_00.vma.zst"
CASES = {
    "snapshot": Case(proxmox_snapshot, _snapshot(), "*/qemu/200/snapshot"),
    "delete a snapshot": Case(proxmox_snapshot, _snapshot(name="old", state="absent"), "*/snapshot/old", verb="DELETE"),
    "describe a snapshot": Case(proxmox_snapshot, _snapshot(name="old", description="d"), "*/old/config", verb="PUT"),
    "backup": Case(proxmox_backup, {"vmids": [201], "storage": "nas", "max_age": "1h"}, "*/vzdump"),
    "delete a backup": Case(proxmox_backup, {"state": "absent", "volids": [OLD]}, "*/content/*", verb="DELETE"),
    "restore": Case(
        proxmox_backup,
        {"state": "restored", "storage": "nas", "restores": [{"vmid": 9200, "source_vmid": 310}]},
        "/nodes/pve1/lxc",
    ),
}


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with prepared(tmp_path) as lab:
        guests(lab)
        made(lab, "/nodes/pve1/qemu/200/snapshot", snapname="old")
        made(lab, "/nodes/pve1/vzdump", vmid=310, storage="nas")
        (path,) = aged(lab, 200, 5 * 86400)
        store = lab.server.cluster.storages.get("pve1", "nas")
        store.file(path.partition(":")[2]).rename(store.file(OLD.partition(":")[2]))
        yield lab


def run(lab: PveLab, case: Case, **more: t.Any) -> Outcome:
    return lab.run(case.module, **{**case.params, **more})


#: Ends of the paths of lists.
LISTS = ("/cluster/resources", "/200/snapshot", "/content")


def read_by(lab: PveLab, case: Case) -> set[str]:
    """The paths of a look that changes nothing."""
    outcome = lab.run(case.module, check=True, **case.params)
    assert not outcome.result.get("failed"), outcome.result
    return {entry.path for entry in outcome.requests if entry.verb == "GET"}


def settled(lab: PveLab, case: Case, outcome: Outcome) -> None:
    assert not outcome.result.get("failed"), outcome.result
    assert outcome.result["changed"]
    again = run(lab, case)
    assert (again.result.get("changes"), again.writes) == ([], []), again.result


@pytest.mark.parametrize("name", CASES)
@pytest.mark.sends_bad_requests("answers of a server that refuses")
def test_a_refusal_is_quoted_and_the_next_run_goes_on(lab: PveLab, name: str) -> None:
    case = CASES[name]
    for refusal, (status, text, kind, message) in REFUSALS.items():
        lab.fault("answer", verb=case.verb, path=case.path, status=status, text=text, times=0)
        outcome = run(lab, case, task_timeout=0.5)
        assert outcome.result["error"]["kind"] == kind, (refusal, outcome.result)
        assert message in outcome.result["msg"], refusal
        assert outcome.result["changed"] is False
        lab.faults.clear()
    settled(lab, case, run(lab, case))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("status", "text"),
    [(429, "slow down"), (500, "got no worker upid - start worker failed"), (503, "try later"), (500, "can't lock file '/x'")],
)  # fmt: skip
def test_a_server_that_is_busy_is_asked_again(lab: PveLab, name: str, status: int, text: str) -> None:
    case = CASES[name]
    lab.fault("answer", verb=case.verb, path=case.path, status=status, text=text)
    settled(lab, case, run(lab, case))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fault", ["drop-before", "cut", "garbage"])
def test_a_list_that_is_cut_off_is_asked_for_again(lab: PveLab, name: str, fault: str) -> None:
    case = CASES[name]
    lab.fault(fault, verb="GET", path=case.listed)
    settled(lab, case, run(lab, case))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("data", [None, {}, "text", [1], [{"strange": 1}]])
def test_json_that_is_something_else_is_said(
    lab: PveLab, monkeypatch: pytest.MonkeyPatch, name: str, data: t.Any
) -> None:
    """At any list that the module reads, whichever of them has the strange answer."""
    case = CASES[name]
    real = Session.get
    reads = read_by(lab, case)
    for path in [path for path in LISTS if any(read.endswith(path) for read in reads)]:

        def strange(
            session: Session, asked_for: str, query: t.Any = None, *, asked: str = "", end: str = path
        ) -> t.Any:
            return data if asked_for.endswith(end) else real(session, asked_for, query, asked=asked)

        monkeypatch.setattr(Session, "get", strange)
        outcome = run(lab, case)
        assert outcome.result["error"]["kind"] == "NoRecords", path
        assert "the answer is JSON, but no list of records with" in outcome.result["msg"]
        assert outcome.writes == []


@pytest.mark.parametrize("name", CASES)
def test_a_slow_answer_is_waited_for_and_a_very_slow_one_is_looked_after(lab: PveLab, name: str) -> None:
    case = CASES[name]
    lab.fault("delay", verb=case.verb, path=case.path, seconds=1.5)
    settled(lab, case, run(lab, case, api_timeout=0.7))


@pytest.mark.parametrize("name", CASES)
def test_a_ticket_that_expires_in_the_middle_is_renewed(lab: PveLab, name: str) -> None:
    case = CASES[name]
    lab.fault("answer", verb=case.verb, path=case.path, status=401, text="permission denied - invalid PVE ticket")
    settled(lab, case, lab.run(case.module, as_root=True, **case.params))


@pytest.mark.parametrize("name", CASES)
def test_a_certificate_that_does_not_verify_stops_it(lab: PveLab, name: str) -> None:
    outcome = run(lab, CASES[name], ca_path=None)
    assert "certificate" in outcome.result["msg"].lower()
    assert outcome.requests == []


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("describe")])
def test_a_task_that_fails_is_told_with_its_log_and_the_next_run_goes_on(lab: PveLab, name: str) -> None:
    case = CASES[name]
    lab.fault("task-error", verb=case.verb, path=case.path, text="the disk is on fire")
    outcome = run(lab, case)
    assert (outcome.result["error"]["kind"], outcome.result["changed"]) == ("TaskFailed", False)
    assert "the disk is on fire" in outcome.result["msg"]
    assert outcome.result["error"]["log"][-1] == "TASK ERROR: the disk is on fire"
    settled(lab, case, run(lab, case))


def test_both_ways_give_the_same_result_and_the_same_error(lab: PveLab) -> None:
    def task(module: t.Any, params: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"groundwork.homelab." + module.__name__.rpartition(".")[2]: params, "ignore_errors": True}

    tasks = [task(case.module, case.params) for case in CASES.values()]
    tasks += [
        task(proxmox_snapshot, _snapshot(name="x")),
        task(proxmox_backup, {"vmids": [999], "storage": "nas"}),
        task(proxmox_backup, {"vmids": [201], "storage": "nas", "max_age": "soon"}),
        task(proxmox_backup_info, {"storage": ["gone"]}),
    ]
    here = play(lab, tasks, "--check", "--diff", in_process=True)
    there = play(lab, tasks, "--check", "--diff", in_process=False)
    assert [without_ways(result) for result in here] == [without_ways(result) for result in there]
    assert all(result["changes"] and result["diff"] for result in here[: len(CASES)])
    assert "is no name of a snapshot" in here[len(CASES)]["msg"]
