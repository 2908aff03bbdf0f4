# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes verb of an HTTP request, as authorization and audit name it."""

from __future__ import annotations

import urllib.parse

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


def verb_of(method: str, target: str) -> str:
    """``target`` is path and query. Paths that are no resources get the method in lower case."""
    path, _, query = target.partition("?")
    parts = path.strip("/").split("/")
    start = {"api": 2, "apis": 3}.get(parts[0])
    if start is None or len(parts) <= start:
        return method.lower()
    rest = parts[start:]
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    named = len(rest) > 1
    if method in ("GET", "HEAD"):
        watching = urllib.parse.parse_qs(query).get("watch", ["0"])[-1] in ("1", "true")
        return "watch" if watching else "get" if named else "list"
    if method == "DELETE":
        return "delete" if named else "deletecollection"
    return _VERBS.get(method, method.lower())
