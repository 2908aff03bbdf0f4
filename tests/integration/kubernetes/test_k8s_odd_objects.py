# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that the server takes in an odd way, or not at all: done, or said in words that help."""

from __future__ import annotations

import time
import typing as t

import pytest
from k8s_applied import Object, config, definition, nothing, web

CONTAINERS = [{"name": "app", "image": "app:1"}]


def pod(name: str, **spec: t.Any) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": CONTAINERS, **spec}}


NEEDED: dict[str, tuple[Object, Object]] = {
    "a priority": (
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "odd"}, "value": 5},
        pod("urgent", priorityClassName="odd"),
    ),
    "a runtime": (
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "odd"}, "handler": "odd"},
        pod("apart", runtimeClassName="odd"),
    ),
}


@pytest.mark.parametrize("case", NEEDED)
def test_a_pod_may_need_what_the_same_task_brings(case: str, lab: t.Any) -> None:
    needed, given = NEEDED[case]
    alone = lab.run([given])
    assert alone["error"]["kind"] == "Refused"
    assert "odd" in alone["msg"]
    assert "role" not in alone["msg"]
    for check in (True, False):
        done = lab.run([needed, given], check=check)
        assert "msg" not in done, done["msg"]
        assert len(done["changes"]) == 2
    lab.run([needed, given], state="absent")


KEPT: dict[str, tuple[Object, str]] = {
    "a request": (
        {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": {"name": "n"}},
        "has Binding, but not as objects that are kept",
    ),
    "a review": (
        {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {"name": "a"}},
        "has SelfSubjectAccessReview, but not as objects that are kept",
    ),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_is_only_asked_is_not_said_to_be_unknown(case: str, lab: t.Any) -> None:
    given, words = KEPT[case]
    assert words in lab.run([given])["msg"]


LARGE: dict[str, tuple[Object, str]] = {
    "annotations": (config("a", {"big": "y" * 300_000}), "may not be more than 262144 bytes"),
    "a ConfigMap": (config("a", big="y" * 1_100_000), "may not be more than 1048576 bytes"),
    "a request": (config("a", big="y" * 4_000_000), "The object is too large for the API."),
}


@pytest.mark.parametrize("case", LARGE)
def test_what_is_too_large_is_said_shortly_before_anything_is_written(case: str, lab: t.Any) -> None:
    given, words = LARGE[case]
    failed = lab.run([config("small", a="1"), given])
    assert words in failed["msg"]
    assert len(failed["msg"]) < 600
    assert lab.live("v1", "ConfigMap", "small") is None


def test_a_large_object_is_known_again(lab: t.Any) -> None:
    given = config("large", a="y" * 900_000)
    assert "msg" not in lab.run([given])
    nothing(lab, [given])


def job(image: str) -> Object:
    containers = [{"name": "a", "image": image, "env": [{"name": "PIN", "value": "hunter2"}]}]
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": containers}}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": spec}


def test_a_job_that_cannot_be_changed_is_said_without_its_whole_template(lab: t.Any) -> None:
    assert "msg" not in lab.run([job("a:1")])
    failed = lab.run([job("a:2")])
    assert "spec.template" in failed["msg"]
    assert "field is immutable" in failed["msg"]
    assert "deleted first" in failed["msg"]
    assert "hunter2" not in failed["msg"]
    assert len(failed["msg"]) < 600


def test_a_mapping_where_text_belongs_is_not_shown_whole(lab: t.Any) -> None:
    given = {**config("a"), "data": {"settings.yaml": {f"key{n}": {"pin": "hunter2"} for n in range(40)}}}
    failed = lab.run([given])
    assert ".data.settings.yaml: expected string, got" in failed["msg"]
    assert "hunter2" not in failed["msg"]
    assert len(failed["msg"]) < 600


def test_names_that_only_some_kinds_may_have(lab: t.Any) -> None:
    parent = {"resource": "services", "namespace": "default", "name": "kubernetes"}
    given = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {"name": "2001:db8::7"},
        "spec": {"parentRef": parent},
    }
    assert "msg" not in (done := lab.run([given])), done["msg"]
    nothing(lab, [given])
    assert "msg" not in (done := lab.run([given], state="absent")), done["msg"]


def test_what_the_server_warns_of_is_said_once(lab: t.Any) -> None:
    path = f"/api/v1/namespaces/{lab.namespace}"
    lab.act("PATCH", path, {"metadata": {"labels": {"pod-security.kubernetes.io/warn": "restricted"}}})
    for check in (True, False):
        lab.warnings.clear()
        assert "msg" not in lab.run([web()], check=check)
        (said,) = lab.warnings
        assert f"warns of Deployment/{lab.namespace}/web: would violate PodSecurity" in said
        assert '(container "web" must set' in said
    lab.warnings.clear()
    nothing(lab, [web()])
    assert lab.warnings == []


@pytest.mark.parametrize("version", ["v1", "apps/v1beta1", "extensions/v1beta1"])
def test_where_a_kind_of_kubernetes_itself_is_today(version: str, lab: t.Any) -> None:
    failed = lab.run([{**web(), "apiVersion": version}])
    assert "Could not find the kind Deployment of Deployment/web" in failed["msg"]
    assert failed["error"]["hint"] == "Deployment is in apps/v1: correct apiVersion."


def test_check_mode_says_that_a_webhook_was_not_there_to_be_asked(lab: t.Any) -> None:
    only_here = {"matchLabels": {"kubernetes.io/metadata.name": lab.namespace}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
    hook = {
        "name": "hook.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"service": {"name": "nowhere", "namespace": lab.namespace}},
        "namespaceSelector": only_here,
        "rules": [rule],
    }
    hooks = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": lab.namespace},
        "webhooks": [hook],
    }
    assert "msg" not in lab.run([config("there", a="1")])
    assert "msg" not in lab.run([hooks])
    try:
        for _turn in range(50):
            lab.warnings.clear()
            predicted = lab.run([config("a", a="1"), config("b", a="1"), config("there", a="2")], check=True)
            if lab.warnings:
                break
            time.sleep(0.1)
        assert "msg" not in predicted, predicted["msg"]
        assert len(predicted["changes"]) == 3
        assert len(lab.warnings) == 1
        assert "could not be tried, a run would wait until it can: " in lab.warnings[0]
        assert 'failed calling webhook "hook.example.com"' in lab.warnings[0]
    finally:
        lab.run([hooks], state="absent")


def test_what_goes_with_a_definition_is_said(lab: t.Any) -> None:
    brings = definition(f"{lab.namespace}.example.com", "v1")
    assert "msg" not in lab.run([brings])
    for check in (True, False):
        (change,) = lab.run([brings], state="absent", check=check)["changes"]
        assert change["note"] == "and all objects of its kind"
