# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods leave a node that is drained, which stay, which must not be touched, and which budgets guard them. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ..plan import Change

Object = dict[str, t.Any]

#: Marks the copies of static pods: only the node's own files end them.
MIRROR = "kubernetes.io/config.mirror"
FINISHED = ("Succeeded", "Failed")
#: Pods in these phases are evicted whatever their budget says.
UNGUARDED = (*FINISHED, "Pending")

#: ``leave``: to be evicted. ``leaving``: on its way already. ``stay``: no matter of a drain. ``forbidden``: not allowed.
Fate = t.Literal["leave", "leaving", "stay", "forbidden"]


@dataclasses.dataclass(frozen=True)
class Options:
    """What a drain may do. ``grace``: seconds that programs have to end, or what their pods say. ``skip_after``: do not wait
    for pods that should have ended so many seconds ago. ``selector``: of the labels of the pods that leave."""

    emptydir: bool = False
    unmanaged: bool = False
    bypass_budgets: bool = False
    grace: int | None = None
    skip_after: float | None = None
    selector: str = ""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One pod's fate, and why."""

    pod: Object
    fate: Fate
    why: str = ""

    @property
    def name(self) -> str:
        meta = self.pod["metadata"]
        return f"{meta['namespace']}/{meta['name']}"


def judge(pod: Object, options: Options, budgets: t.Sequence[Object]) -> Verdict:
    """What is to become of a pod."""
    meta = pod["metadata"]
    owner = controller_of(pod)
    finished = (pod.get("status") or {}).get("phase") in FINISHED
    if MIRROR in (meta.get("annotations") or {}):
        return Verdict(pod, "stay", "a static pod")
    if owner.get("kind") == "DaemonSet" and not finished:
        return Verdict(pod, "stay", f"of DaemonSet {owner['name']}")
    if meta.get("deletionTimestamp"):
        return Verdict(pod, "leaving", "it is terminating")
    if finished:
        return Verdict(pod, "leave", "it has ended")
    problems = _problems(pod, owner, options, budgets)
    return Verdict(pod, "forbidden", "; ".join(problems)) if problems else Verdict(pod, "leave")


def _problems(pod: Object, owner: Object, options: Options, budgets: t.Sequence[Object]) -> list[str]:
    problems = []
    if not owner and not options.unmanaged:
        problems.append("nothing would make it again elsewhere (delete_unmanaged allows it)")
    volumes = [str(volume["name"]) for volume in pod["spec"].get("volumes") or [] if "emptyDir" in volume]
    if volumes and not options.emptydir:
        problems.append(f"what its emptyDir {', '.join(volumes)} holds would be lost (delete_emptydir_data allows it)")
    guards = guards_of(pod, budgets)
    if len(guards) > 1 and not options.bypass_budgets:
        names = ", ".join(guard["metadata"]["name"] for guard in guards)
        problems.append(f"{len(guards)} PodDisruptionBudgets ({names}) select it, and Kubernetes evicts no such pod")
    return problems


def controller_of(pod: Object) -> Object:
    """What would make the pod again, or nothing."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), {})


def change_of(pod: Object, node: str, options: Options, budgets: t.Sequence[Object]) -> Change:
    """The eviction as it is listed. Its operation is the pod."""
    meta, owner = pod["metadata"], controller_of(pod)
    before = {"node": node}
    if owner:
        before["controller"] = f"{owner['kind']}/{owner['name']}"
    how = "deleted whatever its budget says" if options.bypass_budgets else "evicted"
    closed = [] if options.bypass_budgets else [guard for guard in guards_of(pod, budgets) if not allowed(guard)]
    note = "; ".join([how, *(f"has to wait: {words(guard)}" for guard in closed)])
    return Change(f"Pod/{meta['namespace']}/{meta['name']}", "delete", before, note=note, operation=pod)


# -- budgets -----------------------------------------------------------------------------------------------------------


def guards_of(pod: Object, budgets: t.Sequence[Object]) -> list[Object]:
    """The PodDisruptionBudgets that the server looks at when a pod is evicted: none for one that does not run."""
    meta = pod["metadata"]
    if (pod.get("status") or {}).get("phase") in UNGUARDED:
        return []
    labels = meta.get("labels") or {}
    mine = [one for one in budgets if one["metadata"]["namespace"] == meta["namespace"]]
    return [one for one in mine if selects((one.get("spec") or {}).get("selector"), labels)]


def allowed(budget: Object) -> int:
    """How many pods may be disrupted now. A budget that its controller has not seen yet allows none."""
    return int((budget.get("status") or {}).get("disruptionsAllowed") or 0)


def words(budget: Object) -> str:
    meta, status = budget["metadata"], budget.get("status") or {}
    text = f"PodDisruptionBudget {meta['namespace']}/{meta['name']}"
    return f"{text} needs {status.get('desiredHealthy', 0)} healthy pods and has {status.get('currentHealthy', 0)}"


def selects(selector: Object | None, labels: t.Mapping[str, str]) -> bool:
    """Whether a label selector (``matchLabels``, ``matchExpressions``) matches. None selects nothing, an empty one all."""
    if selector is None:
        return False
    exact = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in exact.items()):
        return False
    return all(_matches(term, labels) for term in selector.get("matchExpressions") or [])


def _matches(term: Object, labels: t.Mapping[str, str]) -> bool:
    key, among = term["key"], term.get("values") or []
    tests: dict[str, bool] = {
        "In": key in labels and labels[key] in among,
        "NotIn": key not in labels or labels[key] not in among,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return tests.get(term["operator"], False)


# -- pods that are on their way ----------------------------------------------------------------------------------------


def overdue(pod: Object, now: datetime.datetime) -> float:
    """For how many seconds a pod should have been gone; negative while it has time left. The server's clock set it."""
    stamp = str(pod["metadata"].get("deletionTimestamp") or "")
    if not stamp:
        return float("-inf")
    return (now - datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00"))).total_seconds()


def terminating(pod: Object, now: datetime.datetime) -> str:
    """Why a pod that was told to end is still there."""
    late = overdue(pod, now)
    holders = pod["metadata"].get("finalizers") or []
    held = f", held by {', '.join(holders)}" if holders else ""
    if late < 0:
        return f"is terminating, with {-late:.0f} s left{held}"
    return f"should have ended {late:.0f} s ago{held or ': does the kubelet of its node still answer?'}"
