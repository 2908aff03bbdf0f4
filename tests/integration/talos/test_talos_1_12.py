# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's life on Talos 1.12, which says less in maintenance mode and knows fewer modes there."""

from __future__ import annotations

import typing as t

import pytest
from talos_lab import PlayedLab
from test_talos_life import ENVIRONMENT, SYSCTL, steps

from simlab.talos.versions import Version


@pytest.fixture
def older(lab: PlayedLab) -> PlayedLab:
    lab.version = Version("v1.12.11")
    lab.power_on("cp1", "w1")
    return lab


def predicted_made_and_done(lab: PlayedLab, module: str, params: dict[str, t.Any], writes: int) -> dict[str, t.Any]:
    """Check mode writes nothing and predicts what is then made; a second run has nothing left to do."""
    before = lab.writes()
    checked = lab.run(module, check=True, **params)
    assert not checked.get("failed") and lab.writes() == before, checked
    made = lab.run(module, **params)
    assert not made.get("failed") and made["changed"] and made["changes"] == checked["changes"], made
    assert len(lab.writes()) == len(before) + writes
    again = lab.run(module, **params)
    assert not again.get("failed") and not again["changed"] and len(lab.writes()) == len(before) + writes, again
    return made


def test_the_whole_life_of_a_cluster(older: PlayedLab) -> None:
    lab, writes = older, {"apply_config": 2, "bootstrap": 1}
    *make, (health, nodes) = steps(lab, "cp1", "w1")
    lab.secrets_path.unlink()
    for module, params in make:
        predicted_made_and_done(lab, module, params, writes.get(module, 0))
    assert not lab.run(health, **nodes).get("failed")
    found = lab.run("info", nodes=lab.described("cp1", "w1"), facts=["version", "type", "extensions"], on_error="fail")
    assert {one["version"] for one in found["nodes"]} == {"v1.12.11"} and lab.warned == []

    changed = predicted_made_and_done(lab, "apply_config", lab.cluster("cp1", "w1", patches=[SYSCTL]), 2)
    assert all("note" not in change for change in changed["changes"])
    boot = lab.nodes["cp1"].runtime.boot_id
    rebooted = predicted_made_and_done(lab, "apply_config", lab.cluster("cp1", "w1", patches=[SYSCTL, ENVIRONMENT]), 2)
    assert {change["note"] for change in rebooted["changes"]} == {"needs a reboot"}
    assert lab.nodes["cp1"].runtime.boot_id != boot

    boot = lab.nodes["w1"].runtime.boot_id
    assert lab.run("reboot", nodes=lab.described("w1"), wait_timeout=60)["changed"]
    assert lab.nodes["w1"].runtime.boot_id != boot
    assert not lab.run(health, **nodes).get("failed")


@pytest.mark.parametrize(
    ("mode", "refused"), [("no_reboot", False), ("staged", True), ("try", True), ("reboot", False)]
)
def test_a_first_config_in_each_mode(older: PlayedLab, mode: str, refused: bool) -> None:
    """Its maintenance mode takes no ``no_reboot``: a first config is always given with the mode auto."""
    made = older.run("apply_config", **older.cluster("cp1", mode=mode))
    assert bool(made.get("failed")) == refused, made
    assert refused == (older.writes() == [])
    if refused:
        assert made["msg"].startswith(f"mode is {mode} and cp1 is in maintenance mode.")


def test_a_config_of_1_13_is_refused_in_the_node_s_words(older: PlayedLab) -> None:
    """A newer Kubernetes than it can run: told before anything is given to anybody."""
    wanted = older.cluster("cp1", "w1")
    wanted["cluster"] |= {"talos_version": "v1.13.9", "kubernetes_version": "v1.36.3"}
    for check in (True, False):
        refused = older.run("apply_config", check=check, **wanted)
        assert refused["failed"] and "Could not apply the machine config of" in refused["msg"], refused
    assert older.writes() == []
