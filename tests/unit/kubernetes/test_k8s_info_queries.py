# SPDX-License-Identifier: GPL-3.0-or-later
"""Queries of kubernetes_info: what the user gave, and what of an object is shown."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import info
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.info import Options, Query
from ansible_collections.groundwork.homelab.plugins.module_utils.object_copies import COPIES
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import HIDDEN
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute
from ansible_collections.groundwork.homelab.plugins.modules import kubernetes_info as module

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {
        "name": "a",
        "managedFields": [{}],
        "annotations": {**dict.fromkeys(COPIES, "aHVudGVyMg=="), "note": "x"},
    },
    "data": {"password": "aHVudGVyMg==", "user": "bWU="},
}


def params(**given: t.Any) -> dict[str, t.Any]:
    return {**{name: option.get("default") for name, option in module.SPEC.argument_spec.items()}, **given}


def test_one_query_or_several() -> None:
    assert info.queries_of(params(kind="Pod")) == [Query("v1", "Pod")]
    several = params(queries=[{"kind": "Pod", "label_selectors": ["a=b", " c "]}, {"kind": "Node", "name": "w1"}])
    assert info.queries_of(several) == [Query("v1", "Pod", labels="a=b,c"), Query("v1", "Node", "w1")]


BAD: list[tuple[dict[str, t.Any], str]] = [
    ({"queries": []}, "queries is empty. Name at least one kind."),
    ({"kind": "Pod", "api_version": "apps"}, "api_version 'apps' is not like v1 or apps/v1"),
    ({"kind": "Pod", "api_version": "apps/v1/../v1"}, "is not like v1 or apps/v1"),
    ({"kind": "pods/log"}, "kind 'pods/log' is not the name of a kind"),
    ({"kind": "Pod", "name": "../secrets/a"}, "name '../secrets/a' is not a name that an object can have"),
    ({"kind": "Pod", "namespace": "a/b"}, "namespace 'a/b' is not a name"),
    ({"kind": "Pod", "name": "a", "label_selectors": ["a=b"]}, "name and selectors exclude each other"),
    ({"kind": "Pod", "label_selectors": [""]}, "label_selectors has an empty selector. Leave it out"),
    (
        {"queries": [{"kind": "Pod"}, {"kind": "Pod", "field_selectors": [" "]}]},
        "queries[1]: field_selectors has an empty",
    ),
    ({"kind": "Pod", "page_size": 0}, "page_size is 0, it must be 1 to 10000"),
    ({"kind": "Pod", "kubeconfig": "/nowhere/at/all"}, "/nowhere/at/all"),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_bad_input_is_refused_before_anybody_is_asked(given: dict[str, t.Any], message: str) -> None:
    failed = execute(module.run, Task(params=params(**given)))
    assert failed["failed"]
    assert message in failed["msg"]


def test_what_secrets_hold_is_hidden_also_in_the_copies_that_tools_leave() -> None:
    shown = info.presentable(SECRET, Options())
    assert shown["data"] == {"password": HIDDEN, "user": HIDDEN}
    assert shown["metadata"]["annotations"] == {**dict.fromkeys(COPIES, HIDDEN), "note": "x"}
    assert "managedFields" not in shown["metadata"]
    assert "aHVudGVyMg" not in str(shown)
    assert "aHVudGVyMg" in str(SECRET), "the object itself stays as it is"


def test_they_are_shown_when_that_is_asked_for_and_other_kinds_always() -> None:
    assert info.presentable(SECRET, Options(secrets=True, managed_fields=True)) == SECRET
    settings = {**SECRET, "kind": "ConfigMap"}
    assert info.presentable(settings, Options())["data"] == SECRET["data"]
