# SPDX-License-Identifier: GPL-3.0-or-later
"""The Talos room against a cluster, played or of one's own (``make conformance TALOS=…``): nothing here knows which."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
import yaml
from ansible import constants
from ansible.parsing.dataloader import DataLoader
from talos_nodes import Json, Nodes, bootstrap, loaded, stands
from test_talos_inventory import listed_of

from ansible_collections.groundwork.homelab.plugins.lookup import talos_secret
from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
    credentials,
    documents,
    releases,
    secrets_bundle,
    talosconfig,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.inputs import Node
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.node import Connector

#: Addresses for documentation, which nobody has.
NOBODY = "192.0.2.1"
LABEL: Json = {"machine": {"nodeLabels": {"groundwork.test/suite": "yes"}}}


def test_a_cluster_that_stands_is_left_alone(nodes: Nodes) -> None:
    cluster = nodes.ours()
    steps: list[tuple[str, Json]] = [
        ("secrets", {}),
        ("apply_config", cluster),
        ("bootstrap", bootstrap(nodes)),
    ]
    for module, params in steps:
        for check in (True, False):
            again = nodes.run(module, check=check, **params)
            assert not again.get("failed") and not again["changed"], (module, again)


def test_the_cluster_is_healthy(nodes: Nodes) -> None:
    found = nodes.made("health", nodes=nodes.described, node_ready=False)
    assert found["waited"] and not found["changed"]
    assert [one["address"] for one in found["nodes"]] == nodes.addresses
    for one in nodes.look():
        assert stands(one["stage"], one["unmet"]), one


def test_all_facts_of_all_nodes(nodes: Nodes) -> None:
    facts = ["version", "hostname", "type", "services", "disks", "links", "addresses", "extensions", "members"]
    found = nodes.look(*facts)
    assert [one["address"] for one in found] == nodes.addresses
    for wanted, one in zip(nodes.described, found, strict=True):
        assert one["problems"] == [] and one["reachable"] and not one["maintenance"]
        assert stands(one["stage"], one["unmet"]) and one["type"] == wanted["type"]
        assert re.fullmatch(r"v1\.\d+\.\d+.*", one["version"])
        assert releases.talos_version(one["version"], ">=1.12") and releases.talos_version(one["version"])["kubernetes"]
        running = {service["id"] for service in one["services"] if service["state"] == "Running"}
        assert {"apid", "machined", "kubelet"} <= running
        assert ("etcd" in running) == (one["type"] == "controlplane")
        assert wanted["address"] in [address["address"].partition("/")[0] for address in one["addresses"]]
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
    (authority,) = look_up("certs.os.crt", secrets_path=str(taken), decode=True)
    assert authority.encode().strip() == talosconfig.load(config, None).ca.strip()


def look_up(*terms: str, **options: t.Any) -> list[t.Any]:
    """The lookup ``talos_secret``, as Ansible calls it."""
    name = "groundwork.homelab.talos_secret"
    described = yaml.safe_load(talos_secret.DOCUMENTATION)["options"]
    constants.config.initialize_plugin_configuration_definitions("lookup", name, described)
    plugin = talos_secret.LookupModule(loader=DataLoader())
    plugin._load_name = name
    return t.cast("list[t.Any]", plugin.run(list(terms), {}, **options))


def test_another_clusters_secrets_are_refused_by_the_nodes(nodes: Nodes, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other.yaml"
    private_files.replace(other, secrets_bundle.dump(secrets_bundle.generate()))
    refused = nodes.run("info", nodes=nodes.addresses, secrets_path=str(other), on_error="fail", timeout=10)
    assert refused["failed"] and "certificate" in refused["msg"], refused["msg"]
    assert nodes.addresses[0] in refused["msg"]


def test_the_inventory_lists_the_members(nodes: Nodes) -> None:
    """Those that the nodes' discovery knows: it may be off, or its service out of reach."""
    known = {one["node_id"]: one for found in nodes.look("members") for one in found["members"]}
    options: Json = {"endpoints": nodes.addresses, "facts": ["stage"], **nodes.connection}
    seen = listed_of(nodes.path, options)
    if not known:
        assert seen.exit != 0 and "it knows none" in seen.text, seen.text
        return
    assert seen.exit == 0, seen.text
    hosts = {host["talos_node_id"]: host for host in seen.hosts.values()}
    assert {id_: one["name"] for id_, one in known.items()} == {id_: one["talos_name"] for id_, one in hosts.items()}
    types = {one["address"]: one["type"] for one in nodes.described}
    ours = [host for host in hosts.values() if host["ansible_host"] in types]
    assert ours, f"{sorted(seen.hosts)} are none of {nodes.addresses}"
    for host in ours:
        assert host["talos_type"] == types[host["ansible_host"]] and stands(host["talos_stage"], host["talos_unmet"])


def test_the_configs_that_are_written_are_those_of_the_nodes(nodes: Nodes) -> None:
    """The nodes themselves judge the files: they have nothing to change, and do not reboot for it."""
    cluster = nodes.ours()
    asked = {**cluster, "dest": str(nodes.path / "configs")}
    made = nodes.made("config", **asked)
    assert made["changed"] and not nodes.made("config", **asked)["changed"]
    for file, one in zip(made["files"], nodes.described, strict=True):
        loaded_all(pathlib.Path(file))
        answer = judged(nodes, one, pathlib.Path(file).read_bytes())
        assert answer.mode == "no_reboot" and answer.details.rstrip().endswith("No changes."), answer.details


def loaded_all(file: pathlib.Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600, file
    assert documents.parse(file.read_text())


def judged(nodes: Nodes, one: Json, config: bytes) -> t.Any:
    """A node's own dry run."""
    identity = credentials.from_bundle(secrets_bundle.load(pathlib.Path(nodes.connection["secrets_path"])))
    with Connector(identity).open(Node(one["name"], one["address"], one["type"])) as client:
        return client.apply_config(config, "auto", dry_run=True)


@pytest.fixture
def labelled(nodes: Nodes) -> t.Iterator[Json]:
    """The cluster with a label, which is taken back whatever happens."""
    cluster = nodes.ours()
    try:
        yield {**cluster, "patches": [*cluster.get("patches", []), LABEL]}
    finally:
        nodes.made("apply_config", **cluster)
        assert not nodes.run("apply_config", check=True, **cluster)["changed"]


def test_a_change_is_judged_by_the_node_made_and_taken_back(nodes: Nodes, labelled: Json) -> None:
    checked = nodes.run("apply_config", check=True, **labelled)
    made = nodes.made("apply_config", **labelled)
    assert checked["changes"] == made["changes"] and len(made["changes"]) == len(nodes.described)
    assert all("note" not in change for change in made["changes"]), "a label needs no reboot"
    assert not nodes.made("apply_config", **labelled)["changed"]
    back = nodes.made("apply_config", **nodes.ours())
    assert {change["action"] for change in back["changes"]} == {"update"}


#: Where a mode's config stands afterwards: it is active, and it is on disk.
@pytest.mark.parametrize(
    ("mode", "active", "kept"), [("no_reboot", True, True), ("staged", False, True), ("try", True, False)]
)
def test_a_mode_touches_what_is_active_what_is_on_disk_or_both(
    nodes: Nodes, labelled: Json, mode: str, active: bool, kept: bool
) -> None:
    checked = nodes.run("apply_config", check=True, **labelled, mode=mode)
    made = nodes.made("apply_config", **labelled, mode=mode)
    assert checked["changes"] == made["changes"] and len(made["changes"]) == len(nodes.described)
    assert not nodes.made("apply_config", **labelled, mode=mode)["changed"]
    for where, there in (("try", active), ("staged", kept)):
        assert nodes.run("apply_config", check=True, **labelled, mode=where)["changed"] == (not there), where


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


def test_a_node_is_rebooted_and_comes_back(nodes: Nodes) -> None:
    nodes.asked_for("TALOS_REBOOT")
    last: list[t.Any] = nodes.described[-1:]
    assert not nodes.run("reboot", check=True, nodes=last).get("failed")
    made = nodes.made("reboot", nodes=last, node_ready=False)
    assert made["changed"]
    nodes.made("health", nodes=nodes.described, node_ready=False)


def test_a_node_that_is_wiped_comes_back(nodes: Nodes) -> None:
    last = wiping(nodes)[-1]
    if last["type"] != "worker":
        pytest.skip("there is no worker")
    asked = {"node": last["address"], "node_name": last["name"], "partitions": ["EPHEMERAL"]}
    checked = nodes.run("reset", check=True, **asked)
    made = nodes.made("reset", **asked)
    assert made["changed"] and made["changes"] == checked["changes"]
    nodes.made("health", nodes=nodes.described, node_ready=False)


def test_etcd_that_is_lost_is_recovered_from_a_snapshot(nodes: Nodes) -> None:
    """On all control planes: as long as one has old data, nothing is recovered."""
    controls = [one for one in wiping(nodes) if one["type"] == "controlplane"]
    kept = nodes.made("etcd_snapshot", nodes=nodes.control_planes, dest=str(nodes.path / "before.db"))["path"]
    for one in controls:
        asked = {"node": one["address"], "node_name": one["name"], "partitions": ["EPHEMERAL"]}
        nodes.made("reset", **asked, graceful=False, force=True)
    again = bootstrap(nodes, recover_from=kept)
    checked = nodes.run("bootstrap", check=True, **again)
    made = nodes.made("bootstrap", **again)
    assert made["changed"] and made["changes"] == checked["changes"]
    nodes.made("health", nodes=nodes.described, node_ready=False)
    assert not nodes.made("bootstrap", **again)["changed"]
    assert nodes.made("etcd_info", nodes=nodes.control_planes, on_error="fail")["healthy"]


def wiping(nodes: Nodes) -> list[Json]:
    """The nodes, where they may be wiped and can be."""
    nodes.ours()
    nodes.asked_for("TALOS_RESET")
    if "container" in [one["mode"] for one in nodes.look("version")]:
        pytest.skip("in container mode a reset powers the machine off and wipes nothing")
    return nodes.described
