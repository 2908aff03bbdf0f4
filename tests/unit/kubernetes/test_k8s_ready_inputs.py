# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``ready`` is told to wait for; what is wrong is said before anybody is asked."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import readiness_board, readiness_inputs
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.discovery import Resource
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.readiness_wants import State, Want
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute
from ansible_collections.groundwork.homelab.plugins.modules import ready

Object = dict[str, t.Any]


def validated(*objects: Object, **params: t.Any) -> Object:
    spec = ready.SPEC.argument_spec
    bare = {name: {key: value for key, value in one.items() if key != "fallback"} for name, one in spec.items()}
    result = ArgumentSpecValidator(bare).validate({"objects": list(objects), **params})
    assert not result.error_messages, result.error_messages
    return t.cast("Object", result.validated_parameters)


def want(**given: t.Any) -> Want:
    return readiness_inputs.wants_of(validated(given), "lab")[0]


def test_what_is_well_known_needs_no_api_version() -> None:
    assert want(kind="Deployment", name="a") == Want("Deployment", "apps/v1", "lab", "a")
    assert want(kind="HTTPRoute", name="a").api_version == "gateway.networking.k8s.io"
    assert want(kind="Kustomization", name="a").api_version == "kustomize.toolkit.fluxcd.io"
    assert not want(kind="Application", name="a").is_versioned
    assert want(kind="Thing", name="a", api_version="example.com/v1").is_versioned
    assert want(kind="Pod", name="a").is_versioned


def test_names_selectors_and_states() -> None:
    every = want(kind="Pod", selector="", all_namespaces=True, at_least=0)
    assert (every.namespace, every.at_least, every.identity) == ("", 0, "Pod/*")
    some = want(kind="Pod", selector="app=web", namespace="media")
    assert (some.label, some.identity) == ("Pods media (app=web)", "Pod/media/[app=web]")
    assert want(kind="Job", name="a", state="absent").gone
    (check,) = want(kind="Job", name="a", state="present").checks
    assert check({"status": {}}) == ""


def test_definitions_and_files_are_references(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: other}\nspec: {}\n")
    one = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "b"}}
    params = validated(definitions=[one], src=[str(tmp_path / "a.yaml")])
    assert readiness_inputs.wants_of(params, "lab") == [
        Want("Deployment", "apps/v1", "lab", "b"),
        Want("Service", "v1", "other", "a"),
    ]


BAD: dict[str, tuple[Object, str]] = {
    "kind in lower case": (
        {"kind": "deployment", "name": "a"},
        "object 1: the kind 'deployment' is not valid. Write it as",
    ),
    "unknown kind": ({"kind": "Thing", "name": "a"}, "the kind Thing is not among those that need no api_version"),
    "api_version": ({"kind": "Pod", "api_version": "V 1", "name": "a"}, "the api_version 'V 1' is not valid"),
    "neither": ({"kind": "Pod"}, "object 1 (Pod) needs either a name or a selector. An empty selector"),
    "both": ({"kind": "Pod", "name": "a", "selector": "a=b"}, "needs either a name or a selector"),
    "name": ({"kind": "Pod", "name": "A_b"}, "object 1: the Pod name 'A_b' is not valid"),
    "namespace": ({"kind": "Pod", "name": "a", "namespace": "A"}, "the namespace 'A' is not valid"),
    "a name in all namespaces": (
        {"kind": "Pod", "name": "a", "all_namespaces": True},
        "all_namespaces needs a selector",
    ),
    "two places": (
        {"kind": "Pod", "selector": "", "all_namespaces": True, "namespace": "a"},
        "namespace and all_namespaces exclude each other",
    ),
    "at_least of a name": ({"kind": "Pod", "name": "a", "at_least": 2}, "at_least counts what a selector finds"),
    "at_least": ({"kind": "Pod", "selector": "", "at_least": -1}, "at_least is -1, it must not be negative"),
    "conditions of what is absent": (
        {"kind": "Pod", "name": "a", "state": "absent", "conditions": [{"type": "Ready"}]},
        "conditions are of the state ready, not of absent",
    ),
    "empty condition": ({"kind": "Pod", "name": "a", "conditions": [{"type": ""}]}, "a condition has no type"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_refused_in_words(case: str) -> None:
    given, words = BAD[case]
    result = execute(ready.run, Task(params={**validated(given), "kubeconfig": "/nonexistent"}))
    assert result["error"]["kind"] == "InvalidInput" and words in result["msg"], result["msg"]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"wait_timeout": -1}, "wait_timeout is -1, it must not be negative"),
        ({"definitions": [{"kind": "Pod"}]}, "definition 1 has no apiVersion"),
        ({"src": ["/nonexistent.yaml"]}, "/nonexistent.yaml cannot be read"),
        ({"namespace": "A b"}, "the namespace 'A b' is not valid"),
    ],
)
def test_a_task_that_is_wrong_is_refused_in_words(params: Object, words: str) -> None:
    given = validated({"kind": "Pod", "name": "a"}, **params)
    result = execute(ready.run, Task(params={**given, "kubeconfig": "/nonexistent"}))
    assert words in result["msg"], result["msg"]


PODS = Resource("v1", "Pod", "pods", True)
NODES = Resource("v1", "Node", "nodes", False)


def scopes(*wants: tuple[Resource, str, str], wide: bool = True) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    states = [
        (State(Want(resource.kind, "v1", namespace, name.lstrip("?"), selector="a=b" if name == "" else "")), resource)
        for resource, namespace, name in wants
    ]
    found = readiness_board.scopes_of(states, wide=wide)
    return [(found[state].namespace, found[state].query) for state, _ in states]


def test_what_is_read_is_as_little_as_can_be() -> None:
    assert scopes((PODS, "a", "x")) == [("a", (("fieldSelector", "metadata.name=x"),))]
    assert scopes((PODS, "a", "x"), (PODS, "a", "y")) == [("a", ()), ("a", ())]
    assert scopes((PODS, "a", "")) == [("a", (("labelSelector", "a=b"),))]
    many = [(PODS, namespace, "x") for namespace in "abcd"]
    assert scopes(*many) == [("", ())] * 4
    assert scopes(*many, wide=False) == [(name, (("fieldSelector", "metadata.name=x"),)) for name in "abcd"]
    assert scopes((NODES, "", "x")) == [("", (("fieldSelector", "metadata.name=x"),))]
