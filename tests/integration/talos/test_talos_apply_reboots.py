# SPDX-License-Identifier: GPL-3.0-or-later
"""talos_apply_config with a change that needs a reboot: one control plane after the other, never at the cost of the quorum."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from talos_lab import PlayedLab, WellKubernetes
from talos_quorum_lab import fall_ill, stand_up
from test_talos_life import ENVIRONMENT, SYSCTL, build, steps
from test_talos_reboot import THREE, boot_ids

from simlab.faults import Fault

APPLY = "/machine.MachineService/ApplyConfiguration"


def applied(lab: PlayedLab, mark: int) -> list[str]:
    """Who was given a config since then, in order; dry runs are no writes."""
    return [entry.server for entry in lab.ledger.entries(mark) if entry.path == APPLY and entry.write]


def change(lab: PlayedLab, *names: str, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    return lab.run("apply_config", check=check, **{"wait_timeout": 90, **lab.cluster(*names, **more)})


class Said(list[str]):
    """What a module says, and what happens when it says so."""

    def __init__(self, words: str, event: t.Callable[[], None]) -> None:
        super().__init__()
        self._words, self._event = words, event

    def append(self, said: str) -> None:
        super().append(said)
        if said == self._words:
            self._event()


def test_the_quorum_is_judged_before_a_config_that_reboots(lab: PlayedLab) -> None:
    shared = stand_up(lab, *THREE)
    fall_ill(lab, shared, "cp3")
    mark, before = lab.ledger.mark(), boot_ids(lab)
    for check in (True, False):
        refused = change(lab, *THREE, patches=[ENVIRONMENT], check=check)
        assert refused["failed"] and "not healthy: cp3; without cp1 1 would be left" in refused["msg"], refused
        assert "mode staged" in refused["msg"] and "talos_reboot" in refused["msg"]
        assert refused["changes"] == []
    assert applied(lab, mark) == [] and boot_ids(lab) == before
    made = change(lab, *THREE, patches=[SYSCTL])
    assert not made.get("failed") and applied(lab, mark) == [*THREE], "what needs no reboot costs no quorum"


def test_control_planes_reboot_in_turn(lab: PlayedLab) -> None:
    stand_up(lab, *THREE)
    mark, before = lab.ledger.mark(), boot_ids(lab)
    checked = change(lab, *THREE, patches=[ENVIRONMENT], check=True)
    made = change(lab, *THREE, patches=[ENVIRONMENT])
    assert not made.get("failed"), made
    assert made["changes"] == checked["changes"] and {one["note"] for one in made["changes"]} == {"needs a reboot"}
    assert applied(lab, mark) == [*THREE] and not set(boot_ids(lab).values()) & set(before.values())


def test_a_member_that_falls_ill_meanwhile_stops_the_next(lab: PlayedLab) -> None:
    shared = stand_up(lab, *THREE)
    mark = lab.ledger.mark()
    lab.said = Said("applying the machine config of cp1", lambda: fall_ill(lab, shared, "cp3"))
    failed = change(lab, *THREE, patches=[ENVIRONMENT])
    assert failed["failed"] and "not healthy: cp3; without cp2 1 would be left" in failed["msg"], failed
    assert applied(lab, mark) == ["cp1"]
    assert [one["resource"] for one in failed["changes"]] == ["talos-config/cp1"]


def test_a_control_plane_without_etcd_has_no_quorum_to_lose(lab: PlayedLab) -> None:
    lab.power_on("cp1")
    for module, params in steps(lab, "cp1")[:2]:
        assert not lab.run(module, **params).get("failed")
    made = change(lab, "cp1", patches=[ENVIRONMENT])
    assert not made.get("failed") and made["changed"], made


@pytest.mark.parametrize("verb", ["Read", "EtcdMemberList", "ServiceList"])
@pytest.mark.parametrize("kind", ["drop-before", "cut", "garbage"])
def test_a_question_before_the_reboot_whose_answer_is_lost_is_asked_again(lab: PlayedLab, verb: str, kind: str) -> None:
    build(lab, "cp1")
    boot = lab.nodes["cp1"].runtime.boot_id
    lab.faults.add(Fault(kind, api="talos", verb=verb))
    made = change(lab, "cp1", patches=[ENVIRONMENT])
    assert not made.get("failed"), made
    assert lab.faults.active[0].hit and lab.nodes["cp1"].runtime.boot_id != boot


class WithoutNetwork(WellKubernetes):
    """Nodes that never become ready, as no network plugin is there."""

    def node_object(self) -> t.Any:
        node = super().node_object()
        if node:
            node["status"]["conditions"][0]["status"] = "False"
        return node


def test_without_a_network_plugin_a_node_is_back_while_it_still_boots(lab: PlayedLab) -> None:
    lab.settings = dataclasses.replace(lab.settings, kubernetes=t.cast(t.Any, WithoutNetwork))
    lab.power_on("cp1")
    for module, params in steps(lab, "cp1"):
        made = lab.run(module, **params, **({"node_ready": False} if module == "health" else {}))
        assert not made.get("failed"), made
    assert made["nodes"][0]["stage"] == "booting"
    made = change(lab, "cp1", patches=[ENVIRONMENT], wait_timeout=30)
    assert not made.get("failed"), made
    assert made["nodes"][0]["stage"] == "booting"
