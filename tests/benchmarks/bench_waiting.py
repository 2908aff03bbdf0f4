# SPDX-License-Identifier: GPL-3.0-or-later
"""B6: from the moment when the last of 30 objects is ready to the moment when that is known.

The objects become ready one after the other, in the first ten seconds; the benchmark plays their controllers. What counts is
what a program still needs when the last one is ready, not the ten seconds.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import random
import shutil
import sys
import threading
import time
import typing as t

from played_kubernetes import HELPERS, Cluster, Ran
from rows import Cost, Json, Row, Settings

if str(HELPERS) not in sys.path:
    sys.path.append(str(HELPERS))

from addon_lab import SYNCED, conditions, definition, definitions

HERE = pathlib.Path(__file__).resolve().parent
CORE, KUBECTL = "kubernetes.core.k8s_info", "kubectl wait"
FIRST, LAST = 1.0, 10.0
NOTICED = 0.5
#: Seconds for a program to start and ask its first question.
STARTED_WITHIN = 60.0
SPACE = "bench"


@dataclasses.dataclass(frozen=True)
class Kind:
    """How many of a kind there are, how they are made and become ready, and how each peer is told to wait for that."""

    name: str
    plural: str
    api_version: str
    number: int
    spec: Json
    ready: Json
    #: An expression of Ansible on ``found``, and an argument of kubectl wait.
    until: str
    jsonpath: str

    @property
    def path(self) -> str:
        root = "apis" if "/" in self.api_version else "api"
        return f"/{root}/{self.api_version}/namespaces/{SPACE}/{self.plural}"


ACCEPTED = conditions(("Accepted", "True", "Accepted"), ("ResolvedRefs", "True", "ResolvedRefs"))
ROUTE_READY = {"parents": [{"parentRef": {"name": "lab"}, "controllerName": "bench", **ACCEPTED}]}
KINDS = (
    Kind(
        "HTTPRoute",
        "httproutes",
        "gateway.networking.k8s.io/v1",
        10,
        {"parentRefs": [{"name": "lab"}]},
        ROUTE_READY,
        "found.resources[0].status.parents | default([]) | length > 0",
        "{.status.parents[0].conditions[1].status}=True",
    ),
    Kind(
        "Application",
        "applications",
        "argoproj.io/v1alpha1",
        10,
        {"source": {"repoURL": "https://git.example.com/lab"}},
        SYNCED,
        "found.resources[0].status.health.status | default('') == 'Healthy'",
        "{.status.health.status}=Healthy",
    ),
    Kind(
        "Certificate",
        "certificates",
        "cert-manager.io/v1",
        5,
        {},
        conditions(("Ready", "True", "Ready")),
        "found.resources[0].status.conditions | default([]) | length > 0",
        "{.status.conditions[0].status}=True",
    ),
    Kind(
        "Service",
        "services",
        "v1",
        5,
        {"type": "LoadBalancer", "ports": [{"port": 80}]},
        {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
        "found.resources[0].status.loadBalancer.ingress | default([]) | length > 0",
        "{.status.loadBalancer.ingress[0].ip}=192.0.2.1",
    ),
)
ALL = [(kind, f"{kind.name.lower()}-{number}") for kind in KINDS for number in range(kind.number)]


class Controllers(threading.Thread):
    """Makes one object after the other ready, at times that are the same in each run, from the first look of what is
    measured on. ``done``: when, by label."""

    def __init__(self, cluster: Cluster, objects: t.Sequence[tuple[Kind, str]]) -> None:
        super().__init__(daemon=True)
        self.cluster = cluster
        self.mark = cluster.server.mark()
        chance = random.Random(6)
        times = sorted(chance.uniform(FIRST, LAST) for _ in objects)
        shuffled = chance.sample(list(objects), len(objects))
        self.plan = list(zip(times, shuffled, strict=True))
        self.done: dict[str, float] = {}

    def run(self) -> None:
        end = time.monotonic() + STARTED_WITHIN
        while time.monotonic() < end and not any(self.cluster.requests(self.mark)):
            time.sleep(0.1)
        begun = time.monotonic()
        for due, (kind, name) in self.plan:
            time.sleep(max(0.0, begun + due - time.monotonic()))
            self.cluster.act("PATCH", f"{kind.path}/{name}/status", {"status": kind.ready})
            self.done[f"{kind.name} {SPACE}/{name}"] = time.time()

    @property
    def last(self) -> float:
        return max(self.done.values())


def rows(settings: Settings, chosen: t.Collection[str]) -> t.Iterator[Row]:
    if "B6" not in chosen:
        return
    for milliseconds in settings.delays:
        yield from noticed(settings, milliseconds)


def noticed(settings: Settings, milliseconds: int) -> t.Iterator[Row]:
    with Cluster(milliseconds) as cluster:
        _install(cluster)
        mine, controllers = _measured(cluster, lambda: cluster.play([_ours()]))
        lag, requests = _lags(cluster)
        others = [(CORE, lambda: cluster.play(_cores()))] if settings.with_peer(milliseconds) else []
        if shutil.which("kubectl"):
            others.append((KUBECTL, lambda: cluster.run(["sh", "-c", _kubectl()])))
        note = f"each noticed within {lag:.2f} s of its becoming ready, {requests}"
        cost = _after(mine, controllers)
        if not others:
            yield _row(milliseconds, cost, None, "", lag, note)
        for name, program in others:
            other, played = _measured(cluster, program)
            yield _row(milliseconds, cost, _after(other, played), name, lag, note)


def _row(milliseconds: int, mine: Cost, other: Cost | None, peer: str, lag: float, note: str) -> Row:
    aim = f"noticed within {NOTICED:g} s"
    name = f"{len(ALL)} objects, from the last ready to known"
    return Row("B6", name, milliseconds, mine, other, peer, aim, lag < NOTICED, note)


def _measured(cluster: Cluster, program: t.Callable[[], Ran]) -> tuple[Ran, Controllers]:
    _make(cluster)
    controllers = Controllers(cluster, ALL)
    controllers.start()
    ran = program()
    controllers.join(60)
    return ran, controllers


def _after(ran: Ran, controllers: Controllers) -> Cost:
    """The seconds are those after the last object was ready."""
    if ran.ended < controllers.last:
        raise RuntimeError("it ended before the last object was ready")
    return dataclasses.replace(ran.cost, seconds=round(ran.ended - controllers.last, 3))


def _install(cluster: Cluster) -> None:
    post = "application/json"
    cluster.act("POST", "/api/v1/namespaces", {"metadata": {"name": SPACE}}, post)
    routes = definition("httproutes", "gateway.networking.k8s.io", "v1", "HTTPRoute")
    # Groups of Kubernetes' own want it.
    routes["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, played here"}
    for one in [*definitions(), routes]:
        cluster.act("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", one, post)
    end = time.monotonic() + 30
    for kind in KINDS:
        while time.monotonic() < end and cluster.player.resource(kind.api_version, kind.name) is None:
            cluster.player.forget()
            time.sleep(0.1)


def _make(cluster: Cluster) -> None:
    """All of them anew, none ready."""
    for kind, name in ALL:
        cluster.player.transport.send("DELETE", f"{kind.path}/{name}", "delete")
        body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, "spec": kind.spec}
        cluster.act("POST", kind.path, body, "application/json")


def _objects() -> list[Json]:
    return [{"kind": kind.name, "name": name, "namespace": SPACE} for kind, name in ALL]


def _ours() -> Json:
    return {"groundwork.homelab.ready": {"objects": _objects()}}


def _cores() -> list[Json]:
    """What its users write, for it cannot wait for most of these: ask each until an expression is true, every second."""
    tasks = []
    for kind in KINDS:
        options = {"api_version": kind.api_version, "kind": kind.name, "namespace": SPACE, "name": "{{ item }}"}
        names = [name for other, name in ALL if other is kind]
        until = {"until": kind.until, "retries": 60, "delay": 1, "register": "found"}
        tasks.append({CORE: options, "loop": names, **until})
    return tasks


def _kubectl() -> str:
    """One command for each kind, all at the same time."""
    commands: list[str] = []
    for kind in KINDS:
        group = kind.api_version.rpartition("/")[0]
        resource = f"{kind.plural}.{group}" if group else kind.plural
        names = " ".join(f"{resource}/{name}" for other, name in ALL if other is kind)
        commands.append(
            f"kubectl wait -n {SPACE} --timeout=120s --for=jsonpath='{kind.jsonpath}' {names} & p{len(commands)}=$!"
        )
    return "\n".join([*commands, *(f"wait $p{number} || exit 1" for number in range(len(commands)))])


# -- each object's own lag -------------------------------------------------------------------------------------------

PROGRAM = """
import json, sys, time
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task
from ansible_collections.groundwork.homelab.plugins.modules import ready
heard = []
given = json.load(open(sys.argv[1]))
params = {name: option.get("default") for name, option in ready.SPEC.argument_spec.items()} | given
ready.run(Task(params=params, progress=lambda line: heard.append((time.time(), line))))
print(json.dumps(heard))
"""
FULL: Json = {
    "api_version": None,
    "selector": None,
    "at_least": None,
    "all_namespaces": False,
    "conditions": [],
    "state": "ready",
}


def _lags(cluster: Cluster) -> tuple[float, str]:
    """The longest time from an object's readiness to the line that tells it, and how many requests that took."""
    given = cluster.folder / "given.json"
    objects = [{**FULL, **one} for one in _objects()]
    given.write_text(json.dumps({"kubeconfig": str(cluster.kubeconfig), "objects": objects, "api_timeout": 30.0}))
    path = {"PYTHONPATH": str(HERE.parents[1] / ".cache/collections")}
    ran, controllers = _measured(cluster, lambda: cluster.run([sys.executable, "-c", PROGRAM, str(given)], **path))
    heard = {
        line.partition(" is ready (")[0]: at
        for at, line in json.loads(ran.results[0]["stdout"])
        if " is ready (" in line
    }
    lags = [heard[label] - at for label, at in controllers.done.items() if label in heard]
    if len(lags) < len(ALL) // 2:
        raise RuntimeError("most objects were ready before anybody looked")
    return max(lags), f"{ran.cost.reads} requests"
