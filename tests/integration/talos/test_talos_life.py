# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's life through the modules: secrets, configs, bootstrap, kubeconfig, health; each twice."""

from __future__ import annotations

from talos_lab import PlayedLab


def test_a_node_goes_from_maintenance_to_healthy_and_stays(lab: PlayedLab) -> None:
    lab.power_on("cp1")
    cluster = lab.cluster("cp1")
    assert lab.run("secrets")["changed"]
    for module, params in (
        ("apply_config", cluster),
        ("bootstrap", {"node": lab.address("cp1"), "cluster_name": "lab"}),
        ("kubeconfig", {"node": lab.address("cp1"), "dest": str(lab.path / "kubeconfig")}),
    ):
        checked = lab.run(module, check=True, **params)
        made = lab.run(module, **params)
        assert (checked.get("failed"), made.get("failed")) == (None, None), (checked, made)
        assert checked["changes"] == made["changes"] and made["changed"]
        before = lab.writes()
        again = lab.run(module, **params)
        assert not again["changed"], again
        assert lab.writes() == before
    assert not lab.run("secrets")["changed"]
    assert lab.run("health", nodes=cluster["nodes"], wait_timeout=30).get("failed") is None
