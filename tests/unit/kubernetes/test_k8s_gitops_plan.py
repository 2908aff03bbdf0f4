# SPDX-License-Identifier: GPL-3.0-or-later
"""When Argo CD and Flux are asked for something, and what of their status is success, patience or failure; without a server."""

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import gitops, gitops_argo, gitops_flux
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.conditions import Failure
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.gitops_inputs import Asked
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute
from ansible_collections.groundwork.homelab.plugins.modules import gitops_sync

Object = dict[str, t.Any]

APP = Asked("Application", "argocd", "media")
HEAD, OLD = "a" * 40, "0" * 40
SOURCE = {"repoURL": "https://git.example.com/lab.git", "path": "media", "targetRevision": "main"}


def application(status: Object | None = None, operation: Object | None = None, **spec: t.Any) -> Object:
    meta = {"name": "media", "namespace": "argocd", "uid": "1", "resourceVersion": "5"}
    more = {"operation": operation} if operation else {}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": meta,
        "spec": {"source": SOURCE, "destination": {}, **spec},
        "status": status or {},
        **more,
    }


def synced(phase: str = "Succeeded", status: str = "Synced", health: str = "Healthy", **state: t.Any) -> Object:
    return {
        "sync": {"status": status, "revision": HEAD, "comparedTo": {"source": SOURCE}},
        "health": {"status": health},
        "reconciledAt": "2026-11-21T12:00:05Z",
        "operationState": {
            "phase": phase,
            "finishedAt": "2026-11-21T12:00:01Z",
            "syncResult": {"revision": HEAD},
            **state,
        },
    }


@pytest.mark.parametrize(
    ("status", "revision", "why"),
    [
        ({}, "", "it was never compared with its source"),
        (synced(), "", ""),
        (synced(), "main", ""),
        (synced(), HEAD[:7], ""),
        (synced(health="Degraded"), "", ""),
        (synced(status="OutOfSync"), "", "it is OutOfSync"),
        (synced(status="Unknown"), "", "it is Unknown"),
        (synced(phase="Failed"), "", "its last sync failed"),
        (synced(phase="Error"), "", "its last sync ended in an error"),
        (synced(phase="Failed", syncResult={"revision": OLD}), "", ""),
        (synced(), "v2", "it was not synced to v2"),
        (synced(operation={"sync": {"revision": "v2"}}), "v2", ""),
        (synced(phase="Failed", operation={"sync": {"revision": "v2"}}), "v2", "it was not synced to v2"),
        (synced(syncResult={"revision": OLD}), OLD[:8], ""),
        (
            {**synced(), "sync": {"status": "Synced", "comparedTo": {"source": {**SOURCE, "path": "x"}}}},
            "",
            "its source is",
        ),
        (
            {
                **synced(),
                "sync": {"status": "Synced", "comparedTo": {"source": {**SOURCE, "helm": {"values": "a: 1"}}}},
            },
            "",
            "its source is another one now",
        ),
        (
            {**synced(), "sync": {"status": "Synced", "comparedTo": {"source": SOURCE, "destination": {"name": "b"}}}},
            "",
            "its destination is another one now",
        ),
    ],
)
def test_whether_an_application_must_be_synced(status: Object, revision: str, why: str) -> None:
    asked = Asked("Application", "argocd", "media", revision=revision)
    reason = gitops_argo.needs_sync(application(status), asked)
    assert reason.startswith(why)
    assert bool(reason) == bool(why)


MOVED = {**synced(), "operationState": {**synced()["operationState"], "operation": {"sync": {"revision": "v2"}}}}


@pytest.mark.parametrize(
    ("revision", "why"),
    [("v2", "v2 may be another commit by now"), (HEAD[:9], ""), (OLD, f"it was not synced to {OLD}"), ("main", "")],
)
def test_a_branch_that_was_synced_to_is_synced_to_again_when_a_refresh_is_asked_for(revision: str, why: str) -> None:
    """Argo CD compares with the definition's revision only, so it never tells that another branch has moved."""
    asked = Asked("Application", "argocd", "media", revision=revision)
    assert gitops_argo.needs_sync(application(MOVED), asked, anew=True) == why


#: The longer form of a definition, of one source only.
ONE_OF_SEVERAL = {"source": None, "sources": [SOURCE]}


def of_several(*reached: str, **state: t.Any) -> Object:
    status = synced(**{"syncResult": {"revisions": list(reached)}, **state})
    return {**status, "sync": {"status": "Synced", "revisions": [HEAD], "comparedTo": {"sources": [SOURCE]}}}


@pytest.mark.parametrize(
    ("status", "revision", "why"),
    [
        (of_several(HEAD), HEAD[:7], ""),
        (of_several(HEAD), OLD, f"it was not synced to {OLD}"),
        (of_several(OLD), OLD[:8], ""),
        (of_several(HEAD, operation={"sync": {"revisions": ["v2"]}}), "v2", ""),
        # What an operation says of a single source does not count for several.
        (of_several(HEAD, operation={"sync": {"revision": "v2"}}), "v2", "it was not synced to v2"),
        (of_several(OLD, phase="Failed"), "", ""),
        (of_several(HEAD, phase="Failed"), "", "its last sync failed"),
    ],
)
def test_the_revision_of_an_application_with_a_list_of_one_source(status: Object, revision: str, why: str) -> None:
    asked = Asked("Application", "argocd", "media", revision=revision)
    live = application(status, **ONE_OF_SEVERAL)
    gitops_argo.refuse(live, asked)
    assert gitops_argo.needs_sync(live, asked) == why
    wanted = gitops_argo.operation_of(live, asked, "t-1")["sync"]
    assert "revision" not in wanted
    assert wanted.get("revisions", []) == ([revision] if revision else [])


def test_a_failed_sync_of_other_commits_of_several_sources_is_not_repeated() -> None:
    sources = [SOURCE, {**SOURCE, "path": "values"}]
    status = synced(phase="Failed", syncResult={"revisions": [HEAD, OLD]})
    status["sync"] = {"status": "Synced", "revisions": [HEAD, HEAD], "comparedTo": {"sources": sources}}
    assert gitops_argo.needs_sync(application(status, source=None, sources=sources), APP) == ""
    status["operationState"]["syncResult"]["revisions"] = [HEAD, HEAD]
    assert gitops_argo.needs_sync(application(status, source=None, sources=sources), APP) == "its last sync failed"


STAYS, GOES = {"status": "OutOfSync"}, {"status": "OutOfSync", "requiresPruning": True}


@pytest.mark.parametrize(
    ("automated", "resources", "prunes"),
    [
        (None, [STAYS, GOES], False),
        ({}, [STAYS, GOES], False),
        ({"prune": True}, [STAYS, GOES], True),
        ({"prune": True, "enabled": False}, [STAYS, GOES], False),
        # Argo CD itself would not take everything away, as a wrong path in the repository would.
        ({"prune": True}, [GOES], False),
        ({"prune": True}, [], False),
        ({"prune": True, "allowEmpty": True}, [GOES], True),
    ],
)
def test_what_automated_sync_would_prune_our_sync_prunes(
    automated: Object | None, resources: list[Object], prunes: bool
) -> None:
    """Without it our sync would leave it OutOfSync, and Argo CD would not sync the same commit again."""
    status = {**synced(status="OutOfSync"), "resources": resources}
    live = application(status, **({} if automated is None else {"syncPolicy": {"automated": automated}}))
    assert gitops_argo.operation_of(live, APP, "t-1")["sync"].get("prune", False) is prunes
    assert gitops_argo.shown_sync(live, APP).get("prune", False) is prunes


TOKEN = {"info": [{"name": "groundwork.homelab", "value": "t-1"}]}


@pytest.mark.parametrize(
    ("live", "outcome"),
    [
        (application(synced(operation=TOKEN)), ""),
        (application(synced(operation=TOKEN), operation=TOKEN), "does its application controller run?"),
        (application(synced()), "has not begun the sync yet"),
        (application(synced(), operation={"info": []}), "an operation waits to begin"),
        (
            application(synced("Running", operation=TOKEN, message="waiting for Job")),
            "its sync is running: waiting for Job",
        ),
        (application(synced("Running", operation=TOKEN, retryCount=2)), "its sync is running, after 2 retries"),
        (application(synced("Failed", operation=TOKEN, message="no")), Failure("its sync failed: no")),
        (
            application(synced(operation=TOKEN, finishedAt="2026-11-21T12:00:09Z")),
            "has not looked at what the sync made",
        ),
        (application(synced(operation=TOKEN, status="OutOfSync")), "it is OutOfSync"),
        (application(synced(operation=TOKEN, health="Progressing")), "its health is Progressing"),
        (application(synced(operation=TOKEN, health="Degraded")), Failure("its health is Degraded", 15.0)),
    ],
)
def test_how_a_sync_goes(live: Object, outcome: str | Failure) -> None:
    check = gitops_argo.is_synced(APP, "t-1")
    if isinstance(outcome, Failure):
        with pytest.raises(Failure) as raised:
            check(live)
        assert (str(raised.value), raised.value.grace) == (str(outcome), outcome.grace)
    else:
        assert outcome in check(live)
        assert bool(outcome) == bool(check(live))


def flux(kind: str = "Kustomization", ready: str = "True", reason: str = "x", **more: t.Any) -> Object:
    status = {
        "observedGeneration": 2,
        "conditions": [{"type": "Ready", "status": ready, "reason": reason, "message": "m", "observedGeneration": 2}],
        **more.pop("status", {}),
    }
    groups = {"Kustomization": "kustomize", "HelmRelease": "helm"}
    meta = {"name": "apps", "namespace": "flux-system", "generation": 2, **more.pop("meta", {})}
    version = f"{groups.get(kind, 'source')}.toolkit.fluxcd.io/v1"
    status["conditions"] += more.pop("conditions", [])
    return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": more, "status": status}


KS = Asked("Kustomization", "flux-system", "apps")


@pytest.mark.parametrize(
    ("live", "outcome"),
    [
        (flux(status={"lastHandledReconcileAt": "t-1"}), ""),
        (flux(), "does Flux's kustomize-controller run?"),
        (flux("HelmRelease"), "does Flux's helm-controller run?"),
        (flux(ready="Unknown", status={"lastHandledReconcileAt": "t-1"}), "x: m"),
        (
            flux(ready="False", reason="DependencyNotReady", status={"lastHandledReconcileAt": "t-1"}),
            "DependencyNotReady: m",
        ),
        (flux(status={"lastHandledReconcileAt": "t-1", "observedGeneration": 1}), "has not seen its latest definition"),
        (
            flux(ready="False", reason="BuildFailed", status={"lastHandledReconcileAt": "t-1"}),
            Failure("BuildFailed: m"),
        ),
        (
            flux(ready="False", reason="ArtifactFailed", status={"lastHandledReconcileAt": "t-1"}),
            Failure("ArtifactFailed: m", 20.0),
        ),
        (
            flux("GitRepository", "False", "GitOperationFailed", status={"lastHandledReconcileAt": "t-1"}),
            Failure("GitOperationFailed: m", 5.0),
        ),
        (
            flux(
                "HelmRelease",
                "False",
                "UpgradeFailed",
                status={
                    "lastHandledReconcileAt": "t-1",
                    "history": [{"testHooks": {"app-test": {"phase": "Failed"}, "app-ok": {"phase": "Succeeded"}}}],
                },
                conditions=[
                    {"type": "Stalled", "status": "True", "reason": "RetriesExceeded", "message": "3 attempts"}
                ],
            ),
            Failure("UpgradeFailed: m; RetriesExceeded: 3 attempts; test app-test Failed"),
        ),
        (
            flux(
                "HelmRelease",
                "False",
                "UpgradeFailed",
                status={"lastHandledReconcileAt": "t-1"},
                conditions=[{"type": "Reconciling", "status": "True", "reason": "ProgressingWithRetry"}],
            ),
            Failure("UpgradeFailed: m", 30.0),
        ),
        (flux("HelmRepository", "False", type="oci"), ""),
    ],
)
def test_how_a_reconciliation_goes(live: Object, outcome: str | Failure) -> None:
    check = gitops_flux.is_reconciled(KS, "t-1")
    if isinstance(outcome, Failure):
        with pytest.raises(Failure) as raised:
            check(live)
        assert (str(raised.value), raised.value.grace) == (str(outcome), outcome.grace)
    else:
        assert outcome in check(live)
        assert bool(outcome) == bool(check(live))


@pytest.mark.parametrize(
    ("have", "wanted", "same"),
    [
        ("main@sha1:2b3c4d5e6f", "main", True),
        ("refs/heads/main@sha1:2b3c4d5e6f", "main", True),
        ("main@sha1:2b3c4d5e6f", "2b3c4d5", True),
        ("main@sha1:2b3c4d5e6f", "sha1:2b3c4d5e6f", True),
        ("main@sha1:2b3c4d5e6f", "main@sha1:2b3c4d5e6f", True),
        ("main@sha1:2b3c4d5e6f", "2b3", False),
        ("main@sha1:2b3c4d5e6f", "mai", False),
        ("1.2.3", "1.2.3", True),
        ("1.2.3+4f5e6d", "1.2.3", True),
        ("1.2.3", "1.2", False),
        ("latest@sha256:aabbccdd", "latest", True),
        ("", "main", False),
    ],
)
def test_revisions_of_flux_are_known_by_any_of_their_names(have: str, wanted: str, same: bool) -> None:
    assert gitops_flux.is_at(have, wanted) is same


CHARTED = {"chart": {"spec": {"sourceRef": {"kind": "HelmRepository", "name": "charts", "namespace": "repos"}}}}


@pytest.mark.parametrize(
    ("live", "sources"),
    [
        (flux(sourceRef={"kind": "GitRepository", "name": "lab"}), [("GitRepository", "flux-system", "lab")]),
        (flux(sourceRef={"kind": "Bucket", "name": "b", "namespace": "x"}), [("Bucket", "x", "b")]),
        (
            flux("HelmRelease", **CHARTED),
            [("HelmRepository", "repos", "charts"), ("HelmChart", "repos", "flux-system-apps")],
        ),
        (
            flux("HelmRelease", status={"helmChart": "repos/other"}, **CHARTED),
            [("HelmRepository", "repos", "charts"), ("HelmChart", "repos", "other")],
        ),
        (
            flux("HelmRelease", chartRef={"kind": "OCIRepository", "name": "app"}),
            [("OCIRepository", "flux-system", "app")],
        ),
        (flux("GitRepository"), []),
    ],
)
def test_what_an_object_of_flux_is_built_of(live: Object, sources: list[tuple[str, str, str]]) -> None:
    assert gitops_flux.sources_of(live) == sources


# -- property: what is asked for once is not asked for again -----------------------------------------------------------


STATUSES = st.builds(
    synced,
    st.sampled_from(["Succeeded", "Failed", "Error"]),
    st.sampled_from(["Synced", "OutOfSync", "Unknown"]),
    st.sampled_from(["Healthy", "Degraded", "Missing"]),
) | st.just({})
APPS = st.builds(
    Asked,
    st.just("Application"),
    st.just("argocd"),
    st.just("media"),
    revision=st.sampled_from(["", "main", "v2", HEAD, OLD, OLD[:9]]),
    prune=st.booleans(),
    options=st.sampled_from([None, (), ("Replace=true",)]),
)


def argo_does(live: Object, patch: Object) -> Object:
    """What a healthy Argo CD makes of an operation: at the target it is synced then, elsewhere OutOfSync."""
    operation = patch["operation"]
    wanted = operation["sync"].get("revision") or "main"
    reached = {"main": HEAD, "v2": "2" * 40, OLD[:9]: OLD}.get(wanted, wanted)
    done = synced(
        status="Synced" if reached == HEAD else "OutOfSync", operation=operation, syncResult={"revision": reached}
    )
    return {**copy.deepcopy(live), "status": done}


@settings(max_examples=60)
@given(STATUSES, APPS)
def test_an_application_that_was_synced_is_there_and_needs_no_second_sync(status: Object, asked: Asked) -> None:
    live = application(status)
    before = copy.deepcopy(live)
    if not gitops_argo.needs_sync(live, asked):
        return
    patch = gitops_argo.sync_patch(live, asked, "t-1")
    assert live == before
    assert patch["metadata"]["resourceVersion"] == "5"
    after = argo_does(live, patch)
    assert gitops_argo.is_synced(asked, "t-1")(after) == ""
    assert gitops_argo.needs_sync(after, asked) == ""


@settings(max_examples=60)
@given(
    st.sampled_from(["True", "False", "Unknown"]),
    st.sampled_from([1, 2]),
    st.sampled_from(["", "main@sha1:0", "main@sha1:1"]),
    st.sampled_from([None, "t-0"]),
    st.sampled_from(["", "main"]),
)
def test_a_kustomization_that_was_reconciled_is_there_and_needs_no_second_request(
    ready: str, seen: int, applied: str, asked_at: str | None, revision: str
) -> None:
    asked = Asked("Kustomization", "flux-system", "apps", revision=revision)
    source = flux("GitRepository", status={"artifact": {"revision": "main@sha1:1"}})
    meta = {"annotations": {gitops_flux.REQUESTED: asked_at}} if asked_at else {}
    live = flux(ready=ready, meta=meta, status={"observedGeneration": seen, "lastAppliedRevision": applied})
    if not gitops_flux.not_current(live, source, asked):
        assert (ready, seen, applied, asked_at) == ("True", 2, "main@sha1:1", None)
        return
    patch = gitops_flux.reconcile_patch(asked, "t-1")
    done = {"lastAppliedRevision": "main@sha1:1", "lastHandledReconcileAt": "t-1"}
    after = flux(meta={"annotations": patch["metadata"]["annotations"]}, status=done)
    assert gitops_flux.is_reconciled(asked, "t-1")(after) == ""
    assert gitops_flux.not_current(after, source, asked) == ""


# -- bad input ---------------------------------------------------------------------------------------------------------


OBJECT = {"namespace": None, "revision": None, "prune": False, "sync_options": None}
OBJECT |= {"with_source": False, "force": False, "reset": False}
GIVEN_APP, GIVEN_KS = {"kind": "Application", "name": "media"}, {"kind": "Kustomization", "name": "apps"}

BAD: list[tuple[list[Object], Object, str]] = [
    ([], {}, "objects is empty. Name at least one Application"),
    ([GIVEN_APP, {**GIVEN_APP, "namespace": "argocd"}], {}, "objects has Application/argocd/media twice"),
    ([{**GIVEN_APP, "name": "../x"}], {}, "name '../x' is not a name that an object can have"),
    ([{**GIVEN_KS, "namespace": "A b"}], {}, "namespace 'A b' is not a name"),
    ([{**GIVEN_KS, "prune": True}], {}, "Kustomization apps: prune is for Application only"),
    ([{**GIVEN_APP, "with_source": True}], {}, "with_source is for Kustomization and HelmRelease only"),
    ([{**GIVEN_KS, "reset": True}], {}, "reset is for HelmRelease only"),
    ([{**GIVEN_APP, "sync_options": ["Replace"]}], {}, "sync option 'Replace' is not like ServerSideApply=true"),
    ([{**GIVEN_APP, "revision": "my branch"}], {}, "revision 'my branch' has blanks"),
    ([GIVEN_APP], {"state": "suspended"}, "Application argocd/media cannot be suspended. Argo CD has no suspend."),
    ([GIVEN_KS], {"state": "resumed", "refresh": "normal"}, "refresh is normal, which goes with state synced only"),
    ([{**GIVEN_KS, "with_source": True}], {"state": "suspended"}, "with_source goes with state synced only"),
    ([GIVEN_KS], {"refresh": "hard"}, "refresh hard is for Applications only. Flux keeps no cache"),
    ([GIVEN_APP], {"wait_timeout": -1.0}, "wait_timeout is -1, it must not be negative"),
    ([GIVEN_APP], {"kubeconfig": "/nowhere/at/all"}, "/nowhere/at/all"),
]


@pytest.mark.parametrize(("objects", "params", "message"), BAD)
def test_bad_input_is_refused_before_anybody_is_asked(
    objects: list[Object], params: Object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: t.Any, **__: t.Any) -> t.NoReturn:
        raise AssertionError("the server was asked")

    monkeypatch.setattr(
        "ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.transport.Transport.send", never
    )
    defaults = {name: option.get("default") for name, option in gitops_sync.SPEC.argument_spec.items()}
    given_objects = [{**OBJECT, **one} for one in objects]
    failed = execute(gitops_sync.run, Task(params={**defaults, "objects": given_objects, **params}))
    assert failed["failed"]
    assert message in failed["msg"]
    assert failed["changes"] == []


def test_what_argo_cd_itself_refuses_is_an_error_of_the_input() -> None:
    with pytest.raises(InvalidInput, match="is being deleted"):
        gitops_argo.refuse({"metadata": {"deletionTimestamp": "x"}, "spec": {}}, APP)


def test_every_kind_has_its_stage() -> None:
    kinds = gitops_sync.SPEC.argument_spec["objects"]["options"]["kind"]["choices"]
    assert sorted(kinds) == sorted(kind for stage in gitops.STAGES for kind in stage)


SOURCES: dict[str, tuple[Object, list[str]]] = {
    "a repository": ({"kind": "GitRepository", "name": "lab"}, ["GitRepository/media/lab"]),
    "of another namespace": ({"kind": "Bucket", "name": "b", "namespace": "flux"}, ["Bucket/flux/b"]),
    "somebody else's": ({"kind": "ExternalArtifact", "name": "lab"}, []),
    "a kind of a newer Flux": ({"kind": "Torrent", "name": "lab"}, []),
    "no name": ({"kind": "GitRepository"}, []),
    "nothing": ({}, []),
}


@pytest.mark.parametrize("case", SOURCES)
def test_only_sources_that_are_known_are_reconciled(case: str) -> None:
    reference, found = SOURCES[case]
    live = {"kind": "Kustomization", "metadata": {"namespace": "media"}, "spec": {"sourceRef": reference}}
    assert [one.identity for one in gitops.sources(live)] == found
