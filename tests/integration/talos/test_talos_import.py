# SPDX-License-Identifier: GPL-3.0-or-later
"""A secrets bundle taken over from a node that runs, and kept encrypted: the same cluster goes on with it."""

from __future__ import annotations

import pytest
from talos_lab import PlayedLab
from test_talos_life import SYSCTL, build

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import secrets_bundle
from simlab.faults import Fault


def test_a_cluster_goes_on_with_the_bundle_of_its_node(lab: PlayedLab) -> None:
    build(lab, "cp1")
    config = str(lab.path / "talosconfig")
    made = lab.run("secrets", talosconfig_dest=config, cluster_name="lab", endpoints=[lab.address("cp1")])
    assert [change["resource"] for change in made["changes"]] == [f"talosconfig/{config}"]
    before, mark = secrets_bundle.load(lab.secrets_path), lab.ledger.mark()
    key = age.Identity.generate()
    keys = lab.path / "age.txt"
    private_files.replace(keys, f"{key.text}\n")
    lab.secrets_path = lab.path / "taken" / "talos-secrets.sops.yaml"
    taken = {
        "talosconfig": config,
        "import_node": lab.address("cp1"),
        "recipients": [key.recipient],
        "age_key_file": str(keys),
    }
    predicted = lab.run("secrets", check=True, **taken)
    assert not lab.secrets_path.exists()
    made = lab.run("secrets", **taken)
    assert made["changes"] == predicted["changes"] and not made.get("failed"), made
    assert made["changes"][0]["note"] == f"taken over from the node {lab.address('cp1')}"
    assert secrets_bundle.load(lab.secrets_path, lambda: [key]).data == before.data
    assert lab.run("secrets", **taken)["changes"] == []
    assert not [entry for entry in lab.ledger.entries(mark) if entry.write]
    changed = lab.run("apply_config", age_key_file=str(keys), **lab.cluster("cp1", patches=[SYSCTL]))
    assert changed["changed"] and not changed.get("failed"), changed
    failed = lab.run("apply_config", **lab.cluster("cp1"))
    assert "is encrypted, and no age identity was given" in failed["msg"]


@pytest.mark.parametrize("kind", ["drop-before", "garbage", "cut"])
def test_a_read_that_is_cut_off_writes_nothing_half(lab: PlayedLab, kind: str) -> None:
    build(lab, "cp1")
    config = str(lab.path / "talosconfig")
    lab.run("secrets", talosconfig_dest=config, cluster_name="lab", endpoints=[lab.address("cp1")])
    lab.secrets_path = lab.path / "taken" / "talos-secrets.yaml"
    given = {"talosconfig": config, "import_node": lab.address("cp1")}
    lab.faults.add(Fault(kind, api="talos", times=0, path="/cosi.resource.State/Get"))
    failed = lab.run("secrets", **given)
    assert failed["failed"] and lab.address("cp1") in failed["msg"]
    assert not lab.secrets_path.exists()
    lab.faults.clear()
    assert lab.run("secrets", **given)["changed"]


def test_a_node_that_is_off_is_named(lab: PlayedLab) -> None:
    build(lab, "cp1")
    config = str(lab.path / "talosconfig")
    lab.run("secrets", talosconfig_dest=config, cluster_name="lab", endpoints=[lab.address("cp1")])
    lab.power_off("cp1")
    lab.secrets_path = lab.path / "taken" / "talos-secrets.yaml"
    failed = lab.run("secrets", talosconfig=config, import_node=lab.address("cp1"))
    assert lab.address("cp1") in failed["msg"] and failed["error"]["kind"] == "Unreachable"
