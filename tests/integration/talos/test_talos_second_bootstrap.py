# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster is bootstrapped once, whichever of its control plane nodes is asked for it."""

from __future__ import annotations

import typing as t

import pytest
from talos_lab import PlayedLab
from test_talos_life import build

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import bootstrap
from simlab.faults import Fault


def two_control_planes(lab: PlayedLab) -> dict[str, t.Any]:
    """A cluster of cp1, and a cp2 that has just got its config and no etcd."""
    build(lab, "cp1")
    lab.power_on("cp2")
    made = lab.run("apply_config", **lab.cluster("cp1", "cp2"))
    assert not made.get("failed"), made
    return {
        "node": lab.address("cp2"),
        "control_planes": [lab.address("cp1"), lab.address("cp2")],
        "cluster_name": "lab",
    }


def bootstraps(lab: PlayedLab) -> int:
    return lab.writes().count("/machine.MachineService/Bootstrap")


def test_a_node_is_not_bootstrapped_beside_the_etcd_of_another_one(
    lab: PlayedLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = two_control_planes(lab)
    # A played node joins at once; a real one takes up to a minute, in which it has no data.
    monkeypatch.setattr(bootstrap.Bootstrap, "_is_bootstrapped", lambda *_: False)
    for check in (True, False):
        for listed in (wanted["control_planes"], []):  # not listed, they are known from discovery
            result = lab.run("bootstrap", check=check, **{**wanted, "control_planes": listed})
            assert result["changes"] == [] and not result.get("failed"), result
    assert any(said.startswith("cp1 runs etcd already") for said in lab.said)
    lab.faults.add(Fault("answer", api="talos", verb="List", times=0, args={"status": "INTERNAL", "text": "no"}))
    alone = lab.run("bootstrap", check=True, **{**wanted, "control_planes": []})
    assert alone["changed"], "without addresses and discovery nobody could know"
    assert not lab.run("bootstrap", check=True, planned=True, **wanted)["changed"]
    assert bootstraps(lab) == 1


def test_nothing_is_bootstrapped_while_another_node_cannot_be_asked(lab: PlayedLab) -> None:
    lab.power_on("cp1")
    lab.run("secrets")
    lab.run("apply_config", **lab.cluster("cp1"))
    others = {"node": lab.address("cp1"), "control_planes": [lab.address("cp2")], "cluster_name": "lab"}
    result = lab.run("bootstrap", wait_timeout=2, **others)
    assert result["failed"] and lab.address("cp2") in result["msg"], result
    assert bootstraps(lab) == 0


def test_a_control_plane_that_only_discovery_remembers_is_not_waited_for(lab: PlayedLab) -> None:
    """The machine of an earlier life of the cluster, which is off."""
    lab.power_on("cp1", "cp2")
    lab.run("secrets")
    assert not lab.run("apply_config", **lab.cluster("cp1", "cp2")).get("failed")
    lab.power_off("cp2")
    members, gone = ("cluster", "Members.cluster.talos.dev"), {"hostname": "cp9", "machineType": "controlplane"}
    spec = {**gone, "addresses": [lab.address("cp9")], "operatingSystem": "Talos (v1.13.9)"}
    lab.nodes["cp1"].runtime.resources.put(*members, "cp9", spec, owner="cluster.MemberController")
    made = lab.run("bootstrap", node=lab.address("cp1"), cluster_name="lab", wait_timeout=20)
    assert not made.get("failed") and made["changed"] and bootstraps(lab) == 1, made
