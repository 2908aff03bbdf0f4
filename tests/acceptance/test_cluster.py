# SPDX-License-Identifier: GPL-3.0-or-later
"""Three control planes and two workers: they stand up, one is wiped and comes back, a lost quorum is recovered.

The tests of this module are one life of one lab, in their order.
"""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from simlab.harness import SimulatedLab

from .labs import Lab, playbook_writes

pytestmark = pytest.mark.lab

HERE = pathlib.Path(__file__).parent
FIVE = HERE / "labs" / "five"
CONTROL_PLANES = {"cp1": 201, "cp2": 202, "cp3": 203}
WORKERS = {"w1": 211, "w2": 212}
MARK = "/api/v1/namespaces/media"
SNAPSHOT = "/run/simlab/secrets/etcd.snapshot"


@pytest.fixture(scope="module")
def five() -> t.Iterator[Lab]:
    with SimulatedLab(FIVE) as simulated:
        yield Lab(simulated)


def ready(lab: Lab) -> list[str]:
    """Names of the Kubernetes nodes that are Ready."""
    return sorted(
        node["metadata"]["name"]
        for node in lab.kubernetes("GET", "/api/v1/nodes")["items"]
        if {"type": "Ready", "status": "True"}.items()
        <= next(one for one in node["status"]["conditions"] if one["type"] == "Ready").items()
    )


def etcd(lab: Lab) -> dict[str, bool]:
    """Members of etcd by name, and whether they vote."""
    run = lab.run(str(HERE / "members.yml"))
    assert run.rc == 0, run.tail()
    found = json.loads(lab.shell("cat /run/simlab/secrets/members.json"))
    return {member["name"]: not member["learner"] for member in found}


def destroy(lab: Lab, *names: str) -> None:
    for name in names:
        path = f"/nodes/pve1/qemu/{CONTROL_PLANES[name]}"
        lab.await_task(lab.proxmox("POST", f"{path}/status/stop"))
        lab.await_task(lab.proxmox("DELETE", path))


def nothing_left_to_do(lab: Lab) -> None:
    mark = lab.mark()
    run = lab.run("bootstrap")
    assert (run.rc, run.changed, run.failed) == (0, 0, 0), run.tail()
    assert playbook_writes(lab.ledger(mark)) == []


def test_five_nodes_stand_up_with_three_voters_in_a_minute_and_a_half(five: Lab) -> None:
    run = five.run("bootstrap")
    assert run.rc == 0, run.tail()
    assert ready(five) == sorted([*CONTROL_PLANES, *WORKERS])
    assert etcd(five) == dict.fromkeys(CONTROL_PLANES, True)
    assert run.seconds < 90


def test_a_second_run_has_nothing_to_do_and_writes_nothing(five: Lab) -> None:
    nothing_left_to_do(five)


def test_a_node_that_was_wiped_comes_back(five: Lab) -> None:
    reset = five.run(str(HERE / "reset.yml"), "-e", json.dumps({"reset_name": "cp3", "reset_address": "192.168.30.53"}))
    assert (reset.rc, reset.changed) == (0, 1), reset.tail()
    assert etcd(five) == {"cp1": True, "cp2": True}, "it left etcd before it was wiped"
    run = five.run("bootstrap")
    assert run.rc == 0, run.tail()
    assert [change["resource"] for change in run.changes] == ["talos-config/cp3"]
    assert etcd(five) == dict.fromkeys(CONTROL_PLANES, True)
    nothing_left_to_do(five)


def test_a_node_whose_wiping_would_lose_the_quorum_is_left_alone(five: Lab) -> None:
    five.await_task(five.proxmox("POST", "/nodes/pve1/qemu/203/status/stop"))
    asked = json.dumps({"reset_name": "cp2", "reset_address": "192.168.30.52", "reset_graceful": False})
    mark = five.mark()
    refused = five.run(str(HERE / "reset.yml"), "-e", asked)
    assert refused.rc != 0
    assert "without cp2 1 would be left, and its quorum is 2 of 3" in refused.joined()
    assert playbook_writes(five.ledger(mark)) == []
    assert five.run("bootstrap").rc == 0


def test_a_lost_quorum_is_recovered_from_a_snapshot(five: Lab) -> None:
    five.kubernetes("PATCH", MARK, {"metadata": {"labels": {"kept": "in-the-snapshot"}}})
    taken = five.run(str(HERE / "snapshot.yml"))
    assert taken.rc == 0, taken.tail()
    five.kubernetes("PATCH", MARK, {"metadata": {"labels": {"kept": "after-the-snapshot"}}})
    destroy(five, "cp2", "cp3")
    recover = ("-e", json.dumps({"talos_recover_from": SNAPSHOT}))
    wipe = {"reset_name": "cp1", "reset_address": "192.168.30.51", "reset_partitions": ["EPHEMERAL"]}
    wiped = five.run(str(HERE / "reset.yml"), "-e", json.dumps({**wipe, "reset_graceful": False, "reset_force": True}))
    assert (wiped.rc, wiped.changed) == (0, 1), wiped.tail()
    run = five.run("bootstrap", *recover)
    assert run.rc == 0, run.tail()
    assert {"vm/202", "vm/203", "talos-config/cp2", "talos-config/cp3", "etcd/homelab"} <= {
        change["resource"] for change in run.changes
    }
    assert five.kubernetes("GET", MARK)["metadata"]["labels"]["kept"] == "in-the-snapshot"
    assert ready(five) == sorted([*CONTROL_PLANES, *WORKERS])
    assert etcd(five) == dict.fromkeys(CONTROL_PLANES, True)
    again = five.run("bootstrap", *recover)
    assert (again.rc, again.changed) == (0, 0), again.tail()
