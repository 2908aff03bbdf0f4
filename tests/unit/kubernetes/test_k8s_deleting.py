# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as gone, and what holds an object."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.readiness_wants import (
    State,
    Want,
    finalizers,
)

Object = dict[str, t.Any]


def live(kind: str = "Thing", uid: str = "first", **more: t.Any) -> Object:
    return {"kind": kind, "metadata": {"name": "a", "namespace": "x", "uid": uid}, **more}


@pytest.mark.parametrize(
    ("wanted", "there", "gone"), [("", "first", False), ("first", "first", False), ("first", "second", True)]
)
def test_an_object_is_gone_when_another_one_has_its_name(wanted: str, there: str, gone: bool) -> None:
    state = State(Want("Thing", "example.com/v1", "x", "a", gone=True, uid=wanted))
    state.judge({("x", "a"): live(uid=there)}, 0.0)
    assert state.done is gone


def test_only_of_namespaces_the_spec_has_finalizers() -> None:
    spec = {"finalizers": ["kubernetes"]}
    assert finalizers(live("Namespace", spec=spec)) == ["kubernetes"]
    assert finalizers(live(spec=spec)) == []
    held = live(spec=spec)
    held["metadata"]["finalizers"] = ["example.com/clean-up"]
    assert finalizers(held) == ["example.com/clean-up"]
    assert finalizers({}) == []
