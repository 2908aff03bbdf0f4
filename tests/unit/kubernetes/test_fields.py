# SPDX-License-Identifier: GPL-3.0-or-later
"""No-op detection: certain only where nothing can change."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import fields

MANAGER = "groundwork.homelab"
Tree = dict[str, t.Any]

NAMES = st.text("abcdefgh", min_size=1, max_size=3)
SCALARS = st.booleans() | st.integers(-5, 5) | st.text("xyz", max_size=3)


def trees(depth: int = 3) -> st.SearchStrategy[Tree]:
    if depth == 0:
        return st.dictionaries(NAMES, SCALARS, min_size=1, max_size=3)
    inner = SCALARS | trees(depth - 1) | named_lists(depth - 1)
    return st.dictionaries(NAMES, inner, min_size=1, max_size=3)


def named_lists(depth: int) -> st.SearchStrategy[list[Tree]]:
    """Associative lists with the key ``name``."""
    members = st.dictionaries(NAMES, trees(depth), min_size=1, max_size=3)
    return members.map(lambda found: [{"name": name, **body} for name, body in found.items()])


def owned_of(value: t.Any) -> Tree:
    """The record (FieldsV1) of somebody who applied this, as the server makes it for associative lists by name."""
    if isinstance(value, dict):
        return {f"f:{key}": owned_of(item) for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return {f"k:{json.dumps({'name': item['name']})}": {".": {}, **owned_of(item)} for item in value}
    return {}


def live_of(wanted: Tree, owned: Tree | None = None, **more: t.Any) -> Tree:
    body = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind", "metadata")}
    entry = {"manager": MANAGER, "operation": "Apply", "apiVersion": "v1", "fieldsV1": owned or owned_of(body)}
    return {**copy.deepcopy(wanted), **more, "metadata": {"name": "x", "managedFields": [entry], "uid": "1"}}


def wanted_of(body: Tree) -> Tree:
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": body}


def paths(value: t.Any, at: tuple[t.Any, ...] = ()) -> list[tuple[t.Any, ...]]:
    """All scalar places of a tree but the names that identify list members."""
    if isinstance(value, dict):
        inside = at and isinstance(at[-1], int)
        return [p for key, item in value.items() if not (inside and key == "name") for p in paths(item, (*at, key))]
    if isinstance(value, list):
        return [p for n, item in enumerate(value) for p in paths(item, (*at, n))]
    return [at]


def at(value: t.Any, path: tuple[t.Any, ...]) -> t.Any:
    for step in path:
        value = value[step]
    return value


@given(trees())
def test_what_was_applied_and_is_unchanged_is_settled(body: Tree) -> None:
    wanted = wanted_of(body)
    assert fields.settled(wanted, live_of(wanted, status={"phase": "x"}), MANAGER)


@given(trees(), st.data())
def test_a_field_of_ours_that_somebody_changed_is_not_settled(body: Tree, data: st.DataObject) -> None:
    wanted = wanted_of(body)
    places = paths(body)
    if not places:
        return
    place = data.draw(st.sampled_from(places))
    live = live_of(wanted)
    parent = at(live["spec"], place[:-1])
    parent[place[-1]] = data.draw(SCALARS.filter(lambda new: json.dumps(new) != json.dumps(at(body, place))))
    assert not fields.settled(wanted, live, MANAGER)


@given(trees(), st.data())
def test_a_field_that_is_no_longer_wanted_is_not_settled(body: Tree, data: st.DataObject) -> None:
    wanted = wanted_of(body)
    live = live_of(wanted)
    places = paths(body)
    if not places:
        return
    place = data.draw(st.sampled_from(places))
    less = copy.deepcopy(wanted)
    del at(less["spec"], place[:-1])[place[-1]]
    assert not fields.settled(less, live, MANAGER)


@given(trees(), NAMES, SCALARS)
def test_a_field_that_is_newly_wanted_is_not_settled(body: Tree, name: str, value: t.Any) -> None:
    if name in body:
        return
    live = live_of(wanted_of(body))
    live["spec"][name] = value
    assert not fields.settled(wanted_of({**body, name: value}), live, MANAGER)


@given(trees(), NAMES, SCALARS)
def test_fields_of_others_do_not_matter(body: Tree, name: str, value: t.Any) -> None:
    if name in body:
        return
    live = live_of(wanted_of(body))
    live["spec"][name] = value
    assert fields.settled(wanted_of(body), live, MANAGER)


def test_nobody_is_sure_of_what_another_manager_or_version_applied() -> None:
    wanted = wanted_of({"a": 1})
    assert not fields.settled(wanted, live_of(wanted), "somebody-else")
    live = live_of(wanted)
    live["metadata"]["managedFields"][0]["apiVersion"] = "v1beta1"
    assert not fields.settled(wanted, live, MANAGER)
    live["metadata"]["managedFields"] = []
    assert not fields.settled(wanted, live, MANAGER)


def test_what_is_being_deleted_is_not_settled() -> None:
    wanted = wanted_of({"a": 1})
    live = live_of(wanted)
    live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not fields.settled(wanted, live, MANAGER)


def test_a_bare_object_needs_no_record() -> None:
    bare = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    assert fields.settled(bare, {**bare, "metadata": {"name": "x", "labels": {"a": "b"}}}, MANAGER)
    assert not fields.settled(bare, live_of(bare, {"f:metadata": {"f:labels": {"f:a": {}}}}), MANAGER)


def test_ports_are_found_by_their_defaulted_protocol() -> None:
    wanted = wanted_of({"ports": [{"containerPort": 80}]})
    key = 'k:{"containerPort":80,"protocol":"TCP"}'
    live = live_of(wanted, {"f:spec": {"f:ports": {key: {".": {}, "f:containerPort": {}}}}})
    live["spec"]["ports"][0]["protocol"] = "TCP"
    assert fields.settled(wanted, live, MANAGER)


def test_members_of_a_set_are_compared_by_value_and_in_order() -> None:
    wanted = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x", "finalizers": ["a/b", "c/d"]}}
    owned = {"f:metadata": {"f:finalizers": {".": {}, 'v:"a/b"': {}, 'v:"c/d"': {}}}}
    live = live_of(wanted, owned)
    live["metadata"]["finalizers"] = ["x/y", "a/b", "c/d"]
    assert fields.settled(wanted, live, MANAGER)
    live["metadata"]["finalizers"] = ["c/d", "a/b"]
    assert not fields.settled(wanted, live, MANAGER)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("1000m", "1", True),
        ("1000m", 1, True),
        ("0.5", "500m", True),
        ("1Gi", "1024Mi", True),
        ("1G", "1Gi", False),
        ("128Mi", "129Mi", False),
        ("1e3", "1k", True),
        ("abc", "abd", False),
        (True, 1, False),
        ("", "0", False),
    ],
)
def test_quantities_are_equal_by_their_number_where_quantities_stand(one: t.Any, other: t.Any, equal: bool) -> None:
    assert fields.same(one, other, ("resources", "limits", "cpu")) is equal


def test_elsewhere_text_is_text_and_true_is_not_one() -> None:
    assert not fields.same("1000m", "1", ("data", "value"))
    assert not fields.same(True, 1, ())
    assert not fields.same([1], [True], ())
    assert fields.same({"a": [1, "x"]}, {"a": [1, "x"]}, ())


def test_an_empty_map_counts_as_settled_only_if_nothing_below_is_ours() -> None:
    wanted = wanted_of({"emptyDir": {}})
    assert fields.settled(wanted, live_of(wanted), MANAGER)
    dropped = live_of(wanted)
    del dropped["spec"]["emptyDir"]
    assert fields.settled(wanted, dropped, MANAGER)
    filled = live_of(wanted, {"f:spec": {"f:emptyDir": {"f:medium": {}}}})
    assert not fields.settled(wanted, filled, MANAGER)


@pytest.mark.parametrize(
    ("path", "wanted", "live", "answer"),
    [
        (("", "ports"), {"port": 80}, {"port": 80, "protocol": "TCP"}, True),
        (("", "ports"), {"port": 80}, {"port": 80, "protocol": "UDP"}, False),
        (("", "ports"), {"port": 80, "protocol": "TCP"}, {"port": 80}, False),
        (("", "other"), {"port": 80}, {"port": 80, "protocol": "TCP"}, False),
        (("", "fieldRef"), {"fieldPath": "a"}, {"fieldPath": "a", "apiVersion": "v1"}, True),
        ((fields.GATEWAY, "rules"), {}, {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}, True),
        (("x.example", "rules"), {}, {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}, False),
        (
            (fields.GATEWAY, "spec"),
            {"rules": [{"matches": [{"path": {"value": "/a"}}], "backendRefs": [{"name": "b"}]}]},
            {
                "rules": [
                    {
                        "matches": [{"path": {"value": "/a", "type": "PathPrefix"}}],
                        "backendRefs": [{"name": "b", "group": "", "kind": "Service", "weight": 1}],
                    }
                ]
            },
            True,
        ),
    ],
)
def test_what_the_server_fills_in_is_no_difference(
    path: tuple[str, ...], wanted: t.Any, live: t.Any, answer: bool
) -> None:
    assert fields.same(wanted, live, path) is answer
