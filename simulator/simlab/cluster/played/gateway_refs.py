# SPDX-License-Identifier: GPL-3.0-or-later
"""References between objects of the Gateway API: what they mean, and whether a ReferenceGrant permits them."""

from __future__ import annotations

import collections.abc as c
import typing as t

GROUP = "gateway.networking.k8s.io"
Object = t.Mapping[str, t.Any]


def is_gateway(parent: Object) -> bool:
    return (parent.get("kind", "Gateway"), parent.get("group", GROUP)) == ("Gateway", GROUP)


def is_service(backend: Object) -> bool:
    return (backend.get("kind") or "Service") == "Service" and not backend.get("group")


def is_secret(reference: Object) -> bool:
    return (reference.get("kind") or "Secret") == "Secret" and not reference.get("group")


def permitted(
    grants: c.Iterable[Object], come_from: tuple[str, str, str], group: str, kind: str, namespace: str, name: str
) -> bool:
    """Whether an object (``come_from``: group, kind, namespace) may refer to another: always in its own namespace, else
    when a ReferenceGrant of the other namespace says so."""
    if come_from[2] == namespace:
        return True
    for grant in grants:
        spec = grant["spec"] if grant["metadata"]["namespace"] == namespace else {}
        sources = [(one["group"], one["kind"], one["namespace"]) for one in spec.get("from") or ()]
        targets = [(one["group"], one["kind"]) for one in spec.get("to") or () if one.get("name") in (None, name)]
        if come_from in sources and (group, kind) in targets:
            return True
    return False


def meet(listener: str | None, route: str) -> bool:
    """Whether a listener's hostname and a route's have names in common. A wildcard stands for one label or more."""
    if not listener or listener == route:
        return True
    if listener.startswith("*") and route.startswith("*"):
        return route.endswith(listener[1:]) or listener.endswith(route[1:])
    if listener.startswith("*"):
        return _below(route, listener)
    return route.startswith("*") and _below(listener, route)


def _below(name: str, wildcard: str) -> bool:
    return name.endswith(wildcard[1:]) and len(name) > len(wildcard) - 1


def any_meets(listener: str | None, hostnames: c.Sequence[str]) -> bool:
    return not hostnames or any(meet(listener, name) for name in hostnames)
