# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``manifests`` on a real API server: inventory and prune, take-over, definitions, waves, many objects."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Object = dict[str, t.Any]
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
KUBECTL = "kubectl-client-side-apply"


def config(name: str, /, annotations: Object | None = None, **data: str) -> Object:
    meta = {"name": name, **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def web(**spec: t.Any) -> Object:
    container = {"name": "web", "image": "nginx:1"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    whole = {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": whole}


def definition(group: str, *names: str, release: str = "", stored: str = "") -> Object:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": n, "served": True, "storage": n == (stored or names[-1]), "schema": schema} for n in names]
    meta: Object = {"name": f"things.{group}"}
    if release:
        meta["annotations"] = {"gateway.networking.k8s.io/bundle-version": release}
    kinds = {"kind": "Thing", "plural": "things"}
    spec = {"group": group, "scope": "Namespaced", "names": kinds, "versions": versions}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta, "spec": spec}


def both(lab: t.Any, objects: list[Object], **params: t.Any) -> Object:
    """Check mode, then the run: the same changes. Nothing fails."""
    predicted = lab.run(copy.deepcopy(objects), check=True, **params)
    done = lab.run(copy.deepcopy(objects), **params)
    assert "msg" not in done, done["msg"]
    assert predicted["changes"] == done["changes"]
    return done


def told(done: Object) -> list[tuple[str, str]]:
    return [
        (change["action"], change["resource"].split("/")[0] + "/" + change["resource"].split("/")[-1])
        for change in done["changes"]
    ]


def nothing(lab: t.Any, objects: list[Object], **params: t.Any) -> list[tuple[str, str]]:
    """A second run changes and writes nothing; what it asked."""
    before = lab.server.mark()
    again = lab.run(copy.deepcopy(objects), **params)
    assert again.get("changes") == [], again
    assert lab.writes(before) == []
    return lab.server.requests(before)


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


# -- take-over -------------------------------------------------------------------------------------------------------


def as_kubectl(lab: t.Any, path: str, given: Object) -> None:
    """What ``kubectl apply`` sends when the object is not there yet."""
    copy_of = {**given, "metadata": {**given["metadata"], "namespace": lab.namespace}}
    text = json.dumps(copy_of) + "\n"
    meta = {**copy_of["metadata"], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": text}}
    lab.act("POST", f"{path}?fieldManager={KUBECTL}", {**copy_of, "metadata": meta}, "application/json")


def test_what_kubectl_set_and_is_not_wanted_goes_and_defaults_come_back(lab: t.Any) -> None:
    path = f"/apis/apps/v1/namespaces/{lab.namespace}/deployments"
    theirs = web(replicas=1, minReadySeconds=7, paused=True, revisionHistoryLimit=3)
    theirs["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "busybox:1"})
    as_kubectl(lab, path, theirs)
    refused = lab.run([web()])
    assert "kubectl-client-side-apply" in refused["msg"]
    assert "take_over: [kubectl-client-side-apply]" in refused["msg"]
    done = both(lab, [web()], take_over=[KUBECTL])
    (change,) = done["changes"]
    assert change["note"] == f"taken over from {KUBECTL}"
    assert change["before"]["spec.revisionHistoryLimit"] == 3
    assert change["after"]["spec.revisionHistoryLimit"] == 10, "the server's default"
    assert change["after"]["spec.replicas"] == 0
    live = lab.live("apps/v1", "Deployment", "web")
    assert [one["name"] for one in live["spec"]["template"]["spec"]["containers"]] == ["web"]
    assert "paused" not in live["spec"]
    assert "kubectl.kubernetes.io/last-applied-configuration" not in str(live)
    assert {entry["manager"] for entry in live["metadata"]["managedFields"] if entry["operation"] == "Apply"} == {
        "groundwork.homelab"
    }
    nothing(lab, [web()], take_over=[KUBECTL])
    nothing(lab, [web()])


def test_only_the_named_managers_are_taken_over(lab: t.Any) -> None:
    path = f"/api/v1/namespaces/{lab.namespace}/configmaps"
    as_kubectl(lab, path, config("one", a="1", b="1"))
    lab.act("PATCH", f"{path}/one?fieldManager=somebody", {"data": {"c": "3"}})
    done = both(lab, [config("one", a="2")], take_over=[KUBECTL])
    assert lab.live("v1", "ConfigMap", "one")["data"] == {"a": "2", "c": "3"}
    assert done["changes"][0]["before"] == {"data.a": "1", "data.b": "1"}
    conflict = lab.run([config("one", a="2", c="4")], take_over=[KUBECTL])
    assert '.data.c ("somebody" using v1)' in conflict["msg"]


def test_a_server_side_applier_is_taken_over_too(lab: t.Any) -> None:
    path = f"/api/v1/namespaces/{lab.namespace}/configmaps/one?fieldManager=kubectl"
    theirs = {**config("one", a="1", b="1"), "metadata": {"name": "one", "namespace": lab.namespace}}
    lab.act("PATCH", path, theirs, APPLY)
    both(lab, [config("one", a="1")], take_over=["kubectl"])
    assert lab.live("v1", "ConfigMap", "one")["data"] == {"a": "1"}
    nothing(lab, [config("one", a="1")], take_over=["kubectl"])


DATA = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"]), max_size=3)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(theirs=DATA, others=DATA, ours=DATA, number=st.integers(0, 10**9))
def test_whatever_was_there_only_ours_and_the_others_fields_are_left(
    lab: t.Any, theirs: dict[str, str], others: dict[str, str], ours: dict[str, str], number: int
) -> None:
    name = f"c{number}"
    path = f"/api/v1/namespaces/{lab.namespace}/configmaps"
    lab.run([config(name)], state="absent")
    as_kubectl(lab, path, config(name, **theirs))
    others = {key: value for key, value in others.items() if key not in theirs}
    lab.act("PATCH", f"{path}/{name}?fieldManager=somebody", {"data": others})
    both(lab, [config(name, **ours)], take_over=[KUBECTL], force_conflicts=True)
    assert lab.live("v1", "ConfigMap", name).get("data", {}) == {**others, **ours}
    nothing(lab, [config(name, **ours)], take_over=[KUBECTL], force_conflicts=True)


# -- definitions -----------------------------------------------------------------------------------------------------


def test_definitions_are_upgraded_and_never_downgraded(lab: t.Any) -> None:
    group = f"{lab.namespace}.example.com"
    both(lab, [definition(group, "v1beta1", release="v1.2.0")])
    done = both(lab, [definition(group, "v1beta1", "v1", release="v1.3.0")])
    assert "fields, sha256" in str(done["changes"][0]["after"])
    before = lab.server.mark()
    for older, why in (
        (definition(group, "v1beta1", release="v1.3.0"), "it has no version v1, in which objects are stored"),
        (
            definition(group, "v1beta1", "v1", release="v1.3.0-rc.1"),
            "it is of release v1.3.0-rc.1, and v1.3.0 is there",
        ),
    ):
        refused = lab.run([older, config("beside")])
        assert why in refused["msg"]
        assert "downgrade: keep" in refused["msg"]
        kept = lab.run([older], downgrade="keep")
        assert kept["changes"] == []
    assert lab.writes(before) == []
    assert "is left as it is" in str(lab.warnings)


def test_an_object_moves_to_a_version_that_comes_with_it(lab: t.Any) -> None:
    group = f"{lab.namespace}.example.com"

    def thing(version: str, colour: str) -> Object:
        return {
            "apiVersion": f"{group}/{version}",
            "kind": "Thing",
            "metadata": {"name": "t"},
            "spec": {"colour": colour},
        }

    both(lab, [definition(group, "v1beta1"), thing("v1beta1", "red")])
    done = both(lab, [definition(group, "v1beta1", "v1"), thing("v1", "blue")])
    assert told(done)[1] == ("update", "Thing/t")
    assert done["changes"][1]["after"]["spec.colour"] == "blue"
    nothing(lab, [definition(group, "v1beta1", "v1"), thing("v1", "blue")])


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
