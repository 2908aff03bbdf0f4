# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argo CD's Applications: whether one must be synced, how that is asked for, and how it went. Pure.

The fields are those of the Application's CustomResourceDefinition; a sync is asked for as Argo CD's own API server does it.
"""

from __future__ import annotations

import datetime
import re
import typing as t

from ..errors import InvalidInput
from .conditions import Check, Failure, Object, conditions
from .gitops_inputs import Asked
from .readiness_gitops import REFRESH, changed_part, compared, of_this_revision, types_of

#: How the operation says who asked for it, and with which of their requests.
US = "groundwork.homelab"
COMMIT = re.compile(r"[0-9a-f]{7,64}")
RUNNING = ("Running", "Terminating")
FAILED = ("Failed", "Error")

#: Seconds for which errors may pass: a repo-server that restarts; a Deployment whose first pod fails once.
ERROR_GRACE, DEGRADED_GRACE, LEFT_GRACE = 20.0, 15.0, 5.0


def refresh_patch(kind: str) -> Object:
    return {"metadata": {"annotations": {REFRESH: kind}}}


def targets(live: Object) -> list[str]:
    """The revisions that the definition names, of each source."""
    spec = live.get("spec") or {}
    sources = spec.get("sources") or [spec.get("source") or {}]
    return [str(source.get("targetRevision") or "HEAD") for source in sources]


def elsewhere(live: Object, asked: Asked) -> bool:
    """Whether the wanted revision is another than the one that the definition names, or that this stands for now."""
    if not asked.revision or asked.revision in targets(live):
        return False
    now = _revision((live.get("status") or {}).get("sync") or {})
    return not (COMMIT.fullmatch(asked.revision) and now.startswith(asked.revision))


def _revision(of: Object) -> str:
    """That of the one source, which a list of sources has in a list."""
    return str(of.get("revision") or next(iter(of.get("revisions") or []), "") or "")


def refuse(live: Object, asked: Asked, *, refreshes: bool = False) -> None:
    """What Argo CD's own API server would not do either. Raises :class:`InvalidInput`. ``refreshes``: it is looked at again
    after a refresh, which may show that a commit is what the definition names by now."""
    spec = live.get("spec") or {}
    if live["metadata"].get("deletionTimestamp"):
        raise InvalidInput(f"{asked.label} is being deleted")
    if asked.revision and len(spec.get("sources") or []) > 1:
        raise InvalidInput(
            f"{asked.label} has {len(spec['sources'])} sources, so one revision says nothing",
            hint="Set their targetRevision in the Application's definition.",
        )
    if refreshes and COMMIT.fullmatch(asked.revision):
        return
    if elsewhere(live, asked) and automated(live) is not None:
        raise InvalidInput(
            f"{asked.label} cannot be synced to {asked.revision}: its automated sync keeps it at {targets(live)[0]}",
            hint="Set targetRevision in the Application's definition, or turn automated off.",
        )


def automated(live: Object) -> Object | None:
    """The policy of its automated sync, None if there is none."""
    found: Object | None = ((live.get("spec") or {}).get("syncPolicy") or {}).get("automated")
    return None if found is None or found.get("enabled") is False else found


def prunes(live: Object, asked: Asked) -> bool:
    """Whether a sync prunes: if that is asked for, or the automated one does. Otherwise ours would leave what is to be
    pruned, and the automated one does not begin again for a commit that was synced. As Argo CD itself, not where nothing
    would be left, which a wrong path in the repository could cause."""
    policy = automated(live) or {}
    if asked.prune or not policy.get("prune"):
        return asked.prune
    resources = (live.get("status") or {}).get("resources") or []
    return bool(policy.get("allowEmpty")) or not all(one.get("requiresPruning") for one in resources)


# -- how it stands -----------------------------------------------------------------------------------------------------


def needs_sync(live: Object, asked: Asked, *, anew: bool = False) -> str:
    """Why it must be synced; nothing if it is where it is wanted. ``anew``: also where nobody can tell, as Argo CD only
    looks at the revision that the definition names."""
    status = live.get("status") or {}
    operation, sync = status.get("operationState") or {}, status.get("sync") or {}
    if elsewhere(live, asked):
        if not _synced_to(live, asked.revision):
            return f"it was not synced to {asked.revision}"
        moves = anew and not COMMIT.fullmatch(asked.revision)
        return f"{asked.revision} may be another commit by now" if moves else ""
    if not sync:
        return "it was never compared with its source"
    if not compared(live):
        return f"its {changed_part(live)} is another one now"
    if sync.get("status") != "Synced":
        return f"it is {sync.get('status') or 'Unknown'}"
    if operation.get("phase") in FAILED and of_this_revision(operation, sync):
        return f"its last sync {past(operation)}"
    return ""


def _synced_to(live: Object, revision: str) -> bool:
    operation = (live.get("status") or {}).get("operationState") or {}
    sync = (operation.get("operation") or {}).get("sync") or {}
    # Where there is a list of sources, Argo CD does not heed what an operation says of one.
    asked = (sync.get("revisions") or [""])[0] if (live.get("spec") or {}).get("sources") else sync.get("revision")
    reached = _revision(operation.get("syncResult") or {})
    by_commit = bool(COMMIT.fullmatch(revision)) and reached.startswith(revision)
    return operation.get("phase") == "Succeeded" and (asked == revision or by_commit or reached == revision)


def past(operation: Object) -> str:
    return "failed" if operation.get("phase") == "Failed" else "ended in an error"


def busy(live: Object) -> str:
    """Which operation is under way; nothing if none is."""
    operation = (live.get("status") or {}).get("operationState") or {}
    if live.get("operation"):
        return "an operation waits to begin"
    if operation.get("phase") in RUNNING:
        return _with(f"an operation is {operation['phase'].lower()}", operation)
    return ""


def standing(live: Object) -> dict[str, t.Any]:
    """How it stands, in a few words, for results."""
    status = live.get("status") or {}
    operation = status.get("operationState") or {}
    sync = status.get("sync") or {}
    found = {
        "revision": sync.get("revision") or ", ".join(sync.get("revisions") or []),
        "sync": sync.get("status"),
        "health": (status.get("health") or {}).get("status"),
        "phase": operation.get("phase"),
        "message": operation.get("message"),
    }
    return {key: value for key, value in found.items() if value}


# -- asking for a sync -------------------------------------------------------------------------------------------------


def operation_of(live: Object, asked: Asked, token: str) -> Object:
    """The operation as Argo CD's API server would set it; options and retries are the policy's unless they are given."""
    policy = (live.get("spec") or {}).get("syncPolicy") or {}
    options = list(asked.options) if asked.options is not None else policy.get("syncOptions")
    sync: Object = {"syncStrategy": {"hook": {}}}
    if asked.revision:
        several = (live.get("spec") or {}).get("sources")
        sync.update({"revisions": [asked.revision]} if several else {"revision": asked.revision})
    sync.update({"prune": True} if prunes(live, asked) else {})
    sync.update({"syncOptions": options} if options else {})
    operation: Object = {"sync": sync, "initiatedBy": {"username": US}, "info": [{"name": US, "value": token}]}
    return {**operation, "retry": policy["retry"]} if policy.get("retry") else operation


def sync_patch(live: Object, asked: Asked, token: str) -> Object:
    """For the version that was read, so that nobody else's operation is overwritten; the last one's state goes."""
    return {
        "metadata": {"resourceVersion": live["metadata"]["resourceVersion"]},
        "operation": operation_of(live, asked, token),
        "status": {"operationState": None},
    }


def shown_sync(live: Object, asked: Asked) -> dict[str, t.Any]:
    """What is asked for, for people."""
    sync = operation_of(live, asked, "")["sync"]
    return {
        "revision": asked.revision or ", ".join(targets(live)),
        **{k: sync[k] for k in ("prune", "syncOptions") if k in sync},
    }


# -- how it went -------------------------------------------------------------------------------------------------------


def refreshed(live: Object) -> str:
    """The check for a refresh that was asked for."""
    return "Argo CD has not refreshed it yet" if REFRESH in (live["metadata"].get("annotations") or {}) else ""


def idle(live: Object) -> str:
    """The check for the end of whatever operation is under way."""
    return busy(live)


def is_synced(asked: Asked, token: str = "") -> Check:
    """The check for the end of a sync that was asked for with this token, and of what it brings; without one, of what is."""

    def check(live: Object) -> str:
        operation = (live.get("status") or {}).get("operationState") or {}
        if token:
            reason = _begun(live, operation, token)
            if reason:
                return reason
        if operation.get("phase") in RUNNING:
            retries = f", after {operation['retryCount']} retries" if operation.get("retryCount") else ""
            return _with(f"its sync is {operation['phase'].lower()}{retries}", operation)
        if token and operation.get("phase") in FAILED:
            raise Failure(failure(live))
        return _compared(live, asked) or _healthy(live)

    return check


def _begun(live: Object, operation: Object, token: str) -> str:
    if _has(live.get("operation") or {}, token):
        return "Argo CD has not begun the sync yet: does its application controller run?"
    if not _has(operation.get("operation") or {}, token):
        return busy(live) or "Argo CD has not begun the sync yet"
    return ""


def _has(operation: Object, token: str) -> bool:
    return {"name": US, "value": token} in (operation.get("info") or [])


def _compared(live: Object, asked: Asked) -> str:
    status = live.get("status") or {}
    operation, sync = status.get("operationState") or {}, status.get("sync") or {}
    if _moment(status.get("reconciledAt")) < _moment(operation.get("finishedAt")):
        return "Argo CD has not looked at what the sync made yet"
    if elsewhere(live, asked):
        # Compared with the definition's revision it stays OutOfSync.
        return ""
    errors = errors_of(live)
    if errors:
        raise Failure(errors, ERROR_GRACE, types_of(_errors(live)))
    if not sync or not compared(live):
        return "Argo CD has not compared it with its source yet"
    return "" if sync.get("status") == "Synced" else _out_of_sync(live, asked)


def _out_of_sync(live: Object, asked: Asked) -> str:
    status = live.get("status") or {}
    different = [one for one in status.get("resources") or [] if one.get("status") == "OutOfSync"]
    names = _names(different)
    if different and not prunes(live, asked) and all(one.get("requiresPruning") for one in different):
        raise Failure(f"it is OutOfSync only for what prune would delete: {names}", LEFT_GRACE, "prune")
    words = f"it is {(status.get('sync') or {}).get('status') or 'Unknown'}"
    return f"{words}: {names}" if names else words


def _healthy(live: Object) -> str:
    status = live.get("status") or {}
    health = status.get("health") or {}
    if health.get("status") == "Healthy":
        return ""
    words = _with(f"its health is {health.get('status') or 'not known yet'}", health)
    unhealthy = [_health(one) for one in status.get("resources") or [] if _health(one)]
    words = f"{words} ({'; '.join(unhealthy[:5])})" if unhealthy else words
    if health.get("status") == "Degraded":
        raise Failure(words, DEGRADED_GRACE, "Degraded")
    return words


def _health(one: Object) -> str:
    health = one.get("health") or {}
    return "" if health.get("status") in (None, "Healthy") else _with(f"{_name(one)} is {health['status']}", health)


# -- why not -----------------------------------------------------------------------------------------------------------


def failure(live: Object) -> str:
    """Why the last operation failed: its message, the resources and hooks that failed, the Application's errors."""
    operation = (live.get("status") or {}).get("operationState") or {}
    parts = [_with(f"its sync {past(operation)}", operation), *failed_resources(operation)]
    errors = errors_of(live)
    return "; ".join(parts + ([errors] if errors and errors not in parts[0] else []))


def failed_resources(operation: Object) -> list[str]:
    """The results of a sync that are no success, in Argo CD's words."""
    found = []
    for one in (operation.get("syncResult") or {}).get("resources") or []:
        if one.get("status") in ("SyncFailed", "PruneFailed") or one.get("hookPhase") in FAILED:
            hook = f"{one['hookType']} hook " if one.get("hookType") else ""
            state = one.get("status") if one.get("status") in ("SyncFailed", "PruneFailed") else one.get("hookPhase")
            found.append(_with(f"{hook}{_name(one)} {state}", one))
    return found


def errors_of(live: Object) -> str:
    """The conditions that are errors; others are warnings."""
    return "; ".join(f"{one['type']}: {one.get('message') or ''}" for one in _errors(live))


def _errors(live: Object) -> list[Object]:
    return [one for one in conditions(live) if str(one.get("type", "")).endswith("Error")]


def in_this_cluster(live: Object) -> bool:
    destination = (live.get("spec") or {}).get("destination") or {}
    return destination.get("server") == "https://kubernetes.default.svc" or destination.get("name") == "in-cluster"


def _with(words: str, found: Object) -> str:
    return f"{words}: {found['message']}" if found.get("message") else words


def _name(one: Object) -> str:
    namespace = f"{one['namespace']}/" if one.get("namespace") else ""
    return f"{one.get('kind')} {namespace}{one.get('name')}"


def _names(found: t.Sequence[Object]) -> str:
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return ", ".join(_name(one) for one in found[:5]) + more


def _moment(stamp: t.Any) -> datetime.datetime:
    """When it was; the beginning of time where nothing is said."""
    if not stamp:
        return datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)
    return datetime.datetime.fromisoformat(str(stamp).replace("Z", "+00:00"))
