# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``kubernetes_info`` on a real API server: one request for a query, and no secrets unless asked for."""

from __future__ import annotations

import base64
import pathlib
import typing as t

import pytest
from k8s_played_nodes import run

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import kinds
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import HIDDEN
from ansible_collections.groundwork.homelab.plugins.modules import kubernetes_info

Object = dict[str, t.Any]

PASSWORD = "hunter2-the-third"
ENCODED = base64.b64encode(PASSWORD.encode()).decode()


def settings(name: str, **labels: str) -> Object:
    meta = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": name}}


@pytest.fixture
def filled(lab: t.Any) -> t.Any:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pw"}, "stringData": {"password": PASSWORD}}
    done = lab.run([*(settings(f"c{n}", part="even" if n % 2 == 0 else "odd") for n in range(5)), secret])
    assert "msg" not in done, done
    lab.secrets.clear()
    return lab


def test_several_queries_cost_one_request_each_and_one_discovery(filled: t.Any) -> None:
    name = filled.namespace
    before = filled.server.mark()
    found = run(
        filled,
        kubernetes_info,
        queries=[
            {"kind": "ConfigMap", "namespace": name, "label_selectors": ["part=even"]},
            {"kind": "ConfigMap", "namespace": name, "name": "c1"},
            {"kind": "Namespace", "field_selectors": [f"metadata.name={name}"]},
            {"api_version": "coordination.k8s.io/v1", "kind": "Lease", "namespace": name},
            {"api_version": "discovery.k8s.io/v1", "kind": "EndpointSlice", "namespace": name},
            {"kind": "Secret", "namespace": name, "name": "nobody"},
        ],
    )
    assert "msg" not in found, found
    asked = filled.server.requests(before)
    assert len(asked) == 7
    assert sum(uri.startswith("/apis?") or uri == "/apis" for _, uri in asked) == 1
    assert filled.writes(before) == []
    names = [[one["metadata"]["name"] for one in query["resources"]] for query in found["queries"]]
    assert names == [["c0", "c2", "c4"], ["c1"], [name], [], [], []]
    assert found["queries"][0]["label_selector"] == "part=even"
    assert [one["metadata"]["name"] for one in found["resources"]] == ["c0", "c2", "c4", "c1", name]
    assert all("managedFields" not in one["metadata"] for one in found["resources"])
    assert found["resources"][0]["kind"] == "ConfigMap"
    assert (found["changed"], found["changes"]) == (False, [])


def test_one_query_needs_no_discovery_for_kinds_that_every_server_has(filled: t.Any) -> None:
    before = filled.server.mark()
    found = run(filled, kubernetes_info, check=True, kind="ConfigMap", namespace=filled.namespace)
    assert len(filled.server.requests(before)) == 1
    assert len(found["resources"]) == 6, "with the API server's own certificate"


def test_lists_of_many_pages_are_whole(filled: t.Any) -> None:
    before = filled.server.mark()
    found = run(filled, kubernetes_info, kind="ConfigMap", namespace=filled.namespace, page_size=2)
    names = [one["metadata"]["name"] for one in found["resources"]]
    assert names == ["c0", "c1", "c2", "c3", "c4", "kube-root-ca.crt"]
    asked = [uri for _, uri in filled.server.requests(before)]
    assert len(asked) == 3
    assert sum("continue=" in uri for uri in asked) == 2


def test_secrets_are_hidden_unless_they_are_asked_for(filled: t.Any) -> None:
    params: Object = {"kind": "Secret", "name": "pw", "namespace": filled.namespace}
    found = run(filled, kubernetes_info, **params)
    assert found["resources"][0]["data"] == {"password": HIDDEN}
    assert ENCODED not in str(found)
    shown = run(filled, kubernetes_info, **params, show_secrets=True, managed_fields=True)
    assert shown["resources"][0]["data"] == {"password": ENCODED}
    assert shown["resources"][0]["metadata"]["managedFields"]


WRONG: list[tuple[Object, str, str]] = [
    ({"kind": "Configmap"}, "NotFound", "Did you mean ConfigMap?"),
    (
        {"kind": "HTTPProxy", "api_version": "projectcontour.io/v1"},
        "NotFound",
        "There is nothing of projectcontour.io/v1",
    ),
    ({"kind": "Deployment", "api_version": "v1"}, "NotFound", "v1 has "),
    ({"kind": "Pod", "label_selectors": ["a in b"]}, "Refused", "unable to parse"),
    (
        {"kind": "Pod", "field_selectors": ["spec.color=red"]},
        "Refused",
        "field label not supported: spec.color. Correct the selectors.",
    ),
    ({"kind": "Pod", "field_selectors": ["status.phase>Running"]}, "Refused", "invalid selector"),
]


@pytest.mark.parametrize(("params", "kind", "message"), WRONG)
def test_what_the_server_does_not_know_is_said_in_words(params: Object, kind: str, message: str, lab: t.Any) -> None:
    failed = run(lab, kubernetes_info, **params)
    assert failed["error"]["kind"] == kind
    assert message in failed["msg"]


def test_an_unknown_kind_may_be_told_in_place_of_failing(lab: t.Any) -> None:
    found = run(lab, kubernetes_info, kind="Nothing", api_version="example.com/v1", unknown_kinds="ignore")
    assert found["queries"] == [{"api_version": "example.com/v1", "kind": "Nothing", "served": False, "resources": []}]


def test_a_missing_right_names_user_verb_and_resource(lab: t.Any, tmp_path: pathlib.Path) -> None:
    reader = str(lab.server.write_kubeconfig(tmp_path / "reader", "reader"))
    failed = run(lab, kubernetes_info, kind="Secret", kubeconfig=reader)
    assert failed["error"]["kind"] == "AccessDenied"
    assert 'User "reader" cannot list resource "secrets"' in failed["msg"]
    stranger = str(lab.server.write_kubeconfig(tmp_path / "stranger", "stranger-token"))
    failed = run(lab, kubernetes_info, kind="Secret", kubeconfig=stranger)
    assert failed["error"]["kind"] == "Unauthenticated"
    assert "stranger-token" not in str(failed)


def test_every_group_that_no_definition_brings_is_kubernetes_own(lab: t.Any) -> None:
    groups = {group["name"] for group in lab.client.read("/apis", "look")["groups"]}
    definitions = lab.client.read("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "look")["items"]
    custom = {one["spec"]["group"] for one in definitions}
    assert {name for name in groups if kinds.is_built_in(f"{name}/v1")} == groups - custom
    assert "storage.k8s.io" in groups
