# SPDX-License-Identifier: GPL-3.0-or-later
"""Argo CD's and Flux's controllers as far as their definitions' documentation says what they write, and as a test tells them.

Argo CD: takes ``.operation``, writes ``.status.operationState`` (phase, startedAt, finishedAt, message, syncResult), then
compares (``.status.sync``, ``.status.health``, ``.status.reconciledAt``); removes the refresh annotation once it has refreshed.
Flux: writes the conditions Ready, Reconciling and Stalled, ``observedGeneration``, ``lastHandledReconcileAt`` and its revision.
"""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import sys
import threading
import typing as t

import yaml
from k8s_played_nodes import JSON, MERGE, Somebody, until

ROOT = pathlib.Path(__file__).parents[3]
sys.path.append(str(ROOT / "tests/simulator/played"))

import gomodules

Object = dict[str, t.Any]

REFRESH = "argocd.argoproj.io/refresh"
REQUESTED = "reconcile.fluxcd.io/requestedAt"
SOURCES = "source.toolkit.fluxcd.io/v1"
#: Kind -> (API version, plural)
KINDS = {
    "Application": ("argoproj.io/v1alpha1", "applications"),
    "Kustomization": ("kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
    "HelmRelease": ("helm.toolkit.fluxcd.io/v2", "helmreleases"),
    "GitRepository": (SOURCES, "gitrepositories"),
    "OCIRepository": (SOURCES, "ocirepositories"),
    "HelmRepository": (SOURCES, "helmrepositories"),
    "HelmChart": (SOURCES, "helmcharts"),
}
#: Where the definitions lie. Of Argo CD's only the Application's, as the others are large and not needed.
FILES = (
    (gomodules.SOURCE_CONTROLLER, "config/crd/bases/*.yaml"),
    (gomodules.KUSTOMIZE_CONTROLLER, "config/crd/bases/*.yaml"),
    (gomodules.HELM_CONTROLLER, "config/crd/bases/*.yaml"),
    (gomodules.ARGO_CD, "manifests/crds/application-crd.yaml"),
)


def definitions() -> list[Object]:
    """As published."""
    files = [one for module, names in FILES for one in sorted(gomodules.folder(module).glob(names))]
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [yaml.load(one.read_text(), Loader=loader) for one in files]


def define(server: t.Any) -> None:
    """Bring the definitions to the server, and wait until it has the kinds."""
    act = Somebody(server.kubeconfig).act
    root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for one in definitions():
        act("POST", root, one, JSON)

    def established() -> bool:
        found = [one.get("status", {}).get("conditions") or [] for one in act("GET", root)["items"]]
        return all(
            {"Established": "True"}.items() <= {one["type"]: one["status"] for one in conditions}.items()
            for conditions in found
        )

    assert until(established), "the API server does not serve the definitions"


def path(kind: str, namespace: str, name: str = "") -> str:
    version, plural = KINDS[kind]
    return f"/apis/{version}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def stamp() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Played:
    """Looks at the objects of a namespace again and again, and does with each what ``tell`` says of its name."""

    def __init__(self, lab: t.Any) -> None:
        self.namespace = lab.namespace
        self.act = Somebody(lab.server.kubeconfig).act
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        #: What happened, as (what, kind/name).
        self.seen: list[tuple[str, str]] = []

    def __enter__(self) -> t.Any:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _live(self) -> None:
        while not self._stop.wait(0.1):
            with contextlib.suppress(RuntimeError):
                self.once()

    def once(self) -> None:
        raise NotImplementedError

    def objects(self, kind: str) -> list[Object]:
        return [{"kind": kind, **one} for one in self.act("GET", path(kind, self.namespace))["items"]]

    def patch(self, live: Object, patch: Object, subresource: str = "") -> None:
        target = path(live["kind"], self.namespace, live["metadata"]["name"])
        self.act("PATCH", f"{target}{subresource}", patch, MERGE)


class Argo(Played):
    """``head``: the commit that each application's target is now. ``tell``: what comes of an application's sync."""

    def __init__(self, lab: t.Any, head: str = "a" * 40) -> None:
        super().__init__(lab)
        self.head = head
        self.tell: dict[str, Object] = {}
        self.operations: list[Object] = []

    def once(self) -> None:
        for live in self.objects("Application"):
            name = live["metadata"]["name"]
            state = (live.get("status") or {}).get("operationState") or {}
            if state.get("phase") == "Running":
                self._finish(live, state, self.tell.get(name, {}))
            elif live.get("operation"):
                self.seen.append(("sync", name))
                self.operations.append(live["operation"])
                self._begin(live)
            elif REFRESH in (live["metadata"].get("annotations") or {}):
                self.seen.append(("refresh", name))
                self.patch(live, {"metadata": {"annotations": {REFRESH: None}}, **self.compare(live)})

    def _begin(self, live: Object) -> None:
        state = {
            "operation": live["operation"],
            "phase": "Running",
            "startedAt": stamp(),
            "message": "waiting for hooks",
        }
        self.patch(live, {"operation": None, "status": {"operationState": state}})

    def _finish(self, live: Object, state: Object, told: Object) -> None:
        phase = told.get("phase", "Succeeded")
        if phase == "Running":
            return
        asked = state["operation"]["sync"].get("revision") or ""
        revision = self.head if asked in ("main", "HEAD") or self.head.startswith(asked) else asked
        result = {"revision": revision, "source": live["spec"]["source"], "resources": told.get("results", [])}
        message = told.get("message", "successfully synced (all tasks run)")
        ended = {"phase": phase, "message": message, "finishedAt": stamp(), "syncResult": result}
        done = {**self.compare(live, revision if phase == "Succeeded" else "")["status"], "operationState": ended}
        self.patch(live, {"status": done})

    def compare(self, live: Object, synced: str = "") -> Object:
        """Against the head; ``synced`` to which commit just now."""
        told = self.tell.get(live["metadata"]["name"], {})
        applied = synced or str((live["metadata"].get("annotations") or {}).get("test/applied") or "")
        if synced:
            self.patch(live, {"metadata": {"annotations": {"test/applied": synced}}})
        default = "Synced" if applied == self.head else "OutOfSync"
        source = live["spec"].get("source")
        compared = {"source": source} if source else {"sources": live["spec"]["sources"]}
        sync = {
            "status": told.get("sync", default),
            "revision": self.head,
            "comparedTo": {**compared, "destination": live["spec"]["destination"]},
        }
        status = {
            "sync": sync,
            "health": {"status": told.get("health", "Healthy")},
            "reconciledAt": stamp(),
            "resources": told.get("resources", []),
            "conditions": told.get("conditions", []),
        }
        return {"status": status}


class Flux(Played):
    """``tell``: kind/name -> (reason, message) of a failure, or a revision."""

    ORDER = ("HelmRepository", "GitRepository", "OCIRepository", "HelmChart", "Kustomization", "HelmRelease")

    def __init__(self, lab: t.Any) -> None:
        super().__init__(lab)
        self.tell: dict[str, t.Any] = {}
        #: What is said of each kind's revision where nothing else is told.
        self.head = "main@sha1:" + "b" * 40

    def once(self) -> None:
        for kind in self.ORDER:
            for live in self.objects(kind):
                self._look(live)

    def _look(self, live: Object) -> None:
        meta, status = live["metadata"], live.get("status") or {}
        if live["spec"].get("suspend") or live["spec"].get("type") == "oci":
            return
        asked = (meta.get("annotations") or {}).get(REQUESTED)
        seen = [one.get("observedGeneration") for one in status.get("conditions") or []]
        if seen[:1] == [meta["generation"]] and (not asked or asked == status.get("lastHandledReconcileAt")):
            return
        self.seen.append(("reconcile", f"{live['kind']}/{meta['name']}"))
        told = self.tell.get(f"{live['kind']}/{meta['name']}")
        done = self._done(live, told if isinstance(told, str) else self.head)
        if isinstance(told, tuple):
            done = self._failed(live, *told)
        self.patch(live, {"status": {**done, **({"lastHandledReconcileAt": asked} if asked else {})}}, "/status")

    def _done(self, live: Object, revision: str) -> Object:
        done: Object = {"observedGeneration": live["metadata"]["generation"]}
        if live["kind"] == "Kustomization":
            done |= {"lastAppliedRevision": revision, "lastAttemptedRevision": revision}
        elif live["kind"] == "HelmRelease":
            done |= {"history": [release(revision)]}
        else:
            done |= {"artifact": artifact(revision)}
        return {**done, "conditions": self.conditions(live, ("Ready", "True", "Succeeded", f"at {revision}"))}

    def _failed(self, live: Object, reason: str, message: str, more: tuple[tuple[str, ...], ...] = ()) -> Object:
        found = self.conditions(live, ("Ready", "False", reason, message), *more)
        # As the real ones: the status as a whole counts only what has succeeded, or is stalled.
        stalled = any(one["type"] == "Stalled" for one in found)
        return {"observedGeneration": live["metadata"]["generation"] if stalled else -1, "conditions": found}

    def conditions(self, live: Object, *found: tuple[str, ...]) -> list[Object]:
        names = ("type", "status", "reason", "message")
        more = {"lastTransitionTime": stamp(), "observedGeneration": live["metadata"]["generation"]}
        return [{**dict(zip(names, one, strict=True)), **more} for one in found]


def artifact(revision: str) -> Object:
    return {
        "digest": "sha256:" + "c" * 64,
        "lastUpdateTime": stamp(),
        "path": "p",
        "revision": revision,
        "url": "http://x",
    }


def release(version: str) -> Object:
    return {
        "chartName": "app", "chartVersion": version, "configDigest": "sha256:" + "c" * 64, "digest": "sha256:" + "d" * 64,
        "firstDeployed": stamp(), "lastDeployed": stamp(), "name": "app", "namespace": "default", "status": "deployed",
        "version": 1,
    }  # fmt: skip


def application(name: str, **spec: t.Any) -> Object:
    source = {"repoURL": "https://git.example.com/lab.git", "path": name, "targetRevision": "main"}
    destination = {"server": "https://kubernetes.default.svc", "namespace": "default"}
    full = {
        "project": "default",
        "destination": destination,
        **({} if "sources" in spec else {"source": source}),
        **spec,
    }
    return {"apiVersion": KINDS["Application"][0], "kind": "Application", "metadata": {"name": name}, "spec": full}


def flux(kind: str, name: str, **spec: t.Any) -> Object:
    defaults: dict[str, Object] = {
        "Kustomization": {"interval": "1h", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "lab"}},
        "HelmRelease": {"interval": "1h"},
        "GitRepository": {"interval": "1h", "url": "https://git.example.com/lab.git"},
        "OCIRepository": {"interval": "1h", "url": "oci://registry.example.com/lab"},
        "HelmRepository": {"interval": "1h", "url": "https://charts.example.com"},
        "HelmChart": {
            "interval": "1h",
            "chart": "app",
            "sourceRef": {"kind": "HelmRepository", "name": "charts"},
        },
    }
    full = {**defaults[kind], **spec}
    return {"apiVersion": KINDS[kind][0], "kind": kind, "metadata": {"name": name}, "spec": full}
