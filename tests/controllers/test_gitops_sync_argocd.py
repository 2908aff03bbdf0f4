# SPDX-License-Identifier: GPL-3.0-or-later
"""``gitops_sync`` with the real Argo CD: it syncs what must be synced, leaves alone what need not be, and says why not."""

from __future__ import annotations

import typing as t

import pytest
from controllerlab import HOST, ControllerLab, Object
from installs import namespace
from trees import job, settings, workload, write

from ansible_collections.groundwork.homelab.plugins.modules import gitops_sync

SPACE = "sync-argo"
MAPS = f"/api/v1/namespaces/{SPACE}/configmaps"


def application(name: str, path: str, **spec: t.Any) -> Object:
    """Without automated sync: nothing happens unless it is asked for."""
    source = {"repoURL": f"https://{HOST}/sync-argo.git", "targetRevision": "main", "path": path}
    destination = {"server": "https://kubernetes.default.svc", "namespace": SPACE}
    meta = {"name": f"sync-{name}", "namespace": "argocd"}
    wanted = {"project": "default", "destination": destination, "source": source, **spec}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": meta, "spec": wanted}


def sync(lab: ControllerLab, name: str, *, check: bool = False, params: Object | None = None, **more: t.Any) -> Object:
    one = {"kind": "Application", "name": f"sync-{name}", **more}
    return lab.run(gitops_sync, check=check, **{"objects": [one], "wait_timeout": 150.0, **(params or {})})


@pytest.fixture(scope="module")
def cluster(argocd: ControllerLab) -> ControllerLab:
    after = {"argocd.argoproj.io/hook": "PostSync", "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation"}
    failing = job("migrate", annotations={"argocd.argoproj.io/hook": "PreSync"})
    crashing = {"annotations": {"simlab/behaviour": "CrashLoopBackOff"}}
    failing["spec"]["template"]["metadata"] = crashing
    degraded = workload("crashing")
    degraded["spec"]["template"]["metadata"] |= crashing
    degraded["spec"]["progressDeadlineSeconds"] = 600
    write(argocd.site / "sync-argo", {
        "good/a.yaml": settings("good-a", {"a": "1"}, annotations={"argocd.argoproj.io/sync-wave": "-1"}),
        "good/b.yaml": [settings("good-b", {"b": "1"}), workload("good"), job("good-after", annotations=after)],
        "hook/all.yaml": [settings("hook", {"a": "never"}), failing],
        "invalid/all.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: invalid}\ndata: {a: [1]}\n",
        "degraded/all.yaml": degraded,
    })  # fmt: skip
    argocd.apply(namespace(SPACE))
    argocd.apply(*(application(name, name) for name in ("good", "hook", "invalid", "degraded")))
    return argocd


def test_a_tree_with_a_wave_and_a_hook_is_synced_once(cluster: ControllerLab) -> None:
    predicted = sync(cluster, "good", check=True)
    assert "msg" not in predicted, predicted
    assert cluster.get(f"{MAPS}/good-a") is None
    done = sync(cluster, "good")
    assert "msg" not in done, done
    assert done["changes"][0]["after"] == predicted["changes"][0]["after"] == {"sync": {"revision": "main"}}
    stands = done["objects"][0]
    assert (stands["sync"], stands["health"], stands["phase"]) == ("Synced", "Healthy", "Succeeded")
    assert len(stands["revision"]) == 40
    assert cluster.get(f"{MAPS}/good-a")
    again = sync(cluster, "good")
    assert (again.get("msg"), again["changed"]) == (None, False)
    assert sync(cluster, "good", revision=stands["revision"][:10])["changed"] is False


def test_b_a_new_commit_is_found_by_a_refresh_and_prune_deletes(cluster: ControllerLab) -> None:
    assert "msg" not in sync(cluster, "good")
    write(cluster.site / "sync-argo", {"good/a.yaml": settings("good-c", {"c": "2"})})
    kept = sync(cluster, "good", params={"refresh": "normal"})
    assert "it is OutOfSync only for what prune would delete" in kept["msg"]
    assert f"ConfigMap {SPACE}/good-a" in kept["msg"]
    assert cluster.get(f"{MAPS}/good-c")
    done = sync(cluster, "good", prune=True, params={"refresh": "hard"})
    assert "msg" not in done, done
    assert cluster.get(f"{MAPS}/good-a") is None
    nothing = sync(cluster, "good", prune=True, params={"refresh": "normal"})
    assert nothing["changes"][0]["after"] == {"refresh": "normal"}
    assert "msg" not in nothing


def test_a_revision_that_is_not_there_is_told_in_argo_cds_words(cluster: ControllerLab) -> None:
    failed = sync(cluster, "good", revision="nowhere")
    assert failed["error"]["kind"] == "TaskFailed"
    assert "nowhere" in failed["error"]["answer"]
    assert "its sync ended in an error" in failed["msg"] or "its sync failed" in failed["msg"]


def test_a_hook_that_fails_is_named_with_its_job(cluster: ControllerLab) -> None:
    failed = sync(cluster, "hook")
    assert failed["error"]["kind"] == "TaskFailed"
    assert f"PreSync hook Job {SPACE}/migrate" in failed["msg"]
    assert failed["changed"]
    assert cluster.get(f"{MAPS}/hook") is None
    again = sync(cluster, "hook", check=True)
    assert again["changed"], "a sync that failed is wanted again"


def test_an_object_that_the_api_server_refuses_is_told(cluster: ControllerLab) -> None:
    failed = sync(cluster, "invalid")
    assert failed["error"]["kind"] == "TaskFailed"
    assert "ConfigMap" in failed["msg"]


def test_what_does_not_become_healthy_is_explained_by_its_pods(cluster: ControllerLab) -> None:
    failed = sync(cluster, "degraded", params={"wait_timeout": 45.0})
    assert failed["error"]["kind"] in ("WaitTimeout", "TaskFailed")
    assert f"Deployment {SPACE}/crashing" in failed["msg"]
    assert "CrashLoopBackOff" in failed["msg"]
