# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``ready`` on a real API server: the tests play the controllers."""

from __future__ import annotations

import pathlib
import threading
import time
import typing as t

import pytest
import yaml
from addon_lab import SYNCED, conditions, definition, named, report, said

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import readiness_board, watches
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute
from ansible_collections.groundwork.homelab.plugins.modules import ready

Object = dict[str, t.Any]

OBJECT = {"name": None, "api_version": None, "namespace": None, "selector": None, "at_least": None}


def run(lab: t.Any, objects: t.Sequence[Object] = (), *, check: bool = False, **params: t.Any) -> Object:
    defaults = {name: option.get("default") for name, option in ready.SPEC.argument_spec.items()}
    given = {"kubeconfig": str(lab.server.kubeconfig), "namespace": lab.namespace, "wait_timeout": 20.0}
    full = [{**OBJECT, "all_namespaces": False, "conditions": [], "state": "ready", **one} for one in objects]
    task = Task(
        params={**defaults, **given, "objects": full, **params},
        check_mode=check,
        warn=lab.warnings.append,
        progress=lab.progress.append,
        secrets=lab.secrets,
    )
    return execute(ready.run, task)


def wanted(kind: str, name: str, **more: t.Any) -> Object:
    return {"kind": kind, "name": name, **more}


def made(lab: t.Any, *objects: Object) -> list[Object]:
    """Applied; what to wait for."""
    done = lab.run(list(objects))
    assert "msg" not in done, done
    return [wanted(one["kind"], one["metadata"]["name"], api_version=one["apiVersion"]) for one in objects]


def later(seconds: float, act: t.Callable[[], t.Any]) -> threading.Timer:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
    return timer


CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"}
BALANCED = {"type": "LoadBalancer", "ports": [{"port": 80}]}

#: Kind -> (spec, status that is not enough, the reason then, status that is)
STORIES: dict[str, tuple[Object, Object, str, Object]] = {
    "Service": (BALANCED, {}, "no load balancer address", {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
    "PersistentVolumeClaim": (CLAIM, {"phase": "Pending"}, 'storageclass.storage.k8s.io "none"', {"phase": "Bound"}),
    "Application": (
        {"source": {"repoURL": "x"}},
        {**SYNCED, "health": {"status": "Progressing", "message": "waiting for rollout"}},
        "its health is Progressing: waiting for rollout",
        SYNCED,
    ),
    "Kustomization": (
        {},
        conditions(("Ready", "Unknown", "Progressing", "reconciliation in progress"), observedGeneration=1),
        "reconciliation in progress",
        conditions(("Ready", "True", "ReconciliationSucceeded"), observedGeneration=1),
    ),
    "HelmRelease": (
        {},
        conditions(("Ready", "False", "DependencyNotReady", "dependency not ready"), observedGeneration=1),
        "DependencyNotReady: dependency not ready",
        conditions(("Ready", "True", "InstallSucceeded"), observedGeneration=1),
    ),
    "Certificate": (
        {},
        conditions(("Ready", "False", "DoesNotExist", "Issuing certificate as Secret does not exist")),
        "DoesNotExist: Issuing certificate",
        conditions(("Ready", "True", "Ready")),
    ),
}


def test_thirty_objects_are_noticed_at_once_with_one_list_and_one_watch_a_kind(lab: t.Any, addons: None) -> None:
    objects = [named(kind, f"{kind.lower()}-{n}", story[0]) for kind, story in STORIES.items() for n in range(5)]
    waited = made(lab, *objects)
    for one in objects:
        report(lab, one["kind"], one["metadata"]["name"], STORIES[one["kind"]][1])
    changed: dict[str, float] = {}
    begun = time.monotonic()

    def play() -> None:
        for one in objects:
            time.sleep(0.05)
            report(lab, one["kind"], one["metadata"]["name"], STORIES[one["kind"]][3])
            changed[f"{one['kind']} {lab.namespace}/{one['metadata']['name']}"] = time.monotonic() - begun

    heard: dict[str, float] = {}
    lab.progress = Heard(heard, begun)
    before = lab.server.mark()
    player = later(1.0, play)
    done = run(lab, waited)
    player.join(10)
    assert "msg" not in done, done
    assert [one["ready"] for one in done["objects"]] == [True] * len(objects)
    lags = [heard[name] - changed[name] for name in changed]
    assert len(lags) == len(objects) and max(lags) < 1.0, sorted(lags)[-3:]
    asked = [(verb, uri.partition("?")[0]) for verb, uri in lab.server.requests(before)]
    for kind in ("services", "applications", "kustomizations", "helmreleases", "certificates"):
        assert [verb for verb, uri in asked if uri.endswith(f"/{kind}")].count("list") == 1, kind


class Heard(list[str]):
    """Progress, and when an object was said to be ready."""

    def __init__(self, times: dict[str, float], begun: float) -> None:
        super().__init__()
        self.times, self.begun = times, begun

    def append(self, line: str) -> None:
        super().append(line)
        name, found, _ = line.partition(" is ready (")
        if found:
            self.times[name] = time.monotonic() - self.begun


@pytest.mark.parametrize("kind", STORIES)
def test_the_reason_is_the_controllers_own_and_the_wait_ends_with_the_status(
    kind: str, lab: t.Any, addons: None
) -> None:
    spec, waiting, reason, enough = STORIES[kind]
    (one,) = made(lab, named(kind, "a", spec))
    report(lab, kind, "a", waiting)
    late = run(lab, [one], wait_timeout=0.5)
    assert late["error"]["kind"] == "WaitTimeout"
    assert reason in late["msg"] and reason in late["error"]["waiting"][0]["reason"]
    later(0.3, lambda: report(lab, kind, "a", enough))
    done = run(lab, [one])
    assert "msg" not in done and done["changed"] is False


FAILURES: dict[str, tuple[str, Object, str]] = {
    "a failed job": (
        "Job",
        conditions(
            ("FailureTarget", "True", "BackoffLimitExceeded"),
            ("Failed", "True", "BackoffLimitExceeded", "no luck"),
            active=None,
        ),
        "BackoffLimitExceeded",
    ),
    "a sync that failed": (
        "Application",
        {
            "sync": {"status": "OutOfSync", "revision": "abc"},
            "health": {"status": "Missing"},
            "operationState": {
                "phase": "Failed",
                "message": "one or more objects failed to apply: quota",
                "syncResult": {"revision": "abc"},
            },
        },
        "its sync failed: one or more objects failed to apply: quota",
    ),
    "a release that is stalled": (
        "HelmRelease",
        conditions(
            ("Stalled", "True", "RetriesExceeded", "Failed to install after 1 attempt(s)"),
            ("Ready", "False", "InstallFailed", "timed out"),
            observedGeneration=1,
        ),
        "RetriesExceeded: Failed to install after 1 attempt(s)",
    ),
}


def started(lab: t.Any, name: str) -> None:
    """Its controller has made its pod: what the test says then stays."""
    end = time.monotonic() + 20
    while time.monotonic() < end and not (lab.live("batch/v1", "Job", name).get("status") or {}).get("active"):
        time.sleep(0.1)


@pytest.mark.parametrize("case", FAILURES)
def test_what_has_failed_ends_the_wait_within_seconds(case: str, lab: t.Any, addons: None) -> None:
    kind, status, words = FAILURES[case]
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}
    spec = {"template": {"spec": pod}} if kind == "Job" else {"source": {"repoURL": "x"}}
    waited = made(lab, named(kind, "a", spec), named("Certificate", "other"))
    if kind == "Job":
        started(lab, "a")
    report(lab, kind, "a", status)
    begun = time.monotonic()
    failed = run(lab, waited, wait_timeout=60.0)
    assert time.monotonic() - begun < 8
    assert failed["error"]["kind"] == "TaskFailed" and words in failed["msg"]
    assert f"{kind} {lab.namespace}/a" in failed["msg"]
    assert {one["resource"] for one in failed["error"]["waiting"]} >= {f"{kind}/{lab.namespace}/a"}


def test_the_latest_event_is_told_where_the_status_is_silent(lab: t.Any, addons: None) -> None:
    (one,) = made(lab, named("Service", "a", BALANCED))
    live = lab.live("v1", "Service", "a")
    said(lab, live, "NoPool", "no pool has an address left")
    late = run(lab, [one], wait_timeout=0.3)
    assert "it has no load balancer address; latest event: NoPool: no pool has an address left" in late["msg"]


def test_a_certificates_request_is_told(lab: t.Any, addons: None) -> None:
    mine = {"cert-manager.io/certificate-name": "a"}
    one, _request = made(lab, named("Certificate", "a"), named("CertificateRequest", "a-1", annotations=mine))
    report(lab, "Certificate", "a", STORIES["Certificate"][1])
    text = 'Referenced "Issuer" not found: issuer.cert-manager.io "lab" not found'
    report(lab, "CertificateRequest", "a-1", conditions(("Ready", "False", "Pending", text)))
    late = run(lab, [one], wait_timeout=0.3)
    assert f"CertificateRequest a-1: Pending: {text}" in late["msg"]


def workload(name: str) -> Object:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
    return named("Deployment", name, {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod})


def pods_of(lab: t.Any, number: int) -> list[Object]:
    """Once the controllers have made them."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = lab.client.list(lab.client.resource("v1", "Pod"), lab.namespace)
        if len(found) >= number:
            return found
        time.sleep(0.1)
    raise AssertionError("there are no pods")


def test_an_event_at_the_pod_tells_why_a_deployment_is_not_ready(lab: t.Any) -> None:
    (one,) = made(lab, workload("web"))
    (pod,) = pods_of(lab, 1)
    said(lab, pod, "FailedMount", 'MountVolume.SetUp failed for volume "config": configmap "web" not found')
    late = run(lab, [one], wait_timeout=0.3)
    assert "0 of 1 replicas available; latest event: FailedMount: MountVolume.SetUp failed" in late["msg"]


def test_the_pods_of_many_deployments_are_looked_at_together(lab: t.Any) -> None:
    """Once a second: the pods, what owns them, and the events about them, of the whole namespace."""
    waited = made(lab, *(workload(f"web-{number}") for number in range(6)))
    pods = pods_of(lab, 6)
    pull = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "a" not found'}}
    container = {"name": "main", "image": "x", "imageID": "", "restartCount": 0, "ready": False, "state": pull}
    path = f"/api/v1/namespaces/{lab.namespace}/pods/{pods[0]['metadata']['name']}/status"
    lab.act("PATCH", path, {"status": {"containerStatuses": [container]}})
    before = lab.server.mark()
    late = run(lab, waited, wait_timeout=1.5)
    assert 'CreateContainerConfigError: secret "a" not found' in late["msg"] and "and 3 more" in late["msg"]
    assert len(late["error"]["waiting"]) == 6
    asked = [uri.partition("?")[0].rpartition("/")[2] for verb, uri in lab.server.requests(before) if verb == "list"]
    assert asked.count("deployments") == 1 and asked.count("pods") <= 4 and len(asked) <= 13, asked


def test_selectors_wait_for_as_many_as_there_must_be(lab: t.Any, addons: None) -> None:
    labels = {"app": "web"}
    by = {"kind": "Kustomization", "selector": "app=web", "at_least": 2}
    made(lab, named("Kustomization", "a", labels=labels), named("Kustomization", "other"))
    enough = STORIES["Kustomization"][3]
    report(lab, "Kustomization", "a", enough)
    late = run(lab, [by], wait_timeout=0.3)
    assert f"Kustomizations {lab.namespace} (app=web): 1 of at least 2 are there" in late["msg"]

    def second() -> None:
        made(lab, named("Kustomization", "b", labels=labels))
        report(lab, "Kustomization", "b", enough)

    later(0.3, second)
    done = run(lab, [by])
    assert [one["found"] for one in done["objects"]] == [
        [f"Kustomization/{lab.namespace}/a", f"Kustomization/{lab.namespace}/b"]
    ]
    assert done["objects"][0]["resource"] == f"Kustomization/{lab.namespace}/[app=web]"


def test_presence_absence_and_any_condition(lab: t.Any, addons: None) -> None:
    made(lab, named("Certificate", "old"), named("Certificate", "new"))
    root = f"/apis/cert-manager.io/v1/namespaces/{lab.namespace}/certificates"
    late = run(lab, [wanted("Certificate", "old", state="absent")], wait_timeout=0.3)
    assert "Certificate " in late["msg"] and "it is still there" in late["msg"]
    later(0.3, lambda: lab.act("DELETE", f"{root}/old", None))
    later(0.4, lambda: made(lab, named("ConfigMap", "comes") | {"spec": None}))
    later(0.5, lambda: report(lab, "Certificate", "new", conditions(("Issuing", "False", "Done"))))
    asked = [{"type": "Issuing", "status": "False", "reason": "Done"}]
    wants = [
        wanted("Certificate", "old", state="absent"),
        wanted("ConfigMap", "comes", state="present"),
        wanted("Certificate", "new", conditions=asked),
    ]
    done = run(lab, wants)
    assert "msg" not in done, done
    other = [{"type": "Issuing", "status": "True", "reason": None}]
    late = run(lab, [wanted("Certificate", "new", conditions=other)], wait_timeout=0.2)
    assert "its condition Issuing is False (Done)" in late["msg"]


def test_a_kind_that_comes_later_is_waited_for(lab: t.Any, addons: None) -> None:
    group = f"{lab.namespace}.example.com"
    one = wanted("Thing", "a", api_version=group)
    late = run(lab, [one], wait_timeout=0.2)
    assert f"the server does not serve this kind ({group})" in late["msg"]
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "a"}}
    crd = definition("things", group, "v1", "Thing")
    later(0.5, lambda: made(lab, crd, thing))
    assert "msg" not in run(lab, [one])
    wrong = run(lab, [wanted("Deploymint", "a", api_version="apps/v1")])
    assert wrong["error"]["kind"] == "NotFound" and "apps/v1 has " in wrong["msg"]


def test_check_mode_looks_once_and_warns(lab: t.Any, addons: None) -> None:
    waited = made(lab, named("Application", "a", {"source": {"repoURL": "x"}}), named("Certificate", "b"))
    report(lab, "Application", "a", FAILURES["a sync that failed"][1])
    begun = time.monotonic()
    done = run(lab, waited, check=True)
    assert "msg" not in done and time.monotonic() - begun < 5
    assert [one["ready"] for one in done["objects"]] == [False, False]
    assert any("Certificate" in line and "a run would wait for it" in line for line in lab.warnings)
    assert run(lab, waited, check=True, planned=True, kubeconfig="/nonexistent")["objects"] == []


def reader_of(lab: t.Any, tmp_path: pathlib.Path, *verbs: str) -> str:
    """A kubeconfig of somebody who may do this with certificates of the namespace."""
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": ["cert-manager.io"], "resources": ["certificates"], "verbs": list(verbs)}]
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "look"}, "rules": rules}
    subjects = [{"kind": "User", "name": "reader", "apiGroup": group}]
    reference = {"apiGroup": group, "kind": "Role", "name": "look"}
    binding = {**role, "kind": "RoleBinding", "roleRef": reference, "subjects": subjects}
    del binding["rules"]
    made(lab, role, binding)
    return str(lab.server.write_kubeconfig(tmp_path / "reader", "reader"))


@pytest.mark.parametrize("verbs", [("get", "list"), ("get",)], ids=["who may not watch", "who may not list"])
def test_who_may_not_watch_asks_again_and_again(
    verbs: tuple[str, ...], lab: t.Any, addons: None, tmp_path: pathlib.Path
) -> None:
    (one,) = made(lab, named("Certificate", "a"))
    reader = reader_of(lab, tmp_path, *verbs)
    later(1.0, lambda: report(lab, "Certificate", "a", STORIES["Certificate"][3]))
    begun = time.monotonic()
    done = run(lab, [one], kubeconfig=reader)
    assert "msg" not in done, done
    assert time.monotonic() - begun < 6


def test_a_right_that_is_missing_is_said_at_once(lab: t.Any, addons: None, tmp_path: pathlib.Path) -> None:
    (one,) = made(lab, named("Certificate", "a"))
    reader = reader_of(lab, tmp_path, "watch")
    failed = run(lab, [one], kubeconfig=reader)
    assert failed["error"]["kind"] == "AccessDenied"
    assert 'User "reader" cannot get resource "certificates"' in failed["msg"]
    every = {"kind": "Certificate", "selector": "", "all_namespaces": True}
    assert 'cannot list resource "certificates"' in run(lab, [every], kubeconfig=reader)["msg"]


def test_many_namespaces_are_followed_together_or_each_by_itself(
    lab: t.Any, addons: None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness_board, "WIDE_FROM", 2)
    made(lab, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{lab.namespace}-b"}})
    other = named("Certificate", "b", namespace=f"{lab.namespace}-b")
    one, _ = made(lab, named("Certificate", "a"), other)
    report(lab, "Certificate", "a", STORIES["Certificate"][3])
    waited = [one, wanted("Certificate", "b", namespace=f"{lab.namespace}-b", state="present")]
    before = lab.server.mark()
    assert "msg" not in run(lab, waited)
    lists = [uri for verb, uri in lab.server.requests(before) if verb == "list"]
    assert [uri.partition("?")[0] for uri in lists] == ["/apis/cert-manager.io/v1/certificates"]
    reader = reader_of(lab, tmp_path, "get", "list", "watch")
    refused = run(lab, waited, kubeconfig=reader)
    assert f'in the namespace "{lab.namespace}-b"' in refused["msg"]


def test_no_watch_is_left_behind(lab: t.Any, addons: None) -> None:
    (one,) = made(lab, named("Certificate", "a"))
    assert run(lab, [one], wait_timeout=0.5)["error"]["kind"] == "WaitTimeout"
    end = time.monotonic() + 5
    while time.monotonic() < end and any(isinstance(one, watches.Watch) for one in threading.enumerate()):
        time.sleep(0.05)
    assert not [one for one in threading.enumerate() if isinstance(one, watches.Watch)]


def test_the_documented_examples_run_and_both_ways_give_the_same(
    play: t.Callable[..., tuple[str, list[t.Any]]], lab: t.Any, addons: None, gateway_api: None
) -> None:
    prepare(lab)
    examples = yaml.safe_load(ready.EXAMPLES)
    text, here = play(examples, here=True)
    assert not any(one.get("failed") for one in here), text
    text, there = play(examples, here=False)
    assert [one.get("objects") for one in there] == [one.get("objects") for one in here], text
    assert [len(one["objects"]) for one in here] == [3, 1, 1, 2]


def prepare(lab: t.Any) -> None:
    """What the examples wait for."""
    labels, at = {"app": "jellyfin"}, {"namespace": "media"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
    workload = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}
    listener = {"name": "http", "protocol": "HTTP", "port": 80}
    objects = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("media", "argocd")]
    objects += [
        named("Deployment", "jellyfin", workload, **at),
        named("PersistentVolumeClaim", "jellyfin", CLAIM, labels=labels, **at),
        named("Gateway", "main", {"gatewayClassName": "cilium", "listeners": [listener]}, **at),
        named("HTTPRoute", "jellyfin", {"parentRefs": [{"name": "main"}]}, **at),
        named("ConfigMap", "operator", namespace="default") | {"spec": None},
        *(named("Application", name, {"source": {"repoURL": "x"}}, namespace="argocd") for name in "abc"),
    ]
    made(lab, *objects)
    bound = "/api/v1/namespaces/media/persistentvolumeclaims/jellyfin/status"
    lab.act("PATCH", bound, {"status": {"phase": "Bound"}})
    for name in "abc":
        path = f"/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/{name}/status"
        lab.act("PATCH", path, {"status": SYNCED})
