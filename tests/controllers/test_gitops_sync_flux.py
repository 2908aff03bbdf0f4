# SPDX-License-Identifier: GPL-3.0-or-later
"""``gitops_sync`` with the real Flux: Kustomizations, releases and their sources; success, and why not."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from controllerlab import HOST, ControllerLab, Object
from installs import namespace
from trees import chart, job, settings, workload, write

from ansible_collections.groundwork.homelab.plugins.modules import gitops_sync

SPACE = "sync-flux"
MAPS = f"/api/v1/namespaces/{SPACE}/configmaps"
CRASHING = {"annotations": {"simlab/behaviour": "CrashLoopBackOff"}}
#: Nothing happens by itself while a test looks.
SELDOM = "1h"


def document(api: str, kind: str, name: str, spec: Object) -> Object:
    version = "v2" if api == "helm" else "v1"
    meta = {"name": name, "namespace": SPACE}
    return {"apiVersion": f"{api}.toolkit.fluxcd.io/{version}", "kind": kind, "metadata": meta, "spec": spec}


def git(name: str, **spec: t.Any) -> Object:
    wanted = {"interval": SELDOM, "url": f"https://{HOST}/sync-flux", "ref": {"branch": "main"}, **spec}
    return document("source", "GitRepository", name, wanted)


def kustomization(name: str, source: str = "lab", **spec: t.Any) -> Object:
    reference = {"kind": "GitRepository", "name": source}
    wanted = {"interval": SELDOM, "prune": True, "path": f"./{name}", "sourceRef": reference, "targetNamespace": SPACE}
    return document("kustomize", "Kustomization", name, {**wanted, **spec})


def release(name: str, chart_name: str, **spec: t.Any) -> Object:
    source = {"kind": "HelmRepository", "name": "charts"}
    wanted = {"chart": chart_name, "version": "1.x", "sourceRef": source, "interval": SELDOM}
    return document("helm", "HelmRelease", name, {"interval": SELDOM, "chart": {"spec": wanted}, **spec})


def sync(
    lab: ControllerLab, kind: str, name: str, *, check: bool = False, params: Object | None = None, **more: t.Any
) -> Object:
    one = {"kind": kind, "name": name, "namespace": SPACE, **more}
    return lab.run(gitops_sync, check=check, **{"objects": [one], "wait_timeout": 120.0, **(params or {})})


def chart_whose_test_fails(name: str) -> dict[str, t.Any]:
    """A chart whose test fails."""
    test = job("{{ .Release.Name }}-test", annotations={"helm.sh/hook": "test"})
    test["spec"]["template"]["metadata"] = CRASHING
    return {**chart(name), f"{name}/templates/tests/test.yaml": yaml.safe_dump(test)}


@pytest.fixture(scope="module")
def cluster(flux: ControllerLab) -> ControllerLab:
    never = workload("never")
    never["spec"]["template"]["metadata"] |= CRASHING
    write(flux.site / "sync-flux", {
        "web/web.yaml": [workload("web"), settings("web", {"word": "one"})],
        "broken/broken.yaml": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": ["no"]},
        "never/never.yaml": never,
    })  # fmt: skip
    write(flux.site / "sync-charts", chart("app") | chart("broken", broken=True) | chart_whose_test_fails("tested"))
    charts = document("source", "HelmRepository", "charts", {"interval": SELDOM, "url": f"https://{HOST}/sync-charts"})
    flux.apply(namespace(SPACE), git("lab"), charts)
    return flux


def test_a_kustomization_follows_its_repository_when_asked_and_only_then(cluster: ControllerLab) -> None:
    cluster.apply(kustomization("web", wait=True))
    done = sync(cluster, "Kustomization", "web")
    assert "msg" not in done, done
    assert done["objects"][0]["revision"].startswith("main@sha1:")
    again = sync(cluster, "Kustomization", "web")
    assert (again.get("msg"), again["changed"], again["changes"]) == (None, False, [])

    write(cluster.site / "sync-flux", {"web/web.yaml": [workload("web"), settings("web", {"word": "two"})]})
    predicted = sync(cluster, "Kustomization", "web", with_source=True, check=True)
    moved = sync(cluster, "Kustomization", "web", with_source=True)
    assert "msg" not in moved, moved
    names = [change["resource"] for change in moved["changes"]]
    assert names == [change["resource"] for change in predicted["changes"]]
    assert names == [f"GitRepository/{SPACE}/lab", f"Kustomization/{SPACE}/web"]
    assert moved["objects"][0]["revision"] != done["objects"][0]["revision"]
    assert (cluster.get(f"{MAPS}/web") or {})["data"] == {"word": "two"}
    commit = moved["objects"][0]["revision"].rpartition(":")[2]
    assert sync(cluster, "Kustomization", "web", revision=commit[:9])["changed"] is False


def test_a_suspended_kustomization_stays_as_it_is_until_it_is_resumed(cluster: ControllerLab) -> None:
    cluster.apply(kustomization("web", wait=True))
    assert "msg" not in sync(cluster, "Kustomization", "web")
    assert sync(cluster, "Kustomization", "web", params={"state": "suspended"})["changed"]
    assert "is suspended, so Flux would not hear" in sync(cluster, "Kustomization", "web")["msg"]
    back = sync(cluster, "Kustomization", "web", params={"state": "resumed"})
    assert (back.get("msg"), back["changed"], back["objects"][0]["ready"]) == (None, True, "True")
    assert not sync(cluster, "Kustomization", "web", params={"state": "resumed"})["changed"]


def test_a_branch_that_is_not_there_stops_what_is_built_of_it(cluster: ControllerLab) -> None:
    cluster.apply(git("branch", ref={"branch": "nowhere"}), kustomization("lost", "branch", path="./web"))
    failed = sync(cluster, "Kustomization", "lost", with_source=True)
    assert failed["error"]["kind"] == "TaskFailed"
    assert f"GitRepository {SPACE}/branch" in failed["msg"]
    assert "couldn't find remote ref" in failed["msg"]
    assert len(failed["changes"]) == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (kustomization("absent"), "kustomization path not found"),
        (kustomization("broken"), "ConfigMap"),
        (kustomization("never", wait=True, timeout="10s"), "CrashLoopBackOff"),
    ],
    ids=["path", "manifest", "health"],
)
def test_a_kustomization_that_fails_says_why(cluster: ControllerLab, wrong: Object, words: str) -> None:
    cluster.apply(wrong)
    failed = sync(cluster, "Kustomization", wrong["metadata"]["name"])
    assert failed["error"]["kind"] == "TaskFailed", failed
    assert words in failed["msg"]


def test_a_release_is_installed_left_alone_and_forced(cluster: ControllerLab) -> None:
    cluster.apply(release("media", "app", values={"word": "given"}))
    done = sync(cluster, "HelmRelease", "media", with_source=True)
    assert "msg" not in done, done
    assert done["objects"][0]["revision"] == "1.0.0"
    assert (cluster.get(f"{MAPS}/media-said") or {})["data"] == {"word": "given"}
    assert not sync(cluster, "HelmRelease", "media", revision="1.0.0")["changed"]
    path = f"/apis/helm.toolkit.fluxcd.io/v2/namespaces/{SPACE}/helmreleases/media"
    before = (cluster.get(path) or {})["status"]["history"][0]["version"]
    forced = sync(cluster, "HelmRelease", "media", force=True)
    assert "msg" not in forced, forced
    assert (cluster.get(path) or {})["status"]["history"][0]["version"] == before + 1


def test_a_release_whose_template_fails_says_so_and_is_tried_again_with_reset(cluster: ControllerLab) -> None:
    cluster.apply(release("broken", "broken"))
    failed = sync(cluster, "HelmRelease", "broken")
    assert failed["error"]["kind"] == "TaskFailed"
    assert "no such value" in failed["msg"]
    again = sync(cluster, "HelmRelease", "broken", reset=True)
    assert "no such value" in again["msg"]
    assert again["changes"][0]["after"] == {"reconcile": True, "reset": True}


def test_an_upgrade_that_fails_says_so(cluster: ControllerLab) -> None:
    cluster.apply(release("upgraded", "app"))
    assert "msg" not in sync(cluster, "HelmRelease", "upgraded")
    cluster.apply(release("upgraded", "app", values={"replicas": "many"}))
    failed = sync(cluster, "HelmRelease", "upgraded")
    assert failed["error"]["kind"] == "TaskFailed"
    assert "Helm upgrade failed" in failed["msg"]
    assert "replicas" in failed["msg"]


def test_a_helm_test_that_fails_is_named(cluster: ControllerLab) -> None:
    cluster.apply(release("checked", "tested", test={"enable": True, "timeout": "20s"}))
    failed = sync(cluster, "HelmRelease", "checked")
    assert failed["error"]["kind"] == "TaskFailed"
    assert "TestFailed" in failed["msg"] or "test checked-test Failed" in failed["msg"]
