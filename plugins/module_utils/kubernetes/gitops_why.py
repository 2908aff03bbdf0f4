# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else explains why an Application or an object of Flux is not there: its source, the objects that it applies."""

from __future__ import annotations

import typing as t

from ..errors import HomelabError
from . import gitops_argo, gitops_flux, readiness
from .client import Client, Object
from .conditions import condition
from .gitops_inputs import GROUPS
from .readiness import Want

E = t.TypeVar("E", bound=HomelabError)

#: Kinds that can be unhealthy for reasons that are worth telling. A list of others would only be long.
TELLING = ("Deployment", "StatefulSet", "DaemonSet", "Job", "Pod", "PersistentVolumeClaim", "Service")
#: So many reasons are told.
TOLD = 5


def explained(client: Client, error: E, known: t.Mapping[str, Object]) -> E:
    """The error with what is found out now, for each object that it is about. What may not be read is not told."""
    waiting = error.details.get("waiting") or []
    more: list[str] = []
    for entry in waiting[:TOLD]:
        try:
            reasons = _beyond(client, known.get(entry["resource"]))
        except HomelabError:
            continue
        if reasons:
            entry["causes"] = reasons
            more += [one for one in reasons if one not in more]
    if not more:
        return error
    answer = "; ".join([error.answer, *more[:TOLD]])
    return type(error)(error.asked, of=error.of, answer=answer, hint=error.hint, **error.details)


def _beyond(client: Client, live: Object | None) -> list[str]:
    if live is None:
        return []
    resource = client.resource(live["apiVersion"], live["kind"])
    meta = live["metadata"]
    live = (client.get(resource, meta["namespace"], meta["name"]) if resource else None) or live
    if live["kind"] == "Application":
        return _unhealthy(client, live)
    return _source(client, live) + _applied(client, live)


def _unhealthy(client: Client, live: Object) -> list[str]:
    """The Application's own objects, which Argo CD's status only names: looked at here, if they are in this cluster."""
    if not gitops_argo.in_this_cluster(live):
        return []
    resources = (live.get("status") or {}).get("resources") or []
    return _not_ready(
        client, [(_version(one), one["kind"], one.get("namespace") or "", one["name"]) for one in resources]
    )


def _version(one: Object) -> str:
    return "/".join(filter(None, (one.get("group"), one.get("version") or "v1")))


def _not_ready(client: Client, objects: t.Iterable[tuple[str, str, str, str]]) -> list[str]:
    wants = [Want(kind, version, where, name) for version, kind, where, name in objects if kind in TELLING]
    found = readiness.look(client, wants) if wants else []
    return [f"{one.want.label}: {one.reason}" for one in found if one.reason]


def _source(client: Client, live: Object) -> list[str]:
    """What its sources say, where they are not Ready."""
    found = []
    for kind, namespace, name in gitops_flux.sources_of(live):
        versions = client.discovery.versions(GROUPS[kind], kind) if kind in GROUPS else []
        resource = client.resource(versions[0], kind) if versions else None
        source = client.get(resource, namespace, name) if resource else None
        if resource and source is None:
            found.append(f"{kind} {namespace}/{name} is not there")
        elif source and not gitops_flux.static(source) and condition(source, "Ready").get("status") != "True":
            found.append(f"{kind} {namespace}/{name}: {gitops_flux.words(source)}")
    return found


def _applied(client: Client, live: Object) -> list[str]:
    """The objects that it has applied, as its inventory names them: ``<namespace>_<name>_<group>_<kind>``."""
    entries = ((live.get("status") or {}).get("inventory") or {}).get("entries") or []
    objects = []
    for entry in entries:
        parts = str(entry.get("id") or "").split("_")
        if len(parts) == 4:
            namespace, name, group, kind = parts
            objects.append(("/".join(filter(None, (group, entry.get("v")))), kind, namespace, name.replace("__", ":")))
    return _not_ready(client, objects)
