# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When Argo CD and Flux have done what their objects say, in their own words. Pure."""

from __future__ import annotations

import json
import typing as t

from .conditions import UNSEEN, Check, Failure, Object, behind, condition, conditions, must_be_true, said

ARGO = "argoproj.io"
#: source.toolkit.fluxcd.io, kustomize.toolkit.fluxcd.io, helm.toolkit.fluxcd.io …
FLUX = ".toolkit.fluxcd.io"

#: Asks Argo CD to look at the repository anew; gone once it has.
REFRESH = "argocd.argoproj.io/refresh"
#: Asks Flux to reconcile now; it then says which request it has handled.
REQUESTED = "reconcile.fluxcd.io/requestedAt"

#: Kinds that only describe something: nothing reconciles them.
WITHOUT_STATUS = ("Provider", "Alert")

#: Seconds for which an error may pass: a repo-server that restarts, a project that is made a moment later.
ERROR_GRACE = 20.0
SYNC_GRACE = 3.0


def application(live: Object) -> str:
    """Compared with what the spec says now, synced, its last sync succeeded, healthy."""
    status = live.get("status") or {}
    if REFRESH in (live["metadata"].get("annotations") or {}):
        return "Argo CD has not refreshed it yet"
    if live.get("operation"):
        return "its sync has not begun yet"
    operation, sync = status.get("operationState") or {}, status.get("sync") or {}
    if operation.get("phase") in ("Running", "Terminating"):
        return _with(f"its sync is {str(operation['phase']).lower()}", operation)
    wrong = [one for one in conditions(live) if str(one.get("type", "")).endswith("Error")]
    failed = operation.get("phase") in ("Failed", "Error") and of_this_revision(operation, sync)
    if failed:
        raise Failure(_with(f"its sync {_past(operation)}", operation), SYNC_GRACE, f"sync {operation['phase']}")
    if wrong:
        raise Failure("; ".join(map(_said, wrong)), ERROR_GRACE, types_of(wrong))
    if not sync or not compared(live):
        return "Argo CD has not compared it with its source yet"
    return _synced(live, sync) or _healthy(live)


def compared(live: Object) -> bool:
    """Whether the status is about what the spec says now."""
    return not changed_part(live)


def changed_part(live: Object) -> str:
    """What the spec says otherwise than what was compared; nothing if the status is about it.

    Argo CD itself looks at these to decide whether a comparison is out of date (``status.sync.comparedTo``).
    """
    spec = live.get("spec") or {}
    seen = ((live.get("status") or {}).get("sync") or {}).get("comparedTo") or {}
    if not seen:
        return ""
    # Several sources take precedence over one, of which an empty one is told then.
    source = "sources" if spec.get("sources") else "source"
    # What a hydrator makes is compared instead, and does not stand in the spec.
    if not spec.get("sourceHydrator") and _told(spec.get(source)) != _told(seen.get(source)):
        return "source"
    if "destination" in seen and _told(spec.get("destination")) != _told(seen["destination"]):
        return "destination"
    # Older releases do not tell it. What was Synced without them is Synced with them, so nothing is lost.
    if "ignoreDifferences" in seen and _told(spec.get("ignoreDifferences")) != _told(seen["ignoreDifferences"]):
        return "ignoreDifferences"
    return ""


def _told(value: t.Any) -> str:
    """A value as a text that can be compared: true is not 1, and what is empty is not there."""
    return json.dumps(_without_empty(value) or None, sort_keys=True)


def _without_empty(value: t.Any) -> t.Any:
    """Argo CD leaves out of the status what is empty, and a chart's values are kept as they are, but for nulls: those
    are lost, as it writes its status by merge patches."""
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _without_null(item) if key == "valuesObject" else _without_empty(item) for key, item in value.items()}
    return {key: item for key, item in found.items() if item}


def _without_null(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value


def of_this_revision(operation: Object, sync: Object) -> bool:
    """Whether the sync that failed was one to what is wanted now; a newer revision, of any of several sources, is tried
    anew."""
    result = operation.get("syncResult") or {}
    pairs = [(result.get(field), sync.get(field)) for field in ("revision", "revisions")]
    return all(not tried or not wanted or tried == wanted for tried, wanted in pairs)


def _synced(live: Object, sync: Object) -> str:
    if sync.get("status") == "Synced":
        return ""
    automated = (((live.get("spec") or {}).get("syncPolicy") or {}).get("automated")) is not None
    words = f"it is {sync.get('status') or 'Unknown'}"
    return words if automated else f"{words}, and it has no automated sync policy: somebody must sync it"


def _healthy(live: Object) -> str:
    status = live.get("status") or {}
    health = status.get("health") or {}
    if health.get("status") == "Healthy":
        return ""
    parts = [
        f"{one.get('kind')} {one.get('name')} {one['health']['status']}"
        + (f": {one['health']['message']}" if one["health"].get("message") else "")
        for one in status.get("resources") or []
        if (one.get("health") or {}).get("status") not in (None, "Healthy")
    ]
    words = _with(f"its health is {health.get('status') or 'not known yet'}", health)
    return f"{words} ({'; '.join(parts[:3])})" if parts else words


def _with(words: str, found: Object) -> str:
    return f"{words}: {found['message']}" if found.get("message") else words


def types_of(found: t.Sequence[Object]) -> str:
    """Which conditions they are, whatever they say."""
    return ",".join(sorted({str(one["type"]) for one in found}))


def _past(operation: Object) -> str:
    return "failed" if operation.get("phase") == "Failed" else "ended in an error"


def _said(found: Object) -> str:
    return ": ".join(str(found[key]) for key in ("type", "message") if found.get(key))


def application_set(live: Object) -> str:
    failed = condition(live, "ErrorOccurred")
    if failed.get("status") == "True":
        raise Failure(said(failed), ERROR_GRACE, "ErrorOccurred")
    return must_be_true("ResourcesUpToDate")(live)


def flux(live: Object) -> str:
    """The latest change and the latest request handled, Ready; what is stalled or suspended stays as it is."""
    if live["kind"] in WITHOUT_STATUS:
        return ""
    status, annotations = live.get("status") or {}, live["metadata"].get("annotations") or {}
    ready, stalled = condition(live, "Ready"), condition(live, "Stalled")
    if (live.get("spec") or {}).get("suspend") and (ready.get("status") != "True" or behind(live)):
        words = said(ready)
        raise Failure("it is suspended" + (f" ({words})" if words else ""))
    if not status or unseen(live, ready):
        return UNSEEN if status else "no controller of Flux has seen it yet"
    asked = annotations.get(REQUESTED)
    if asked and status.get("lastHandledReconcileAt") != asked:
        return f"the reconciliation that was asked for at {asked} has not been done yet"
    if stalled.get("status") == "True":
        raise Failure(said(stalled) or "it is stalled")
    working = condition(live, "Reconciling")
    if ready.get("status") == "True" and not behind(live, ready):
        return ""
    return said(ready) or said(working) or "it has no condition Ready yet"


def unseen(live: Object, found: Object) -> bool:
    """Whether a condition is not about the latest definition. The status as a whole counts only what has succeeded: until
    then its ``observedGeneration`` is -1, or an older one."""
    told = found.get("observedGeneration") is not None and found.get("status") == "False"
    return behind(live, found) if told or found.get("type") == "Stalled" else behind(live) or behind(live, found)


CHECKS: dict[str, Check] = {"Application": application, "ApplicationSet": application_set}
