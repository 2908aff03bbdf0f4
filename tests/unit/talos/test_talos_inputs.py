# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input to each module: an error that says what is wrong; nothing is written and nobody is called."""

from __future__ import annotations

import copy
import pathlib
import typing as t

import pytest
import yaml
from talos_room import options, run

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import channel, secrets_bundle

CP = {"name": "cp1", "address": "10.77.0.11", "type": "controlplane"}
WORKER = {"name": "w1", "address": "10.77.0.21", "type": "worker"}


@pytest.fixture(autouse=True)
def nobody_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: t.Any) -> t.Any:
        raise AssertionError("a node was called")

    monkeypatch.setattr(channel, "_connect", refuse)
    monkeypatch.delenv("TALOS_SECRETS", raising=False)
    monkeypatch.delenv("TALOSCONFIG", raising=False)


#: What is wrong, and the message. Values of ``cluster`` are merged into a good one.
CLUSTER: list[tuple[dict[str, t.Any], str]] = [
    ({"nodes": []}, "nodes is empty."),
    ({"nodes": [WORKER]}, "nodes has workers only. A worker's API answers only when a control plane node is up"),
    ({"nodes": [CP, {**WORKER, "name": "cp1"}]}, "nodes has the name cp1 more than once."),
    ({"nodes": [CP, {**WORKER, "address": "10.77.0.11"}]}, "nodes has the address 10.77.0.11 more than once."),
    ({"nodes": [{**CP, "name": "Cp_1"}]}, "nodes[0].name is 'Cp_1', which no Kubernetes node can be called."),
    (
        {"nodes": [{**CP, "name": "cp1.lab.example"}]},
        "nodes[0].name is 'cp1.lab.example', which has a domain. Talos calls the node cp1: what follows the first dot is",
    ),
    ({"nodes": [{**CP, "address": "10.77.0.11:50000"}]}, "nodes[0].address is '10.77.0.11:50000', which is neither"),
    ({"nodes": [{**CP, "address": "10.77.0.300"}]}, "nodes[0].address is '10.77.0.300', which is neither an IP"),
    ({"nodes": [{**CP, "type": "master"}]}, "value of type must be one of: controlplane, worker, got: master"),
    ({"cluster": {"endpoint": "10.77.0.11"}}, "cluster.endpoint is '10.77.0.11', which is not the URL of a Kubernetes"),
    ({"cluster": {"endpoint": "http://10.77.0.11:6443"}}, "cluster.endpoint is 'http://10.77.0.11:6443', which is not"),
    ({"cluster": {"endpoint": "https://10.77.0.11"}}, "cluster.endpoint https://10.77.0.11 has no port."),
    ({"cluster": {"endpoint": "https://10.77.0.11:x"}}, "cluster.endpoint is 'https://10.77.0.11:x', which is not"),
    ({"cluster": {"endpoint": "https://a_b:6443"}}, "The host of cluster.endpoint is 'a_b', which is neither"),
    ({"cluster": {"name": "my lab"}}, "cluster.name is 'my lab'."),
    (
        {"cluster": {"talos_version": "latest"}},
        "talos_version is 'latest', which is no version. It looks like v1.13.9.",
    ),
    (
        {"cluster": {"talos_version": "v1.9.0"}},
        "talos_version is v1.9.0, and this collection knows Talos 1.12 to 1.14.",
    ),
    (
        {"cluster": {"kubernetes_version": "1.37.0"}},
        "Talos v1.13.9 does not run Kubernetes v1.37.0. It runs 1.31 to 1.36.",
    ),
    (
        {"cluster": {"talos_version": "v1.12.11", "kubernetes_version": "v1.36.0"}},
        "Talos v1.12.11 does not run Kubernetes v1.36.0. It runs 1.30 to 1.35.",
    ),
    ({"cluster": {"contract": "1.11"}}, "contract is '1.11'. Configs are generated for 1.12 and 1.13."),
    (
        {"cluster": {"talos_version": "v1.12.1", "kubernetes_version": "v1.34.0", "contract": "1.13"}},
        "The contract 1.13 is newer than Talos v1.12.1, which would refuse the config.",
    ),
    (
        {"cluster": {"pod_subnets": ["10.244.0.1/16"]}},
        "cluster.pod_subnets has '10.244.0.1/16': 10.244.0.1/16 has host",
    ),
    ({"cluster": {"service_subnets": ["10.96.0.0/99"]}}, "cluster.service_subnets has '10.96.0.0/99'"),
    ({"cluster": {"pod_subnets": []}}, "cluster.pod_subnets is empty."),
    ({"cluster": {"dns_domain": "bad_domain"}}, "cluster.dns_domain is 'bad_domain', which is no DNS name."),
    ({"cluster": {"install_disk": "sda"}}, "cluster.install_disk is 'sda'. It is a path such as /dev/sda."),
    ({"cluster": {"cert_sans": ["a b"]}}, "cluster.cert_sans[0] is 'a b', which is neither"),
    ({"cluster": {"cni": "calico"}}, "value of cni must be one of: flannel, none, cilium, got: calico"),
    (
        {"cluster": {"inline_manifests": [{"name": "a", "contents": "x"}] * 2}},
        "cluster.inline_manifests has the name a more than once.",
    ),
    ({"cluster": {"colour": "red"}}, "cluster.colour"),
    ({"patches": [[{"op": "add", "path": "/machine"}]]}, "patches[0] is a JSON patch. Talos refuses JSON patches"),
    ({"worker_patches": ["a: ["]}, "worker_patches[0] is not YAML"),
    ({"nodes": [{**CP, "patches": [7]}]}, "nodes[0].patches[0] is not a mapping but int."),
    ({"patches": [{"machine": {"sysctl": {}}}]}, "The machine config of cp1 is not valid: machine.sysctl is not known"),
    (
        {"control_plane_patches": [{"machine": {"type": "worker"}}]},
        "The machine config of cp1 is not valid: machine.type is 'worker' and not 'controlplane'",
    ),
    ({"patches": [{"cluster": {"token": {"$patch": "delete"}}}]}, "cluster.token is missing"),
]
APPLY: list[tuple[dict[str, t.Any], str]] = [
    ({"mode": "later"}, "value of mode must be one of: auto, no_reboot, staged, try, reboot, got: later"),
    ({"wait_timeout": 0}, "wait_timeout is 0. It is a number of seconds greater than 0."),
    ({"timeout": -1}, "timeout is -1. It is a number of seconds greater than 0."),
    ({"secrets_path": "/nonexistent/secrets"}, "There is no secrets bundle at /nonexistent/secrets. The module"),
    ({"secrets_path": None}, "secrets_path is not set. Set it, or the environment variable TALOS_SECRETS."),
]
NODE: list[tuple[dict[str, t.Any], str]] = [
    ({"node": "https://10.77.0.11"}, "node is 'https://10.77.0.11', which is neither an IP address nor a host name"),
    ({"node": "10.77.0.11:50000"}, "node is '10.77.0.11:50000', which is neither"),
    ({"node": ""}, "node is '', which is neither"),
    ({"node": None}, "missing required arguments: node"),
    ({"wait_timeout": -5}, "wait_timeout is -5."),
    ({"timeout": 0}, "timeout is 0."),
    ({"secrets_path": None}, "Neither secrets_path nor talosconfig is set. One of them says who asks the nodes."),
    ({"secrets_path": "/nonexistent"}, "There is no secrets bundle at /nonexistent."),
    ({"secrets_path": None, "talosconfig": "/nonexistent"}, "There is no talosconfig at /nonexistent."),
    ({"planned": "maybe"}, "argument 'planned' is of type"),
    ({"colour": "red"}, "colour. Supported parameters include"),
]


def _refused(module: str, params: dict[str, t.Any], problem: str) -> None:
    params = {key: value for key, value in params.items() if value is not None}
    outcome = run(module, params)
    assert outcome.get("failed") and not outcome["changed"], outcome
    assert problem in outcome["msg"], outcome["msg"]


@pytest.mark.parametrize(("wrong", "problem"), CLUSTER + APPLY)
def test_apply_config_refuses(wrong: dict[str, t.Any], problem: str, bundle_path: pathlib.Path) -> None:
    _refused("talos_apply_config", {"secrets_path": str(bundle_path), **options(**copy.deepcopy(wrong))}, problem)


@pytest.mark.parametrize(("wrong", "problem"), CLUSTER)
def test_config_refuses_the_same_and_writes_nothing(
    wrong: dict[str, t.Any], problem: str, bundle_path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    dest = tmp_path / "configs"
    params = {"secrets_path": str(bundle_path), "dest": str(dest), **options(**copy.deepcopy(wrong))}
    _refused("talos_config", params, problem)
    assert not dest.exists()


@pytest.mark.parametrize(("wrong", "problem"), NODE)
def test_bootstrap_refuses(wrong: dict[str, t.Any], problem: str, bundle_path: pathlib.Path) -> None:
    good = {"secrets_path": str(bundle_path), "node": "10.77.0.11", "cluster_name": "lab"}
    _refused("talos_bootstrap", {**good, **wrong}, problem)


@pytest.mark.parametrize(("wrong", "problem"), NODE)
def test_kubeconfig_refuses(
    wrong: dict[str, t.Any], problem: str, bundle_path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    dest = tmp_path / "kubeconfig"
    _refused(
        "talos_kubeconfig",
        {"secrets_path": str(bundle_path), "node": "10.77.0.11", "dest": str(dest), **wrong},
        problem,
    )
    assert not dest.exists()


HEALTH = [case for case in CLUSTER if case[0].keys() == {"nodes"} and "patches" not in str(case[0])] + [
    case for case in NODE if "node" not in case[0]
]


@pytest.mark.parametrize(("wrong", "problem"), HEALTH)
def test_health_refuses(wrong: dict[str, t.Any], problem: str, bundle_path: pathlib.Path) -> None:
    _refused("talos_health", {"secrets_path": str(bundle_path), "nodes": [CP, WORKER], **wrong}, problem)


def test_config_needs_somewhere_to_write(bundle_path: pathlib.Path) -> None:
    _refused("talos_config", {"secrets_path": str(bundle_path), **options()}, "one of the following is required: dest")


def test_config_refuses_a_file_as_directory(bundle_path: pathlib.Path) -> None:
    params = {"secrets_path": str(bundle_path), "dest": str(bundle_path), **options()}
    _refused("talos_config", params, f"dest is {bundle_path}, which is no directory")


def test_health_and_bootstrap_with_planned_call_nobody(bundle_path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    secrets = {"secrets_path": str(bundle_path), "planned": True}
    health = run("talos_health", {**secrets, "nodes": [CP, WORKER]}, check=True)
    assert (health["changed"], health["waited"]) == (False, False)
    bootstrap = run("talos_bootstrap", {**secrets, "node": "10.77.0.11", "cluster_name": "lab"}, check=True)
    assert [change["resource"] for change in bootstrap["changes"]] == ["etcd/lab"]
    dest = tmp_path / "kubeconfig"
    kubeconfig = run("talos_kubeconfig", {**secrets, "node": "10.77.0.11", "dest": str(dest)}, check=True)
    assert [change["resource"] for change in kubeconfig["changes"]] == [f"kubeconfig/{dest}"]
    assert not dest.exists()


def test_planned_nodes_are_predicted_without_a_bundle_and_without_a_call(tmp_path: pathlib.Path) -> None:
    params = {"secrets_path": str(tmp_path / "no-bundle"), **options(planned_nodes=["cp1", "w1"])}
    predicted = run("talos_apply_config", params, check=True)
    assert [change["resource"] for change in predicted["changes"]] == ["talos-config/cp1", "talos-config/w1"]
    assert not (tmp_path / "no-bundle").exists()


def test_a_prediction_shows_nothing_of_the_bundle_and_does_not_depend_on_it(bundle_path: pathlib.Path) -> None:
    planned = options(planned_nodes=["cp1", "w1"])
    known = run("talos_apply_config", {"secrets_path": str(bundle_path), **copy.deepcopy(planned)}, check=True)
    thrown_away = run("talos_apply_config", {"secrets_path": "/nonexistent", **copy.deepcopy(planned)}, check=True)
    assert known["changes"] == thrown_away["changes"]
    values = secrets_bundle.load(bundle_path).secret_values()
    assert not [value for value in values if value in str(dict(known))]


def test_secrets_in_patches_are_hidden_and_registered(bundle_path: pathlib.Path) -> None:
    wireguard = {"interface": "wg0", "wireguard": {"privateKey": "s3cr3t-wireguard-key"}}
    patch = {
        "machine": {
            "network": {"interfaces": [wireguard]},
            "registries": {"config": {"a.example": {"auth": {"username": "u", "password": "s3cr3t-password"}}}},
            "env": {"https_proxy": "http://user:s3cr3t-proxy@proxy:3128"},
        },
        "cluster": {"inlineManifests": [{"name": "s", "contents": "kind: Secret\nstringData: {a: s3cr3t-manifest}\n"}]},
    }
    params = {"secrets_path": str(bundle_path), **options(planned_nodes=["cp1", "w1"], control_plane_patches=[patch])}
    outcome = run("talos_apply_config", params, check=True)
    assert "s3cr3t" not in str(dict(outcome))
    assert {"s3cr3t-wireguard-key", "s3cr3t-password"} <= outcome.task.secrets


def test_config_files_are_written_once_and_repaired(bundle_path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    params = {
        "secrets_path": str(bundle_path),
        "dest": str(tmp_path / "configs"),
        "talosconfig_dest": str(tmp_path / "talosconfig"),
        **options(),
    }
    predicted = run("talos_config", params, check=True)
    assert not (tmp_path / "configs").exists()
    made = run("talos_config", params)
    assert predicted["changes"] == made["changes"]
    again = run("talos_config", params)
    assert not again["changed"]
    config = tmp_path / "configs" / "cp1.yaml"
    assert config.stat().st_mode & 0o777 == 0o600
    config.chmod(0o644)
    repaired = run("talos_config", params)["changes"]
    assert repaired == [
        {
            "resource": f"talos-config-file/{config}",
            "action": "update",
            "before": {"mode": "0644"},
            "after": {"mode": "0600"},
        }
    ]
    documents = list(yaml.safe_load_all(config.read_text()))
    documents[0]["machine"]["install"]["disk"] = "/dev/sdb"
    config.write_text(yaml.safe_dump_all(documents))
    change = run("talos_config", params)["changes"][0]
    assert change["before"] == {"v1alpha1": {"machine": {"install": {"disk": "/dev/sdb"}}}}
    assert not run("talos_config", params)["changed"]
