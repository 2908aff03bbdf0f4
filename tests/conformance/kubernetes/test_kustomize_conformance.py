# SPDX-License-Identifier: GPL-3.0-or-later
"""The real kustomize judges what we make of a kustomization: our own trees, and those of upstream projects."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

import kustomize_trees
import pytest
import upstream
import yaml
from judgement import Judgement, takes_minutes
from oracle import version

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kustomize.build import NAMES, build
from simlab.binaries import KUSTOMIZE

pytestmark = takes_minutes

Object = dict[str, t.Any]
#: Trees of upstream that ask for what we refuse, by what we say.
REFUSED = ("remote bases are not supported", "helmCharts is not supported", "replacements is not supported")


@pytest.fixture(scope="module")
def program() -> pathlib.Path:
    return upstream.kustomize()


def real(program: pathlib.Path, folder: pathlib.Path) -> list[Object] | None:
    """Nothing where the real one fails."""
    done = subprocess.run([program, "build", folder], capture_output=True, text=True, timeout=120, check=False)
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader)) if done.returncode == 0 else None


def differences(folder: pathlib.Path, made: list[Object]) -> list[str]:
    try:
        ours = kustomize_trees.comparable(build(str(folder)))
    except InvalidInput as error:
        return [] if any(words in error.message for words in REFUSED) else [error.message]
    theirs = kustomize_trees.comparable(made)
    return [" ".join(name) for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]


def test_our_own_trees_are_built_alike(program: pathlib.Path, tmp_path: pathlib.Path) -> None:
    trees = kustomize_trees.written(tmp_path)
    found = {}
    for case in kustomize_trees.expected():
        made = real(program, trees / case)
        assert made is not None, case
        found.update({f"{case}: {one}": one for one in differences(trees / case, made)})
    _judged("kustomize-trees", "kustomizations of all that is supported", len(kustomize_trees.expected()), list(found))
    assert found == {}


def test_upstreams_trees_are_built_alike(program: pathlib.Path) -> None:
    folders = sorted(
        {
            file.parent
            for path, number, below in upstream.KUSTOMIZATIONS
            for name in NAMES
            for file in upstream.module(path, number).joinpath(below).rglob(name)
            if "testdata" not in file.parts
        }
    )
    judged, found = 0, []
    for folder in folders:
        made = real(program, folder)
        if made is not None:
            judged += 1
            found += [f"{folder.name}: {one}" for one in differences(folder, made)]
    _judged("kustomize-upstream", "kustomizations of Argo CD, Flux and the Gateway API", judged, found)
    assert judged > 20
    assert found == []


def _judged(name: str, judged: str, cases: int, unexplained: list[str]) -> None:
    explained = [
        (
            "A namespace on custom kinds that live in no namespace",
            "kustomize cannot know them and writes it; the server would drop it, and so do we.",
        )
    ]
    number = version(KUSTOMIZE.sources, "sigs.k8s.io/kustomize/kustomize/v5")
    Judgement(name, "kustomize", number, judged, cases, explained, unexplained).write()
