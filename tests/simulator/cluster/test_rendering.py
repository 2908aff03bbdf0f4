# SPDX-License-Identifier: GPL-3.0-or-later
"""What is rendered from a machine config: flags, files, manifests; no process runs here."""

from __future__ import annotations

import copy
import dataclasses
import pathlib
import types
import typing as t

import pytest
import yaml
from netlab import machine_config

from simlab.cluster import Node
from simlab.cluster.arguments import (
    API_SERVER,
    CONTROLLER_MANAGER,
    SCHEDULER,
    RefusedArgument,
    arguments,
    extra_arguments,
    merged,
    placed,
    version_of,
)
from simlab.cluster.bootstrap_manifests import bootstrap_manifests
from simlab.cluster.control_plane import emulation
from simlab.cluster.static_pods import files, fingerprint, lab_audit_policy, manifest, server_names
from simlab.faults import Faults
from simlab.ledger import Ledger

CONFIG = machine_config()


def node(change: t.Callable[[dict[str, t.Any]], t.Any] | None = None, **fields: t.Any) -> Node:
    config = copy.deepcopy(CONFIG)
    if change is not None:
        change(config)
    made = Node(
        machine=t.cast("t.Any", types.SimpleNamespace(time_scale=1.0)),
        name="cp1",
        address="10.0.0.5",
        config=config,
        directory=pathlib.Path("/lab/cp1/var"),
        runtime=pathlib.Path("/lab/cp1/system"),
        program=pathlib.Path("/bin/false"),
        ledger=Ledger(),
        faults=Faults(),
    )
    return dataclasses.replace(made, **fields)


def api_server(**values: t.Any) -> Node:
    return node(lambda config: config["cluster"]["apiServer"].update(values))


@pytest.mark.parametrize(
    ("component", "flag"),
    [
        (API_SERVER, "--anonymous-auth=false"),
        (API_SERVER, "--secure-port=6443"),
        (API_SERVER, "--service-cluster-ip-range=10.96.0.0/12"),
        (API_SERVER, "--api-audiences=https://10.99.0.11:6443"),
        (API_SERVER, "--advertise-address=$(POD_IP)"),
        (API_SERVER, "--client-ca-file=/system/secrets/kubernetes/kube-apiserver/ca.crt"),
        (API_SERVER, "--authorization-config=/system/config/kubernetes/kube-apiserver/authorization-config.yaml"),
        (CONTROLLER_MANAGER, "--cluster-cidr=10.244.0.0/16"),
        (CONTROLLER_MANAGER, "--controllers=*,tokencleaner"),
        (SCHEDULER, "--config=/system/config/kubernetes/kube-scheduler/scheduler-config.yaml"),
    ],
)
def test_flags_are_those_of_talos(component: str, flag: str) -> None:
    assert flag in arguments(node(), component)


def test_an_extra_argument_replaces_adds_or_is_refused() -> None:
    extra = extra_arguments({"a": "new", "list": ["x", "y"], "flag": True})
    assert extra == {"a": ["new"], "list": ["x", "y"], "flag": ["true"]}
    assert merged({"a": ["old"]}, extra, set(), set())["a"] == ["new"]
    gates = merged({"g": ["A=true"]}, {"g": ["B=true", "A=true"]}, {"g"}, set())
    assert gates == {"g": ["A=true,B=true"]}
    with pytest.raises(RefusedArgument, match='extra arg "a" is not allowed'):
        merged({}, extra, set(), {"a"})


def test_a_list_becomes_one_flag_for_each_value() -> None:
    flags = arguments(api_server(extraArgs={"oidc-required-claim": ["a=1", "b=2"]}), API_SERVER)
    assert [flag for flag in flags if "oidc" in flag] == ["--oidc-required-claim=a=1", "--oidc-required-claim=b=2"]


def test_paths_of_the_node_become_paths_of_the_lab() -> None:
    made = api_server(extraVolumes=[{"hostPath": "/var/etc/oidc", "mountPath": "/etc/oidc"}])
    assert placed(made, API_SERVER, "--x=/system/secrets/a") == "--x=/lab/cp1/system/secrets/a"
    assert placed(made, API_SERVER, "--x=/etc/oidc/ca.pem") == "--x=/lab/cp1/var/etc/oidc/ca.pem"
    assert placed(made, API_SERVER, "--x=/systematic") == "--x=/systematic"
    assert placed(made, API_SERVER, "--x=$(POD_IP)") == "--x=10.0.0.5"


def test_the_api_servers_certificate_has_the_names_of_talos() -> None:
    names = server_names(api_server(certSANs=["api.lab.test"]))
    for name in ("10.99.0.11", "api.lab.test", "kubernetes.default.svc.cluster.local", "cp1", "10.96.0.1", "10.0.0.5"):
        assert name in names


def test_the_fingerprint_changes_with_what_concerns_the_component_only() -> None:
    plain = node()
    relabelled = node(lambda config: config["machine"].update(nodeLabels={"a": "b"}))
    sans = api_server(certSANs=["more.lab.test"])
    moved = dataclasses.replace(plain, addresses=("10.0.0.9",))
    flagged = api_server(extraArgs={"v": "2"})
    for component in (API_SERVER, CONTROLLER_MANAGER, SCHEDULER):
        for other in (relabelled, sans, moved):
            assert fingerprint(plain, component) == fingerprint(other, component)
    assert fingerprint(plain, API_SERVER) != fingerprint(flagged, API_SERVER)
    assert fingerprint(plain, SCHEDULER) == fingerprint(flagged, SCHEDULER)


def test_no_secret_stands_in_a_pod_or_a_flag() -> None:
    made = node()
    secrets = [
        CONFIG["cluster"]["secretboxEncryptionSecret"],
        CONFIG["cluster"]["ca"]["key"],
        CONFIG["cluster"]["token"],
    ]
    for component in (API_SERVER, CONTROLLER_MANAGER, SCHEDULER):
        text = yaml.safe_dump(manifest(made, component, "1")) + " ".join(arguments(made, component))
        assert not any(secret in text for secret in secrets)


def test_every_file_that_a_flag_names_is_rendered() -> None:
    made = node()
    for component in (API_SERVER, CONTROLLER_MANAGER, SCHEDULER):
        rendered = files(made, component)
        named = {flag.partition("=")[2] for flag in arguments(made, component)}
        for path in (path for path in named if path.startswith("/system/")):
            assert path in rendered, (component, path)


def test_a_missing_authority_is_named() -> None:
    with pytest.raises(ValueError, match=r"cluster\.aggregatorCA"):
        files(node(lambda config: config["cluster"].pop("aggregatorCA")), API_SERVER)


def test_the_ledger_hears_of_what_the_users_audit_policy_leaves_out() -> None:
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["ResponseComplete"],
        "rules": [{"level": "None", "users": ["admin"]}, {"level": "RequestResponse", "omitStages": ["Panic"]}],
    }
    raised = lab_audit_policy(api_server(auditPolicy=policy))
    assert raised["omitStages"] == ["RequestReceived"]
    assert [rule["level"] for rule in raised["rules"]] == ["Metadata", "RequestResponse", "Metadata"]
    assert policy["rules"][0]["level"] == "None"  # type: ignore[index]


@pytest.mark.parametrize(
    ("image", "flags"),
    [
        ("registry.k8s.io/kube-apiserver:v1.36.3", []),
        ("registry.k8s.io/kube-apiserver:v1.36.0@sha256:abc", []),
        ("registry.k8s.io/kube-apiserver:v1.34.7", ["--emulated-version=1.34"]),
    ],
)
def test_older_minors_are_emulated(image: str, flags: list[str]) -> None:
    assert emulation(image) == flags


@pytest.mark.parametrize("image", ["kube-apiserver:v1.37.0", "kube-apiserver:v1.32.9", "kube-apiserver:latest"])
def test_a_version_that_the_lab_cannot_be_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="lab"):
        emulation(image)


def test_versions_are_read_from_tags() -> None:
    assert version_of("ghcr.io/siderolabs/kubelet:v1.36.3-fat") == (1, 36, 3)
    assert version_of("registry:5000/kubelet") is None


def manifests_with(**network: t.Any) -> dict[str, list[dict[str, t.Any]]]:
    return bootstrap_manifests(node(lambda config: config["cluster"]["network"].update(network)))


def test_bootstrap_manifests_are_those_of_talos() -> None:
    assert list(manifests_with()) == [
        "00-kubelet-bootstrapping-token",
        "01-csr-approver-role-binding",
        "01-csr-node-bootstrap",
        "01-csr-renewal-role-binding",
        "05-flannel",
        "10-kube-proxy",
        "11-core-dns",
        "11-core-dns-svc",
        "11-kube-config-in-cluster",
        "11-talos-node-rbac-template",
    ]


def test_without_flannel_proxy_and_dns_their_manifests_are_not_there() -> None:
    def change(config: dict[str, t.Any]) -> None:
        config["cluster"]["network"]["cni"] = {"name": "none"}
        config["cluster"] |= {"proxy": {"disabled": True}, "coreDNS": {"disabled": True}}

    assert not {"05-flannel", "10-kube-proxy", "11-core-dns", "11-core-dns-svc"} & set(
        bootstrap_manifests(node(change))
    )


def test_the_dns_service_has_the_tenth_address_of_each_service_subnet() -> None:
    service = manifests_with(serviceSubnets=["10.112.0.0/12", "fd00:1::/112"])["11-core-dns-svc"][0]
    assert service["spec"]["clusterIPs"] == ["10.112.0.10", "fd00:1::a"]
    assert service["spec"]["ipFamilyPolicy"] == "RequireDualStack"


def test_kube_proxy_takes_its_extra_arguments() -> None:
    made = node(lambda config: config["cluster"]["proxy"].update(mode="ipvs", extraArgs={"ipvs-strict-arp": "true"}))
    command = bootstrap_manifests(made)["10-kube-proxy"][0]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert "--proxy-mode=ipvs" in command
    assert "--ipvs-strict-arp=true" in command
