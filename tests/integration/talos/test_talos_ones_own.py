# SPDX-License-Identifier: GPL-3.0-or-later
"""How ``test_talos_nodes.py`` takes nodes of one's own: what the environment says, and what is said when it is wrong."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from talos_lab import PlayedLab
from talos_nodes import STATE, of_ones_own, stands
from test_talos_info import use_talosconfig
from test_talos_life import build


@pytest.fixture
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Both the home directory and where we are."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_paths_are_taken_as_people_type_them(lab: PlayedLab, home: pathlib.Path) -> None:
    (home / "patch.yaml").write_text(yaml.safe_dump({"machine": {"sysctls": {"vm.nr_hugepages": "8"}}}))
    lab.power_on("cp1")
    given = {"TALOS": lab.address("cp1"), "TALOS_STATE": "~/state", "TALOS_PATCH": "patch.yaml"}
    nodes = of_ones_own(given, home)
    secrets = home / "state" / "secrets.yaml"
    assert secrets.exists() and nodes.connection == {"secrets_path": str(secrets)}
    again = of_ones_own({**given, "TALOS_STATE": "state"}, home)
    assert again.connection == nodes.connection and again.kind.endswith(
        f"(the cluster that was made of them with {secrets})"
    )


def test_a_cluster_as_it_is_and_why_it_is_taken_for_one(lab: PlayedLab, home: pathlib.Path) -> None:
    build(lab, "cp1")
    config = pathlib.Path(use_talosconfig(lab, "cp1")).rename(home / "talosconfig")
    nodes = of_ones_own({"TALOS": lab.address("cp1"), "TALOSCONFIG": "~/talosconfig"}, home)
    assert nodes.connection == {"talosconfig": str(config)} and nodes.addresses == [lab.address("cp1")]
    lab.power_off("cp1")
    with pytest.raises(AssertionError, match=f"talos_info on a cluster as it is, as TALOSCONFIG={config} is given"):
        of_ones_own({"TALOS": lab.address("cp1"), "TALOSCONFIG": "talosconfig"}, home)


def test_another_cluster_s_machines_are_told_with_what_was_expected_of_them(lab: PlayedLab, home: pathlib.Path) -> None:
    build(lab, "cp1")
    with pytest.raises(AssertionError, match="machines in maintenance mode, as no TALOSCONFIG is given"):
        of_ones_own({"TALOS": lab.address("cp1"), "TALOS_STATE": "other"}, home)
    with pytest.raises(AssertionError, match="TALOS names no node"):
        of_ones_own({"TALOS": " , "}, home)


def test_the_keys_of_such_a_cluster_are_not_among_what_is_cleaned() -> None:
    root = STATE.parent
    cleaned = next(line for line in (root / "Makefile").read_text().splitlines() if "rm -rf .venv" in line).split()
    assert STATE.name not in cleaned
    assert f"/{STATE.name}/" in (root / ".gitignore").read_text().splitlines()
    assert STATE.name in yaml.safe_load((root / "galaxy.yml").read_text())["build_ignore"]


def test_a_node_that_only_lacks_a_network_plugin_stands() -> None:
    unready = {"name": "nodeReady", "reason": 'node "cp3" is not ready'}
    assert stands("running", []) and stands("booting", [unready])
    assert not stands("booting", []) and not stands("rebooting", [unready])
    assert not stands("booting", [unready, {"name": "staticPods", "reason": ""}])
