# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a node has no network: what should have brought its network plugin, and does not start."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import HomelabError
from .client import Client
from .discovery import Resource
from .pods import PODS, Trouble, Troubles

Object = dict[str, t.Any]

JOBS = Resource("batch/v1", "Job", "jobs", True)
SYSTEM = "kube-system"
#: The class of what a node cannot do without; network plugins outside kube-system are in it.
CRITICAL = "system-node-critical"
#: Marks the copies of static pods. Whether these run is for Talos to say.
MIRROR = "kubernetes.io/config.mirror"

#: In the kubelet's words, when a node has no network plugin.
NO_NETWORK = ("NetworkReady=false", "NetworkPluginNotReady", "cni plugin not initialized", "cni config uninitialized")
#: Seconds for which an installer may start and end again: it does so while the API server's address is not reachable yet.
CRASHES = 60.0


def look(client: Client, node: Object, reason: str, troubles: Troubles) -> str:
    """The kubelet's reason, with the cause where one is known. Raises :class:`pods.Failure` for what will not pass."""
    if not any(word in reason for word in NO_NETWORK):
        return reason
    try:
        found = _bringers(client, node, troubles) + _failed_jobs(client, node)
    except HomelabError:
        # Who may not read pods or jobs still gets the kubelet's own reason.
        return reason
    return troubles.judge([dataclasses.replace(one, text=f"{one.text} ({reason})") for one in found]) or reason


def _bringers(client: Client, node: Object, troubles: Troubles) -> list[Trouble]:
    """What is wrong with pods that may bring the plugin: a Job that installs it may run on another node."""
    here = client.list(PODS, fieldSelector=f"spec.nodeName={node['metadata']['name']}")
    candidates = {pod["metadata"]["uid"]: pod for pod in [*client.list(PODS, SYSTEM), *here] if _may_bring(pod)}
    found = [trouble for pod in candidates.values() for trouble in troubles.of_pod(pod)]
    return [_patient(trouble) for trouble in found]


def _may_bring(pod: Object) -> bool:
    """Without a plugin only pods in the host's network start; of these, those that the cluster itself needs."""
    meta, spec = pod["metadata"], pod["spec"]
    if meta.get("deletionTimestamp") or MIRROR in (meta.get("annotations") or {}) or not spec.get("hostNetwork"):
        return False
    return bool(meta.get("namespace") == SYSTEM or spec.get("priorityClassName") == CRITICAL)


def _patient(trouble: Trouble) -> Trouble:
    return dataclasses.replace(trouble, grace=CRASHES) if trouble.known[-1] == "crash" else trouble


def _failed_jobs(client: Client, node: Object) -> list[Trouble]:
    """Jobs in the host's network that have failed since the node is not Ready; what failed before is another matter."""
    since = str(_condition(node, "Ready").get("lastTransitionTime") or "")
    found = []
    for job in client.list(JOBS, SYSTEM):
        failed = _condition(job, "Failed")
        recent = str(failed.get("lastTransitionTime") or "") >= since
        if failed.get("status") == "True" and recent and job["spec"]["template"]["spec"].get("hostNetwork"):
            words = ": ".join(str(failed[key]) for key in ("reason", "message") if failed.get(key))
            text = f"job {job['metadata']['name']} failed: {words}"
            found.append(Trouble((job["metadata"]["uid"], "failed"), text, 3.0))
    return found


def _condition(live: Object, name: str) -> Object:
    conditions = (live.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == name), {})
