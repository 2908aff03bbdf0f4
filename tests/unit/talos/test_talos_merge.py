# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategic merge: the rules one by one, and what holds for any patch."""

from __future__ import annotations

import copy
import typing as t

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import merge

BASE = yaml.safe_load("""
version: v1alpha1
machine:
  type: controlplane
  certSANs: [a]
  kubelet: {extraArgs: {v: "1", list: [x]}, image: old}
  network:
    interfaces:
      - {interface: eth0, addresses: [10.0.0.1/24], vlans: [{vlanId: 5, mtu: 1400}]}
      - {deviceSelector: {busPath: 00*}, dhcp: true}
  sysctls: {a: "1", b: "2"}
cluster:
  network: {podSubnets: [10.244.0.0/16]}
  apiServer:
    admissionControl: [{name: PodSecurity, configuration: {defaults: {enforce: baseline, audit: restricted}}}]
    auditPolicy: {rules: [{level: Metadata}], kind: Policy}
""")
HOSTNAME = {"apiVersion": "v1alpha1", "kind": "HostnameConfig", "auto": "stable"}


def patched(*patches: str) -> list[t.Any]:
    return merge.merged([BASE, HOSTNAME], merge.patches_from(list(patches), "patches"))


def at(documents: list[t.Any], path: str) -> t.Any:
    found: t.Any = documents[0]
    for key in path.split("."):
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


@pytest.mark.parametrize(
    ("patch", "path", "value"),
    [
        ("machine: {sysctls: {b: '3', c: '4'}}", "machine.sysctls", {"a": "1", "b": "3", "c": "4"}),
        ("machine: {certSANs: [b]}", "machine.certSANs", ["a", "b"]),
        ("machine: {certSANs: [a]}", "machine.certSANs", ["a", "a"]),
        ("machine: {kubelet: {image: ''}}", "machine.kubelet.image", "old"),
        ("machine: {kubelet: {image: new}}", "machine.kubelet.image", "new"),
        ("machine: {kubelet: {extraArgs: {list: [y]}}}", "machine.kubelet.extraArgs", {"v": "1", "list": ["y"]}),
        ("machine: {nodeLabels: {a/b: ''}}", "machine.nodeLabels", {"a/b": ""}),
        ("cluster: {network: {podSubnets: [10.1.0.0/16]}}", "cluster.network.podSubnets", ["10.1.0.0/16"]),
        ("cluster: {apiServer: {auditPolicy: {rules: []}}}", "cluster.apiServer.auditPolicy", {"rules": []}),
        (
            "cluster: {apiServer: {admissionControl: [{name: PodSecurity, configuration: {defaults: {enforce: x}}}]}}",
            "cluster.apiServer.admissionControl",
            [{"name": "PodSecurity", "configuration": {"defaults": {"enforce": "x", "audit": "restricted"}}}],
        ),
        (
            "machine: {network: {interfaces: [{interface: eth0, addresses: [10.0.0.2/24]}]}}",
            "machine.network.interfaces.0.addresses",
            ["10.0.0.1/24", "10.0.0.2/24"],
        ),
        (
            "machine: {network: {interfaces: [{interface: eth0, vlans: [{vlanId: 5, mtu: 9000}, {vlanId: 6}]}]}}",
            "machine.network.interfaces.0.vlans",
            [{"vlanId": 5, "mtu": 9000}, {"vlanId": 6}],
        ),
        (
            "machine: {network: {interfaces: [{deviceSelector: {busPath: 00*}, dhcp: false}]}}",
            "machine.network.interfaces.1.dhcp",
            False,
        ),
        ("machine: {network: {interfaces: [{interface: eth1}]}}", "machine.network.interfaces.2.interface", "eth1"),
        ("machine: {sysctls: {a: {$patch: delete}}}", "machine.sysctls", {"b": "2"}),
        (
            "machine: {network: {interfaces: [{interface: eth0, $patch: delete}]}}",
            "machine.network.interfaces.0",
            {"deviceSelector": {"busPath": "00*"}, "dhcp": True},
        ),
        ("cluster: {apiServer: {auditPolicy: {$patch: delete}}}", "cluster.apiServer.auditPolicy", None),
    ],
)
def test_a_rule(patch: str, path: str, value: t.Any) -> None:
    documents = patched(patch)
    if value is None:
        with pytest.raises(KeyError):
            at(documents, path)
    else:
        assert at(documents, path) == value


def test_a_patch_may_delete_and_add_in_one_go() -> None:
    patch = "cluster: {apiServer: {admissionControl: {$patch: delete}}}"
    both = patched(patch, "cluster: {apiServer: {admissionControl: [{name: Other}]}}")
    assert at(both, "cluster.apiServer.admissionControl") == [{"name": "Other"}]


def test_documents_match_by_kind_and_name() -> None:
    volume = "apiVersion: v1alpha1\nkind: VolumeConfig\nname: {}\nminSize: 1GB\n"
    documents = patched(volume.format("A"), volume.format("B"), volume.format("A").replace("1GB", "2GB"))
    assert [(document.get("name"), document.get("minSize")) for document in documents[2:]] == [
        ("A", "2GB"),
        ("B", "1GB"),
    ]


def test_a_document_can_be_deleted_and_a_missing_one_is_skipped() -> None:
    gone = "apiVersion: v1alpha1\nkind: HostnameConfig\n$patch: delete\n"
    assert [merge.describe(document) for document in patched(gone, gone)] == ["v1alpha1"]


def test_yaml_1_1_does_not_turn_off_into_false() -> None:
    documents = patched("apiVersion: v1alpha1\nkind: HostnameConfig\nauto: off\nhostname: a\n")
    assert documents[1] == {"apiVersion": "v1alpha1", "kind": "HostnameConfig", "auto": "off", "hostname": "a"}


@pytest.mark.parametrize(
    ("given_patch", "problem"),
    [
        ([{"op": "add", "path": "/a"}], "patches[0] is a JSON patch. Talos refuses JSON patches"),
        ({"op": "add", "path": "/a", "value": 1}, "patches[0] is a JSON patch"),
        ("- op: replace\n  path: /machine/type\n", "patches[0] is a JSON patch"),
        ("machine: [", "patches[0] is not YAML"),
        (5, "patches[0] is not a mapping but int"),
        ({"kind": "HostnameConfig"}, "patches[0] has the kind HostnameConfig and no apiVersion"),
        ("$patch: delete", "A patch deletes the v1alpha1 document"),
        ("machine: {nothing: {$patch: delete}}", "A patch deletes machine.nothing of v1alpha1, which is not there"),
        ("machine: {certSANs: [{a: b, $patch: delete}]}", "A patch deletes machine.certSANs[] of v1alpha1"),
        ("machine: {x: {y: {$patch: delete}}}", "A patch deletes machine.x.y of v1alpha1"),
    ],
)
def test_a_bad_patch_is_refused(given_patch: t.Any, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        merge.merged([BASE, HOSTNAME], merge.patches_from([given_patch], "patches"))
    assert caught.value.message.startswith(problem)


_KEYS = st.sampled_from(["machine", "cluster", "a", "b", "network"])
_TREES = st.recursive(
    st.one_of(st.booleans(), st.integers(0, 3), st.sampled_from(["", "x", "y"])),
    lambda inner: st.one_of(st.dictionaries(_KEYS, inner, max_size=3), st.lists(inner, max_size=2)),
    max_leaves=8,
)
_DOCUMENTS = st.dictionaries(_KEYS, _TREES, max_size=4)


@given(_DOCUMENTS, _DOCUMENTS)
def test_a_merge_leaves_its_arguments_alone_and_shares_nothing(base: t.Any, patch: t.Any) -> None:
    before = copy.deepcopy((base, patch))
    documents = merge.merged([base], merge.patches_from([patch], "patches"))
    _spoil(documents)
    assert (base, patch) == before


@given(_DOCUMENTS)
def test_an_empty_patch_changes_nothing(base: t.Any) -> None:
    assert merge.merged([base], merge.patches_from([{}, "", "---\n"], "patches")) == [base]


@given(_DOCUMENTS, st.dictionaries(_KEYS, st.sampled_from(["x", "y", True, 5]), min_size=1, max_size=3))
def test_scalars_of_a_patch_win_and_a_second_time_changes_nothing(base: t.Any, patch: t.Any) -> None:
    once = merge.merged([base], [patch])
    assert {key: once[0][key] for key in patch} == patch
    assert merge.merged(once, [patch]) == once


def _spoil(value: t.Any) -> None:
    for inner in list(value.values() if isinstance(value, dict) else value):
        if isinstance(inner, (dict, list)):
            _spoil(inner)
    if isinstance(value, dict):
        value["spoiled"] = True
    else:
        value.append("spoiled")


# -- documents of Talos 1.13: what its own machinery makes of two patches, where that is odd


def of(kind: str, **fields: t.Any) -> dict[str, t.Any]:
    return {"apiVersion": "v1alpha1", "kind": kind, **fields}


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (
            of("SideroLinkConfig", apiUrl="https://a.example.org/?jointoken=x"),
            of("SideroLinkConfig", apiUrl="grpc://10.0.0.1:8081"),
            {"apiUrl": "grpc://10.0.0.1:8081/?jointoken=x"},
        ),
        (of("NetworkDefaultActionConfig", ingress="block"), of("NetworkDefaultActionConfig", ingress="accept"), {"ingress": "block"}),
        (of("VolumeConfig", provisioning={"maxSize": "50GiB"}), of("VolumeConfig", provisioning={"maxSize": "25%"}), {"provisioning": {"maxSize": "50GiB"}}),
        (of("VolumeConfig", provisioning={"maxSize": "25%"}), of("VolumeConfig", provisioning={"maxSize": "9GB"}), {"provisioning": {"maxSize": "9GB"}}),
        (of("VolumeConfig", provisioning={"maxSize": "25%"}), of("VolumeConfig", provisioning={"maxSize": "50%"}), {"provisioning": {"maxSize": "50%"}}),
        (of("NetworkDefaultActionConfig", ingress="accept"), of("NetworkDefaultActionConfig", ingress="block"), {"ingress": "block"}),
        (
            of("ImageVerificationConfig", rules=[{"image": "a", "skip": True}, {"image": "b"}, {"image": "b", "deny": True}]),
            of("ImageVerificationConfig", rules=[{"image": "b", "skip": True}, {"image": "c"}, {"image": "c", "skip": True}]),
            {"rules": [{"image": "a", "skip": True}, {"image": "b"}, {"image": "b", "skip": True}, {"image": "c"}, {"image": "c", "skip": True}]},
        ),
    ],
)  # fmt: skip
def test_two_patches_of_a_document(first: dict[str, t.Any], second: dict[str, t.Any], found: dict[str, t.Any]) -> None:
    [merged] = merge.merged([], [first, second])
    assert merged == {**of(first["kind"]), **found}
