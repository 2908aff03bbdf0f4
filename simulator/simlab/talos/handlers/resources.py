# SPDX-License-Identifier: GPL-3.0-or-later
"""The COSI state: Get, List, Watch. Writing is never allowed."""

from __future__ import annotations

import collections.abc as c
import re
import struct
import time
import typing as t

from .. import refusals
from ..calls import Call, Reply, streams, unary
from ..resources import Resource, timestamp
from ..resourcetypes import NAMESPACES, TYPES

if t.TYPE_CHECKING:
    from ..node import TalosNode


@unary("/cosi.resource.State/Get")
async def get(node: TalosNode, call: Call) -> Reply:
    request = call.request
    _check(call)
    found = node.runtime.resources.get(request.namespace, request.type, request.id)
    if found is None:
        name = f"{request.type}({request.namespace}/{request.id}@undefined)"
        raise refusals.not_found(f"resource {name} doesn't exist")
    return {"resource": found.as_message()}


@streams("/cosi.resource.State/List")
async def list_(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    _check(call)
    chosen = _Chosen(call.request)
    for found in node.runtime.resources.list(call.request.namespace, call.request.type):
        if chosen(found):
            yield {"resource": found.as_message()}


@streams("/cosi.resource.State/Watch")
async def watch(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    """An empty message, the contents if asked for, BOOTSTRAPPED, then changes."""
    request, store = call.request, node.runtime.resources
    _check(call)
    chosen = _Chosen(request)
    queue = store.watch()
    try:
        yield {}
        if request.options.bootstrap_contents or request.HasField("id"):
            for found in store.list(request.namespace, request.type):
                if chosen(found):
                    yield _event("CREATED", found)
        if request.options.bootstrap_contents:
            yield _bootstrapped(request)
        while True:
            change = await queue.get()
            if chosen(change.resource):
                yield _event(change.kind, change.resource, change.old)
    finally:
        store.unwatch(queue)


@unary(*(f"/cosi.resource.State/{name}" for name in ("Create", "Update")))
async def write(node: TalosNode, call: Call) -> Reply:
    resource = call.request.resource if hasattr(call.request, "resource") else call.request.new_resource
    if not resource.HasField("metadata"):
        raise refusals.unknown("metadata is missing")
    raise refusals.denied("write access is not allowed")


@unary("/cosi.resource.State/Destroy")
async def destroy(node: TalosNode, call: Call) -> Reply:
    raise refusals.denied("write access is not allowed")


def _check(call: Call) -> None:
    """Types and namespaces that exist only; sensitive ones for admins only."""
    type_ = TYPES.get(call.request.type)
    if type_ is None:
        raise refusals.denied(f'resource type "{call.request.type}" is not supported')
    if call.request.namespace not in NAMESPACES:
        raise refusals.denied(f'namespace "{call.request.namespace}" is not supported')
    if type_.sensitive and not call.admin:
        raise refusals.denied()


class _Chosen:
    """Whether a resource is one of those that a request is about."""

    def __init__(self, request: t.Any) -> None:
        self._namespace, self._type = request.namespace, request.type
        self._id = request.id if "id" in request.DESCRIPTOR.fields_by_name and request.HasField("id") else None
        self._pattern = re.compile(request.options.id_query.regexp or ".*")
        self._queries = [list(query.terms) for query in request.options.label_query]

    def __call__(self, resource: Resource) -> bool:
        if (resource.namespace, resource.type) != (self._namespace, self._type):
            return False
        if (self._id is not None and resource.id != self._id) or not self._pattern.search(resource.id):
            return False
        return not self._queries or any(all(_matches(term, resource.labels) for term in q) for q in self._queries)


def _matches(term: t.Any, labels: c.Mapping[str, str]) -> bool:
    value, wanted = labels.get(term.key), list(term.value)
    names = {
        0: "EXISTS",
        1: "EQUAL",
        2: "NOT_EXISTS",
        3: "IN",
        4: "LT",
        5: "LTE",
        6: "LT_NUMERIC",
        7: "LTE_NUMERIC",
    }
    name = names[term.op]
    if name in ("EXISTS", "NOT_EXISTS"):
        found = (value is not None) == (name == "EXISTS")
    elif name in ("EQUAL", "IN"):
        found = value in wanted
    elif name in ("LT", "LTE"):
        found = value is not None and (value < wanted[0] or (name == "LTE" and value == wanted[0]))
    else:
        raise refusals.not_simulated("numeric label queries")
    return found != bool(term.invert)


def _event(kind: str, resource: Resource, old: Resource | None = None) -> Reply:
    event: dict[str, t.Any] = {"event_type": kind, "resource": resource.as_message()}
    if old is not None:
        event["old"] = old.as_message()
    return {"event": [event]}


def _bootstrapped(request: t.Any) -> Reply:
    now = timestamp(time.time())
    metadata = {
        "namespace": request.namespace,
        "type": request.type,
        "version": "undefined",
        "phase": "running",
    }
    resource = {"metadata": {**metadata, "created": now, "updated": now}, "spec": {}}
    bookmark = struct.pack(">Q", 0)
    return {"event": [{"event_type": "BOOTSTRAPPED", "resource": resource, "bookmark": bookmark}]}
