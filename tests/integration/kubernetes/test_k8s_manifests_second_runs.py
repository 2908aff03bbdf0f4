# SPDX-License-Identifier: GPL-3.0-or-later
"""A second run of ``manifests`` after one that waited in vain: it waits again before it goes on. And deletions, which let
finalizers run before their controllers go."""

from __future__ import annotations

import contextlib
import threading
import typing as t

import pytest
from k8s_applied import Object, both, config, definition, nothing, told, web
from k8s_played_nodes import Somebody

WAVE = "argocd.argoproj.io/sync-wave"
HOLD = "example.com/clean-up"


def named(wanted: Object, name: str, **meta: t.Any) -> Object:
    return {**wanted, "metadata": {**wanted["metadata"], "name": name, **meta}}


def stuck(name: str, wave: str = "0") -> Object:
    """Never ready: no node is like that."""
    wanted = named(web(replicas=1), name, annotations={WAVE: wave})
    wanted["spec"]["template"]["spec"]["nodeSelector"] = {"no": "where"}
    return wanted


# -- waves and prune -------------------------------------------------------------------------------------------------


def test_a_second_run_waits_for_waves_of_the_first(lab: t.Any) -> None:
    objects = [stuck("early"), config("middle", {WAVE: "1"}), config("late", {WAVE: "2"})]
    for changed in (["Deployment/early"], []):
        failed = lab.run(objects, wait=True, wait_timeout=1.5)
        assert failed["error"]["kind"] == "WaitTimeout"
        assert [name for _action, name in told(failed)] == changed
        assert lab.live("v1", "ConfigMap", "middle") is None
    ready = [named(web(), "early", annotations={WAVE: "0"}), *objects[1:]]
    done = both(lab, ready, wait=True, wait_timeout=20.0)
    assert [name for _action, name in told(done)] == ["Deployment/early", "ConfigMap/middle", "ConfigMap/late"]


def test_waves_with_nothing_to_write_cost_no_request_more(lab: t.Any) -> None:
    objects = [config("early", {WAVE: "0"}), config("late", {WAVE: "1"})]
    both(lab, objects, wait=True)
    flat = nothing(lab, objects, wait=True, wave_annotation="")
    assert len(nothing(lab, objects, wait=True)) == len(flat)


def test_a_second_run_prunes_the_old_only_when_the_new_is_ready(lab: t.Any) -> None:
    place = {"inventory": f"{lab.namespace}/media", "prune": True}
    both(lab, [named(web(), "old")], **place)
    for changed in ([("update", "Inventory/media"), ("create", "Deployment/new")], []):
        failed = lab.run([stuck("new")], wait=True, wait_timeout=1.5, **place)
        assert failed["error"]["kind"] == "WaitTimeout"
        assert told(failed) == changed
        assert lab.live("apps/v1", "Deployment", "old") is not None
    done = both(lab, [named(web(), "new", annotations={WAVE: "0"})], wait=True, wait_timeout=20.0, **place)
    assert ("delete", "Deployment/old") in told(done)


# -- finalizers ------------------------------------------------------------------------------------------------------


class Controlled(t.NamedTuple):
    """A custom resource with a finalizer, and what would clear that."""

    objects: list[Object]
    path: str


@pytest.fixture
def controlled(lab: t.Any) -> t.Iterator[Controlled]:
    group = f"{lab.namespace}.example.com"
    assert "msg" not in lab.run([definition(group, "v1")])
    meta = {"name": "held", "finalizers": [HOLD]}
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": meta, "spec": {"a": "1"}}
    path = f"/apis/{group}/v1/namespaces/{lab.namespace}/things/held"
    yield Controlled([named(web(), "controller"), thing], path)
    with contextlib.suppress(RuntimeError):
        Somebody(lab.server.kubeconfig).act("PATCH", path, {"metadata": {"finalizers": None}})


@contextlib.contextmanager
def clearing(lab: t.Any, controlled: Controlled) -> t.Iterator[list[bool]]:
    """Clears the finalizer after a while, as long as its controller is there; says whether it was."""
    there: list[bool] = []

    def clear() -> None:
        there.append(lab.live("apps/v1", "Deployment", "controller") is not None)
        if there[-1]:
            Somebody(lab.server.kubeconfig).act("PATCH", controlled.path, {"metadata": {"finalizers": None}})

    timer = threading.Timer(1.0, clear)
    timer.start()
    try:
        yield there
    finally:
        timer.join()


WAYS: dict[str, tuple[bool, Object]] = {
    "absent": (True, {"state": "absent"}),
    "absent, pruned": (False, {"state": "absent", "prune": True}),
    "pruned": (False, {"prune": True}),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_finalizer_holds_is_gone_before_its_controller_goes(
    way: str, lab: t.Any, controlled: Controlled
) -> None:
    by_name, params = WAYS[way]
    place = {"inventory": f"{lab.namespace}/media", **params}
    kept = [config("one")] if way == "pruned" else []
    both(lab, [*controlled.objects, *kept], inventory=f"{lab.namespace}/media")
    objects = controlled.objects if by_name else kept
    failed = lab.run(objects, wait_timeout=0.7, **place)
    assert failed["error"]["kind"] == "WaitTimeout", failed
    assert f"Thing {lab.namespace}/held: held by {HOLD}" in failed["msg"]
    assert ("delete", "Thing/held") in told(failed)
    assert ("delete", "Deployment/controller") not in told(failed)
    assert lab.live("apps/v1", "Deployment", "controller") is not None
    with clearing(lab, controlled) as there:
        done = lab.run(objects, wait_timeout=20.0, **place)
    assert "msg" not in done, done["msg"]
    assert there == [True], "the controller was there when the finalizer was to be cleared"
    assert ("delete", "Deployment/controller") in told(done)
    assert lab.live("apps/v1", "Deployment", "controller") is None
    nothing(lab, objects, **place)


def test_deletions_are_in_order_whether_they_are_named_or_in_the_inventory(lab: t.Any, controlled: Controlled) -> None:
    place = {"inventory": f"{lab.namespace}/media"}
    both(lab, controlled.objects, **place)
    with clearing(lab, controlled) as there:
        done = both(lab, controlled.objects[:1], state="absent", prune=True, wait_timeout=20.0, **place)
    assert there == [True]
    names = ["Thing/held", "Deployment/controller", "Inventory/media"]
    assert [name for _action, name in told(done)] == names


def test_a_record_is_kept_until_what_is_waited_for_is_gone(lab: t.Any, controlled: Controlled) -> None:
    place = {"inventory": f"{lab.namespace}/media", "state": "absent", "prune": True, "wait": True}
    both(lab, controlled.objects[1:], inventory=f"{lab.namespace}/media")
    failed = lab.run([], wait_timeout=0.7, **place)
    assert told(failed) == [("delete", "Thing/held")]
    with clearing(lab, Controlled([], controlled.path)):
        both(lab, controlled.objects[:1])
        done = lab.run([], wait_timeout=20.0, **place)
    assert told(done) == [("delete", "Inventory/media")]
    assert lab.live("v1", "ConfigMap", "homelab-inventory-media") is None


def test_without_finalizers_and_wait_nothing_is_waited_for(lab: t.Any) -> None:
    both(lab, [config("one"), named(web(), "two")])
    before = lab.server.mark()
    lab.run([config("one"), named(web(), "two")], state="absent")
    assert [verb for verb, _uri in lab.server.requests(before)].count("list") == 0
    both(lab, [config("one"), named(web(), "two")])
    before = lab.server.mark()
    done = lab.run([config("one"), named(web(), "two")], state="absent", wait=True, wait_timeout=20.0)
    assert "msg" not in done
    asked = [uri.split("?")[0].split("/")[-1] for verb, uri in lab.server.requests(before) if verb == "list"]
    assert asked == ["deployments", "configmaps"]
