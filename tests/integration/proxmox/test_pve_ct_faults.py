# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers when things go wrong: tasks that fail, locks, answers that are lost, runs that are cut off."""

from __future__ import annotations

import typing as t

import pve_containers as containers
import pytest
from pve_containers import config_of, cts, made, status_of, truthful, vmids, with_
from pve_lab import PveLab

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.containers import cts as cts_core

CONFIG = "/nodes/pve1/lxc/310/config"


@pytest.fixture
def lab(pve: PveLab) -> PveLab:
    containers.put_template(pve)
    return pve


def test_a_task_error_is_told_with_its_log_and_the_next_run_goes_on(lab: PveLab) -> None:
    lab.fault(
        "task-error", verb="POST", path="/nodes/pve1/lxc/310/status/start", text="startup for container '310' failed"
    )
    outcome = cts(lab)
    assert "Could not start CT 310 (traefik)" in outcome.result["msg"]
    assert "startup for container '310' failed" in outcome.result["msg"]
    assert outcome.result["error"]["log"][-1] == "TASK ERROR: startup for container '310' failed"
    assert outcome.actions == ["ct/310 create"], "what was made before it failed"
    lab.faults.clear()
    assert truthful(lab).actions == ["ct/310 start"]


def test_a_lock_is_waited_for(lab: PveLab) -> None:
    made(lab)
    lab.fault("lock", verb="PUT", path=CONFIG, seconds=1)
    assert made(lab, with_(cores=3)).actions == ["ct/310 update"]
    assert int(config_of(lab)["cores"]) == 3


def test_a_lock_that_nobody_works_under_is_told_with_what_to_do(lab: PveLab) -> None:
    made(lab)
    with lab.session() as session:
        session.put(CONFIG, {"lock": "create"}, asked="lock it")
    outcome = cts(lab, with_(cores=3))
    assert outcome.writes == []
    assert "it is locked (create), but no task that can be seen works on it" in outcome.result["msg"]
    assert "pct unlock 310" in outcome.result["msg"]


def test_a_full_storage_is_told_as_the_server_tells_it(lab: PveLab) -> None:
    lab.fault("storage-full", verb="POST", path="/nodes/pve1/lxc")
    outcome = cts(lab)
    assert "No space left on device" in outcome.result["msg"] or "full" in outcome.result["msg"]
    assert vmids(lab) == []


def test_what_a_running_container_does_not_take_is_told_with_what_to_do(lab: PveLab) -> None:
    """Measured: of a request with something that cannot be plugged in nothing is kept, not even as pending."""
    made(lab)
    text = "unable to hotplug memory: trying to change memory cgroup values: container not running"
    lab.fault("answer", verb="PUT", path=CONFIG, status=400, text=text)
    outcome = cts(lab, with_(memory=1024))
    assert "unable to hotplug memory" in outcome.result["msg"]
    assert "Stop the container and run again: then nothing has to be plugged into it." in outcome.result["msg"]


def test_two_runs_at_once_do_not_change_each_others_work(lab: PveLab) -> None:
    """Somebody writes between our look and our write: the digest tells, and we look again."""
    made(lab, with_(state="stopped"))
    text = "detected modified configuration - file changed by other user? Try again."
    lab.fault("answer", verb="PUT", path=CONFIG, status=500, text=text)
    outcome = made(lab, with_(state="stopped", cores=3))
    assert outcome.actions == ["ct/310 update"]
    assert int(config_of(lab)["cores"]) == 3


CREATE_WRITES = 2  # create, start


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut", "garbage"])
@pytest.mark.parametrize("nth", range(1, CREATE_WRITES + 1))
def test_a_lost_answer_at_any_write_is_looked_after_in_the_same_run(lab: PveLab, fault: str, nth: int) -> None:
    hit = lab.fault(fault, writes=True, nth=nth, verb="P*")
    outcome = made(lab)
    assert hit.seen >= nth
    assert outcome.actions == ["ct/310 create", "ct/310 start"]
    assert vmids(lab) == [310]
    assert len([volume for volume in lab.volumes() if "310" in volume]) == 2, "root file system and mount"
    lab.faults.clear()
    assert made(lab).changes == []


@pytest.mark.parametrize("nth", range(1, CREATE_WRITES + 1))
@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
def test_a_run_that_was_cut_off_is_finished_by_the_next(
    lab: PveLab, fault: str, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun goes on alone, under the lock ``create``; the next run waits for it, and its check mode knows it."""
    lab.fault(fault, writes=True, nth=nth, verb="P*")
    lab.fault("task-time", verb="POST", path="/nodes/pve1/lxc*", times=0, seconds=0.4)
    with monkeypatch.context() as patch:
        patch.setattr(cts_core, "ATTEMPTS", 1)
        first = cts(lab)
    assert first.result["failed"]
    lab.faults.clear()
    second = truthful(lab)
    assert set(second.actions) <= {"ct/310 create", "ct/310 start"}
    assert status_of(lab) == "running"
    assert not any(key.startswith("unused") for key in config_of(lab))


UPDATE: dict[str, t.Any] = {
    "rootfs": {"storage": "local", "size": "3G"},
    "mounts": [{"mp": "/data", "storage": "local", "size": "2G", "backup": True}],
    "memory": 1024,
    "nameservers": ["1.1.1.1"],
    "allow_restart": True,
}


@pytest.mark.parametrize("fault", ["drop-after", "garbage"])
@pytest.mark.parametrize("nth", range(1, 6))
def test_an_update_with_a_lost_answer_ends_well(lab: PveLab, fault: str, nth: int) -> None:
    made(lab)
    hit = lab.fault(fault, writes=True, nth=nth, verb="P*")
    outcome = made(lab, with_(**UPDATE))
    assert hit.seen >= nth
    assert outcome.actions == ["ct/310 update", "ct/310 restart"]
    lab.faults.clear()
    config = config_of(lab)
    assert config["rootfs"].endswith("size=3G") and config["mp0"].endswith("size=2G")
    assert made(lab, with_(**UPDATE)).changes == []


def test_deleting_with_a_lost_answer_ends_well(lab: PveLab) -> None:
    made(lab)
    lab.fault("drop-after", verb="DELETE")
    outcome = made(lab, {"vmid": 310, "state": "absent"})
    assert outcome.actions == ["ct/310 stop", "ct/310 delete"]
    assert vmids(lab) == []
