# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``gitops_sync`` on a real API server with the published definitions; the controllers are the test's."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from k8s_played_gitops import Argo, Flux, application, flux, path
from k8s_played_nodes import deployment, run

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import (
    gitops,
    gitops_argo,
    gitops_flux,
    gitops_inputs,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Deadline
from ansible_collections.groundwork.homelab.plugins.modules import gitops_sync

Object = dict[str, t.Any]

HEAD, NEXT = "a" * 40, "f" * 40
OBJECT = {"namespace": None, "revision": None, "prune": False, "sync_options": None}
OBJECT |= {"with_source": False, "force": False, "reset": False}


@pytest.fixture
def lab(published: None, second_lab: t.Any) -> t.Any:
    """On the API server that has the definitions as published."""
    return second_lab


def sync(lab: t.Any, *objects: Object, check: bool = False, **params: t.Any) -> Object:
    full = [{**OBJECT, "namespace": lab.namespace, **one} for one in objects]
    return run(lab, gitops_sync, check=check, objects=full, **{"wait_timeout": 60.0, **params})


def app(name: str = "media", **more: t.Any) -> Object:
    return {"kind": "Application", "name": name, **more}


def made(lab: t.Any, *objects: Object) -> None:
    done = lab.run(list(objects))
    assert "msg" not in done, done


def asked(lab: t.Any, before: int) -> list[str]:
    """The writes, by the kind and name of what was written to."""
    return ["/".join(uri.split("?")[0].split("/")[-2:]) for _, uri in lab.writes(before)]


def both(lab: t.Any, *objects: Object, **params: t.Any) -> Object:
    """Check mode, which writes nothing, then the run, which does what check mode said."""
    before = lab.server.mark()
    predicted = sync(lab, *objects, check=True, **params)
    assert "msg" not in predicted, predicted
    assert lab.writes(before) == []
    done = sync(lab, *objects, **params)
    assert "msg" not in done, done
    assert done["changes"] == predicted["changes"]
    return done


# -- Argo CD -----------------------------------------------------------------------------------------------------------


def test_an_application_is_synced_as_its_policy_says_and_then_left_alone(lab: t.Any) -> None:
    retry = {"limit": 2, "backoff": {"duration": "5s"}}
    made(lab, application("media", syncPolicy={"syncOptions": ["CreateNamespace=true"], "retry": retry}))
    with Argo(lab) as argo:
        done = both(lab, app(prune=True))
        before = lab.server.mark()
        again = sync(lab, app(prune=True))
    assert done["changes"] == [
        {
            "resource": f"Application/{lab.namespace}/media",
            "action": "update",
            "after": {"sync": {"revision": "main", "prune": True, "syncOptions": ["CreateNamespace=true"]}},
            "note": "it was never compared with its source",
        }
    ]
    assert argo.seen == [("sync", "media")]
    operation = argo.operations[0]
    assert operation["sync"] == {
        "prune": True,
        "syncOptions": ["CreateNamespace=true"],
        "syncStrategy": {"hook": {}},
    }
    assert operation["retry"] == retry
    assert operation["initiatedBy"] == {"username": "groundwork.homelab"}
    stands = {"revision": HEAD, "sync": "Synced", "health": "Healthy", "phase": "Succeeded"}
    assert done["objects"][0].items() >= stands.items()
    assert (again["changed"], again["changes"]) == (False, [])
    verbs = [verb for verb, _ in lab.server.requests(before) if verb != "watch"]
    assert verbs == ["get", "get"], "discovery, and the Application; the first run's watch ends now"
    assert again["objects"][0].items() >= stands.items()


@pytest.mark.parametrize("kind", ["normal", "hard"])
def test_a_refresh_that_finds_nothing_syncs_nothing(kind: str, lab: t.Any) -> None:
    made(lab, application("media"))
    with Argo(lab) as argo:
        assert sync(lab, app())["changed"]
        before = lab.server.mark()
        done = both(lab, app(), refresh=kind)
    assert asked(lab, before) == ["applications/media"]
    assert argo.seen == [("sync", "media"), ("refresh", "media")]
    change = done["changes"][0]
    assert change["after"] == {"refresh": kind}
    assert change["note"] == "and is synced if it then differs"
    assert change["before"] == {"revision": HEAD, "sync": "Synced", "health": "Healthy"}


def test_a_refresh_that_finds_a_new_commit_is_followed_by_a_sync(lab: t.Any) -> None:
    made(lab, application("media"))
    with Argo(lab) as argo:
        assert sync(lab, app())["changed"]
        argo.head = NEXT
        done = both(lab, app(), refresh="normal")
    assert argo.seen == [("sync", "media"), ("refresh", "media"), ("sync", "media")]
    assert done["objects"][0]["revision"] == NEXT


FAILED_RESULTS = [
    {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "media", "name": "web", "status": "SyncFailed",
     "message": 'Deployment.apps "web" is invalid: spec.selector: Required value', "syncPhase": "Sync"},
    {"group": "batch", "version": "v1", "kind": "Job", "namespace": "media", "name": "migrate", "hookType": "PreSync",
     "hookPhase": "Failed", "message": "Job has reached the specified backoff limit", "syncPhase": "PreSync"},
    {"group": "", "version": "v1", "kind": "ConfigMap", "namespace": "media", "name": "fine", "status": "Synced",
     "message": "configmap/fine created", "syncPhase": "Sync"},
]  # fmt: skip


def test_a_sync_that_fails_says_which_resources_and_hooks_failed(lab: t.Any) -> None:
    made(lab, application("media"))
    with Argo(lab) as argo:
        message = "one or more synchronization tasks completed unsuccessfully"
        argo.tell["media"] = {"phase": "Failed", "message": message, "results": FAILED_RESULTS}
        failed = sync(lab, app())
        again = sync(lab, app(), check=True)
    assert failed["error"]["kind"] == "TaskFailed"
    assert f"its sync failed: {message}; Deployment media/web SyncFailed: Deployment.apps" in failed["msg"]
    assert "PreSync hook Job media/migrate Failed: Job has reached the specified backoff limit" in failed["msg"]
    assert "configmap/fine" not in failed["msg"]
    assert len(failed["changes"]) == 1
    assert failed["error"]["waiting"][0]["resource"] == f"Application/{lab.namespace}/media"
    assert again["changes"][0]["note"] == "it is OutOfSync"


def test_a_revision_that_cannot_be_found_is_told_in_argo_cds_words(lab: t.Any) -> None:
    made(lab, application("media"))
    words = "Failed to load target state: unable to resolve 'nowhere' to a commit SHA"
    with Argo(lab) as argo:
        condition = {"type": "ComparisonError", "message": words, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        argo.tell["media"] = {"phase": "Error", "message": f"ComparisonError: {words}", "conditions": [condition]}
        failed = sync(lab, app(revision="nowhere"))
    assert f"its sync ended in an error: ComparisonError: {words}" in failed["msg"]
    assert failed["msg"].count("unable to resolve") == 1


def test_another_revision_than_the_definitions_is_synced_to_once(lab: t.Any) -> None:
    made(lab, application("media"))
    with Argo(lab) as argo:
        done = both(lab, app(revision=NEXT[:8]))
        again = sync(lab, app(revision=NEXT[:8]))
    assert argo.operations[0]["sync"]["revision"] == NEXT[:8]
    assert done["changes"][0]["note"] == f"it was not synced to {NEXT[:8]}"
    assert not again["changed"]


def test_a_branch_besides_the_definitions_is_synced_to_again_with_a_refresh(lab: t.Any) -> None:
    made(lab, application("media"))
    with Argo(lab) as argo:
        changed = [both(lab, app(revision="trial"), refresh=one)["changed"] for one in ("never", "never", "normal")]
    assert changed == [True, False, True]
    assert [one["sync"]["revision"] for one in argo.operations] == ["trial"] * 2


def test_a_commit_that_was_just_pushed_is_looked_for_by_a_refresh_before_automated_sync_is_blamed(lab: t.Any) -> None:
    made(lab, application("media", syncPolicy={"automated": {}}))
    with Argo(lab) as argo:
        sync(lab, app())
        refused = sync(lab, app(revision=NEXT[:8]))
        another = sync(lab, app(revision="b" * 40), refresh="normal")
        argo.head = NEXT
        done = both(lab, app(revision=NEXT[:8]), refresh="normal")
    for failed in (refused, another):
        assert "its automated sync keeps it at main" in failed["msg"]
    assert not refused["changed"]
    assert [change["after"] for change in done["changes"]] == [{"refresh": "normal", "sync": {"revision": NEXT[:8]}}]
    assert len(argo.operations) == 2
    assert done["objects"][0]["revision"] == NEXT


REFUSED: list[tuple[Object, Object, str]] = [
    ({"syncPolicy": {"automated": {}}}, {"revision": "v1"}, "its automated sync keeps it at main"),
    (
        {"sources": [{"repoURL": "https://a.example.com"}, {"repoURL": "https://b.example.com"}]},
        {"revision": "v1"},
        "has 2 sources, so one revision says nothing",
    ),
]


@pytest.mark.parametrize(("spec", "more", "message"), REFUSED)
def test_what_argo_cds_own_server_would_refuse_is_refused(spec: Object, more: Object, message: str, lab: t.Any) -> None:
    made(lab, application("media", **spec))
    before = lab.server.mark()
    failed = sync(lab, app(**more))
    assert message in failed["msg"]
    assert lab.writes(before) == []


def test_an_unhealthy_application_is_explained_by_its_own_objects(lab: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gitops_argo, "DEGRADED_GRACE", 0.5)
    # No scheduler here: its pods wait for one.
    made(lab, application("media"), deployment("web"))
    with Argo(lab) as argo:
        web = {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": lab.namespace, "name": "web"}
        argo.tell["media"] = {"health": "Degraded", "resources": [{**web, "status": "Synced"}]}
        failed = sync(lab, app())
    assert failed["error"]["kind"] == "TaskFailed"
    assert "its health is Degraded" in failed["msg"]
    assert f"Deployment {lab.namespace}/web: 0 of 1 replicas" in failed["msg"]
    assert failed["error"]["waiting"][0]["causes"]
    assert failed["changed"]


def test_what_only_prune_would_delete_is_said(lab: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gitops_argo, "LEFT_GRACE", 0.3)
    made(lab, application("media"))
    with Argo(lab) as argo:
        old = {"version": "v1", "kind": "ConfigMap", "namespace": "media", "name": "old", "status": "OutOfSync"}
        argo.tell["media"] = {"sync": "OutOfSync", "resources": [{**old, "requiresPruning": True}]}
        failed = sync(lab, app())
    assert "it is OutOfSync only for what prune would delete: ConfigMap media/old" in failed["msg"]


def test_an_operation_of_somebody_else_is_waited_for_and_not_overwritten(lab: t.Any) -> None:
    made(lab, application("media"))
    theirs = {"sync": {"revision": "v0"}, "initiatedBy": {"username": "somebody"}}
    lab.act("PATCH", path("Application", lab.namespace, "media"), {"operation": theirs})
    predicted = sync(lab, app(), check=True)
    assert "waits: an operation waits to begin" in predicted["changes"][0]["note"]
    with Argo(lab) as argo:
        done = sync(lab, app())
    assert "msg" not in done, done
    names = [one["initiatedBy"]["username"] for one in argo.operations]
    assert names == ["somebody", "groundwork.homelab"]


def test_an_operation_that_comes_between_is_not_overwritten(lab: t.Any) -> None:
    made(lab, application("media"))
    one = gitops_inputs.Asked("Application", lab.namespace, "media")
    work = gitops.Gitops(lab.client, [one], gitops.Options("synced", "never", "t-1", True))
    plan = work.plan()
    get, calls = work._get, []

    def meanwhile(wanted: t.Any) -> t.Any:
        live = get(wanted)
        if not calls:
            calls.append(1)
            theirs = {"sync": {"revision": "v0"}, "initiatedBy": {"username": "somebody"}}
            lab.act("PATCH", path("Application", lab.namespace, "media"), {"operation": theirs})
        return live

    work._get = meanwhile  # type: ignore[method-assign]
    with Argo(lab) as argo:
        work.apply(plan, Deadline(60))
    assert [one["initiatedBy"]["username"] for one in argo.operations] == ["somebody", "groundwork.homelab"]


def test_without_a_controller_the_wait_says_what_does_not_happen(lab: t.Any) -> None:
    made(lab, application("media"))
    failed = sync(lab, app(), wait_timeout=1.0)
    assert failed["error"]["kind"] == "WaitTimeout"
    assert "Argo CD has not begun the sync yet: does its application controller run?" in failed["msg"]
    assert failed["changed"]
    later = sync(lab, app("media"), wait=False, check=True)
    assert "waits: an operation waits to begin" in later["changes"][0]["note"]


def test_a_refresh_that_nobody_hears_is_said(lab: t.Any) -> None:
    made(lab, application("media"))
    failed = sync(lab, app(), refresh="normal", wait_timeout=1.0)
    assert "see Application" in failed["msg"]
    assert "Argo CD has not refreshed it yet" in failed["msg"]


def test_asking_without_waiting_only_asks(lab: t.Any) -> None:
    made(lab, application("media"))
    before = lab.server.mark()
    done = sync(lab, app(), wait=False)
    assert done["changed"]
    assert asked(lab, before) == ["applications/media"]


# -- Flux --------------------------------------------------------------------------------------------------------------


def test_a_kustomization_with_its_source_is_reconciled_after_it(lab: t.Any) -> None:
    made(lab, flux("GitRepository", "lab"), flux("Kustomization", "apps"), flux("Kustomization", "base"))
    objects = [{"kind": "Kustomization", "name": name, "with_source": True} for name in ("apps", "base")]
    with Flux(lab) as played:
        assert sync(lab, *objects)["changed"]
        played.seen.clear()
        before = lab.server.mark()
        done = both(lab, *objects)
    first, *others = asked(lab, before)
    assert first == "gitrepositories/lab"
    assert sorted(others) == ["kustomizations/apps", "kustomizations/base"]  # these two at the same time
    assert next(name for _, name in played.seen) == "GitRepository/lab"
    assert sorted(name for _, name in played.seen) == ["GitRepository/lab", "Kustomization/apps", "Kustomization/base"]
    assert [change["after"] for change in done["changes"]] == [{"reconcile": True}] * 3
    assert done["objects"][0] == {
        "resource": f"Kustomization/{lab.namespace}/apps",
        "revision": played.head,
        "ready": "True",
        "message": f"at {played.head}",
    }


def test_what_is_ready_at_its_sources_revision_is_not_written_to(lab: t.Any) -> None:
    made(lab, flux("GitRepository", "lab"), flux("Kustomization", "apps"))
    wanted = {"kind": "Kustomization", "name": "apps"}
    with Flux(lab) as played:
        assert sync(lab, wanted)["changed"]
        before = lab.server.mark()
        again = sync(lab, wanted)
        assert (again["changed"], again["changes"]) == (False, [])
        assert {verb for verb, _ in lab.server.requests(before)} - {"watch"} == {"get"}
        assert not sync(lab, {**wanted, "revision": "b" * 9})["changed"]
        assert sync(lab, wanted, refresh="normal")["changed"]
        played.head = played.tell["Kustomization/apps"] = "main@sha1:" + "e" * 40
        assert sync(lab, {"kind": "GitRepository", "name": "lab"}, refresh="normal")["changed"]
        behind = both(lab, wanted)
    assert "and its source has main@sha1:eeee" in behind["changes"][0]["note"]


FLUX_FAILURES: list[tuple[str, tuple[t.Any, ...], str]] = [
    ("Kustomization", ("BuildFailed", "kustomize build failed: no such file web.yaml"), "BuildFailed: kustomize build"),
    (
        "Kustomization",
        ("HealthCheckFailed", "timeout waiting for: [Deployment/media/web]"),
        "HealthCheckFailed: timeout",
    ),
    (
        "HelmRelease",
        (
            "UpgradeFailed",
            "Helm upgrade failed: timed out waiting",
            (("Stalled", "True", "RetriesExceeded", "Failed"),),
        ),
        "UpgradeFailed: Helm upgrade failed",
    ),
    (
        "GitRepository",
        ("GitOperationFailed", "couldn't find remote ref 'nowhere'"),
        "couldn't find remote ref 'nowhere'",
    ),
]


@pytest.mark.parametrize(("kind", "told", "message"), FLUX_FAILURES)
def test_a_failure_is_told_in_fluxs_words(
    kind: str, told: tuple[t.Any, ...], message: str, lab: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gitops_flux, "SOURCE_GRACE", 0.3)
    made(lab, flux(kind, "apps", **({"chart": CHART} if kind == "HelmRelease" else {})))
    with Flux(lab) as played:
        played.tell[f"{kind}/apps"] = told
        failed = sync(lab, {"kind": kind, "name": "apps"})
    assert failed["error"]["kind"] == "TaskFailed"
    assert message in failed["msg"]
    assert len(failed["changes"]) == 1


CHART = {"spec": {"chart": "app", "version": "1.2.3", "sourceRef": {"kind": "HelmRepository", "name": "charts"}}}


def test_a_source_that_cannot_be_fetched_stops_what_is_built_of_it(lab: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gitops_flux, "SOURCE_GRACE", 0.3)
    made(lab, flux("GitRepository", "lab"), flux("Kustomization", "apps"))
    with Flux(lab) as played:
        played.tell["GitRepository/lab"] = ("GitOperationFailed", "authentication required")
        before = lab.server.mark()
        failed = sync(lab, {"kind": "Kustomization", "name": "apps", "with_source": True})
    assert f"GitRepository {lab.namespace}/lab" in failed["msg"]
    assert "GitOperationFailed: authentication required" in failed["msg"]
    assert asked(lab, before) == ["gitrepositories/lab"]
    assert len(failed["changes"]) == 1


def test_a_source_explains_why_its_kustomization_is_not_ready(lab: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gitops_flux.GRACE, "ArtifactFailed", 0.3)
    made(lab, flux("GitRepository", "lab"), flux("Kustomization", "apps"))
    with Flux(lab) as played:
        played.tell["GitRepository/lab"] = ("GitOperationFailed", "authentication required")
        played.tell["Kustomization/apps"] = ("ArtifactFailed", "Source artifact not found, retrying in 30s")
        failed = sync(lab, {"kind": "Kustomization", "name": "apps"})
    assert "ArtifactFailed: Source artifact not found" in failed["msg"]
    assert f"GitRepository {lab.namespace}/lab: GitOperationFailed: authentication required" in failed["msg"]


def test_a_dependency_is_waited_for_until_the_deadline(lab: t.Any) -> None:
    made(lab, flux("Kustomization", "apps"))
    with Flux(lab) as played:
        played.tell["Kustomization/apps"] = ("DependencyNotReady", "dependency 'flux-system/base' is not ready")
        failed = sync(lab, {"kind": "Kustomization", "name": "apps"}, wait_timeout=2.0)
    assert failed["error"]["kind"] == "WaitTimeout"
    assert "dependency 'flux-system/base' is not ready" in failed["msg"]


def test_a_release_is_forced_and_reset_with_the_token_of_its_request(lab: t.Any) -> None:
    repository = flux("HelmRepository", "charts")
    made(lab, repository, flux("HelmChart", f"{lab.namespace}-app"), flux("HelmRelease", "app", chart=CHART))
    with Flux(lab) as played:
        played.tell["HelmRelease/app"] = "1.2.3"
        wanted = {"kind": "HelmRelease", "name": "app", "with_source": True, "force": True, "reset": True}
        assert sync(lab, wanted)["changed"]
        done = both(lab, wanted)
    assert [change["resource"].split("/")[0] for change in done["changes"]] == [
        "HelmRepository",
        "HelmChart",
        "HelmRelease",
    ]
    assert done["changes"][2]["after"] == {"reconcile": True, "force": True, "reset": True}
    live = lab.act("GET", path("HelmRelease", lab.namespace, "app"), None)
    annotations = live["metadata"]["annotations"]
    tokens = {value for key, value in annotations.items() if key.startswith("reconcile.fluxcd.io/")}
    assert len(tokens) == 1
    assert live["status"]["lastHandledReconcileAt"] in tokens
    assert done["objects"][0]["revision"] == "1.2.3"


def test_a_repository_that_is_only_an_address_is_not_reconciled(lab: t.Any) -> None:
    made(lab, flux("HelmRepository", "charts", type="oci", url="oci://charts.example.com"))
    done = sync(lab, {"kind": "HelmRepository", "name": "charts"}, refresh="normal")
    assert (done["changed"], done["changes"]) == (False, [])


def test_flux_is_kept_away_and_let_go_on(lab: t.Any) -> None:
    made(lab, flux("Kustomization", "apps"))
    wanted = {"kind": "Kustomization", "name": "apps"}
    with Flux(lab):
        assert sync(lab, wanted)["changed"]
        stopped = both(lab, wanted, state="suspended")
        assert stopped["changes"][0]["after"] == {"spec.suspend": True}
        assert stopped["changes"][0]["before"] == {"spec.suspend": False}
        assert not sync(lab, wanted, state="suspended")["changed"]
        refused = sync(lab, wanted)
        assert "is suspended, so Flux would not hear. Run it with state resumed first." in refused["msg"]
        resumed = both(lab, wanted, state="resumed")
        assert resumed["objects"][0]["ready"] == "True"
        assert "suspend" not in lab.act("GET", path("Kustomization", lab.namespace, "apps"), None)["spec"]
        assert not sync(lab, wanted, state="resumed")["changed"]


def test_a_revision_that_never_comes_is_said(lab: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gitops_flux, "REVISION_GRACE", 0.3)
    made(lab, flux("Kustomization", "apps"))
    with Flux(lab) as played:
        failed = sync(lab, {"kind": "Kustomization", "name": "apps", "revision": "0123456"})
    assert f"it is Ready at {played.head}, not at 0123456" in failed["msg"]


def test_without_a_controller_the_wait_names_the_one_that_is_missing(lab: t.Any) -> None:
    made(lab, flux("Kustomization", "apps"), flux("GitRepository", "lab"))
    failed = sync(lab, {"kind": "Kustomization", "name": "apps"}, wait_timeout=1.0)
    assert "Flux has not handled the request yet: does Flux's kustomize-controller run?" in failed["msg"]


# -- both --------------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_said_before_anything_is_asked(lab: t.Any) -> None:
    made(lab, application("media"))
    before = lab.server.mark()
    failed = sync(lab, app(), app("books"), {"kind": "Kustomization", "name": "none"})
    assert failed["error"]["kind"] == "NotFound"
    assert f"Could not find Application {lab.namespace}/books, Kustomization {lab.namespace}/none" in failed["msg"]
    assert lab.writes(before) == []


def test_a_right_that_is_missing_is_said_before_anything_is_asked(lab: t.Any, tmp_path: pathlib.Path) -> None:
    rules = [{"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get", "list"]}]
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "look"}, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "look"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "look"},
        "subjects": [{"kind": "User", "name": "reader", "apiGroup": group}],
    }
    made(lab, application("media"), role, binding)
    reader = str(lab.server.write_kubeconfig(tmp_path / "reader", "reader"))
    for check in (True, False):
        failed = sync(lab, app(), check=check, kubeconfig=reader)
        assert failed["error"]["kind"] == "AccessDenied"
        assert 'User "reader" cannot patch resource "applications"' in failed["msg"]
        assert failed["changes"] == []
