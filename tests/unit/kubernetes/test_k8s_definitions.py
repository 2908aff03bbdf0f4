# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a downgrade of a CustomResourceDefinition, and in which order releases and versions are."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import definitions, discovery

Object = dict[str, t.Any]
BUNDLE = "gateway.networking.k8s.io/bundle-version"


def crd(served: str, unserved: str = "", stored: str = "", **meta: dict[str, str]) -> Object:
    versions = [{"name": name, "served": True} for name in served.split()]
    versions += [{"name": name, "served": False} for name in unserved.split()]
    return {"metadata": meta, "spec": {"versions": versions}, "status": {"storedVersions": stored.split()}}


def release(text: str) -> Object:
    return crd("v1", annotations={BUNDLE: text})


TEXT: Object = {"type": "string"}
ANYTHING: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def fields(*, served: str = "v1", label: str = "", generator: str = "", **spec: Object) -> Object:
    """A definition whose objects have these fields in ``spec``."""
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}}
    versions = [{"name": name, "served": True, "schema": schema} for name in served.split()]
    meta: Object = {"labels": {"app.kubernetes.io/version": label}} if label else {}
    meta |= {"annotations": {"controller-gen.kubebuilder.io/version": generator}} if generator else {}
    return {"metadata": meta, "spec": {"versions": versions}, "status": {"storedVersions": ["v1"]}}


def within(**properties: Object) -> Object:
    return {"type": "object", "properties": properties}


MANY = {name: TEXT for name in "abcde"}
CASES: dict[str, tuple[Object, Object, str]] = {
    "the same fields": (fields(**MANY), fields(**MANY), ""),
    "fields more": (fields(a=TEXT), fields(**MANY), ""),
    "a field less": (fields(**MANY), fields(a=TEXT, b=TEXT, c=TEXT, d=TEXT), "it lacks fields that are there: spec.e"),
    "many fields less": (fields(**MANY), fields(a=TEXT), "spec.b, spec.c, spec.d and 1 more"),
    "a field less of a list's members": (
        fields(list={"type": "array", "items": within(a=TEXT, b=TEXT)}),
        fields(list={"type": "array", "items": within(a=TEXT)}),
        "it lacks fields that are there: spec.list[].b",
    ),
    "a field less of a map's values": (
        fields(map={"type": "object", "additionalProperties": within(a=TEXT, b=TEXT)}),
        fields(map={"type": "object", "additionalProperties": within(a=TEXT)}),
        "it lacks fields that are there: spec.map.*.b",
    ),
    "a field less and another one": (fields(a=TEXT, b=TEXT), fields(a=TEXT, c=TEXT), ""),
    "a field less and a newer version": (fields(a=TEXT, b=TEXT), fields(a=TEXT, served="v1 v2"), ""),
    "a field less where anything is taken": (fields(a=within(b=TEXT)), fields(a=ANYTHING), ""),
    "a field less where any name is taken": (
        fields(a=within(b=TEXT)),
        fields(a={"type": "object", "additionalProperties": TEXT}),
        "",
    ),
    "a field less in a newer release": (fields(a=TEXT, b=TEXT, label="1.19.0"), fields(a=TEXT, label="1.20.0"), ""),
    "a field less by a newer generator": (
        fields(a=TEXT, b=TEXT, generator="v0.19.0"),
        fields(a=TEXT, generator="v0.20.1"),
        "",
    ),
    "a field less and another one by an older generator": (
        fields(a=TEXT, b=TEXT, generator="v0.20.1"),
        fields(a=TEXT, c=TEXT, generator="v0.19.0"),
        "it lacks fields that are there: spec.b",
    ),
    "a field more by an older generator": (
        fields(a=TEXT, generator="v0.20.1"),
        fields(a=TEXT, b=TEXT, generator="v0.19.0"),
        "",
    ),
    "a field less, and one release is no release": (
        fields(a=TEXT, b=TEXT, label="1.19.0"),
        fields(a=TEXT, label="main"),
        "it lacks fields that are there: spec.b",
    ),
    "the same": (crd("v1", stored="v1"), crd("v1"), ""),
    "a version more": (crd("v1beta1", stored="v1beta1"), crd("v1beta1 v1"), ""),
    "an old version less": (crd("v1beta1 v1", stored="v1"), crd("v1"), ""),
    "an old version no longer served": (crd("v1beta1 v1", stored="v1beta1 v1"), crd("v1", "v1beta1"), ""),
    "a stored version less": (
        crd("v1beta1 v1", stored="v1beta1 v1"),
        crd("v1"),
        "it has no version v1beta1, in which objects are stored",
    ),
    "the newest less": (
        crd("v1beta1 v1", stored="v1beta1"),
        crd("v1beta1"),
        "it does not serve v1, the newest version",
    ),
    "the newest not served": (crd("v1beta1 v1"), crd("v1beta1", "v1"), "it does not serve v1, the newest version"),
    "an older release": (release("v1.4.0"), release("v1.3.0"), "it is of release v1.3.0, and v1.4.0 is there"),
    "a release candidate": (release("v1.4.0"), release("v1.4.0-rc.2"), "it is of release v1.4.0-rc.2"),
    "a newer release": (release("v1.9.0"), release("v1.10.0"), ""),
    "no release": (release("v1.4.0"), crd("v1"), ""),
    "a branch": (release("v1.4.0"), release("main"), ""),
    "Cilium's schema": (
        crd("v2", labels={"io.cilium.k8s.crd.schema.version": "1.32.4"}),
        crd("v2", labels={"io.cilium.k8s.crd.schema.version": "1.31.9"}),
        "it is of release 1.31.9, and 1.32.4 is there",
    ),
    "nothing of a definition": ({}, {}, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_a_downgrade_is_told_by_what_would_be_lost(case: str) -> None:
    live, wanted, words = CASES[case]
    found = definitions.downgrade(live, wanted)
    assert words in found
    assert bool(words) == bool(found)


def test_what_an_upgrade_takes_away_is_said() -> None:
    live = crd("v1alpha2 v1", annotations={definitions.CHANNEL: "experimental"})
    wanted = crd("v1", annotations={definitions.CHANNEL: "standard"})
    assert definitions.losses(live, wanted) == (
        "no longer serves v1alpha2; leaves the experimental channel, whose fields are lost"
    )
    assert definitions.losses(wanted, wanted) == ""
    assert definitions.losses(fields(**MANY), fields(a=TEXT)) == "no longer has spec.b, spec.c, spec.d and 1 more"


def test_versions_are_in_kubernetes_order() -> None:
    names = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1"]
    assert sorted(sorted(names), key=discovery.priority, reverse=True) == names


NUMBERS = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))


@given(one=NUMBERS, other=NUMBERS)
def test_releases_are_in_the_order_of_their_numbers(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    mine, theirs = (definitions.release("v" + ".".join(map(str, each))) for each in (one, other))
    assert mine is not None
    assert theirs is not None
    assert (mine < theirs) == (one < other)


def test_candidates_are_before_their_release() -> None:
    names = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1-rc.1"]
    found = [definitions.release(name) for name in names]
    assert all(one is not None and other is not None and one < other for one, other in itertools.pairwise(found))
