# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's release manifests through the module ``manifests`` on a real API server: applied, again without a write,
upgraded by one version, not downgraded, pruned, and taken over from kubectl."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

import pytest
import upstream
from judgement import Judgement, takes_minutes
from upstream import RELEASES, Release

pytestmark = takes_minutes

Object = dict[str, t.Any]
EVERYTHING = ["CustomResourceDefinition", "Namespace"]
KUBECTL = "kubectl-client-side-apply"


def both(lab: t.Any, **params: t.Any) -> Object:
    """Check mode writes nothing and says what the run then does."""
    before = lab.server.mark()
    predicted = lab.run([], check=True, **params)
    assert lab.writes(before) == []
    done = lab.run([], **params)
    assert "msg" not in done, done["msg"]
    assert predicted["changes"] == done["changes"]
    return done


def nothing(lab: t.Any, kinds: int, **params: t.Any) -> None:
    before = lab.server.mark()
    again = lab.run([], **params)
    assert again.get("changes") == [], (
        again.get("msg") or [(c["resource"], c.get("note")) for c in again["changes"]][:5]
    )
    assert lab.writes(before) == []
    asked = lab.server.requests(before)
    assert len(asked) <= kinds + 2, asked


def kinds_of(done: Object) -> int:
    return len({change["resource"].split("/")[0] for change in done["changes"]})


@pytest.mark.parametrize("release", RELEASES, ids=lambda one: one.name)
def test_a_release_is_applied_upgraded_and_removed(release: Release, lab: t.Any) -> None:
    place = {"inventory": f"{lab.namespace}/{release.name}", "prune": True}
    old, new = release.params(release.old), release.params(release.new)
    made = both(lab, **old, **place)
    assert {change["action"] for change in made["changes"]} == {"create"}
    kinds = kinds_of(made)
    nothing(lab, kinds, **old, **place)
    upgraded = both(lab, **new, **place)
    assert upgraded["changes"], "another version"
    assert "kept" not in upgraded or all("CustomResourceDefinition" in one for one in upgraded["kept"])
    nothing(lab, kinds + 2, **new, **place)
    _not_downgraded(release, lab, old, place)
    gone = both(lab, state="absent", prune_also=EVERYTHING, wait=True, wait_timeout=60.0, **place)
    assert {change["action"] for change in gone["changes"]} == {"delete"}
    left = lab.run([], state="absent", **new)
    assert left["changes"] == []
    Judgement(
        f"manifests-{release.name}",
        release.path,
        f"{release.old} and {release.new}",
        "applied, applied again without a write, upgraded, refused to downgrade, removed by its inventory",
        len(upgraded["objects"]),
    ).write()


#: Whose definitions are the same in both releases.
SAME = ("sealed-secrets",)


def _not_downgraded(release: Release, lab: t.Any, old: dict[str, t.Any], place: dict[str, t.Any]) -> None:
    """By the release that the definitions say they are of, or by the fields that they would lose."""
    if release.name in SAME:
        return
    before = lab.server.mark()
    refused = lab.run([], **old, **place)
    assert "downgrade CustomResourceDefinition" in refused["msg"]
    if release.name == "gateway-api":
        assert f"it is of release {release.old}, and {release.new} is there" in refused["msg"]
    if release.name == "argo-cd":
        assert "it lacks fields that are there: " in refused["msg"]
    assert lab.writes(before) == []


@pytest.mark.parametrize("name", ["argo-cd/manifests/namespace-install"])
def test_what_kubectl_applied_is_taken_over_and_kubectl_goes_on(name: str, lab: t.Any, tmp_path: pathlib.Path) -> None:
    folder = upstream.module("github.com/argoproj/argo-cd/v3", "v3.2.12") / name.partition("/")[2]
    done = kubectl(lab, "apply", "-k", str(folder))
    assert "created" in done
    params = {"kustomize": [str(folder)], "take_over": [KUBECTL]}
    taken = both(lab, **params)
    assert {change["action"] for change in taken["changes"]} == {"update"}
    assert all(f"taken over from {KUBECTL}" in change["note"] for change in taken["changes"])
    assert not any(change.get("before") for change in taken["changes"]), "nothing but the record differs"
    nothing(lab, 12, **params)
    live = lab.live("apps/v1", "Deployment", "argocd-server")
    assert "last-applied" not in str(live["metadata"])
    assert KUBECTL not in str(live["metadata"]["managedFields"])
    # Who goes back to kubectl loses nothing, and is told by us from then on.
    kubectl(lab, "apply", "-k", str(folder))
    again = lab.live("apps/v1", "Deployment", "argocd-server")
    assert again["spec"] == live["spec"]
    assert "msg" not in lab.run([], **params)
    nothing(lab, 12, **params)
    Judgement("kubectl-take-over", "kubectl apply", _version(), "objects taken over", len(taken["changes"])).write()


def kubectl(lab: t.Any, *arguments: str) -> str:
    command = [str(upstream.kubectl()), "--kubeconfig", str(lab.server.kubeconfig), "-n", lab.namespace, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _version() -> str:
    command = [str(upstream.kubectl()), "version", "--client"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.splitlines()[0].rpartition(" ")[2]
