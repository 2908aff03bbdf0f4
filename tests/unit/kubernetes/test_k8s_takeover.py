# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of fields as sets, and what of an object goes with them."""

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import takeover

Object = dict[str, t.Any]
OURS, THEIRS = "groundwork.homelab", "kubectl-client-side-apply"
STEPS = st.sampled_from(["f:a", "f:b", "f:c", 'k:{"name":"x"}', 'v:"y"'])
PATHS = st.sets(st.lists(STEPS, min_size=1, max_size=4).map(tuple), max_size=8)


def entry(manager: str, fields: Object, operation: str = "Apply", version: str = "v1", **more: str) -> Object:
    head = {"manager": manager, "operation": operation, "apiVersion": version, "fieldsType": "FieldsV1"}
    return {**head, "fieldsV1": fields, **more}


@given(paths=PATHS)
def test_a_record_and_its_paths_are_the_same(paths: set[tuple[str, ...]]) -> None:
    assert takeover.paths_of(takeover.fields_of(paths)) == paths


def test_the_records_become_one_and_others_stay() -> None:
    entries = [
        entry(OURS, {"f:data": {"f:a": {}}}),
        entry(THEIRS, {"f:data": {".": {}, "f:b": {}}}, "Update"),
        entry(THEIRS, {"f:status": {}}, "Update", subresource="status"),
        entry("somebody", {"f:data": {"f:c": {}}}, "Update"),
    ]
    found = takeover.migrated(entries, OURS, {THEIRS})
    assert [(one["manager"], one.get("subresource")) for one in found] == [
        (THEIRS, "status"),
        ("somebody", None),
        (OURS, None),
    ]
    assert found[-1]["fieldsV1"] == {"f:data": {".": {}, "f:a": {}, "f:b": {}}}


def test_without_a_record_of_ours_theirs_becomes_it_and_kubectls_copy_is_no_field_of_it() -> None:
    copy_of = {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}, "f:note": {}}}
    entries = [entry(THEIRS, {"f:metadata": copy_of}, "Update")]
    (found,) = takeover.migrated(entries, OURS, {THEIRS})
    assert (found["manager"], found["operation"]) == (OURS, "Apply")
    assert found["fieldsV1"] == {"f:metadata": {"f:annotations": {".": {}, "f:note": {}}}}


def test_a_record_of_another_version_is_dropped() -> None:
    entries = [
        entry(OURS, {"f:spec": {"f:a": {}}}, version="x/v1"),
        entry(THEIRS, {"f:spec": {"f:b": {}}}, version="x/v2"),
    ]
    (found,) = takeover.migrated(entries, OURS, {THEIRS})
    assert found["fieldsV1"] == {"f:spec": {"f:a": {}}}


def test_the_patch_is_of_just_this_version_of_the_object() -> None:
    meta = {
        "resourceVersion": "7",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "managedFields": [entry(THEIRS, {"f:data": {}}, "Update")],
    }
    steps = takeover.operations({"metadata": meta}, OURS, {THEIRS})
    assert [(one["op"], one["path"]) for one in steps] == [
        ("replace", "/metadata/managedFields"),
        ("replace", "/metadata/resourceVersion"),
        ("remove", "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"),
    ]
    assert steps[1]["value"] == "7"


POD: Object = {
    "metadata": {"name": "p", "labels": {"a": "1"}, "finalizers": ["x", "y"]},
    "spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}], "list": [1, 2]},
}
GONE: dict[str, tuple[set[tuple[str, ...]], t.Callable[[Object], t.Any], t.Any]] = {
    "a field": ({("f:metadata", "f:labels", "f:a")}, lambda one: one["metadata"]["labels"], {}),
    "a map with its fields": (
        {("f:metadata", "f:labels"), ("f:metadata", "f:labels", "f:a")},
        lambda one: "labels" in one["metadata"],
        False,
    ),
    "a member with its fields": (
        {("f:spec", "f:containers", 'k:{"name":"b"}', *rest) for rest in ((), ("f:name",), ("f:image",))},
        lambda one: [item["name"] for item in one["spec"]["containers"]],
        ["a"],
    ),
    "a field of a member, but not its name": (
        {("f:spec", "f:containers", 'k:{"name":"b"}', rest) for rest in ("f:name", "f:image")},
        lambda one: one["spec"]["containers"][1],
        {"name": "b"},
    ),
    "a value of a set": ({("f:metadata", "f:finalizers", 'v:"x"')}, lambda one: one["metadata"]["finalizers"], ["y"]),
    "a place in a list": ({("f:spec", "f:list", "i:0")}, lambda one: one["spec"]["list"], [2]),
    "what is not there": ({("f:spec", "f:no", "f:where")}, lambda one: one, POD),
}


@pytest.mark.parametrize("case", GONE)
def test_fields_go_from_the_object(case: str) -> None:
    paths, look, wanted = GONE[case]
    before = copy.deepcopy(POD)
    assert look(takeover.without(POD, paths)) == wanted
    assert before == POD


def test_what_others_hold_below_a_field_stays() -> None:
    live = {"metadata": {"managedFields": [entry(THEIRS, {"f:data": {".": {}, "f:a": {}, "f:b": {}}}, "Update")]}}
    result = {"metadata": {"managedFields": [entry(OURS, {"f:data": {"f:a": {}}})]}}
    assert takeover.leftovers(live, result, OURS, {THEIRS}) == {("f:data", "f:b")}
    nobody = {"metadata": {"managedFields": []}}
    assert ("f:data",) in takeover.leftovers(live, nobody, OURS, {THEIRS})


def test_what_only_a_dropped_record_has_is_said_to_stay() -> None:
    older = entry(THEIRS, {"f:spec": {"f:a": {}, "f:both": {}}}, "Update", "x/v1")
    newer = entry(THEIRS, {"f:spec": {"f:b": {}, "f:both": {}}}, "Update", "x/v2")
    result = {"metadata": {"managedFields": [entry(OURS, {"f:spec": {"f:c": {}}}, version="x/v1")]}}
    spec = {("f:spec", "f:a"), ("f:spec", "f:both")}
    without_ours: Object = {"metadata": {"managedFields": [older, newer]}}
    assert takeover.leftovers(without_ours, result, OURS, {THEIRS}) == spec
    (found,) = takeover.migrated([older, newer], OURS, {THEIRS})
    assert takeover.paths_of(found["fieldsV1"]) == spec
    ours = entry(OURS, {"f:spec": {"f:c": {}}}, version="x/v2")
    with_ours: Object = {"metadata": {"managedFields": [older, newer, ours]}}
    spec = {("f:spec", "f:b"), ("f:spec", "f:both")}
    assert takeover.leftovers(with_ours, result, OURS, {THEIRS}) == spec
