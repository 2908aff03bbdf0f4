# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``manifests`` on a real API server: truth, no-ops, take-over, removal."""

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import shown

Object = dict[str, t.Any]


def thing_definition(group: str) -> Object:
    spec = {"type": "object", "properties": {"size": {"type": "integer", "default": 3}, "colour": {"type": "string"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": versions,
        },
    }


def web(**changes: t.Any) -> Object:
    container = {
        "name": "web",
        "image": "nginx:1",
        "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
        "resources": {"requests": {"cpu": "1000m", "memory": "128Mi"}, "limits": {"cpu": 2}},
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "pw", "key": "password"}}},
        ],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "args": ["--port", "80"],
        **changes,
    }
    pod = {
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {},
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def config(name: str = "settings", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "pw"},
    "stringData": {"password": "hunter2-the-second"},
}
#: One of each kind that bootstraps use, as people write them.
MANY: list[Object] = [
    SECRET,
    config(a="1"),
    web(),
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}},
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}},
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "web"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "web"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "web"},
        "subjects": [{"kind": "ServiceAccount", "name": "web"}],
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {"matchLabels": {"a": "b"}}}]}]},
    },
    {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
    },
    {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {
            "schedule": "0 3 * * *",
            "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}}}},
        },
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web"},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
    },
]  # fmt: skip


def test_a_set_is_predicted_applied_and_then_needs_no_write(lab: t.Any) -> None:
    group = f"{lab.namespace}.example.com"
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"colour": "red"}}
    everything = [thing, *MANY, thing_definition(group)]
    before = lab.server.mark()
    predicted = lab.run(copy.deepcopy(everything), check=True)
    assert lab.writes(before) == []
    done = lab.run(copy.deepcopy(everything))
    assert "msg" not in done
    assert predicted["changes"] == done["changes"]
    assert [change["action"] for change in done["changes"]] == ["create"] * len(everything)
    before = lab.server.mark()
    again = lab.run(copy.deepcopy(everything))
    assert again["changes"] == []
    assert lab.writes(before) == []
    asked = lab.server.requests(before)
    assert [uri for verb, uri in asked if verb == "patch" and "ingresses" not in uri] == [], "no-ops need no dry run"
    assert len(asked) <= 25
    assert "hunter2" not in str([predicted, done])
    assert "hunter2-the-second" in lab.secrets


def test_changes_show_only_what_differs_and_are_the_same_in_check_mode(lab: t.Any) -> None:
    lab.run([web(), SECRET, config(a="1", b="2")])
    new = [
        web(image="nginx:2", args=["--port", "81"]),
        {**SECRET, "stringData": {"password": "other-secret"}},
        config(a="1"),
    ]
    predicted = lab.run(copy.deepcopy(new), check=True)
    done = lab.run(copy.deepcopy(new))
    assert predicted["changes"] == done["changes"]
    by_kind = {change["resource"].split("/")[0]: change for change in done["changes"]}
    assert by_kind["Deployment"]["before"] == {
        "spec.template.spec.containers[web].image": "nginx:1",
        "spec.template.spec.containers[web].args": ["--port", "80"],
    }
    assert by_kind["Secret"]["after"] == {"data.password": "(hidden)"}
    assert (by_kind["ConfigMap"]["before"], by_kind["ConfigMap"].get("after")) == ({"data.b": "2"}, None)
    assert "other-secret" not in str(done)
    assert lab.live("v1", "ConfigMap", "settings")["data"] == {"a": "1"}
    assert lab.run(copy.deepcopy(new))["changes"] == []


def test_what_drifted_is_put_right_and_what_others_added_stays(lab: t.Any) -> None:
    lab.run([config(a="1")])
    path = f"/api/v1/namespaces/{lab.namespace}/configmaps/settings?fieldManager=groundwork.homelab"
    lab.act("PATCH", path.replace("groundwork.homelab", "somebody"), {"data": {"theirs": "x"}})
    assert lab.run([config(a="1")])["changes"] == []
    lab.act("PATCH", path.replace("groundwork.homelab", "somebody"), {"data": {"a": "9"}})
    conflict = lab.run([config(a="1")])
    assert conflict["failed"]
    assert '.data.a ("somebody" using v1)' in conflict["msg"]
    assert "force_conflicts" in conflict["msg"]
    forced = lab.run([config(a="1")], force_conflicts=True)
    assert forced["changes"][0]["before"] == {"data.a": "9"}
    assert lab.live("v1", "ConfigMap", "settings")["data"] == {"a": "1", "theirs": "x"}


def test_equal_fields_of_another_manager_become_ours_once(lab: t.Any) -> None:
    path = f"/api/v1/namespaces/{lab.namespace}/configmaps?fieldManager=kubectl-create"
    lab.act(
        "POST",
        path,
        {**config(a="1"), "metadata": {"name": "settings", "namespace": lab.namespace}},
        "application/json",
    )
    predicted = lab.run([config(a="1")], check=True)
    done = lab.run([config(a="1")])
    assert predicted["changes"] == done["changes"]
    assert done["changes"][0]["note"] == "only the record of who manages these fields"
    assert lab.run([config(a="1")])["changes"] == []


def test_one_wrong_object_leaves_the_whole_set_unwritten(lab: t.Any) -> None:
    before = lab.server.mark()
    wrong = web()
    wrong["spec"]["replicaz"] = 3
    failed = lab.run([config(a="1"), wrong])
    assert failed["failed"]
    assert "replicaz" in failed["msg"]
    assert failed["changed"] is False
    assert lab.writes(before) == []


BAD: dict[str, tuple[Object, str]] = {
    "unknown field": ({**config(), "dat": {}}, "dat"),
    "wrong type": ({**config(), "data": {"port": 80}}, "expected string"),
    "unknown kind": (
        {"apiVersion": "v1", "kind": "ConfgMap", "metadata": {"name": "a"}},
        "v1 has Binding, ComponentStatus",
    ),
    "old version": (
        {"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "a"}},
        "does not serve apps/v1beta1",
    ),
    "no such namespace": (
        {**config(), "metadata": {"name": "a", "namespace": "nowhere"}},
        'namespaces "nowhere" not found. Define the Namespace nowhere in the same task, or apply it first.',
    ),
    "invalid field": (
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 99999}]}},
        "spec.ports[0].port: Invalid value: 99999",
    ),
    "immutable field": (
        {**web(), "spec": {**web()["spec"], "selector": {"matchLabels": {"app": "other"}}}},
        "spec.template.metadata.labels: Invalid value",
    ),
    "bad quantity": (web(resources={"requests": {"cpu": "lots"}}), "quantities must match the regular expression"),
    "no kubeconfig": (config(), "/nonexistent does not exist"),
    "negative wait": (config(), "wait_timeout is -1, it must not be negative."),
    "empty manager": (config(), "field_manager must be a name"),
}
PARAMS: dict[str, dict[str, t.Any]] = {
    "no kubeconfig": {"kubeconfig": "/nonexistent"},
    "negative wait": {"wait_timeout": -1.0},
    "empty manager": {"field_manager": ""},
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error_that_says_what_is_wrong_and_writes_nothing(case: str, lab: t.Any) -> None:
    lab.run([web()])
    given, words = BAD[case]
    before = lab.server.mark()
    for check in (True, False):
        if case == "no such namespace" and check:
            continue
        failed = lab.run([given], check=check, **PARAMS.get(case, {}))
        assert failed["failed"], case
        assert words in failed["msg"]
        assert failed["changes"] == []
    assert lab.writes(before) == []


def test_in_check_mode_what_an_earlier_task_would_make_is_taken_for_granted(lab: t.Any) -> None:
    there = {**config(a="1"), "metadata": {"name": "a", "namespace": "made-by-another-task"}}
    custom = {"apiVersion": "nobody.example.com/v1", "kind": "Nothing", "metadata": {"name": "n"}}
    policy = {"apiVersion": "kyverno.example.com/v1", "kind": "ClusterPolicy", "metadata": {"name": "wide"}}
    predicted = lab.run(copy.deepcopy([there, custom, policy]), check=True)
    assert [change["resource"] for change in predicted["changes"]] == [
        "ConfigMap/made-by-another-task/a",
        f"Nothing/{lab.namespace}/n",
        "ClusterPolicy/wide",
    ]
    assert len(lab.warnings) == 3
    assert "made-by-another-task does not exist yet" in str(lab.warnings)
    assert lab.run([custom])["failed"], "but not in a real run"


def test_an_object_has_the_same_name_before_its_kind_is_served_and_after(lab: t.Any) -> None:
    group = f"{lab.namespace}.example.com"
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"colour": "red"}}
    predicted = lab.run([copy.deepcopy(thing)], check=True, inventory=f"{lab.namespace}/things")
    assert "msg" not in lab.run([thing_definition(group)])
    done = lab.run([copy.deepcopy(thing)], inventory=f"{lab.namespace}/things")
    assert predicted["changes"] == done["changes"]
    assert (predicted["objects"], done["objects"]) == ([f"Thing/{lab.namespace}/t"], [f"Thing/{lab.namespace}/t"])


def test_a_planned_cluster_is_not_asked_and_predicts_what_a_real_one_then_does(lab: t.Any) -> None:
    predicted = lab.run(copy.deepcopy(MANY), check=True, planned=True, kubeconfig="/nonexistent")
    done = lab.run(copy.deepcopy(MANY), planned=True)
    assert predicted["changes"] == done["changes"]
    assert lab.run([SECRET], check=True, planned=True, kubeconfig="/nonexistent", state="absent")["changes"] == []


def test_absent_deletes_what_is_named_and_nothing_else(lab: t.Any) -> None:
    lab.run([config("one"), config("two"), web()])
    predicted = lab.run([config("one"), config("never")], state="absent", check=True)
    done = lab.run([config("one"), config("never")], state="absent", wait=True, wait_timeout=10.0)
    assert predicted["changes"] == done["changes"]
    assert [(change["resource"], change["action"]) for change in done["changes"]] == [
        (f"ConfigMap/{lab.namespace}/one", "delete")
    ]
    assert lab.live("v1", "ConfigMap", "one") is None
    assert lab.live("v1", "ConfigMap", "two") is not None
    assert lab.run([config("one")], state="absent")["changes"] == []


def test_absent_of_a_kind_that_does_not_exist_is_nothing_to_do(lab: t.Any) -> None:
    gone = {"apiVersion": "nobody.example.com/v1", "kind": "Nothing", "metadata": {"name": "n"}}
    assert lab.run([gone], state="absent") == {"changed": False, "changes": [], "objects": ["Nothing/n"]}


def test_a_deletion_that_is_held_says_by_what(lab: t.Any) -> None:
    held = config("held")
    held["metadata"]["finalizers"] = ["example.com/keeper"]
    lab.run([held])
    failed = lab.run([held], state="absent", wait=True, wait_timeout=1.0)
    assert "held by example.com/keeper" in failed["msg"]
    assert failed["changes"][0]["action"] == "delete"
    path = f"/api/v1/namespaces/{lab.namespace}/configmaps/held"
    lab.act("PATCH", path, {"metadata": {"finalizers": None}})


def test_a_namespace_is_deleted_with_what_is_in_it(lab: t.Any) -> None:
    lab.run([config("one")])
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": lab.namespace}}
    done = lab.run([space], state="absent", wait=True, wait_timeout=60.0)
    assert "msg" not in done
    assert done["changes"][0]["note"] == "and everything in it"
    assert lab.live("v1", "ConfigMap", "one") is None


def test_a_definition_and_its_objects_can_change_together(lab: t.Any) -> None:
    group = f"{lab.namespace}.example.com"
    definition = thing_definition(group)
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"colour": "red"}}
    assert "msg" not in lab.run([definition, thing])
    newer, taller = copy.deepcopy(definition), copy.deepcopy(thing)
    newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["height"] = {
        "type": "integer"
    }
    taller["spec"]["height"] = 2
    predicted = lab.run([copy.deepcopy(newer), copy.deepcopy(taller)], check=True)
    done = lab.run([copy.deepcopy(newer), copy.deepcopy(taller)])
    assert "msg" not in done
    assert predicted["changes"] == done["changes"]
    assert done["changes"][1]["after"] == {"spec.height": 2}
    assert lab.run([newer, taller])["changes"] == []


@pytest.mark.usefixtures("addons")
def test_nulls_of_a_release_reach_it_and_need_no_second_write(lab: t.Any) -> None:
    values = {"resources": {"limits": None}, "list": [{"a": None}, None], "kept": 1}
    release = {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": "jellyfin", "annotations": {"gone": None}},
        "spec": {"interval": "1h", "values": values},
    }
    predicted = lab.run([copy.deepcopy(release)], check=True)
    done = lab.run([copy.deepcopy(release)])
    assert "msg" not in done
    assert predicted["changes"] == done["changes"]
    live = lab.live("helm.toolkit.fluxcd.io/v2", "HelmRelease", "jellyfin")
    assert live["spec"]["values"] == values
    before = lab.server.mark()
    assert lab.run([copy.deepcopy(release)])["changes"] == []
    assert [verb for verb, _uri in lab.server.requests(before) if verb not in ("get", "list")] == []
    release["spec"]["values"]["resources"]["limits"] = {"cpu": 1}
    (change,) = lab.run([copy.deepcopy(release)])["changes"]
    assert change["before"] == {"spec.values.resources.limits": None}
    assert lab.run([release])["changes"] == []


def test_the_server_judges_nulls_that_a_definition_does_not_allow(lab: t.Any) -> None:
    group = f"{lab.namespace}.example.com"
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "t"}}
    definition = thing_definition(group)
    assert "msg" not in lab.run([definition, {**copy.deepcopy(thing), "spec": {"size": None}}])
    assert lab.live(f"{group}/v1", "Thing", "t")["spec"] == {"size": 3}, "null is the default"
    before = lab.server.mark()
    assert lab.run([{**copy.deepcopy(thing), "spec": {"size": None}}])["changes"] == []
    refused = lab.run([{**copy.deepcopy(thing), "spec": {"colour": None}}])
    assert "spec.colour" in refused["msg"]
    assert "must be of type string" in refused["msg"]
    assert lab.writes(before) == []


def test_many_of_a_kind_are_read_by_one_list(lab: t.Any) -> None:
    many = [config(f"c{n}", a=str(n)) for n in range(30)]
    lab.run(copy.deepcopy(many))
    before = lab.server.mark()
    assert lab.run(copy.deepcopy(many))["changes"] == []
    assert len(lab.server.requests(before)) <= 3


TEXTS = st.text("ab1.-", min_size=1, max_size=4)
DATA = st.dictionaries(st.sampled_from(["a", "b", "c.d", "e_f"]), TEXTS, max_size=4)
MAPS = st.fixed_dictionaries(
    {"data": DATA, "labels": st.dictionaries(st.sampled_from(["l1", "x.y/z"]), st.sampled_from(["1", "q"]), max_size=2)}
)


def built(given: Object) -> Object:
    wanted = config(**given["data"])
    wanted["metadata"]["labels"] = dict(given["labels"])
    return wanted


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(states=st.lists(MAPS, min_size=2, max_size=4))
def test_whatever_the_states_the_prediction_is_what_happens_and_a_second_run_writes_nothing(
    lab: t.Any, states: list[Object]
) -> None:
    for state in states:
        wanted = built(state)
        old = lab.live("v1", "ConfigMap", "settings") or {}
        predicted = lab.run([copy.deepcopy(wanted)], check=True)
        done = lab.run([copy.deepcopy(wanted)])
        assert predicted["changes"] == done["changes"]
        live = lab.live("v1", "ConfigMap", "settings")
        assert live.get("data", {}) == state["data"]
        assert live["metadata"].get("labels", {}) == state["labels"]
        if old:
            before, after = shown.differing(old, live)
            assert [(c.get("before", {}), c.get("after", {})) for c in done["changes"]] in ([], [(before, after)])
        mark = lab.server.mark()
        assert lab.run([copy.deepcopy(wanted)])["changes"] == []
        assert lab.writes(mark) == []
