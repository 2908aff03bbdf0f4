# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Argo CD (core): syncs trees of the lab's own Git repository with waves and hooks, charts, and says what is wrong."""

from __future__ import annotations

import typing as t

import pytest
from controllerlab import HOST, ControllerLab, Object
from installs import namespace
from trees import chart, job, settings, workload, write

SPACE = "argo-apps"
APPLICATIONS = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
AUTOMATED = {"automated": {"prune": True, "selfHeal": True}, "syncOptions": ["CreateNamespace=true"]}


def application(name: str, path: str, *, repository: str = "argo", space: str = SPACE, **spec: t.Any) -> Object:
    source = {"repoURL": f"https://{HOST}/{repository}.git", "targetRevision": "main", "path": path}
    wanted = {
        "project": "default",
        "destination": {"server": "https://kubernetes.default.svc", "namespace": space},
        "source": source,
        "syncPolicy": AUTOMATED,
        **spec,
    }
    meta = {"name": name, "namespace": "argocd"}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": meta, "spec": wanted}


def status(gitops: ControllerLab, name: str) -> Object:
    return (gitops.get(f"{APPLICATIONS}/{name}") or {}).get("status") or {}


def healthy(gitops: ControllerLab, name: str, timeout: float = 120.0) -> Object:
    def look() -> Object | None:
        found = status(gitops, name)
        synced = (found.get("sync") or {}).get("status") == "Synced"
        return found if synced and (found.get("health") or {}).get("status") == "Healthy" else None

    return gitops.until(look, f"application {name} is Synced and Healthy", timeout)


def refresh(gitops: ControllerLab, name: str) -> None:
    """``argocd app get --hard-refresh``."""
    body = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}}
    gitops.call("PATCH", f"{APPLICATIONS}/{name}", body, content_type="application/merge-patch+json")


def wave(number: int) -> dict[str, str]:
    return {"argocd.argoproj.io/sync-wave": str(number)}


@pytest.fixture(scope="module")
def gitops(argocd: ControllerLab) -> ControllerLab:
    hook = {"argocd.argoproj.io/hook": "PostSync", "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation"}
    write(argocd.site / "argo", {
        "waves/all.yaml": [
            settings("first", {"a": "one"}, annotations=wave(-1)),
            workload("second", 2, annotations=wave(0)),
            settings("third", {"a": "three"}, annotations=wave(1)),
            job("last", annotations=hook),
        ],
        "kustomized/kustomization.yaml": {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namePrefix": "lab-",
            "resources": ["web.yaml"],
        },
        "kustomized/web.yaml": workload("web"),
        "failing/after.yaml": settings("after", {"a": "never"}),
        "invalid/invalid.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: [1]}\n",
    })  # fmt: skip
    failing = job("migrate", annotations={"argocd.argoproj.io/hook": "PreSync"})
    failing["spec"]["template"]["metadata"] = {"annotations": {"simlab/behaviour": "CrashLoopBackOff"}}
    write(argocd.site / "argo", {"failing/job.yaml": failing})
    write(argocd.site / "argo-charts", chart("app") | chart("broken", broken=True))
    argocd.apply(namespace(SPACE))
    return argocd


def test_a_tree_with_waves_and_a_hook_is_synced_in_order(gitops: ControllerLab) -> None:
    gitops.apply(application("waves", "waves"))
    healthy(gitops, "waves")

    def ended() -> bool:
        return (status(gitops, "waves").get("operationState") or {}).get("phase") == "Succeeded"

    gitops.until(ended, "the hook after the sync has ended", 60)
    found = status(gitops, "waves")
    results = {one["name"]: one for one in found["operationState"]["syncResult"]["resources"]}
    assert results["last"]["hookPhase"] == "Succeeded"
    assert results["last"]["hookType"] == "PostSync"
    core = f"/api/v1/namespaces/{SPACE}/configmaps"
    made = [
        (gitops.get(path) or {})["metadata"]["creationTimestamp"]
        for path in (f"{core}/first", f"/apis/apps/v1/namespaces/{SPACE}/deployments/second", f"{core}/third")
    ]
    assert made == sorted(made)


def test_it_follows_the_folder_prunes_and_heals(gitops: ControllerLab) -> None:
    write(gitops.site / "argo-moving", {"a.yaml": settings("moving-a", {"a": "1"}), "b.yaml": settings("moving-b", {})})
    gitops.apply(application("moving", ".", repository="argo-moving"))
    healthy(gitops, "moving")
    path = f"/api/v1/namespaces/{SPACE}/configmaps"
    (gitops.site / "argo-moving/b.yaml").unlink()
    refresh(gitops, "moving")
    gitops.until(lambda: gitops.get(f"{path}/moving-b") is None, "what is gone in Git is pruned", 90)
    gitops.call("PATCH", f"{path}/moving-a", {"data": {"a": "by hand"}}, content_type="application/merge-patch+json")
    gitops.until(lambda: (gitops.get(f"{path}/moving-a") or {})["data"] == {"a": "1"}, "it is healed", 90)


def test_a_kustomization_and_charts_of_git_and_of_a_chart_repository(gitops: ControllerLab) -> None:
    helm = {"parameters": [{"name": "word", "value": "given"}]}
    folder = {"repoURL": f"https://{HOST}/argo-charts.git", "targetRevision": "HEAD", "path": "app", "helm": helm}
    packed = {"repoURL": f"https://{HOST}/argo-charts", "targetRevision": "1.*", "chart": "app", "helm": helm}
    gitops.apply(
        application("kustomized", "kustomized"),
        application("folder", "", space="argo-made", source=folder),
        application("packed", "", source=packed),
    )
    assert healthy(gitops, "kustomized")["sourceType"] == "Kustomize"
    assert healthy(gitops, "folder")["sourceType"] == healthy(gitops, "packed")["sourceType"] == "Helm"
    assert gitops.get(f"/apis/apps/v1/namespaces/{SPACE}/deployments/lab-web")
    for space, name in (("argo-made", "folder"), (SPACE, "packed")):
        said = gitops.get(f"/api/v1/namespaces/{space}/configmaps/{name}-said") or {}
        assert said["data"] == {"word": "given"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (application("gone", ".", repository="nothing-here"), "repository not found"),
        (application("path", "absent"), "app path does not exist"),
        (application("broken", "broken", repository="argo-charts"), "no such value"),
        (application("project", "waves", project="absent"), "project absent which does not exist"),
    ],
    ids=["repository", "path", "template", "project"],
)
def test_what_is_wrong_is_a_condition(gitops: ControllerLab, wrong: Object, words: str) -> None:
    gitops.apply(wrong)

    def told() -> str:
        return " ".join(one["message"] for one in status(gitops, wrong["metadata"]["name"]).get("conditions") or ())

    gitops.until(lambda: words in told(), f"it says {words!r}: {told()!r}", 90)


def test_a_hook_that_fails_stops_the_sync_and_is_named(gitops: ControllerLab) -> None:
    gitops.apply(application("failing", "failing", syncPolicy={"automated": {}, "retry": {"limit": 0}}))
    gitops.until(
        lambda: (status(gitops, "failing").get("operationState") or {}).get("phase") == "Failed", "it failed", 120
    )
    results = status(gitops, "failing")["operationState"]["syncResult"]["resources"]
    assert [one["hookPhase"] for one in results if one["name"] == "migrate"] == ["Failed"]
    assert gitops.get(f"/api/v1/namespaces/{SPACE}/configmaps/after") is None


def test_an_object_that_the_api_server_refuses_is_told(gitops: ControllerLab) -> None:
    gitops.apply(application("invalid", "invalid", syncPolicy={"automated": {}, "retry": {"limit": 0}}))

    def told() -> str:
        found = status(gitops, "invalid")
        operation = found.get("operationState") or {}
        results = (operation.get("syncResult") or {}).get("resources") or ()
        parts = [operation.get("message", ""), *(one.get("message", "") for one in results)]
        return " ".join([*parts, *(one["message"] for one in found.get("conditions") or ())])

    gitops.until(lambda: "ConfigMap" in told() and "data" in told(), f"it says what is refused: {told()!r}", 120)
