# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an object is not ready, where its own status does not say: its pods, what it refers to, the events about it."""

from __future__ import annotations

import typing as t

from ..errors import HomelabError
from ..waiting import Deadline
from . import nodes, pods
from .client import Client
from .conditions import Object, condition, label, said
from .discovery import Resource
from .readiness_gateway import GROUP, ROUTES, answers_for, parent_label

#: From this many owners of pods in a namespace on, its pods are listed once for all of them.
CROWD = 3
#: So many of an owner's pods are asked for events.
PODS_ASKED = 5
REQUEST_OF = "cert-manager.io/certificate-name"


class Glance:
    """What a client lists, kept for one round of looks: many objects of a namespace are explained by the same lists."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.crowded: frozenset[str] = frozenset()
        self._lists: dict[t.Any, list[Object]] = {}

    def begin(self, crowded: t.Collection[str]) -> None:
        """A new round; in these namespaces there is much to explain."""
        self.crowded = frozenset(crowded)
        self._lists.clear()

    def list(self, resource: Resource, namespace: str = "", **query: str) -> t.List[Object]:  # noqa: UP006
        if namespace in self.crowded:
            return [one for one in self._listed(resource, namespace) if _matches(one, query)]
        return self._listed(resource, namespace, **query)

    def _listed(self, resource: Resource, namespace: str, **query: str) -> t.List[Object]:  # noqa: UP006
        key = (resource, namespace, *sorted(query.items()))
        if key not in self._lists:
            self._lists[key] = self.client.list(resource, namespace, **query)
        return self._lists[key]

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self.client.get(resource, namespace, name)

    def log_line(self, namespace: str, pod: str, container: str, *, previous: bool) -> str:
        return self.client.log_line(namespace, pod, container, previous=previous)


def _matches(one: Object, query: t.Mapping[str, str]) -> bool:
    """Equality selectors, which are all that looks use."""
    labels = one["metadata"].get("labels") or {}
    wanted = (pair.partition("=") for pair in query.get("labelSelector", "").split(",") if pair)
    if not all(labels.get(name) == value for name, _equals, value in wanted):
        return False
    path, _equals, value = query.get("fieldSelector", "").partition("=")
    found: t.Any = one
    for part in path.split(".") if path else ():
        found = (found or {}).get(part)
    return not path or found == value


class Causes:
    """Looks beyond objects for as long as somebody waits for them; remembers since when each trouble has been there."""

    def __init__(self, client: Client, deadline: Deadline) -> None:
        self.glance = Glance(client)
        # A glance has of a client what these looks use.
        self.seen = t.cast(Client, self.glance)
        self.client = client
        self.troubles = pods.Troubles(self.seen, deadline)

    def near(self, live: Object, reason: str) -> str:
        """What its pods say, or its reason; nothing for a claim that only waits for its first pod.
        Raises :class:`pods.Failure`."""
        kind = live["kind"]
        if kind == "PersistentVolumeClaim" and pods.waits_for_consumer(self.seen, live):
            return ""
        if kind in pods.OWNERS:
            return self.troubles.look(live) or reason
        return nodes.look(self.seen, live, reason, self.troubles) if kind == "Node" else reason

    def far(self, live: Object, reason: str) -> str:
        """What its references and the latest event add to the reason. Never fails: it is a help, not a need."""
        try:
            more = self._referred(live) or self._event(live)
        except HomelabError:
            return ""
        return "" if more in reason else more

    def _referred(self, live: Object) -> str:
        kind, group = live["kind"], str(live.get("apiVersion", "")).partition("/")[0]
        if group == GROUP and kind in ROUTES:
            return self._parents(live)
        if group == GROUP and kind == "Gateway":
            return self._class(live)
        if group == "cert-manager.io" and kind == "Certificate":
            return self._certificate_request(live)
        return ""

    def _parents(self, live: Object) -> str:
        """About the first parent that no controller has answered for."""
        own = live["metadata"].get("namespace", "")
        for parent in (live.get("spec") or {}).get("parentRefs") or []:
            if answers_for(live, parent) or (parent.get("kind") or "Gateway") != "Gateway":
                continue
            gateway = self._get(GROUP, "Gateway", parent.get("namespace") or own, str(parent.get("name")))
            if gateway is None:
                return f"there is no {parent_label({**parent, 'sectionName': ''}, own)}"
            return self._class(gateway)
        return ""

    def _class(self, gateway: Object) -> str:
        name = str((gateway.get("spec") or {}).get("gatewayClassName"))
        found = self._get(GROUP, "GatewayClass", "", name)
        if found is None:
            return f"there is no GatewayClass {name}"
        accepted = condition(found, "Accepted")
        if accepted.get("status") == "True":
            return ""
        return f"GatewayClass {name}: {said(accepted) or 'no controller has accepted it'}"

    def _certificate_request(self, live: Object) -> str:
        resource = self._resource("cert-manager.io", "CertificateRequest")
        if resource is None:
            return ""
        meta = live["metadata"]
        mine = [
            one
            for one in self.seen.list(resource, meta["namespace"])
            if (one["metadata"].get("annotations") or {}).get(REQUEST_OF) == meta["name"]
        ]
        latest = max(mine, key=lambda one: str(one["metadata"].get("creationTimestamp")), default=None)
        words = said(condition(latest, "Ready")) if latest else ""
        return f"{label('CertificateRequest', '', latest['metadata']['name'])}: {words}" if latest and words else ""

    def _event(self, live: Object) -> str:
        """The latest warning about it or its pods, else the latest word."""
        meta = live["metadata"]
        uids = [meta.get("uid")]
        if live["kind"] in pods.OWNERS and live["kind"] != "Pod":
            uids += [pod["metadata"].get("uid") for pod in self.troubles.pods_of(live)[:PODS_ASKED]]
        namespace = meta.get("namespace") or "default"
        found = [
            event
            for uid in uids
            if uid
            for event in self.seen.list(pods.EVENTS, namespace, fieldSelector=f"involvedObject.uid={uid}")
        ]
        latest = max(found, key=lambda event: (event.get("type") == "Warning", _when(event)), default=None)
        return f"latest event: {said(latest)}" if latest else ""

    def _get(self, group: str, kind: str, namespace: str, name: str) -> Object | None:
        resource = self._resource(group, kind)
        return None if resource is None else self.client.get(resource, namespace, name)

    def _resource(self, group: str, kind: str) -> Resource | None:
        versions = self.client.discovery.versions(group, kind)
        return self.client.resource(versions[0], kind) if versions else None


def _when(event: Object) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((one for one in times if one), event["metadata"].get("creationTimestamp") or ""))
