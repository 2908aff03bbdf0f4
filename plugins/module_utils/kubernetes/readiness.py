# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether objects have become what they are for: ready, not yet and why, or failed and why."""

from __future__ import annotations

import typing as t

from ..errors import TaskFailed
from ..waiting import Backoff, Deadline, Pending, wait_for
from . import nodes, pods
from .client import Client, Resource

Object = dict[str, t.Any]
Target = tuple[Resource, str, str]


class Failure(Exception):
    """An object will not become ready without help; the text is the cause in its own words."""


#: What a check says: nothing when it is ready, else why not yet. It raises :class:`Failure`.
Check = t.Callable[[Object], str]


def wait_until_ready(client: Client, targets: t.Sequence[Target], deadline: Deadline) -> None:
    """Until all are ready. Raises TaskFailed as soon as one is known to have failed, WaitTimeout at the deadline."""
    left = list(targets)
    troubles = pods.Troubles(client, deadline)

    def check() -> bool | Pending:
        reasons = []
        for target in list(left):
            reason = _look(client, target, troubles)
            if reason:
                reasons.append(f"{_label(target)}: {reason}")
            else:
                left.remove(target)
        return Pending(_summary(reasons)) if reasons else True

    what = _label(targets[0]) if len(targets) == 1 else f"{len(targets)} objects"
    hint = "Look at the object's conditions and events, correct the cause, and run it again."
    wait_for(
        f"{what} ready", check, deadline=deadline, of=client.of, progress=client.progress, backoff=PAUSES, hint=hint
    )


def looked_at_once(client: Client, target: Target) -> str:
    """Why it is not ready at this moment, or has failed; nothing if it is ready."""
    try:
        return _look(client, target, pods.Troubles(client, Deadline(0)))
    except TaskFailed as failed:
        return str(failed.answer)


def wait_until_gone(client: Client, targets: t.Sequence[Target], deadline: Deadline) -> None:
    """Until none of them exists any more; says which finalizers hold it."""
    left = list(targets)

    def check() -> bool | Pending:
        reasons = []
        for target in list(left):
            live = client.get(*target)
            if live is None:
                left.remove(target)
            else:
                reasons.append(f"{_label(target)}: {_held_by(live)}")
        return Pending(_summary(reasons)) if reasons else True

    hint = "What is named must finish its clean-up first; is its controller still running?"
    wait_for(
        "the deletion", check, deadline=deadline, of=client.of, progress=client.progress, backoff=PAUSES, hint=hint
    )


PAUSES = Backoff(first=0.1, factor=1.5, most=1.0)


def _look(client: Client, target: Target, troubles: pods.Troubles) -> str:
    live = client.get(*target)
    if live is None:
        return "it is not there"
    try:
        reason = reason_of(live)
        if reason and live["kind"] == "PersistentVolumeClaim" and pods.waits_for_consumer(client, live):
            return ""
        if reason and live["kind"] in pods.OWNERS:
            reason = troubles.look(live) or reason
        if reason and live["kind"] == "Node":
            reason = nodes.look(client, live, reason, troubles)
        return reason
    except (Failure, pods.Failure) as failure:
        asked = f"see {_label(target)} ready"
        hint = "Correct the cause and run it again."
        raise TaskFailed(asked, of=client.of, answer=str(failure), hint=hint) from None


def reason_of(live: Object) -> str:
    """Why an object is not ready yet; nothing if it is. Raises :class:`Failure`."""
    if live["metadata"].get("deletionTimestamp"):
        return "it is being deleted"
    return CHECKS.get(live["kind"], _generic)(live)


def _label(target: Target) -> str:
    resource, namespace, name = target
    return f"{resource.kind} {namespace}/{name}" if namespace else f"{resource.kind} {name}"


def _summary(reasons: list[str]) -> str:
    return "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")


def _held_by(live: Object) -> str:
    holders = [*(live["metadata"].get("finalizers") or []), *((live.get("spec") or {}).get("finalizers") or [])]
    said = [
        str(condition.get("message"))
        for condition in _conditions(live)
        if condition.get("status") == "True" and condition.get("message")
    ]
    if not holders:
        return "it is still there"
    return f"held by {', '.join(holders)}" + (f" ({'; '.join(said)})" if said else "")


# -- the kinds -------------------------------------------------------------------------------------------------------


def _conditions(live: Object) -> list[Object]:
    found = (live.get("status") or {}).get("conditions")
    return [condition for condition in found or [] if isinstance(condition, dict)]


def condition(live: Object, name: str) -> Object:
    """The condition of this type, or an empty one."""
    return next((one for one in _conditions(live) if one.get("type") == name), {})


def _said(found: Object) -> str:
    words = [str(found[key]) for key in ("reason", "message") if found.get(key)]
    return ": ".join(words)


def _behind(live: Object) -> bool:
    """Whether the controller has not seen the latest change yet."""
    seen = (live.get("status") or {}).get("observedGeneration")
    return seen is not None and int(seen) < int(live["metadata"].get("generation") or 0)


def _must_be_true(name: str) -> Check:
    def check(live: Object) -> str:
        found = condition(live, name)
        if found.get("status") == "True":
            return ""
        return _said(found) or f"it has no condition {name} yet"

    return check


def _deployment(live: Object) -> str:
    spec, status = live["spec"], live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"]["generation"]:
        return "its controller has not seen it yet"
    progressing = condition(live, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        raise Failure(_said(progressing))
    failing = condition(live, "ReplicaFailure")
    if failing.get("status") == "True" and "quota" in str(failing.get("message")):
        raise Failure(_said(failing))
    wanted = spec.get("replicas", 1)
    counts = (
        ("updated", status.get("updatedReplicas", 0)),
        ("available", status.get("availableReplicas", 0)),
    )
    for word, number in counts:
        if number < wanted:
            return f"{number} of {wanted} replicas {word}" + _because(failing)
    old = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    return f"{old} old replicas are still there" if old > 0 else ""


def _because(found: Object) -> str:
    return f" ({_said(found)})" if found.get("status") == "True" else ""


def _stateful_set(live: Object) -> str:
    spec, status = live["spec"], live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"]["generation"]:
        return "its controller has not seen it yet"
    wanted = spec.get("replicas", 1)
    strategy = spec.get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    if strategy.get("type") != "OnDelete" and status.get("updatedReplicas", 0) < wanted - partition:
        return f"{status.get('updatedReplicas', 0)} of {wanted - partition} replicas updated"
    ready = status.get("readyReplicas", 0)
    return f"{ready} of {wanted} replicas ready" if ready < wanted else ""


def _daemon_set(live: Object) -> str:
    spec, status = live["spec"], live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"]["generation"]:
        return "its controller has not seen it yet"
    wanted = status.get("desiredNumberScheduled", 0)
    updated = status.get("updatedNumberScheduled", 0)
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete" and updated < wanted:
        return f"{updated} of {wanted} pods updated"
    available = status.get("numberAvailable", 0)
    return f"{available} of {wanted} pods available" if available < wanted else ""


def _job(live: Object) -> str:
    failed = condition(live, "Failed")
    if failed.get("status") == "True":
        raise Failure(_said(failed))
    if condition(live, "Complete").get("status") == "True" or live["spec"].get("suspend"):
        return ""
    status = live.get("status") or {}
    return f"{status.get('succeeded', 0)} of {live['spec'].get('completions', 1)} completions"


def _pod(live: Object) -> str:
    status = live.get("status") or {}
    if status.get("phase") == "Failed":
        raise Failure(_said(status) or "the pod has failed")
    if status.get("phase") == "Succeeded" or condition(live, "Ready").get("status") == "True":
        return ""
    return _said(condition(live, "Ready")) or f"its phase is {status.get('phase', 'Pending')}"


def _volume_claim(live: Object) -> str:
    phase = (live.get("status") or {}).get("phase", "Pending")
    if phase == "Lost":
        raise Failure("the volume that it was bound to is lost")
    return "" if phase == "Bound" else f"its phase is {phase}"


def _service(live: Object) -> str:
    if live["spec"].get("type") != "LoadBalancer":
        return ""
    addresses = ((live.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    return "" if addresses else "it has no load balancer address"


def _namespace(live: Object) -> str:
    phase = (live.get("status") or {}).get("phase")
    return "" if phase == "Active" else f"its phase is {phase or 'not known yet'}"


def _definition(live: Object) -> str:
    names = condition(live, "NamesAccepted")
    if names.get("status") == "False":
        raise Failure(_said(names))
    return _must_be_true("Established")(live)


def _generic(live: Object) -> str:
    """Kinds that we do not know: their condition Ready or Available counts, if their controller sets one."""
    if _behind(live):
        return "its controller has not seen it yet"
    for name in ("Ready", "Available", "Established"):
        found = condition(live, name)
        if found:
            return "" if found.get("status") == "True" else _said(found) or f"its condition {name} is not true"
    return ""


CHECKS: dict[str, Check] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "ReplicaSet": _stateful_set,
    "Job": _job,
    "Pod": _pod,
    "PersistentVolumeClaim": _volume_claim,
    "Service": _service,
    "Namespace": _namespace,
    "CustomResourceDefinition": _definition,
    "APIService": _must_be_true("Available"),
    "Node": _must_be_true("Ready"),
}
