# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes show: only what differs, nothing secret."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import kinds, shown

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def deployment(image: str, **spec: t.Any) -> dict[str, t.Any]:
    containers = [{"name": "web", "image": image}, {"name": "log", "image": "log:1"}]
    return {
        "kind": "Deployment",
        "metadata": {"name": "a", "resourceVersion": image},
        "spec": {"containers": containers, **spec},
    }


def test_fields_are_named_by_their_path_and_list_members_by_their_name() -> None:
    before, after = shown.differing(deployment("web:1", replicas=1), deployment("web:2", paused=True))
    assert before == {"spec.containers[web].image": "web:1", "spec.replicas": 1}
    assert after == {"spec.containers[web].image": "web:2", "spec.paused": True}


def test_keys_with_dots_are_in_brackets() -> None:
    before, after = shown.differing({"metadata": {"labels": {"a.b/c": "1"}}}, {"metadata": {"labels": {"a.b/c": "2"}}})
    assert (before, after) == ({"metadata.labels[a.b/c]": "1"}, {"metadata.labels[a.b/c]": "2"})


def test_a_list_of_which_only_the_order_differs_is_shown_whole() -> None:
    one, two = {"name": "a"}, {"name": "b"}
    before, after = shown.differing({"spec": {"x": [one, two]}}, {"spec": {"x": [two, one]}})
    assert before == {"spec.x": [one, two]}
    assert after == {"spec.x": [two, one]}


@pytest.mark.parametrize(
    "tool",
    [
        "kubectl.kubernetes.io/last-applied-configuration",
        "kubecfg.ksonnet.io/last-applied-configuration",
        "kapp.k14s.io/original",
    ],
)
def test_values_of_secrets_are_hidden_everywhere(tool: str) -> None:
    old = {
        "kind": "Secret",
        "metadata": {"name": "a", "annotations": {tool: "hunter2"}},
        "data": {"a.b": "hunter2"},
    }
    new = {
        **old,
        "metadata": {"name": "a", "annotations": {tool: "hunter3"}},
        "data": {"a.b": "hunter3", "c": "hunter4"},
    }
    text = str([shown.differing(old, new), shown.whole(new)])
    assert "hunter" not in text
    assert shown.differing(old, new)[1] == {"data[a.b]": "(hidden)", "data.c": "(hidden)"}


@given(JSON, JSON)
def test_a_difference_is_seen_if_and_only_if_there_is_one(old: t.Any, new: t.Any) -> None:
    before, after = shown.differing({"kind": "X", "spec": old}, {"kind": "X", "spec": new})
    assert bool(before or after) == (old != new)


def test_phases_put_first_what_others_need() -> None:
    order = [
        ("v1", "Namespace"),
        ("v1", "ServiceAccount"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
        ("apps/v1", "Deployment"),
        ("networking.k8s.io/v1", "Ingress"),
        ("cert-manager.io/v1", "ClusterIssuer"),
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ]
    phases = [kinds.phase_of({"apiVersion": version, "kind": kind}) for version, kind in order]
    assert phases == sorted(phases)
    assert len(set(phases)) == len(phases)
    assert kinds.phase_of({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway"}) == kinds.CUSTOM


@pytest.mark.parametrize(
    ("api_version", "built_in"),
    [
        ("v1", True),
        ("apps/v1", True),
        ("autoscaling/v2", True),
        ("networking.k8s.io/v1", True),
        ("rbac.authorization.k8s.io/v1", True),
        ("flowcontrol.apiserver.k8s.io/v1", True),
        ("resource.k8s.io/v1", True),
        ("gateway.networking.k8s.io/v1", False),
        ("policy.networking.k8s.io/v1alpha1", False),
        ("snapshot.storage.k8s.io/v1", False),
        ("metrics.k8s.io/v1beta1", False),
        ("cluster.x-k8s.io/v1beta1", False),
        ("externaldns.k8s.io/v1alpha1", False),
        ("autoscaling.k8s.io/v1", False),
        ("cert-manager.io/v1", False),
    ],
)
def test_which_groups_are_kubernetes_own(api_version: str, built_in: bool) -> None:
    assert kinds.is_built_in(api_version) is built_in
    assert (kinds.phase_of({"apiVersion": api_version, "kind": "Thing"}) != kinds.CUSTOM) is built_in
