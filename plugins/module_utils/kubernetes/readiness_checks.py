# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When objects of Kubernetes' own kinds are ready, and which check is for which kind. Pure."""

from __future__ import annotations

from . import readiness_gateway, readiness_gitops, readiness_others
from .conditions import UNSEEN, Check, Failure, Object, behind, condition, conditions, deleted, must_be_true, said
from .kinds import group_of


def reason_of(live: Object) -> str:
    """Why an object is not ready yet; nothing if it is. Raises :class:`Failure`."""
    if deleted(live):
        return "it is being deleted"
    return check_of(live)(live)


def check_of(live: Object) -> Check:
    """By group and kind, as others have kinds of the same name; an object that names no group is taken as ours."""
    api_version, kind = live.get("apiVersion"), str(live["kind"])
    group = group_of(str(api_version)) if api_version is not None else None
    if group is not None and group.endswith(readiness_gitops.FLUX):
        return readiness_gitops.flux
    for groups, checks in TABLES:
        if kind in checks and (group is None or group in groups):
            return checks[kind]
    return generic


def _deployment(live: Object) -> str:
    spec, status = live["spec"], live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"]["generation"]:
        return UNSEEN
    progressing = condition(live, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        raise Failure(said(progressing))
    failing = condition(live, "ReplicaFailure")
    if failing.get("status") == "True" and "quota" in str(failing.get("message")):
        raise Failure(said(failing))
    wanted = spec.get("replicas", 1)
    counts = (
        ("updated", status.get("updatedReplicas", 0)),
        ("available", status.get("availableReplicas", 0)),
    )
    paused = " (its rollout is paused)" if spec.get("paused") else ""
    for word, number in counts:
        if number < wanted:
            return f"{number} of {wanted} replicas {word}" + (_because(failing) or paused)
    old = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    return f"{old} old replicas are still there" if old > 0 else ""


def _because(found: Object) -> str:
    return f" ({said(found)})" if found.get("status") == "True" else ""


def _stateful_set(live: Object) -> str:
    spec, status = live["spec"], live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"]["generation"]:
        return UNSEEN
    wanted = spec.get("replicas", 1)
    strategy = spec.get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    if strategy.get("type") != "OnDelete" and status.get("updatedReplicas", 0) < wanted - partition:
        return f"{status.get('updatedReplicas', 0)} of {wanted - partition} replicas updated"
    ready = status.get("readyReplicas", 0)
    return f"{ready} of {wanted} replicas ready" if ready < wanted else ""


def _replica_set(live: Object) -> str:
    status = live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"]["generation"]:
        return UNSEEN
    wanted, available = live["spec"].get("replicas", 1), status.get("availableReplicas", 0)
    failing = condition(live, "ReplicaFailure")
    return f"{available} of {wanted} replicas available" + _because(failing) if available < wanted else ""


def _daemon_set(live: Object) -> str:
    spec, status = live["spec"], live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"]["generation"]:
        return UNSEEN
    wanted = status.get("desiredNumberScheduled", 0)
    updated = status.get("updatedNumberScheduled", 0)
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete" and updated < wanted:
        return f"{updated} of {wanted} pods updated"
    available = status.get("numberAvailable", 0)
    return f"{available} of {wanted} pods available" if available < wanted else ""


def _job(live: Object) -> str:
    for name in ("Failed", "FailureTarget"):
        failed = condition(live, name)
        if failed.get("status") == "True":
            raise Failure(said(failed))
    if condition(live, "Complete").get("status") == "True" or live["spec"].get("suspend"):
        return ""
    status = live.get("status") or {}
    return f"{status.get('succeeded', 0)} of {live['spec'].get('completions', 1)} completions"


def _pod(live: Object) -> str:
    status = live.get("status") or {}
    if status.get("phase") == "Failed":
        raise Failure(said(status) or "the pod has failed")
    if status.get("phase") == "Succeeded" or condition(live, "Ready").get("status") == "True":
        return ""
    return said(condition(live, "Ready")) or f"its phase is {status.get('phase', 'Pending')}"


def _volume_claim(live: Object) -> str:
    phase = (live.get("status") or {}).get("phase", "Pending")
    if phase == "Lost":
        raise Failure("the volume that it was bound to is lost")
    return "" if phase == "Bound" else f"its phase is {phase}"


def _service(live: Object) -> str:
    if live["spec"].get("type") != "LoadBalancer":
        return ""
    if ((live.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return ""
    refused = [said(one) for one in conditions(live) if one.get("status") == "False"]
    return "it has no load balancer address" + (f" ({'; '.join(filter(None, refused))})" if any(refused) else "")


def _namespace(live: Object) -> str:
    phase = (live.get("status") or {}).get("phase")
    return "" if phase == "Active" else f"its phase is {phase or 'not known yet'}"


def _definition(live: Object) -> str:
    names = condition(live, "NamesAccepted")
    if names.get("status") == "False":
        raise Failure(said(names))
    return must_be_true("Established")(live)


def generic(live: Object) -> str:
    """Kinds that we do not know: their condition Ready or Available counts, if their controller sets one.

    ``Stalled`` and ``Reconciling`` are what kubernetes-sigs/cli-utils calls kstatus.
    """
    if behind(live):
        return UNSEEN
    stalled, reconciling = condition(live, "Stalled"), condition(live, "Reconciling")
    if stalled.get("status") == "True" and not behind(live, stalled):
        raise Failure(said(stalled) or "it is stalled")
    if reconciling.get("status") == "True":
        return said(reconciling) or "its controller is at work on it"
    for name in ("Ready", "Available", "Established"):
        found = condition(live, name)
        if found:
            if behind(live, found):
                return UNSEEN
            return "" if found.get("status") == "True" else said(found) or f"its condition {name} is not true"
    return ""


CORE: dict[str, Check] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "ReplicaSet": _replica_set,
    "Job": _job,
    "Pod": _pod,
    "PersistentVolumeClaim": _volume_claim,
    "Service": _service,
    "Namespace": _namespace,
    "CustomResourceDefinition": _definition,
    "APIService": must_be_true("Available"),
    "Node": must_be_true("Ready"),
}
CORE_GROUPS = frozenset({"", "apps", "batch", "apiextensions.k8s.io", "apiregistration.k8s.io"})

#: (API groups, checks by kind)
TABLES: tuple[tuple[frozenset[str], dict[str, Check]], ...] = (
    (CORE_GROUPS, CORE),
    (frozenset({readiness_gateway.GROUP}), readiness_gateway.CHECKS),
    (frozenset({readiness_gitops.ARGO}), readiness_gitops.CHECKS),
    *((frozenset({group}), checks) for group, checks in readiness_others.CHECKS.items()),
)
