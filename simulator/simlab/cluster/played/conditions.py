# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions as Kubernetes' API conventions have them, and writing a status only when it says something new."""

from __future__ import annotations

import json
import typing as t

from ..client import MERGE, KubeClient
from ..node_status import timestamp
from .seat import Object
from .watching import Collection

Condition = dict[str, t.Any]
Status = t.Literal["True", "False", "Unknown"]


def condition(
    kind: str, holds: bool | Status, reason: str, message: str = "", generation: int | None = None
) -> Condition:
    status = {True: "True", False: "False"}.get(holds, holds) if isinstance(holds, bool) else holds
    found = {"type": kind, "status": status, "reason": reason, "message": message}
    return found | ({"observedGeneration": generation} if generation else {})  # 0 is left out by the API server


def merged(old: t.Iterable[t.Mapping[str, t.Any]] | None, new: t.Iterable[Condition]) -> list[Condition]:
    """The old conditions with the new ones in their places; the time is kept where the status is the same."""
    found = {str(known["type"]): dict(known) for known in old or ()}
    for one in new:
        before = found.get(one["type"], {})
        since = before.get("lastTransitionTime") if before.get("status") == one["status"] else None
        found[one["type"]] = {**one, "lastTransitionTime": since or timestamp()}
    return list(found.values())


def find(conditions: t.Iterable[t.Mapping[str, t.Any]] | None, kind: str) -> t.Mapping[str, t.Any]:
    return next((known for known in conditions or () if known["type"] == kind), {})


def holds(conditions: t.Iterable[t.Mapping[str, t.Any]] | None, kind: str) -> bool:
    return find(conditions, kind).get("status") == "True"


def generation(found: t.Mapping[str, t.Any]) -> int:
    return int(found["metadata"].get("generation") or 0)


def same(one: t.Any, other: t.Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


async def write_status(client: KubeClient, collection: Collection, found: Object, status: Object, manager: str) -> bool:
    """Replace these keys of an object's status, if that changes it. An object that has changed meanwhile is refused with
    409, so that nobody else's news is lost. The collection knows the answer at once."""
    before = found.get("status") or {}
    if all(same(before.get(key), value) for key, value in status.items()):
        return False
    body = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "status": status}
    path = collection.path_of(found, "status")
    shown = await client.call("PATCH", path, body, content_type=MERGE, query={"fieldManager": manager})
    found["status"], found["metadata"] = shown.get("status") or {}, shown["metadata"]
    return True
