# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``manifests`` on a real API server: inventory and prune, take-over, definitions, waves, many objects."""

from __future__ import annotations

import pathlib
import time
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from k8s_applied import Object, both, config, nothing, told, web

# -- inventory and prune ---------------------------------------------------------------------------------------------


def test_what_is_no_longer_defined_is_pruned_and_nothing_else(lab: t.Any) -> None:
    place = {"inventory": f"{lab.namespace}/media", "prune": True}
    lab.run([config("bystander", a="1")])
    done = both(lab, [config("one", a="1"), config("two", a="1"), web()], **place)
    assert told(done)[0] == ("create", "Inventory/media")
    assert len(nothing(lab, [config("one", a="1"), config("two", a="1"), web()], **place)) <= 3
    done = both(lab, [config("one", a="2")], **place)
    assert told(done) == [
        ("update", "Inventory/media"),
        ("update", "ConfigMap/one"),
        ("delete", "Deployment/web"),
        ("delete", "ConfigMap/two"),
    ]
    assert done["changes"][2]["note"] == "no longer defined"
    assert lab.live("v1", "ConfigMap", "two") is None
    assert lab.live("v1", "ConfigMap", "bystander") is not None
    nothing(lab, [config("one", a="2")], **place)


def test_what_somebody_made_anew_or_asked_to_keep_is_not_pruned(lab: t.Any) -> None:
    place = {"inventory": f"{lab.namespace}/media", "prune": True}
    keep = config("keep", {"helm.sh/resource-policy": "keep"}, a="1")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    both(lab, [config("one"), keep, claim, config("theirs", a="1")], **place)
    path = f"/api/v1/namespaces/{lab.namespace}/configmaps"
    lab.act("DELETE", f"{path}/theirs", {}, "application/json")
    lab.act("POST", path, config("theirs", b="2"), "application/json")
    done = both(lab, [config("one")], **place)
    assert told(done) == [("update", "Inventory/media")]
    assert done["kept"] == {
        f"ConfigMap/{lab.namespace}/keep": "its annotation helm.sh/resource-policy says so",
        f"PersistentVolumeClaim/{lab.namespace}/data": "objects of the kind PersistentVolumeClaim are only deleted when "
        "prune_also names it",
    }
    assert "somebody else has made it anew" in str(lab.warnings)
    assert lab.live("v1", "ConfigMap", "theirs") is not None
    done = both(lab, [config("one")], prune_also=["PersistentVolumeClaim"], **place)
    assert ("delete", "PersistentVolumeClaim/data") in told(done)


def test_absent_with_prune_takes_all_that_the_inventory_has_and_the_inventory(lab: t.Any) -> None:
    place = {"inventory": f"{lab.namespace}/media", "prune": True}
    both(lab, [config("one"), config("two")], **place)
    done = both(lab, [], state="absent", **place)
    assert told(done) == [("delete", "ConfigMap/one"), ("delete", "ConfigMap/two"), ("delete", "Inventory/media")]
    assert lab.live("v1", "ConfigMap", "homelab-inventory-media") is None
    assert lab.run([], state="absent", **place)["changes"] == []


def test_a_set_that_became_empty_prunes_nothing_by_mistake(lab: t.Any) -> None:
    place = {"inventory": f"{lab.namespace}/media", "prune": True}
    both(lab, [config("one")], **place)
    failed = lab.run([], **place)
    assert "There are no objects, and prune would delete all that were applied before" in failed["msg"]
    assert lab.live("v1", "ConfigMap", "one") is not None


def test_a_run_that_breaks_off_forgets_nothing(lab: t.Any) -> None:
    place = {"inventory": f"{lab.namespace}/media", "prune": True}
    both(lab, [config("old")], **place)
    wave = "argocd.argoproj.io/sync-wave"
    stuck = {**web(replicas=1), "metadata": {"name": "web", "annotations": {wave: "-1"}}}
    stuck["spec"]["template"]["spec"]["nodeSelector"] = {"no": "where"}
    failed = lab.run([stuck, config("late")], wait=True, wait_timeout=1.5, **place)
    assert failed["failed"]
    record = lab.live("v1", "ConfigMap", "homelab-inventory-media")
    assert [line.split()[-1] for line in record["data"]["objects"].splitlines()] == ["web", "late", "old"]
    done = both(lab, [config("late")], **place)
    assert {name for action, name in told(done) if action == "delete"} == {"Deployment/web", "ConfigMap/old"}


NAMES = st.sets(st.sampled_from(["a", "b", "c", "d"]), min_size=1)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(sets=st.lists(NAMES, min_size=2, max_size=3))
def test_whatever_the_sets_the_last_one_is_what_is_there(lab: t.Any, sets: list[set[str]]) -> None:
    place = {"inventory": f"{lab.namespace}/media", "prune": True}
    for names in sets:
        objects = [config(name, x="1") for name in sorted(names)]
        both(lab, objects, **place)
        there = {name for name in "abcd" if lab.live("v1", "ConfigMap", name) is not None}
        assert there == names
        nothing(lab, objects, **place)


# -- rights and policies ---------------------------------------------------------------------------------------------

RBAC = "rbac.authorization.k8s.io"


def test_a_right_to_delete_that_is_missing_is_said_before_anything_is_written(
    lab: t.Any, tmp_path: pathlib.Path
) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create", "patch"]}]
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "write"}, "rules": rules}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "write"},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "write"},
        "subjects": [{"kind": "User", "name": "reader", "apiGroup": RBAC}],
    }
    lab.run([role, binding])
    reader = str(lab.server.write_kubeconfig(tmp_path / "reader", "reader"))
    place = {"inventory": f"{lab.namespace}/media", "prune": True, "kubeconfig": reader}
    both(lab, [config("one"), config("two")], **place)
    for check in (True, False):
        failed = lab.run([config("one", a="2")], check=check, **place)
        assert 'User "reader" cannot delete resource "configmaps"' in failed["msg"]
        assert failed["changes"] == []
    assert "data" not in lab.live("v1", "ConfigMap", "one")


def policy(lab: t.Any) -> list[Object]:
    """Who refuses one value in the test's namespace, with a message of its own."""
    api_version, name = "admissionregistration.k8s.io/v1", {"name": lab.namespace}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
    validation = {"expression": "object.?data.a.orValue('') != 'loud'", "message": "please be quiet in here"}
    spec = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]}, "validations": [validation]}
    match = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": lab.namespace}}}
    bound = {"policyName": lab.namespace, "validationActions": ["Deny"], "matchResources": match}
    return [
        {"apiVersion": api_version, "kind": "ValidatingAdmissionPolicy", "metadata": name, "spec": spec},
        {"apiVersion": api_version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": name, "spec": bound},
    ]


def test_a_policy_refuses_in_its_own_words_and_leaves_the_whole_set_unwritten(lab: t.Any) -> None:
    both(lab, policy(lab))
    end = time.monotonic() + 30
    while "msg" not in lab.run([config("loud", a="loud")], check=True) and time.monotonic() < end:
        time.sleep(0.2)
    before = lab.server.mark()
    failed = lab.run([config("fine", a="1"), config("loud", a="loud")])
    assert "please be quiet in here" in failed["msg"]
    assert f"apply ConfigMap {lab.namespace}/loud" in failed["msg"]
    assert lab.writes(before) == []
    assert "msg" not in lab.run(policy(lab), state="absent")


# -- waves, requests, faults -----------------------------------------------------------------------------------------


def test_waves_are_applied_one_after_the_other_and_ready_in_between(lab: t.Any) -> None:
    wave = "argocd.argoproj.io/sync-wave"
    early, late = config("zz", {wave: "-1"}), config("aa", {wave: "2"})
    done = both(lab, [late, config("mm"), early], wait=True, wait_timeout=20.0)
    assert [change["resource"].split("/")[-1] for change in done["changes"]] == ["zz", "mm", "aa"]
    wrong = lab.run([config("a", {wave: "first"})])
    assert "the annotation argocd.argoproj.io/sync-wave is 'first', not a whole number" in wrong["msg"]
    blocked = {**web(replicas=1), "metadata": {"name": "web", "annotations": {wave: "0"}}}
    blocked["spec"]["template"]["spec"]["nodeSelector"] = {"no": "where"}
    stuck = lab.run([blocked, config("never", {wave: "1"})], wait=True, wait_timeout=2.0)
    assert stuck["failed"]
    assert lab.live("v1", "ConfigMap", "never") is None
    assert [change["resource"].split("/")[0] for change in stuck["changes"]] == ["Deployment"]


def test_a_hundred_objects_of_five_kinds_take_one_request_a_kind_when_there_is_nothing_to_do(lab: t.Any) -> None:
    other = f"{lab.namespace}-b"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}
    objects: list[Object] = [space]
    for number in range(25):
        for kind in ("ConfigMap", "Secret", "ServiceAccount"):
            meta = {"name": f"n{number}", **({"namespace": other} if number % 2 else {})}
            objects.append({"apiVersion": "v1", "kind": kind, "metadata": meta})
    place = {"inventory": f"{lab.namespace}/many", "prune": True}
    both(lab, objects, **place)
    asked = nothing(lab, objects, **place)
    assert len(asked) <= 4 + 1, asked


BAD: dict[str, tuple[dict[str, t.Any], str]] = {
    "prune without inventory": ({"prune": True}, "prune needs an inventory"),
    "inventory name": ({"inventory": "My Set"}, "inventory is 'My Set'. It is a name, or namespace/name"),
    "inventory place": ({"inventory": "nowhere-there/x"}, 'namespaces "nowhere-there" not found. Choose a namespace'),
    "own record": (
        {"take_over": ["groundwork.homelab"]},
        "take_over names groundwork.homelab, which is the field_manager",
    ),
    "no folder": ({"kustomize": ["/nowhere"]}, "The folder /nowhere has no kustomization.yaml"),
    "no checksum": ({"urls": [{"url": "https://x.example/a.yaml"}]}, "The url https://x.example/a.yaml has no sha256"),
    "bad checksum": (
        {"urls": [{"url": "https://x.example/a.yaml", "sha256": "abc"}]},
        "is not a number of 64 hexadecimal digits",
    ),
    "file as url": ({"urls": [{"url": "/etc/passwd", "sha256": "0" * 64}]}, "does not begin with https://"),
    "both": (
        {"urls": [{"url": "https://x.example/a", "sha256": "0" * 64, "unverified": True}]},
        "has a sha256 and is unverified",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options_are_told_and_write_nothing(case: str, lab: t.Any) -> None:
    params, words = BAD[case]
    before = lab.server.mark()
    failed = lab.run([config("one")], **params)
    assert words in failed["msg"]
    assert [one for one in lab.writes(before) if "homelab-inventory" not in one[1]] == []
