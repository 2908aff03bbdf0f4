# SPDX-License-Identifier: GPL-3.0-or-later
"""When objects of the Gateway API, Argo CD, Flux, cert-manager and others are ready, and why they are not."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import readiness
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.conditions import wants

Object = dict[str, t.Any]
GATEWAY_API = "gateway.networking.k8s.io/v1"
UNSEEN = "its controller has not seen it yet"


def live(api_version: str, kind: str, status: t.Any = None, spec: t.Any = None, **meta: t.Any) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "a", "namespace": "lab", "generation": 2, **meta},
        "spec": spec or {},
        "status": status or {},
    }


def told(*found: tuple[str, ...], seen: int = 2) -> list[Object]:
    names = ("type", "status", "reason", "message")
    return [{**dict(zip(names, one, strict=False)), "observedGeneration": seen} for one in found]


GOOD = (("Accepted", "True", "Accepted"), ("ResolvedRefs", "True", "ResolvedRefs"))
MAIN = {"name": "main", "sectionName": "https"}


def route(*parents: Object, refs: t.Sequence[Object] = (MAIN,)) -> Object:
    return live(GATEWAY_API, "HTTPRoute", {"parents": list(parents)}, {"parentRefs": list(refs)})


def answer(*found: tuple[str, ...], ref: Object | None = None, seen: int = 2) -> Object:
    return {"parentRef": ref or MAIN, "controllerName": "x", "conditions": told(*found, seen=seen)}


WHOLE_REF = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "lab", **MAIN}
PLACE = "Gateway lab/main, listener https"
ROUTES: list[tuple[Object, str]] = [
    (route(answer(*GOOD)), ""),
    (route(answer(*GOOD, ref=WHOLE_REF)), ""),
    (route(), f"no controller has answered for {PLACE} yet"),
    (route(answer(*GOOD, ref={"name": "main"})), f"no controller has answered for {PLACE} yet"),
    (route(answer(*GOOD, ref={**MAIN, "namespace": "other"})), f"no controller has answered for {PLACE} yet"),
    (route(answer(*GOOD, seen=1)), f"{PLACE}: {UNSEEN}"),
    (route(answer(GOOD[0])), f"{PLACE}: no condition ResolvedRefs yet"),
    (
        route(answer(GOOD[0], ("ResolvedRefs", "False", "BackendNotFound", "no web"))),
        f"{PLACE}: BackendNotFound: no web",
    ),
    (
        route(answer(*GOOD), refs=[MAIN, {"name": "b", "namespace": "c", "port": 1}]),
        "no controller has answered for Gateway c/b, port 1 yet",
    ),
    (route(answer(*GOOD), answer(("Accepted", "Unknown", "Pending", "soon"))), f"{PLACE}: Pending: soon"),
    (route(refs=[]), "it names no parent"),
    # What a controller left that served the Gateway before, and what policies' controllers write beside.
    (route(answer(*GOOD, seen=1), answer(*GOOD)), ""),
    (route(answer(*GOOD), answer(("Accepted", "False", "NoMatchingParent"), seen=1)), ""),
    (route(answer(("policy.example.com/Affected", "True")), answer(*GOOD)), ""),
    (route(answer(), answer(*GOOD)), ""),
    (route(answer(*GOOD, seen=1), answer(GOOD[0], ("ResolvedRefs", "False", "X", "no"))), f"{PLACE}: X: no"),
    (route(answer(*GOOD, seen=1), answer(*GOOD, seen=1)), f"{PLACE}: {UNSEEN}"),
    (route(answer(("policy.example.com/Affected", "True"))), f"{PLACE}: no condition Accepted yet"),
    (route(answer(("policy.example.com/Affected", "True")), answer(*GOOD, seen=1)), f"{PLACE}: {UNSEEN}"),
]

LISTENER = {"name": "http", "conditions": told(("Accepted", "True"), ("ResolvedRefs", "True"), ("Programmed", "True"))}
UP = (("Accepted", "True"), ("Programmed", "True"))
ADDRESS = [{"type": "IPAddress", "value": "192.0.2.1"}]


def gateway(*found: tuple[str, ...], listeners: t.Sequence[Object] = (LISTENER,), addresses: t.Any = ADDRESS) -> Object:
    status = {"conditions": told(*found), "listeners": list(listeners), "addresses": addresses}
    return live(GATEWAY_API, "Gateway", status, {"listeners": [{"name": "http"}]})


def part(*found: tuple[str, ...]) -> list[Object]:
    return [{"name": "http", "conditions": told(*found)}]


GATEWAYS: list[tuple[Object, str]] = [
    (gateway(*UP), ""),
    (gateway(*UP, addresses=[]), "it has no address yet"),
    (gateway(), "the Gateway: no condition Accepted yet"),
    (
        gateway(("Accepted", "Unknown", "Pending", "Waiting for controller")),
        "the Gateway: Pending: Waiting for controller",
    ),
    (gateway(*UP, listeners=[]), "listener http: its controller has not answered yet"),
    (
        gateway(
            *UP, listeners=part(("Accepted", "True"), ("ResolvedRefs", "False", "InvalidCertificateRef", "no Secret"))
        ),
        "listener http: InvalidCertificateRef: no Secret",
    ),
    (
        gateway(
            ("Accepted", "False", "ListenersNotValid", "listeners"),
            listeners=part(("Accepted", "False", "PortUnavailable", "port 80")),
        ),
        "listener http: PortUnavailable: port 80",
    ),
    (gateway(UP[0], ("Programmed", "False", "AddressNotAssigned", "none")), "the Gateway: AddressNotAssigned: none"),
    (live(GATEWAY_API, "GatewayClass", {"conditions": told(("Accepted", "Unknown", "Pending"))}), "Pending"),
]


SOURCE = {"source": {"repoURL": "r", "path": "p", "targetRevision": "v2"}}
SYNCED = {"status": "Synced", "revision": "abc", "comparedTo": SOURCE}
WELL = {"sync": SYNCED, "health": {"status": "Healthy"}, "operationState": {"phase": "Succeeded"}}
AUTOMATED = {**SOURCE, "syncPolicy": {"automated": {}}}


def application(spec: Object | None = None, annotations: Object | None = None, **status: t.Any) -> Object:
    return live("argoproj.io/v1alpha1", "Application", {**WELL, **status}, spec or AUTOMATED, annotations=annotations)


OUT = {"status": "OutOfSync", "revision": "abc", "comparedTo": SOURCE}
OLD = {**SYNCED, "comparedTo": {"source": {**SOURCE["source"], "targetRevision": "v1"}}}
NOT_COMPARED = "Argo CD has not compared it with its source yet"
CLUSTER = {"server": "https://kubernetes.default.svc", "namespace": "media"}
#: As Argo CD writes it: what is empty is left out, but for these.
NOTHING = {"source": {"repoURL": ""}, "destination": {}}


def helm(**values: t.Any) -> Object:
    return {"source": {**SOURCE["source"], "helm": values}}


def compared(spec: Object, seen: Object) -> Object:
    """An Application that is synced and healthy by a comparison with ``seen``."""
    return application({**AUTOMATED, **spec}, sync={**SYNCED, "comparedTo": {**SOURCE, "destination": {}, **seen}})


SEVERAL = {"source": None, "sources": [{"repoURL": "r", "ref": "values"}, {"repoURL": "c", "chart": "jellyfin"}]}
RESCALED = {"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}
COMPARISONS: list[tuple[Object, str]] = [
    (compared(helm(values="a: 1"), helm(values="a: 1")), ""),
    (compared(helm(values="a: 2"), helm(values="a: 1")), NOT_COMPARED),
    (compared(helm(values="a: 2"), {}), NOT_COMPARED),
    (compared({}, helm(values="a: 1")), NOT_COMPARED),
    (compared(helm(valuesObject={"a": True}), helm(valuesObject={"a": False})), NOT_COMPARED),
    (compared(helm(valuesObject={"a": False}), helm(valuesObject={})), NOT_COMPARED),
    (compared(helm(valuesObject={"a": True}), helm(valuesObject={"a": 1})), NOT_COMPARED),
    (compared(helm(valuesObject={"a": None, "b": 1}), helm(valuesObject={"b": 1})), ""),
    (compared(helm(passCredentials=False, parameters=[], values=""), {}), ""),
    (compared(helm(parameters=[{"name": "a", "value": ""}]), helm(parameters=[{"name": "a"}])), ""),
    (
        compared(
            {"source": {**SOURCE["source"], "kustomize": {"images": ["app:2"]}}},
            {"source": {**SOURCE["source"], "kustomize": {"images": ["app:1"]}}},
        ),
        NOT_COMPARED,
    ),
    (compared({"destination": CLUSTER}, {"destination": CLUSTER}), ""),
    (compared({"destination": {**CLUSTER, "name": ""}}, {"destination": CLUSTER}), ""),
    (compared({"destination": CLUSTER}, {"destination": {**CLUSTER, "namespace": "old"}}), NOT_COMPARED),
    (compared(SEVERAL, {**NOTHING, "sources": SEVERAL["sources"]}), ""),
    (compared({**SEVERAL, **SOURCE}, {**NOTHING, "sources": SEVERAL["sources"]}), ""),
    (compared(SEVERAL, {**NOTHING, "sources": SEVERAL["sources"][:1]}), NOT_COMPARED),
    (compared(SEVERAL, {}), NOT_COMPARED),
    (compared({}, {**NOTHING, "sources": SEVERAL["sources"]}), NOT_COMPARED),
    (compared({"sourceHydrator": {"syncSource": {"targetBranch": "hydrated"}}}, helm(values="a: 1")), ""),
    (compared({"ignoreDifferences": [RESCALED]}, {"ignoreDifferences": [RESCALED]}), ""),
    (compared({}, {"ignoreDifferences": [RESCALED]}), NOT_COMPARED),
    (compared({"ignoreDifferences": [RESCALED]}, {}), ""),
]
APPLICATIONS: list[tuple[Object, str]] = [
    *COMPARISONS,
    (application(), ""),
    (application({**AUTOMATED, "source": {"repoURL": "r", "path": "p", "targetRevision": "v2", "helm": {}}}), ""),
    (live("argoproj.io/v1alpha1", "Application", {}), "Argo CD has not compared it with its source yet"),
    (application(sync=OLD), "Argo CD has not compared it with its source yet"),
    (application(annotations={"argocd.argoproj.io/refresh": "normal"}), "Argo CD has not refreshed it yet"),
    ({**application(), "operation": {"sync": {}}}, "its sync has not begun yet"),
    (
        application(operationState={"phase": "Running", "message": "waiting for hook"}),
        "its sync is running: waiting for hook",
    ),
    (application(sync=OUT), "it is OutOfSync"),
    (application(SOURCE, sync=OUT), "it is OutOfSync, and it has no automated sync policy: somebody must sync it"),
    (
        application(
            health={"status": "Degraded"},
            resources=[{"kind": "Pod", "name": "x", "health": {"status": "Degraded", "message": "crash"}}],
        ),
        "its health is Degraded (Pod x Degraded: crash)",
    ),
    (
        application(
            sync={**OUT, "revision": "new"},
            operationState={"phase": "Failed", "message": "m", "syncResult": {"revision": "old"}},
        ),
        "it is OutOfSync",
    ),
]

READY = {"conditions": told(("Ready", "True")), "observedGeneration": 2}
REQUESTED = {"reconcile.fluxcd.io/requestedAt": "t1"}


def flux(status: t.Any, spec: t.Any = None, kind: str = "Kustomization", **meta: t.Any) -> Object:
    return live("kustomize.toolkit.fluxcd.io/v1", kind, status, spec, **meta)


def of_several(phase: str, *tried: str) -> Object:
    """With two sources, compared with the commits ``a`` and ``b``; its last sync was to others, or to these."""
    sync = {"status": "OutOfSync", "revisions": ["a", "b"], "comparedTo": {"sources": SEVERAL["sources"]}}
    ended = {"phase": phase, "message": "m", "syncResult": {"revisions": list(tried)}}
    return application({**SEVERAL, "syncPolicy": {"automated": {}}}, sync=sync, operationState=ended)


def test_a_failed_sync_of_other_commits_of_several_sources_is_no_failure_of_these() -> None:
    """As with one source: Argo CD tries the new ones."""
    assert readiness.reason_of(of_several("Failed", "a", "old")) == "it is OutOfSync"
    with pytest.raises(readiness.Failure, match="its sync failed: m"):
        readiness.reason_of(of_several("Failed", "a", "b"))


def of_flux(*found: tuple[str, ...]) -> Object:
    return {"conditions": told(*found), "observedGeneration": 2}


FLUXES: list[tuple[Object, str]] = [
    (flux(READY), ""),
    (flux(READY, {"suspend": True}), ""),
    (flux({}), "no controller of Flux has seen it yet"),
    (flux({**READY, "observedGeneration": 1}), UNSEEN),
    (
        flux(READY, annotations=REQUESTED),
        "the reconciliation that was asked for at t1 has not been done yet",
    ),
    (flux({**READY, "lastHandledReconcileAt": "t1"}, annotations=REQUESTED), ""),
    (flux(of_flux(("Ready", "False", "BuildFailed", "no such file"))), "BuildFailed: no such file"),
    (flux(of_flux(("Reconciling", "True", "Progressing", "building"))), "Progressing: building"),
    (live("notification.toolkit.fluxcd.io/v1beta3", "Alert"), ""),
]

OTHERS: list[tuple[Object, str]] = [
    (live("cert-manager.io/v1", "Certificate"), "it has no condition Ready yet"),
    (live("cert-manager.io/v1", "ClusterIssuer", {"conditions": told(("Ready", "True"))}), ""),
    (live("cert-manager.io/v1", "Certificate", {"conditions": told(("Ready", "True"), seen=1)}), UNSEEN),
    (live("bitnami.com/v1alpha1", "SealedSecret"), "it has no condition Synced yet"),
    (
        live("bitnami.com/v1alpha1", "SealedSecret", {"observedGeneration": 2, "conditions": told(("Synced", "True"))}),
        "",
    ),
    (live("snapshot.storage.k8s.io/v1", "VolumeSnapshot", {"readyToUse": False}), "it is not ready to use yet"),
    (
        live(
            "v1",
            "Service",
            {"conditions": told(("cilium.io/IPAMRequestSatisfied", "False", "no_pool", "no pool"))},
            {"type": "LoadBalancer"},
        ),
        "it has no load balancer address (no_pool: no pool)",
    ),
    # Others have kinds of the same names.
    (live("networking.istio.io/v1", "Gateway"), ""),
    (
        live("serving.knative.dev/v1", "Service", {"conditions": told(("Ready", "False", "RevisionMissing"))}),
        "RevisionMissing",
    ),
    (live("app.k8s.io/v1beta1", "Application"), ""),
    (live("example.com/v1", "Thing", {"conditions": told(("Reconciling", "True", "Busy"))}), "Busy"),
]


def cases(found: list[tuple[Object, str]]) -> t.Any:
    ids = [f"{one['kind']}-{number}-{why or 'ready'}" for number, (one, why) in enumerate(found)]
    return pytest.mark.parametrize(("given", "reason"), found, ids=ids)


@cases(ROUTES + GATEWAYS + APPLICATIONS + FLUXES + OTHERS)
def test_an_object_is_ready_or_says_why_not(given: Object, reason: str) -> None:
    assert readiness.reason_of(given) == reason


FAILURES: dict[str, tuple[Object, str, float]] = {
    "not allowed": (
        route(answer(("Accepted", "False", "NotAllowedByListeners", "no listener"))),
        f"{PLACE}: NotAllowedByListeners: no listener",
        10,
    ),
    "not supported": (route(answer(("Accepted", "False", "UnsupportedValue", "regex"))), "UnsupportedValue: regex", 3),
    "a part": (
        route(answer(*GOOD, ("PartiallyInvalid", "True", "UnsupportedValue", "rule 2"))),
        "only a part of it",
        3,
    ),
    "conflict": (
        gateway(*UP, listeners=part(("Conflicted", "True", "HostnameConflict", "two"))),
        "listener http: HostnameConflict: two",
        10,
    ),
    "sync": (
        application(operationState={"phase": "Failed", "message": "m", "syncResult": {"revision": "abc"}}),
        "its sync failed: m",
        3,
    ),
    "sync error": (application(sync=OUT, operationState={"phase": "Error"}), "its sync ended in an error", 3),
    "comparison": (
        application(conditions=[{"type": "ComparisonError", "message": "no such path"}]),
        "ComparisonError: no such path",
        20,
    ),
    "stalled": (flux(of_flux(("Stalled", "True", "RetriesExceeded", "m"))), "RetriesExceeded: m", 0),
    "suspended": (flux(of_flux(("Ready", "False", "X", "m")), {"suspend": True}), "it is suspended (X: m)", 0),
    "issuance": (
        live(
            "cert-manager.io/v1",
            "Certificate",
            {"conditions": told(("Ready", "False", "DoesNotExist"), ("Issuing", "False", "Failed", "acme said no"))},
        ),
        "Failed: acme said no",
        10,
    ),
    "denied": (
        live("cert-manager.io/v1", "CertificateRequest", {"conditions": told(("Denied", "True", "Policy", "m"))}),
        "Policy: m",
        0,
    ),
    "unsealing": (
        live(
            "bitnami.com/v1alpha1",
            "SealedSecret",
            {"observedGeneration": 2, "conditions": told(("Synced", "False", "", "no key could decrypt secret"))},
        ),
        "no key could decrypt secret",
        10,
    ),
    "pools": (
        live(
            "cilium.io/v2",
            "CiliumLoadBalancerIPPool",
            {"conditions": told(("cilium.io/PoolConflict", "True", "x", "m"))},
        ),
        "x: m",
        10,
    ),
    "kstatus": (live("example.com/v1", "Thing", {"conditions": told(("Stalled", "True", "Broken"))}), "Broken", 0),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_will_not_pass_is_a_failure_after_its_grace(case: str) -> None:
    given, words, grace = FAILURES[case]
    with pytest.raises(readiness.Failure) as raised:
        readiness.reason_of(given)
    assert words in str(raised.value) and raised.value.grace == grace


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (("Issuing", "False", ""), ""),
        (("Issuing", "False", "Done"), ""),
        (("Issuing", "True", ""), "its condition Issuing is False (Done: m)"),
        (("Issuing", "False", "Other"), "its condition Issuing is False (Done: m)"),
        (("Other", "True", ""), "it has no condition Other yet"),
    ],
)
def test_any_condition(asked: tuple[str, str, str], reason: str) -> None:
    one = live("example.com/v1", "Thing", {"conditions": told(("Issuing", "False", "Done", "m"))})
    assert wants(*asked)(one) == reason
