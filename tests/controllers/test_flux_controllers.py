# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Flux: a Kustomization and a HelmRelease become Ready from the lab's own Git repository and charts, or say why not."""

from __future__ import annotations

import typing as t

import pytest
from controllerlab import HOST, ControllerLab, Object
from installs import namespace
from trees import chart, settings, workload, write

SPACE = "flux-apps"
SOURCES = f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{SPACE}"
KUSTOMIZATIONS = f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{SPACE}/kustomizations"
RELEASES = f"/apis/helm.toolkit.fluxcd.io/v2/namespaces/{SPACE}/helmreleases"
CHARTS = {"kind": "HelmRepository", "name": "charts"}


def document(api: str, kind: str, name: str, spec: Object) -> Object:
    version = "v2" if api == "helm" else "v1"
    meta = {"name": name, "namespace": SPACE}
    return {"apiVersion": f"{api}.toolkit.fluxcd.io/{version}", "kind": kind, "metadata": meta, "spec": spec}


def git(name: str, folder: str, **spec: t.Any) -> Object:
    wanted = {"interval": "1m", "url": f"https://{HOST}/{folder}", "ref": {"branch": "main"}, **spec}
    return document("source", "GitRepository", name, wanted)


def kustomization(name: str, source: str, path: str, **spec: t.Any) -> Object:
    reference = {"kind": "GitRepository", "name": source}
    wanted = {"interval": "1m", "retryInterval": "5s", "prune": True, "path": path, "sourceRef": reference, **spec}
    return document("kustomize", "Kustomization", name, {"targetNamespace": SPACE, **wanted})


def release(name: str, chart_name: str, **spec: t.Any) -> Object:
    wanted = {"chart": chart_name, "version": "1.x", "sourceRef": CHARTS, "interval": "1m"}
    return document("helm", "HelmRelease", name, {"interval": "1m", "chart": {"spec": wanted}, **spec})


def nudge(gitops: ControllerLab, path: str, when: str) -> None:
    """``flux reconcile``."""
    body = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": when}}}
    gitops.call("PATCH", path, body, content_type="application/merge-patch+json")


@pytest.fixture(scope="module")
def gitops(flux: ControllerLab) -> ControllerLab:
    write(flux.site / "flux", {
        "web/web.yaml": [workload("web", 2), settings("web", {"word": "one"})],
        "broken/broken.yaml": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": ["no"]},
    })  # fmt: skip
    write(flux.site / "flux-charts", chart("app") | chart("broken", broken=True))
    repository = document(
        "source", "HelmRepository", "charts", {"interval": "1m", "url": f"https://{HOST}/flux-charts"}
    )
    flux.apply(namespace(SPACE), git("lab", "flux.git"), repository)
    return flux


def test_sources_are_fetched_with_the_labs_certificates(gitops: ControllerLab) -> None:
    assert "stored artifact for revision 'main@sha1:" in gitops.condition(f"{SOURCES}/gitrepositories/lab")["message"]
    assert "stored artifact" in gitops.condition(f"{SOURCES}/helmrepositories/charts")["message"]


def test_a_kustomization_is_ready_when_its_workload_is_and_follows_the_folder(gitops: ControllerLab) -> None:
    gitops.apply(kustomization("web", "lab", "./web", wait=True))
    assert "Applied revision: main@sha1:" in gitops.condition(f"{KUSTOMIZATIONS}/web")["message"]
    assert gitops.ready(f"/apis/apps/v1/namespaces/{SPACE}/deployments/web")["status"]["readyReplicas"] == 2

    write(gitops.site / "flux", {"web/web.yaml": [workload("web", 1)]})
    nudge(gitops, f"{SOURCES}/gitrepositories/lab", "1")
    gitops.until(
        lambda: gitops.get(f"/api/v1/namespaces/{SPACE}/configmaps/web") is None, "what is gone in Git is pruned", 60
    )
    gitops.ready(f"/apis/apps/v1/namespaces/{SPACE}/deployments/web")


def test_a_helm_release_is_ready_with_its_values(gitops: ControllerLab) -> None:
    gitops.apply(release("media", "app", values={"replicas": 2, "word": "given"}))
    assert "Helm install succeeded" in gitops.condition(f"{RELEASES}/media")["message"]
    found = gitops.get(f"/api/v1/namespaces/{SPACE}/configmaps/media-said") or {}
    assert found["data"] == {"word": "given"}
    assert gitops.ready(f"/apis/apps/v1/namespaces/{SPACE}/deployments/media")["status"]["readyReplicas"] == 2


@pytest.mark.parametrize(
    ("wrong", "path", "words"),
    [
        (git("gone", "nothing-here"), f"{SOURCES}/gitrepositories/gone", "repository not found"),
        (git("branch", "flux", ref={"branch": "x"}), f"{SOURCES}/gitrepositories/branch", "couldn't find remote ref"),
        (kustomization("path", "lab", "./absent"), f"{KUSTOMIZATIONS}/path", "kustomization path not found"),
        (kustomization("invalid", "lab", "./broken"), f"{KUSTOMIZATIONS}/invalid", "ConfigMap"),
        (release("unknown", "absent"), f"{SOURCES}/helmcharts/{SPACE}-unknown", "no chart name found"),
        (release("broken", "broken"), f"{RELEASES}/broken", "no such value"),
    ],
    ids=["repository", "branch", "path", "document", "chart", "template"],
)
def test_what_is_wrong_is_said(gitops: ControllerLab, wrong: Object, path: str, words: str) -> None:
    gitops.apply(wrong)
    gitops.says(path, words)


def test_a_workload_that_never_becomes_ready_fails_the_health_check(gitops: ControllerLab) -> None:
    never = workload("never")
    never["spec"]["template"]["metadata"]["annotations"] = {"simlab/behaviour": "CrashLoopBackOff"}
    write(gitops.site / "flux-never", {"never.yaml": never})
    gitops.apply(git("never", "flux-never"), kustomization("never", "never", "./", wait=True, timeout="10s"))
    gitops.says(f"{KUSTOMIZATIONS}/never", "health check failed")
