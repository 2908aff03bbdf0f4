# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels, annotations, taints and scheduling of nodes: what is planned is what comes out, and nothing is planned twice."""

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import node_changes
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.node_changes import Taint, Wanted
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute
from ansible_collections.groundwork.homelab.plugins.modules import node as module

KEYS = st.sampled_from(["rack", "example.com/gpu", "topology.kubernetes.io/zone", "node.kubernetes.io/not-ready"])
TEXTS = st.sampled_from(["", "a", "b"])
EFFECTS = st.sampled_from(node_changes.EFFECTS)
TAINTS = st.builds(Taint, KEYS, TEXTS, EFFECTS, st.booleans())


def node(**spec: t.Any) -> dict[str, t.Any]:
    meta = {"name": "w1", "uid": "1", "resourceVersion": "7", **spec.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec}


@st.composite
def lives(draw: st.DrawFn) -> dict[str, t.Any]:
    taints = {(one.key, one.effect): one.as_field() for one in draw(st.lists(TAINTS, max_size=4))}
    meta = {"labels": draw(st.dictionaries(KEYS, TEXTS)), "annotations": draw(st.dictionaries(KEYS, TEXTS))}
    return node(
        metadata={key: value for key, value in meta.items() if value},
        **({"taints": list(taints.values())} if taints else {}),
        **({"unschedulable": True} if draw(st.booleans()) else {}),
    )


@st.composite
def wishes(draw: st.DrawFn) -> Wanted:
    taints = {(one.key, one.effect): one for one in draw(st.lists(TAINTS, max_size=3))}
    texts = st.dictionaries(KEYS, st.none() | TEXTS, max_size=3)
    scheduling = draw(st.sampled_from([None, True, False]))
    return Wanted("w1", draw(texts), draw(texts), tuple(taints.values()), draw(st.booleans()), scheduling)


def merged(live: t.Any, patch: t.Any) -> t.Any:
    """RFC 7396, as the server does it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def comparable(live: dict[str, t.Any]) -> tuple[t.Any, ...]:
    meta, spec = live["metadata"], live["spec"]
    taints = spec.get("taints") or []
    return (meta.get("labels") or {}, meta.get("annotations") or {}, taints, bool(spec.get("unschedulable")))


@settings(max_examples=60)
@given(lives(), wishes())
def test_what_is_predicted_is_what_the_patch_makes_and_a_second_plan_is_empty(
    live: dict[str, t.Any], wanted: Wanted
) -> None:
    before = copy.deepcopy(live)
    patch, change = node_changes.patch_of(live, wanted), node_changes.change_of(live, wanted)
    assert live == before
    assert bool(patch) == bool(change)
    result = merged(live, patch)
    assert comparable(result) == comparable(node_changes.predicted(live, wanted))
    assert node_changes.change_of(result, wanted) is None
    for taint in wanted.taints:
        assert (taint.as_field() in (result["spec"].get("taints") or [])) is taint.wanted or not taint.wanted
    if wanted.purge_taints:
        kept = {one["key"] for one in result["spec"].get("taints") or []} - {one.key for one in wanted.taints}
        assert all(key.startswith(node_changes.CLUSTERS_OWN) for key in kept)


def test_taints_are_written_for_the_version_that_was_read_and_labels_for_any() -> None:
    wanted = Wanted("w1", labels={"rack": "1"})
    assert node_changes.patch_of(node(), wanted) == {"metadata": {"labels": {"rack": "1"}}}
    wanted = Wanted("w1", taints=(Taint("gpu", "", "NoSchedule"),))
    patch = node_changes.patch_of(node(), wanted)
    assert patch["metadata"] == {"resourceVersion": "7"}
    assert patch["spec"] == {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}


def test_a_taint_keeps_the_time_of_its_making_and_one_without_effect_goes_with_all_of_its_name() -> None:
    made = {"key": "gpu", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
    live = node(taints=[made, {"key": "gpu", "value": "a", "effect": "NoSchedule"}])
    assert node_changes.patch_of(live, Wanted("w1", taints=(Taint("gpu", "", "NoExecute"),))) == {}
    gone = node_changes.patch_of(live, Wanted("w1", taints=(Taint("gpu", wanted=False),)))
    assert gone["spec"] == {"taints": None}


def test_a_change_shows_only_what_differs_and_says_what_it_is() -> None:
    live = node(metadata={"labels": {"rack": "1", "zone": "a"}})
    change = node_changes.change_of(live, Wanted("w1", labels={"rack": "2", "zone": None}, schedulable=False))
    assert change is not None
    assert change.as_result() == {
        "resource": "Node/w1",
        "action": "update",
        "before": {"metadata.labels.rack": "1", "metadata.labels.zone": "a"},
        "after": {"metadata.labels.rack": "2", "spec.unschedulable": True},
        "note": "cordoned",
    }


def test_what_a_node_says_for_itself_goes_before_what_is_said_for_all() -> None:
    params = {
        "nodes": ["a", {"name": "b", "labels": {"rack": 2, "ssd": True}, "schedulable": False}],
        "labels": {"rack": "1", "old": None},
        "taints": [{"key": "gpu", "effect": "NoSchedule", "state": "present"}],
        "schedulable": True,
    }
    first, second = node_changes.wanted_of(params)
    assert (first.labels, first.schedulable) == ({"rack": "1", "old": None}, True)
    assert (second.labels, second.schedulable) == ({"rack": "2", "old": None, "ssd": "true"}, False)
    assert first.taints == second.taints == (Taint("gpu", "", "NoSchedule"),)


BAD: list[tuple[dict[str, t.Any], str]] = [
    ({"nodes": []}, "nodes is empty"),
    ({"nodes": ["w1", {"name": "w1"}]}, "nodes has w1 twice"),
    ({"nodes": [7]}, "must be a name, or a mapping with name; this is 7"),
    ({"nodes": ["W 1"]}, "'W 1' is not the name of a node"),
    ({"nodes": [{"name": "w1", "label": {}}]}, "node w1: unknown label; there is annotations, labels, name,"),
    ({"nodes": [{"name": "w1", "labels": ["a"]}]}, "node w1: labels must be a mapping"),
    ({"nodes": ["w1"], "labels": {"a b": "1"}}, "labels has 'a b', which is not a key"),
    ({"nodes": ["w1"], "labels": {"rack": "at home"}}, "label rack cannot be 'at home'. A label's value has"),
    ({"nodes": ["w1"], "annotations": {"rack": ["1"]}}, "annotations rack is ['1'], it must be text"),
    ({"nodes": [{"name": "w1", "taints": {"key": "a"}}]}, "taints must be a list"),
    ({"nodes": [{"name": "w1", "taints": [{"key": "a", "effect": "Never"}]}]}, "effect is 'Never', it must be one of"),
    ({"nodes": [{"name": "w1", "taints": [{"key": "a"}]}]}, "effect is '', it must be one of NoSchedule"),
    ({"nodes": [{"name": "w1", "taints": [{"effect": "NoSchedule"}]}]}, "a taint needs a key"),
    (
        {"nodes": [{"name": "w1", "taints": [{"key": "a", "state": "on"}]}]},
        "state is 'on', it must be present or absent",
    ),
    (
        {"nodes": [{"name": "w1", "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}]},
        "is the cluster's own. Set schedulable",
    ),
    ({"nodes": [{"name": "w1", "schedulable": "no"}]}, "schedulable is 'no', it must be true or false"),
    ({"nodes": ["w1"], "state": "drained", "schedulable": True}, "node w1 cannot be drained and schedulable"),
    ({"nodes": ["w1"], "state": "absent", "labels": {"a": "b"}}, "node w1 is to be absent, so nothing else"),
    ({"nodes": ["w1"], "timeout": -1.0}, "timeout is -1, it must not be negative"),
    ({"nodes": ["w1"], "grace_period": -5}, "grace_period is -5, it must not be negative"),
    ({"nodes": ["w1"], "pod_selectors": [" "]}, "pod_selectors has an empty selector"),
    ({"nodes": ["w1"], "kubeconfig": "/nowhere/at/all"}, "/nowhere/at/all"),
]


@pytest.mark.parametrize(("params", "message"), BAD)
def test_bad_input_is_refused_before_anybody_is_asked(
    params: dict[str, t.Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: t.Any, **__: t.Any) -> t.NoReturn:
        raise AssertionError("the server was asked")

    monkeypatch.setattr(
        "ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.transport.Transport.send", never
    )
    defaults = {name: option.get("default") for name, option in module.SPEC.argument_spec.items()}
    failed = execute(module.run, Task(params={**defaults, **params}))
    assert failed["failed"]
    assert failed["error"]["kind"] in (InvalidInput.__name__, "NotFound")
    assert message in failed["msg"]
    assert failed["changes"] == []
