# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut off, refused, slow: a run goes on where that is safe, and the next one finishes what is left; nothing is doubled."""

from __future__ import annotations

import time
import typing as t

import pytest
from talos_lab import PlayedLab
from test_talos_life import SYSCTL, build, steps

from simlab.faults import Fault

APPLY = "/machine.MachineService/ApplyConfiguration"
BOOTSTRAP = "/machine.MachineService/Bootstrap"


def effects(lab: PlayedLab, path: str) -> int:
    return sum(1 for entry in lab.ledger.entries() if entry.path == path and entry.write and entry.result == "OK")


@pytest.mark.parametrize("kind", ["drop-before", "drop-after", "garbage", "cut"])
@pytest.mark.parametrize("path", [APPLY, BOOTSTRAP])
def test_a_write_that_is_cut_off_is_finished_and_not_doubled(lab: PlayedLab, kind: str, path: str) -> None:
    lab.faults.add(Fault(kind, api="talos", path=path, writes=True))
    build(lab, "cp1")
    assert lab.faults.active[0].seen >= 1
    assert effects(lab, path) <= 1
    for module, params in steps(lab, "cp1"):
        assert not lab.run(module, **params)["changed"], module


@pytest.mark.parametrize("kind", ["drop-before", "garbage", "cut"])
@pytest.mark.parametrize("nth", [1, 3, 5])
def test_a_read_that_is_cut_off_is_asked_again(lab: PlayedLab, kind: str, nth: int) -> None:
    build(lab, "cp1")
    lab.faults.add(Fault(kind, api="talos", nth=nth))
    made = lab.run("apply_config", **lab.cluster("cp1", patches=[SYSCTL]))
    assert made.get("changed") and not made.get("failed"), made


def test_a_bootstrap_window_is_waited_for(lab: PlayedLab) -> None:
    text = "bootstrap is not available yet"
    arguments = {"status": "FAILED_PRECONDITION", "text": text}
    lab.faults.add(Fault("answer", api="talos", path=BOOTSTRAP, times=2, args=arguments))
    build(lab, "cp1")
    assert any(text in said for said in lab.said)
    assert effects(lab, BOOTSTRAP) == 1


def test_a_missing_right_is_named_with_its_call(lab: PlayedLab) -> None:
    build(lab, "cp1")
    lab.faults.add(
        Fault("answer", api="talos", path="/cosi.resource.State/Get", nth=2, times=0, args=_denied("not authorized"))
    )
    failed = lab.run("apply_config", **lab.cluster("cp1", patches=[SYSCTL]))
    assert failed["error"]["kind"] == "AccessDenied"
    assert "Could not call Get (Talos node cp1 at " in failed["msg"] and "os:admin" in failed["msg"]


def test_a_server_that_keeps_failing_ends_the_task_soon(lab: PlayedLab) -> None:
    build(lab, "cp1")
    arguments = {"status": "INTERNAL", "text": "disk is gone"}
    lab.faults.add(Fault("answer", api="talos", path=APPLY, writes=True, times=0, args=arguments))
    failed = lab.run("apply_config", **lab.cluster("cp1", patches=[SYSCTL]))
    assert failed["failed"] and "INTERNAL: disk is gone" in failed["msg"]
    assert failed["changes"] == []


def test_a_slow_answer_is_waited_for(lab: PlayedLab) -> None:
    build(lab, "cp1")
    lab.faults.add(Fault("delay", api="talos", args={"seconds": 0.5}))
    assert lab.run("apply_config", **lab.cluster("cp1", patches=[SYSCTL]))["changed"]


def test_an_answer_that_never_comes_is_a_time_out_that_names_the_call(lab: PlayedLab) -> None:
    build(lab, "cp1")
    lab.faults.add(Fault("delay", api="talos", path="*/ServiceList", times=0, args={"seconds": 5}))
    failed = lab.run("bootstrap", node=lab.address("cp1"), cluster_name="lab", timeout=1, wait_timeout=3)
    assert failed["failed"] and "ServiceList" in failed["msg"] and "DEADLINE_EXCEEDED" in failed["msg"]


def _denied(text: str) -> dict[str, t.Any]:
    return {"status": "PERMISSION_DENIED", "text": text}


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_a_run_that_was_killed_after_the_bootstrap_is_resumed_without_a_second_one(
    lab: PlayedLab, pause: float
) -> None:
    lab.power_on("cp1")
    for module, params in steps(lab, "cp1")[:2]:
        lab.run(module, **params)
    lab.wait_for_service("cp1", "cri")
    lab.call("cp1", lambda client: client.bootstrap())
    time.sleep(pause)
    resumed = lab.run("bootstrap", node=lab.address("cp1"), cluster_name="lab")
    assert not resumed.get("failed"), resumed
    assert effects(lab, BOOTSTRAP) == 1
