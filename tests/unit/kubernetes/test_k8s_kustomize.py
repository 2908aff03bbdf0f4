# SPDX-License-Identifier: GPL-3.0-or-later
"""Kustomizations: what the real one makes, and what is refused by its name."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

sys.path[:0] = [str(pathlib.Path(__file__).parent)]

import kustomize_trees

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kustomize import json_patch, strategic
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kustomize.build import build

Object = dict[str, t.Any]
CONFIG = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return kustomize_trees.written(tmp_path_factory.mktemp("trees"))


@pytest.mark.parametrize("case", kustomize_trees.expected())
def test_it_is_what_kustomize_makes(case: str, trees: pathlib.Path) -> None:
    found = kustomize_trees.comparable(build(str(trees / case)))
    assert found == kustomize_trees.comparable(kustomize_trees.expected()[case])


#: Content of kustomization.yaml, and what is said.
REFUSED: dict[str, tuple[str, str]] = {
    "a remote base": ("resources: ['https://github.com/a/b//c?ref=v1']", "remote bases are not supported"),
    "a remote base by ssh": ("resources: ['git@example.com:a/b']", "git@example.com:a/b is not on this machine"),
    "a chart": ("helmCharts: [{name: a}]", "helmCharts is not supported. Supported are apiVersion, bases,"),
    "replacements": ("replacements: [{source: {kind: A}}]", "replacements is not supported"),
    "vars": ("vars: [{name: a}]", "vars is not supported"),
    "plugins": ("transformers: [a.yaml]", "transformers is not supported"),
    "another kind": ("kind: Deployment", "is a Deployment, not a Kustomization"),
    "a wrong type": ("resources: a.yaml", "resources must be a list"),
    "a missing file": ("resources: [b.yaml]", "the file b.yaml cannot be read: No such file"),
    "a file outside": ("resources: [../outside.yaml]", "the file ../outside.yaml is outside the folder"),
    "itself": ("resources: [../k]", "includes itself"),
    "the same twice": ("resources: [a.yaml, a2.yaml]", "ConfigMap a is there twice"),
    "a component as base": ("resources: [comp]", "comp is a Component, not a Kustomization"),
    "no such patch target": (
        "resources: [a.yaml]\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}'}]",
        "there is no ConfigMap b to patch",
    ),
    "patch options": (
        "patches: [{path: a.yaml, options: {allowNameChange: true}}]",
        "patches 1: options is not supported",
    ),
    "a patch directive": (
        "resources: [a.yaml]\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, "
        "$retainKeys: [b]}'}]",
        "$retainKeys at the top is not supported",
    ),
    "a JSON patch that does not fit": (
        "resources: [a.yaml]\npatches: [{target: {kind: ConfigMap}, patch: '[{op: remove, path: /data/x}]'}]",
        "on ConfigMap a, operation 1 (remove): there is no /data/x",
    ),
    "a JSON patch without target": (
        "patches: [{patch: '[{op: remove, path: /a}]'}]",
        "is a JSON patch without a target",
    ),
    "an unknown operation": (
        "patches: [{target: {kind: A}, patch: '[{op: delete, path: /a}]'}]",
        "operation 1: op is 'delete', not one of add, remove",
    ),
    "a generator without a name": ("configMapGenerator: [{literals: [a=b]}]", "configMapGenerator 1 has no name"),
    "a literal without a value": ("configMapGenerator: [{name: g, literals: [a]}]", "the literal a is not name=value"),
    "nothing to merge with": (
        "configMapGenerator: [{name: g, behavior: merge, literals: [a=b]}]",
        "there is no ConfigMap g to merge",
    ),
    "labels of numbers": ("resources: [a.yaml]\ncommonLabels: {a: 1}", "commonLabels must map names to texts"),
    "replicas of nothing": (
        "resources: [a.yaml]\nreplicas: [{name: x, count: 2}]",
        "there is no workload of that name",
    ),
    "not YAML": ("resources: [", "is not valid YAML in line"),
    "a value of the environment": (
        "configMapGenerator: [{name: g, envs: [lone.env]}]",
        "line 1: HOME has no value, which would stand for one of the environment",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_by_its_name(case: str, tmp_path: pathlib.Path) -> None:
    text, words = REFUSED[case]
    folder = tmp_path / "k"
    (folder / "comp").mkdir(parents=True)
    for name, content in {
        "kustomization.yaml": text,
        "a.yaml": CONFIG,
        "a2.yaml": CONFIG,
        "lone.env": "HOME\n",
        "comp/kustomization.yaml": "kind: Component",
        "../outside.yaml": CONFIG,
    }.items():
        (folder / name).write_text(content)
    with pytest.raises(InvalidInput) as caught:
        build(str(folder))
    assert words in caught.value.message


def test_what_yaml_shares_is_changed_once(tmp_path: pathlib.Path) -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: &l {a: b}, annotations: *l}\n"
    (tmp_path / "pod.yaml").write_text(text)
    (tmp_path / "kustomization.yaml").write_text("resources: [pod.yaml]\nlabels: [{pairs: {c: d}}]\n")
    (pod,) = build(str(tmp_path))
    assert pod["metadata"] == {"name": "p", "labels": {"a": "b", "c": "d"}, "annotations": {"a": "b"}}


VALUES = st.recursive(
    st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "l", "m/n", "~o"]), inner, max_size=3)
    ),
    max_leaves=6,
)
MAPS = st.dictionaries(st.sampled_from(["k", "l", "m/n"]), VALUES, max_size=3)


@given(old=MAPS, new=MAPS)
def test_json_patches_of_the_differences_make_one_of_the_other(old: Object, new: Object) -> None:
    def pointer(name: str) -> str:
        return "/" + name.replace("~", "~0").replace("/", "~1")

    steps: list[Object] = [{"op": "remove", "path": pointer(name)} for name in old if name not in new]
    steps += [{"op": "replace" if name in old else "add", "path": pointer(name), "value": new[name]} for name in new]
    steps += [{"op": "test", "path": pointer(name), "value": new[name]} for name in new]
    before = yaml.safe_dump(old)
    assert json_patch.patched("here", old, json_patch.checked("here", steps)) == new
    assert yaml.safe_dump(old) == before


@given(old=MAPS, patch=MAPS)
def test_merging_holds_what_the_patch_says_and_is_done_once(old: Object, patch: Object) -> None:
    head = {"apiVersion": "x.example/v1", "kind": "Thing", "metadata": {"name": "t"}}
    once = strategic.patched("here", {**head, "spec": old}, {**head, "spec": patch})
    assert once is not None
    assert strategic.patched("here", once, {**head, "spec": patch}) == once
    assert {key: value for key, value in once["spec"].items() if key not in patch} == {
        key: value for key, value in old.items() if key not in patch
    }
