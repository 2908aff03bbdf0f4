# SPDX-License-Identifier: GPL-3.0-or-later
"""The Talos room against a cluster, played or of one's own (``make conformance TALOS=…``): nothing here knows which."""

from __future__ import annotations

import os
import pathlib
import re
import typing as t

import pytest
from talos_nodes import Json, Nodes, loaded
from test_talos_inventory import listed_of

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import secrets_bundle

#: Addresses for documentation, which nobody has.
NOBODY = "192.0.2.1"
LABEL: Json = {"machine": {"nodeLabels": {"groundwork.test/suite": "yes"}}}


def test_a_cluster_that_stands_is_left_alone(nodes: Nodes) -> None:
    cluster = nodes.ours()
    steps: list[tuple[str, Json]] = [
        ("secrets", {}),
        ("apply_config", cluster),
        (
            "bootstrap",
            {
                "node": nodes.control_planes[0],
                "control_planes": nodes.control_planes,
                "cluster_name": cluster["cluster"]["name"],
            },
        ),
    ]
    for module, params in steps:
        for check in (True, False):
            again = nodes.run(module, check=check, **params)
            assert not again.get("failed") and not again["changed"], (module, again)


def test_the_cluster_is_healthy(nodes: Nodes) -> None:
    found = nodes.made("health", nodes=nodes.described, node_ready=False)
    assert found["waited"] and not found["changed"]
    assert [(one["address"], one["stage"]) for one in found["nodes"]] == [(one, "running") for one in nodes.addresses]


def test_all_facts_of_all_nodes(nodes: Nodes) -> None:
    facts = ["version", "hostname", "type", "services", "disks", "links", "addresses", "extensions", "members"]
    found = nodes.made("info", nodes=nodes.addresses, facts=facts, on_error="fail")["nodes"]
    assert [one["address"] for one in found] == nodes.addresses
    for wanted, one in zip(nodes.described, found, strict=True):
        assert one["problems"] == [] and one["reachable"] and not one["maintenance"]
        assert one["stage"] == "running" and one["type"] == wanted["type"]
        assert re.fullmatch(r"v1\.\d+\.\d+.*", one["version"])
        running = {service["id"] for service in one["services"] if service["state"] == "Running"}
        assert {"apid", "machined", "kubelet"} <= running
        assert ("etcd" in running) == (one["type"] == "controlplane")
        assert any(wanted["address"] in str(address) for address in one["addresses"])
        assert one["links"]


def test_a_silent_node_does_not_keep_the_others_from_answering(nodes: Nodes) -> None:
    found = nodes.made("info", nodes=[nodes.addresses[0], NOBODY], facts=["version"], timeout=5)
    assert [one["reachable"] for one in found["nodes"]] == [True, False]
    assert found["silent"] == [NOBODY] and any(NOBODY in said for said in nodes.warned)


def test_etcd_has_the_control_planes_as_voters(nodes: Nodes) -> None:
    found = nodes.made("etcd_info", nodes=nodes.control_planes, on_error="fail")
    assert found["healthy"], found["reasons"]
    assert found["quorum"]["voters"] == found["quorum"]["alive"] == len(nodes.control_planes)
    assert [one["leader"] for one in found["members"]].count(True) == 1


def test_a_snapshot_is_whole_and_taken_once_in_its_time(nodes: Nodes) -> None:
    dest = nodes.path / "snapshots" / "etcd-{time}.db"
    asked = {"nodes": nodes.control_planes, "dest": str(dest), "max_age": "1h"}
    assert nodes.run("etcd_snapshot", check=True, **asked)["taken"] and not dest.parent.exists()
    first = nodes.made("etcd_snapshot", **asked)
    path = pathlib.Path(first["path"])
    assert first["taken"] and path.stat().st_size == first["size"] and path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes()[-32:].hex() == first["sha256"]
    assert not nodes.made("etcd_snapshot", **asked)["changed"]


def test_a_kubeconfig_is_kept(nodes: Nodes) -> None:
    dest = nodes.path / "kubeconfig"
    asked = {"node": nodes.control_planes[0], "dest": str(dest)}
    assert nodes.run("kubeconfig", check=True, **asked)["changed"] and not dest.exists()
    assert nodes.made("kubeconfig", **asked)["changed"]
    assert loaded(dest)["clusters"][0]["cluster"]["server"].startswith("https://")
    assert not nodes.made("kubeconfig", **asked)["changed"]


def test_the_secrets_of_a_node_are_those_of_the_cluster(nodes: Nodes) -> None:
    """Taken over from a node, they make certificates that all nodes accept."""
    config = nodes.path / "talosconfig"
    if "talosconfig" in nodes.connection:
        private_files.replace(config, pathlib.Path(nodes.connection["talosconfig"]).read_text())
    else:
        nodes.made("secrets", talosconfig_dest=str(config), cluster_name="test", endpoints=nodes.control_planes)
    taken = nodes.path / "taken-over.yaml"
    asked: Json = {"secrets_path": None, "talosconfig": str(config), "path": str(taken)}
    assert nodes.made("secrets", import_node=nodes.control_planes[0], **asked)["changed"]
    assert not nodes.made("secrets", import_node=nodes.control_planes[0], **asked)["changed"]
    found = nodes.made("info", nodes=nodes.addresses, facts=["version"], secrets_path=str(taken), on_error="fail")
    assert all(one["reachable"] for one in found["nodes"])


def test_another_clusters_secrets_are_refused_by_the_nodes(nodes: Nodes, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other.yaml"
    private_files.replace(other, secrets_bundle.dump(secrets_bundle.generate()))
    refused = nodes.run("info", nodes=nodes.addresses, secrets_path=str(other), on_error="fail", timeout=10)
    assert refused["failed"] and "certificate" in refused["msg"], refused["msg"]
    assert nodes.addresses[0] in refused["msg"]


def test_the_inventory_lists_the_members(nodes: Nodes) -> None:
    options: Json = {"endpoints": nodes.control_planes, "facts": ["stage"], **nodes.connection}
    seen = listed_of(nodes.path, options)
    assert seen.exit == 0, seen.text
    assert len(seen.hosts) == len(nodes.described)
    assert {host["talos_type"] for host in seen.hosts.values()} == {one["type"] for one in nodes.described}
    assert {host["talos_stage"] for host in seen.hosts.values()} == {"running"}


def test_a_change_is_judged_by_the_node_made_and_taken_back(nodes: Nodes) -> None:
    cluster = nodes.ours()
    wanted = {**cluster, "patches": [*cluster.get("patches", []), LABEL]}
    checked = nodes.run("apply_config", check=True, **wanted)
    made = nodes.made("apply_config", **wanted)
    back = nodes.made("apply_config", **cluster)
    assert checked["changes"] == made["changes"] and len(made["changes"]) == len(nodes.described)
    assert all("note" not in change for change in made["changes"]), "a label needs no reboot"
    assert {change["action"] for change in back["changes"]} == {"update"}
    assert not nodes.run("apply_config", check=True, **cluster)["changed"]


@pytest.mark.parametrize(
    ("patch", "named"),
    [
        ({"machine": {"kubelet": {"nodeIP": {"validSubnets": ["not a network"]}}}}, "machine.kubelet.nodeIP"),
        ({"machine": {"nodeTaints": {"key": "value:Sometimes"}}}, "machine.nodeTaints"),
        ({"cluster": {"network": {"podSubnets": ["10.0.0.0/99"]}}}, "cluster.network.podSubnets"),
    ],
)
def test_what_no_node_should_have_is_refused_before_it_is_sent(nodes: Nodes, patch: Json, named: str) -> None:
    cluster = nodes.ours()
    refused = nodes.run("apply_config", **{**cluster, "patches": [*cluster.get("patches", []), patch]})
    assert refused["failed"] and not refused["changed"] and named in refused["msg"], refused


@pytest.mark.skipif(
    bool(os.environ.get("TALOS")) and os.environ.get("TALOS_REBOOT") != "1", reason="TALOS_REBOOT=1 was not given"
)
def test_a_node_is_rebooted_and_comes_back(nodes: Nodes) -> None:
    last: list[t.Any] = nodes.described[-1:]
    assert not nodes.run("reboot", check=True, nodes=last).get("failed")
    made = nodes.made("reboot", nodes=last, node_ready=False)
    assert made["changed"]
    nodes.made("health", nodes=nodes.described, node_ready=False)
