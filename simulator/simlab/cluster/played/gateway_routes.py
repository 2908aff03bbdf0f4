# SPDX-License-Identifier: GPL-3.0-or-later
"""What a route's parents say of it: Accepted and ResolvedRefs, with the Gateway API's reasons and Cilium's words."""

from __future__ import annotations

import collections.abc as c
import typing as t

from .conditions import Condition, condition
from .gateway_listeners import KINDS, Surroundings, allows
from .gateway_refs import GROUP, any_meets, is_service, permitted

Object = t.Mapping[str, t.Any]


def judged(route: Object, parent: Object, gateway: Object, around: Surroundings) -> list[Condition]:
    """The conditions for one parent that is a Gateway of ours."""
    seen = int(route["metadata"].get("generation") or 0)
    reason, message = _refused(route, parent, gateway, around)
    accepted = condition("Accepted", not reason, reason or "Accepted", message or f"Accepted {route['kind']}", seen)
    wrong = _unresolved(route, around)
    resolved = wrong or ("ResolvedRefs", "Service reference is valid")
    return [accepted, condition("ResolvedRefs", wrong is None, *resolved, seen)]


def attached(route: Object, parent: Object, gateway: Object, around: Surroundings) -> list[str]:
    """The names of the listeners that the route is attached to by this parent."""
    return [
        listener["name"] for listener in _selected(parent, gateway) if not _barred(route, listener, gateway, around)
    ]


def _selected(parent: Object, gateway: Object) -> list[Object]:
    listeners = gateway["spec"].get("listeners") or ()
    found = [one for one in listeners if parent.get("sectionName") in (None, one["name"])]
    return [one for one in found if parent.get("port") in (None, one["port"])]


def _barred(route: Object, listener: Object, gateway: Object, around: Surroundings) -> str:
    meta = route["metadata"]
    why = allows(listener, route["kind"], meta["namespace"], gateway["metadata"]["namespace"], around)
    return why or ("" if any_meets(listener.get("hostname"), route["spec"].get("hostnames") or ()) else "hostname")


def _refused(route: Object, parent: Object, gateway: Object, around: Surroundings) -> tuple[str, str]:
    """Reason and message, empty when a listener takes the route. The reason that came closest counts."""
    kind = route["kind"]
    listeners = _selected(parent, gateway)
    if not listeners:
        if parent.get("port") is not None and parent.get("sectionName") is None:
            return "NoMatchingParent", f"No matching listener with port {parent['port']}"
        return "NoMatchingParent", f"No matching listener with sectionName {parent.get('sectionName')}"
    why = {_barred(route, listener, gateway, around) for listener in listeners}
    if "" in why:
        return "", ""
    if "hostname" in why:
        return "NoMatchingListenerHostname", "No matching listener hostname"
    limit = f"{kind} is not allowed to attach to this Gateway due to "
    if "namespace" in why:
        return "NotAllowedByListeners", limit + "namespace restrictions"
    protocols = [protocol for protocol, kinds in KINDS.items() if kind in kinds]
    if not any(listener["protocol"] in protocols for listener in listeners):
        text = f"No matching listener protocol; route requires one of: [{' '.join(protocols)}]"
        return "NotAllowedByListeners", text
    return "NotAllowedByListeners", limit + "route kind restrictions"


def backends(route: Object) -> c.Iterator[Object]:
    """All that a route sends to, mirrors too."""
    for rule in route["spec"].get("rules") or ():
        yield from rule.get("backendRefs") or ()
        for action in rule.get("filters") or ():
            mirror = (action.get("requestMirror") or {}).get("backendRef")
            if mirror:
                yield mirror


def _unresolved(route: Object, around: Surroundings) -> tuple[str, str] | None:
    """The first thing that is wrong: what is forbidden before what is of a wrong kind before what is missing."""
    own = route["metadata"]["namespace"]
    found: dict[str, str] = {}
    for backend in backends(route):
        namespace, name = backend.get("namespace") or own, backend["name"]
        source = (GROUP, str(route["kind"]), own)
        group, kind = backend.get("group") or "", backend.get("kind") or "Service"
        if not permitted(around.grants, source, group, kind, namespace, name):
            found.setdefault("RefNotPermitted", "Cross namespace references are not allowed")
        elif not is_service(backend):
            found.setdefault("InvalidKind", f"Unsupported backend kind {kind}")
        elif backend.get("port") is None:
            found.setdefault("InvalidKind", "Must have port for backend object reference")
        else:
            missing = _missing(around.services.get((namespace, name)), namespace, name, backend["port"])
            if missing:
                found.setdefault("BackendNotFound", missing)
    for reason in ("RefNotPermitted", "InvalidKind", "BackendNotFound"):
        if reason in found:
            return reason, found[reason]
    return None


def _missing(service: Object | None, namespace: str, name: str, port: int) -> str:
    if service is None:
        return f'Service "{name}" not found'
    if port not in [one["port"] for one in service["spec"].get("ports") or ()]:
        return f"Service port {port} could not be resolved for backend {namespace}/{name}"
    return ""
