# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``manifests`` on a real API server: what other managers have set is taken over; definitions and their objects."""

from __future__ import annotations

import json
import typing as t

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from k8s_applied import Object, both, config, definition, nothing, told, web

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client

APPLY = "application/apply-patch+yaml"
KUBECTL = "kubectl-client-side-apply"


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


def test_what_a_manager_set_in_two_versions_is_predicted_as_it_is_taken_over(lab: t.Any) -> None:
    group = f"{lab.namespace}.example.com"

    def thing(version: str, **spec: str) -> Object:
        return {"apiVersion": f"{group}/{version}", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec}

    assert "msg" not in lab.run([definition(group, "v1beta1", "v1")])
    path = f"/apis/{group}/{{}}/namespaces/{lab.namespace}/things"
    as_kubectl(lab, path.format("v1beta1"), thing("v1beta1", colour="red", size="small"))
    lab.act("PATCH", f"{path.format('v1')}/t?fieldManager={KUBECTL}", {"spec": {"shape": "round"}})
    records = lab.live(f"{group}/v1", "Thing", "t")["metadata"]["managedFields"]
    assert {one["apiVersion"] for one in records} == {f"{group}/v1beta1", f"{group}/v1"}
    (change,) = both(lab, [thing("v1", colour="blue")], take_over=[KUBECTL])["changes"]
    gone = {field.removeprefix("spec.") for field in change["before"].keys() - change.get("after", {}).keys()}
    left = {"size", "shape"} - gone
    live = lab.live(f"{group}/v1", "Thing", "t")
    assert live["spec"].keys() == {"colour", *left}
    assert len(left) == 1, "of the record that is dropped"
    nothing(lab, [thing("v1", colour="blue")], take_over=[KUBECTL])


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


def test_an_object_that_its_controller_changes_meanwhile_is_judged_again(lab: t.Any, monkeypatch: t.Any) -> None:
    path = f"/api/v1/namespaces/{lab.namespace}/configmaps"
    as_kubectl(lab, path, config("busy", a="1", b="1"))
    original, turns = Client.replace, iter(range(2))

    def replace(self: Client, *given: t.Any, **more: t.Any) -> Object:
        for turn in turns:
            lab.act("PATCH", f"{path}/busy?fieldManager=controller", {"metadata": {"labels": {"turn": str(turn)}}})
            break
        return original(self, *given, **more)

    monkeypatch.setattr(Client, "replace", replace)
    done = both(lab, [config("busy", a="1")], take_over=[KUBECTL])
    assert [(one["before"], one.get("after")) for one in done["changes"]] == [({"data.b": "1"}, None)]
    assert list(turns) == []
    nothing(lab, [config("busy", a="1")], take_over=[KUBECTL])
