# SPDX-License-Identifier: GPL-3.0-or-later
"""The 50 recorded invalid configs are caught here, also those that the real node took; good configs pass."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
import yaml
from talos_room import DATA

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
    documents,
    merge,
    secrets_bundle,
    validate,
    versions,
)

TALOS = versions.parse("v1.13.9", "talos")
CASES = [json.loads(line) for line in (DATA / "invalid-cases.jsonl").read_text().splitlines()]

#: A part of our message for each case; where the node takes the config, ours is stricter.
EXPECTED = {
    "01-empty": "there is no v1alpha1 document",
    "02-not-yaml": "YAML",
    "03-unknown-key": "machina is not known (did you mean machine?)",
    "04-unknown-nested-key": "machine.kubelet.imagee is not known (did you mean image?)",
    "05-bad-machine-type": "machine.type is 'master' and not 'controlplane'",
    "06-no-machine-type": "machine.type is None and not 'controlplane'",
    "07-no-machine-ca": "machine.ca.crt is missing",
    "08-ca-no-key": "machine.ca.key is missing",
    "09-bad-endpoint": "cluster.controlPlane.endpoint is 'not a url', which is no URL",
    "10-no-endpoint": "cluster.controlPlane.endpoint is missing",
    "11-bad-dnsdomain": "cluster.network.dnsDomain is 'bad_domain!', which is no DNS name",
    "12-no-install-disk": "machine.install needs disk or diskSelector",
    "13-no-install": "machine.install needs disk or diskSelector",
    "14-bad-ca-base64": "machine.ca.crt is text and not text in base64",
    "15-bad-ca-pem": "machine.ca.crt is not a certificate in base64 of PEM",
    "16-type-mismatch": "cluster.clusterName is a mapping and not text",
    "17-bad-bool": "machine.features.kubePrism.enabled is text and not true or false",
    "18-bad-pod-cidr": "cluster.network.podSubnets[0] is '10.244.0.0/99', which is no network",
    "19-bad-cni": "cluster.network.cni.name is 'calico' and not one of flannel, custom, none",
    "20-bad-label": "machine.nodeLabels has the key 'bad label!', which Kubernetes does not allow",
    "21-persist-false": "persist is false",
    "22-wrong-version": "version is not v1alpha1",
    "23-duplicate-hostnameconfig": "the document HostnameConfig is there twice",
    "24-two-v1alpha1": "the document v1alpha1 is there twice",
    "25-unknown-kind": "NoSuchConfig/x is of a kind that Talos v1.13.9 does not know",
    "26-kind-without-apiversion": "HostnameConfig has no apiVersion",
    "27-doc-unknown-key": "HostnameConfig: foo is not known",
    "28-hostname-and-auto": "HostnameConfig has both hostname and auto: stable",
    "29-only-hostnameconfig": "there is no v1alpha1 document",
    "30-bad-hostname": "HostnameConfig: hostname is 'bad_host name', which is no host name",
    "31-hostname-conflict": "HostnameConfig and machine.network.hostname both name the host",
    "32-kubespan-no-discovery": "machine.network.kubespan is enabled, and cluster.discovery is not",
    "33-talosapi-roles": "kubernetesTalosAPIAccess.allowedRoles has 'os:nobody', which is no role",
    "34-worker-with-cp-secrets": "machine.type is 'worker' and not 'controlplane'",
    "35-init-type": "machine.type is 'init' and not 'controlplane'",
    "36-bad-k8s-version": "cluster.apiServer.image is of Kubernetes 1.20, and Talos v1.13.9 runs 1.31 to 1.36",
    "37-bad-kubelet-version": "machine.kubelet.image is of Kubernetes 1.40",
    "38-no-token": "machine.token is missing",
    "39-no-cluster-secret": "cluster.secret is missing",
    "40-no-etcd-ca": "cluster.etcd.ca.crt is missing",
    "41-no-cluster-ca": "cluster.ca.crt is missing",
    "43-list-doc": "a document is not a mapping but list",
    "44-scalar-doc": "a document is not a mapping but str",
    "45-patch-delete-left": "HostnameConfig has a $patch left in it",
    "46-tabs": "YAML",
    "47-jsonpatch": "a document is not a mapping but list",
    "48-vip-and-dhcp-bad-ip": "machine.network.interfaces[0].vip.ip is '300.1.1.1', which is no address",
    "49-bad-cidr-address": "machine.network.interfaces[0].addresses[0] is '10.0.0.300/24'",
    "50-no-interface-name": "machine.network.interfaces[0] needs interface or deviceSelector",
}
#: A number where Talos wants text is what YAML makes of it, and Talos turns it into text.
GOOD = {"42-sysctl-type"}


def applied(base: str, diff: str) -> str:
    """A unified diff applied to a text."""
    lines, result, position = base.splitlines(), [], 0
    for line in diff.splitlines()[2:]:
        hunk = re.match(r"@@ -(\d+)", line)
        if hunk:
            start = int(hunk[1]) - 1
            result += lines[position:start]
            position = start
        elif line.startswith("+"):
            result.append(line[1:])
        else:
            if position < len(lines):
                assert lines[position] == line[1:], (lines[position], line)
                if line.startswith(" "):
                    result.append(lines[position])
            position += 1
    return "\n".join(result + lines[position:]) + "\n"


def text_of(case: dict[str, t.Any]) -> str:
    base = (DATA / "invalid-base.yaml").read_text()
    if case["case"] == "24-two-v1alpha1":  # recorded without its text: the base twice
        return base + "---\n" + base.split("---\n")[0]
    return str(case["text"]) if case["text"] is not None else applied(base, case["diff"])


def with_secrets(found: list[t.Any], bundle: secrets_bundle.Bundle) -> list[t.Any]:
    """The recordings' placeholders filled in."""
    pairs = {"machine": bundle.pair("os"), "cluster": bundle.pair("k8s"), "aggregatorCA": bundle.pair("k8saggregator")}
    pairs["etcd"] = bundle.pair("etcd")

    def fill(value: t.Any, key: str, owner: str) -> t.Any:
        if isinstance(value, dict):
            inner = key if key in pairs else owner
            return {name: fill(one, name, inner) for name, one in value.items()}
        if isinstance(value, list):
            return [fill(one, key, owner) for one in value]
        if value == "<secret>":
            return "abcdef.0123456789abcdef"
        if value == "<private key, base64 PEM>":
            return pairs[owner]["key"]
        return pairs[owner]["crt"] if isinstance(value, str) and value.endswith("…") else value

    filled = [fill(document, "", "") for document in found]
    return t.cast("list[t.Any]", filled)


def problems(text: str, bundle: secrets_bundle.Bundle) -> str:
    try:
        found = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError:
        return "YAML"
    filled = with_secrets(found, bundle)
    return "; ".join(validate.problems(filled, machine_type="controlplane", talos=TALOS))


def test_the_base_of_the_cases_is_good(bundle: secrets_bundle.Bundle) -> None:
    assert problems((DATA / "invalid-base.yaml").read_text(), bundle) == ""


def test_every_recorded_case_is_here() -> None:
    assert {case["case"] for case in CASES} == EXPECTED.keys() | GOOD


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_an_invalid_config_is_caught_and_the_message_names_the_path(
    case: dict[str, t.Any], bundle: secrets_bundle.Bundle
) -> None:
    found = problems(text_of(case), bundle)
    if case["case"] in GOOD:
        assert found == ""
    else:
        assert EXPECTED[case["case"]] in found


def test_no_message_shows_a_secret(bundle: secrets_bundle.Bundle) -> None:
    for case in CASES:
        found = problems(text_of(case), bundle)
        assert not [value for value in bundle.secret_values() if value in found]


WORKER = [
    ("machine: {ca: {key: aGVsbG8=}}", "machine.ca.key must not be on a worker"),
    ("cluster: {etcd: {subnet: 10.0.0.0/8}}", "cluster.etcd is for control plane nodes only"),
    ("cluster: {serviceAccount: {key: aGVsbG8=}}", "cluster.serviceAccount is for control plane nodes only"),
    (
        "machine: {network: {interfaces: [{interface: eth0, vip: {ip: 10.0.0.1}}]}}",
        "machine.network.interfaces[0].vip is for control plane nodes only",
    ),
    ("machine: {nodeTaints: {a: Never}}", "machine.nodeTaints.a is 'Never' and not [value:]NoSchedule"),
    ("machine: {nodeLabels: {a: 'b c'}}", "machine.nodeLabels.a is 'b c', which Kubernetes does not allow"),
    ("machine: {sysctls: [a]}", "machine.sysctls is not a mapping"),
    ("machine: {certSANs: a}", "machine.certSANs is not a list"),
    ("machine: {network: {nameservers: [dns]}}", "machine.network.nameservers[0] is 'dns', which is no address"),
    (
        "machine: {install: {extraKernelArgs: [a=1]}}",
        "machine.install.extraKernelArgs has no effect with grubUseUKICmdline",
    ),
]


@pytest.mark.parametrize(("patch", "problem"), WORKER)
def test_what_a_worker_must_not_have(patch: str, problem: str, bundle: secrets_bundle.Bundle) -> None:
    from test_talos_documents import cluster

    base = documents.generated(bundle, cluster(), "worker")
    patched = merge.merged(base, merge.patches_from([patch], "patches"))
    assert problem in "; ".join(validate.problems(patched, machine_type="worker", talos=TALOS))
