# SPDX-License-Identifier: GPL-3.0-or-later
"""B5: a hundred objects of seven kinds, applied to a namespace that is new or empty, and applied again."""

from __future__ import annotations

import pathlib
import shutil
import typing as t

import yaml
from played_kubernetes import Cluster, Ran
from rows import Json, Row, Settings

from simlab import binaries

CORE, KUBECTL = "kubernetes.core.k8s", "kubectl apply --server-side"
#: How many of each kind, besides their namespace.
PARTS = {"ConfigMap": 39, "Secret": 15, "ServiceAccount": 15, "Service": 15, "Role": 8, "Deployment": 7}
COLD, NOTHING = 1.0, 0.5


def objects(space: str, settings: Settings) -> list[Json]:
    """The namespace and what is in it."""
    found: list[Json] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}]
    for kind, number in PARTS.items():
        for index in range(settings.of(number)):
            meta = {"name": f"{kind.lower()}-{index}", "namespace": space, "labels": {"app": f"app-{index}"}}
            found.append({"apiVersion": VERSIONS.get(kind, "v1"), "kind": kind, "metadata": meta, **_body(kind, index)})
    return found


VERSIONS = {"Role": "rbac.authorization.k8s.io/v1", "Deployment": "apps/v1"}


def _body(kind: str, index: int) -> Json:
    labels = {"app": f"app-{index}"}
    pod = {"containers": [{"name": "app", "image": "app:1", "ports": [{"containerPort": 8080}]}]}
    deployment = {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    bodies: dict[str, Json] = {
        "ConfigMap": {"data": {"settings.yaml": "timezone: Europe/Berlin\n" * 20, "number": str(index)}},
        "Secret": {"stringData": {"password": f"not-a-secret-{index}"}},
        "ServiceAccount": {},
        "Service": {"spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}},
        "Role": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]},
        "Deployment": {"spec": deployment},
    }
    return bodies[kind]


def rows(settings: Settings, chosen: t.Collection[str]) -> t.Iterator[Row]:
    if "B5" in chosen:
        for milliseconds in settings.delays:
            yield from measured(settings, milliseconds)


def measured(settings: Settings, milliseconds: int) -> t.Iterator[Row]:
    with Cluster(milliseconds) as cluster:
        programs: dict[str, t.Callable[[pathlib.Path], Ran]] = {
            "ours": lambda file: cluster.play([{"groundwork.homelab.manifests": {"src": [str(file)]}}]),
            KUBECTL: lambda file: cluster.run([_kubectl(), "apply", "--server-side", "-f", str(file)]),
            CORE: lambda file: cluster.play([{CORE: {"src": str(file), "state": "present", "apply": True}}]),
        }
        cold, judged, again, dry = {}, {}, {}, 0
        for number, (name, run) in enumerate(programs.items()):
            file = cluster.folder / f"objects-{number}.yaml"
            file.write_text(yaml.safe_dump_all(objects(f"bench-{number}", settings)))
            cold[name] = run(file)
            again[name] = run(file)
            there = cluster.folder / f"there-{number}.yaml"
            there.write_text(yaml.safe_dump_all(objects(f"there-{number}", settings)))
            cluster.act("POST", "/api/v1/namespaces", objects(f"there-{number}", settings)[0], "application/json")
            mark = cluster.server.mark()
            judged[name] = run(there)
            dry = dry or _dry_runs(cluster, mark)
        count = len(objects("", settings))
        yield from _rows(f"{count} objects in a new namespace", milliseconds, cold, COLD, 0)
        yield from _rows(f"{count - 1} objects in a namespace that is there", milliseconds, judged, COLD, dry)
        yield from _rows(f"{count} objects, nothing to do", milliseconds, again, NOTHING, 0)


def _rows(name: str, milliseconds: int, ran: dict[str, Ran], limit: float, dry: int) -> t.Iterator[Row]:
    mine = ran["ours"].cost
    kinds = len(PARTS) + 1
    most = f", at most {kinds + 1} requests" if limit == NOTHING else ""
    fine = mine.seconds < limit and (limit == COLD or mine.reads + mine.writes <= kinds + 1)
    note = (
        f"Of our writes {dry} are dry runs: nothing is written before the server has judged everything." if dry else ""
    )
    for peer in (KUBECTL, CORE):
        other = ran[peer].cost
        yield Row(
            "B5",
            name,
            milliseconds,
            mine,
            other,
            peer if peer == KUBECTL else f"{CORE} with apply, one task for all",
            f"under {limit:g} s at 20 ms{most}, faster than kubectl",
            fine and mine.seconds < ran[KUBECTL].cost.seconds,
            note,
        )


def _dry_runs(cluster: Cluster, mark: int) -> int:
    return sum("dryRun=All" in uri for _verb, uri in cluster.server.requests(mark))


def _kubectl() -> str:
    return shutil.which("kubectl") or str(binaries.KUBECTL.build())
