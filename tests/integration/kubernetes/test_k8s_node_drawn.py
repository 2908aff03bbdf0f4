# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawn labels, annotations and taints of a node on a real API server: what is predicted is what is there afterwards."""

from __future__ import annotations

import typing as t

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from k8s_played_nodes import Somebody, run

from ansible_collections.groundwork.homelab.plugins.modules import node

Object = dict[str, t.Any]

KEYS = st.sampled_from(["rack", "zone", "example.com/team"])
VALUES = st.sampled_from(["", "1", "a-b"])
EFFECTS = st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"])
#: The cluster's own, which purging leaves.
OWN: Object = {"key": "node.kubernetes.io/out-of-service", "value": "x", "effect": "NoExecute"}
TAINTS = st.lists(
    st.fixed_dictionaries({"key": st.sampled_from(["gpu", "example.com/slow"]), "value": VALUES, "effect": EFFECTS}),
    max_size=3,
    unique_by=lambda one: (one["key"], one["effect"]),
)
HELD = st.fixed_dictionaries(
    {
        "labels": st.dictionaries(KEYS, VALUES, max_size=3),
        "annotations": st.dictionaries(KEYS, VALUES, max_size=2),
        "taints": TAINTS,
        "own": st.booleans(),
        "schedulable": st.booleans(),
    }
)
WANTED = st.fixed_dictionaries(
    {
        "labels": st.none() | st.dictionaries(KEYS, st.none() | VALUES, max_size=3),
        "annotations": st.none() | st.dictionaries(KEYS, st.none() | VALUES, max_size=2),
        "taints": st.none() | TAINTS,
        "gone": st.sampled_from([None, ("gpu", None), ("gpu", "NoExecute")]),
        "purge": st.booleans(),
        "schedulable": st.sampled_from([None, True, False]),
    }
)


def put(act: t.Callable[..., Object], name: str, held: Object) -> None:
    """The node as somebody else left it."""
    path = f"/api/v1/nodes/{name}"
    live = act("GET", path)
    # Whatever the node controller wrote meanwhile.
    del live["metadata"]["resourceVersion"]
    for field in ("labels", "annotations"):
        live["metadata"][field] = held[field]
    taints = [*held["taints"], *([OWN] if held["own"] else [])]
    live["spec"] = {"taints": taints, "unschedulable": not held["schedulable"]}
    act("PUT", path, live, "application/json")


def state_of(live: Object) -> Object:
    """Without what the node controller writes by itself."""
    meta, spec = live["metadata"], live["spec"]
    found: Object = {
        field: {key: text for key, text in (meta.get(field) or {}).items() if "kubernetes.io/" not in key}
        for field in ("labels", "annotations")
    }
    taints = {(one["key"], one["effect"]): one.get("value", "") for one in spec.get("taints") or []}
    found["taints"] = {
        key: text for key, text in taints.items() if key[0] == OWN["key"] or "kubernetes.io/" not in key[0]
    }
    return {**found, "schedulable": not spec.get("unschedulable", False)}


def expected(before: Object, wanted: Object) -> Object:
    """What the options say, from what was there."""
    after: Object = {}
    for field in ("labels", "annotations"):
        both = {**before[field], **(wanted[field] or {})}
        after[field] = {key: value for key, value in both.items() if value is not None}
    given = {(one["key"], one["effect"]): one["value"] for one in wanted["taints"] or []}
    kept = {} if wanted["purge"] else dict(before["taints"])
    kept |= {key: value for key, value in before["taints"].items() if key[0].startswith("node.kubernetes.io/")}
    if wanted["gone"]:
        name, effect = wanted["gone"]
        kept = {key: value for key, value in kept.items() if key[0] != name or effect not in (None, key[1])}
    after["taints"] = {**kept, **given}
    after["schedulable"] = before["schedulable"] if wanted["schedulable"] is None else wanted["schedulable"]
    return after


def options(name: str, wanted: Object) -> Object:
    taints = [{**one, "state": "present"} for one in wanted["taints"] or []]
    if wanted["gone"]:
        key, effect = wanted["gone"]
        taints = [one for one in taints if one["key"] != key or effect not in (None, one["effect"])]
        wanted["taints"] = [{key: one[key] for key in ("key", "value", "effect")} for one in taints]
        taints.append({"key": key, "effect": effect, "value": None, "state": "absent"})
    return {
        "nodes": [name],
        "labels": wanted["labels"],
        "annotations": wanted["annotations"],
        "taints": taints or None,
        "purge_taints": wanted["purge"],
        "schedulable": wanted["schedulable"],
    }


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(held=HELD, wanted=WANTED)
def test_whatever_a_node_has_it_is_as_predicted_then_and_a_second_run_writes_nothing(
    lab: t.Any, held: Object, wanted: Object
) -> None:
    act, name = Somebody(lab.server.kubeconfig).act, f"drawn-{lab.namespace}"
    if name not in [one["metadata"]["name"] for one in act("GET", "/api/v1/nodes")["items"]]:
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        act("POST", "/api/v1/nodes", body, "application/json")
    put(act, name, held)
    params, mark = options(name, wanted), lab.server.mark()
    before = state_of(act("GET", f"/api/v1/nodes/{name}"))
    predicted = run(lab, node, check=True, **params)
    assert lab.writes(mark) == []
    done = run(lab, node, **params)
    assert "msg" not in done, done["msg"]
    assert done["changes"] == predicted["changes"]
    after = state_of(act("GET", f"/api/v1/nodes/{name}"))
    assert after == expected(before, wanted)
    assert bool(predicted["changes"]) == (after != before)
    told = [change for change in predicted["changes"] if change["resource"] == f"Node/{name}"]
    for field in ("labels", "annotations"):
        for key in before[field].keys() | after[field].keys():
            shown = [field_of(change, side, field, key) for change in told for side in ("before", "after")] or [
                None,
                None,
            ]
            old, new = before[field].get(key), after[field].get(key)
            assert shown == ([None, None] if old == new else [old, new])
    mark = lab.server.mark()
    assert run(lab, node, **params)["changes"] == []
    assert lab.writes(mark) == []


def field_of(change: Object, side: str, field: str, key: str) -> str | None:
    """What a change says of a label: names with a dot or a slash stand in brackets."""
    name = f"metadata.{field}[{key}]" if "." in key or "/" in key else f"metadata.{field}.{key}"
    return (change.get(side) or {}).get(name)
