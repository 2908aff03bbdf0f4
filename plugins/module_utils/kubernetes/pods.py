# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a workload's pods do not start, in the words of the kubelet, the scheduler and the program itself."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import HomelabError
from ..waiting import Deadline
from .client import Client
from .discovery import Resource

Object = dict[str, t.Any]

PODS = Resource("v1", "Pod", "pods", True)
EVENTS = Resource("v1", "Event", "events", True)
REPLICA_SETS = Resource("apps/v1", "ReplicaSet", "replicasets", True)

STORAGE_CLASSES = Resource("storage.k8s.io/v1", "StorageClass", "storageclasses", False)

#: Kinds whose pods are looked at, and the pods' own kind.
OWNERS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod", "PersistentVolumeClaim"})

#: A container's waiting reason -> (what it is, seconds for which it may pass by itself).
WAITING: dict[str, tuple[str, float]] = {
    "InvalidImageName": ("image", 0.0),
    "ErrImageNeverPull": ("image", 0.0),
    "ErrImagePull": ("image", 3.0),
    "ImagePullBackOff": ("image", 3.0),
    "RegistryUnavailable": ("image", 10.0),
    "CrashLoopBackOff": ("crash", 3.0),
    "RunContainerError": ("start", 8.0),
    "CreateContainerError": ("start", 8.0),
    # Secrets and ConfigMaps are often made by somebody else, a moment later.
    "CreateContainerConfigError": ("config", 20.0),
}
#: Events at the owner that say why it has no pods. Seconds for which they may pass.
NO_PODS = ("FailedCreate", "ProvisioningFailed")
NO_PODS_GRACE = 3.0


class Failure(Exception):
    """The pods will not start without help."""


@dataclasses.dataclass(frozen=True)
class Trouble:
    """One cause. ``known``: it stays the same trouble while this stays the same."""

    known: tuple[str, ...]
    text: str
    grace: float | None


class Troubles:
    """Looks at pods while something waits for them; remembers since when each trouble has been there."""

    def __init__(self, client: Client, deadline: Deadline) -> None:
        self.client = client
        self.deadline = deadline
        self._since: dict[tuple[str, ...], float] = {}

    def look(self, owner: Object) -> str:
        """What keeps it from being ready, or nothing. Raises :class:`Failure` for what will not pass."""
        try:
            found = self._troubles(owner)
        except HomelabError:
            # Who may not read pods or events still gets the owner's own reason.
            return ""
        return self.judge(found)

    def judge(self, found: list[Trouble]) -> str:
        """The first of these troubles, or nothing. Raises :class:`Failure` for one that has lasted its grace."""
        for trouble in found:
            since = self._since.setdefault(trouble.known, self.deadline.elapsed())
            if trouble.grace is not None and self.deadline.elapsed() - since >= trouble.grace:
                raise Failure(trouble.text)
        return found[0].text if found else ""

    def _troubles(self, owner: Object) -> list[Trouble]:
        found = [trouble for pod in self.pods_of(owner) for trouble in self.of_pod(pod)]
        return found or self._of_owner(owner)

    def pods_of(self, owner: Object) -> list[Object]:
        """The pods that it has now; of a Deployment those of its newest ReplicaSet."""
        kind, meta = owner["kind"], owner["metadata"]
        if kind == "Pod":
            return [owner]
        selector = _selector(owner)
        if not selector:
            return []
        namespace, uid = meta["namespace"], meta["uid"]
        if kind == "Deployment":
            uid = self._newest_replica_set(owner, selector) or uid
        pods = self.client.list(PODS, namespace, labelSelector=selector)
        return [pod for pod in pods if uid in _owners(pod) and not pod["metadata"].get("deletionTimestamp")]

    def _newest_replica_set(self, owner: Object, selector: str) -> str:
        """Only the newest: the pods of the one before may well fail, that is why there is a new one."""
        revision = _revision(owner)
        for one in self.client.list(REPLICA_SETS, owner["metadata"]["namespace"], labelSelector=selector):
            if owner["metadata"]["uid"] in _owners(one) and _revision(one) == revision:
                return str(one["metadata"]["uid"])
        return ""

    def of_pod(self, pod: Object) -> list[Trouble]:
        """Why a pod's containers do not start, each with its image, its reason and its words."""
        status = pod.get("status") or {}
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        found: list[Trouble] = []
        for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            waiting = (container.get("state") or {}).get("waiting") or {}
            reason = waiting.get("reason", "")
            if reason in WAITING:
                what, grace = WAITING[reason]
                text = self._words(pod, container, reason, str(waiting.get("message") or ""))
                found.append(Trouble((uid, container["name"], what), f"pod {name}: {text}", grace))
        scheduled: Object = next((c for c in status.get("conditions") or [] if c.get("type") == "PodScheduled"), {})
        if scheduled.get("status") == "False":
            # It may pass: a node that becomes Ready, an autoscaler. So it is told, and fails at the deadline only.
            text = f"pod {name} cannot be scheduled: {scheduled.get('message') or scheduled.get('reason')}"
            found.append(Trouble((uid, "scheduled"), text, None))
        if status.get("phase") == "Failed" and not found:
            text = " ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
            found.append(Trouble((uid, "failed"), f"pod {name} failed{': ' if text else ''}{text}", None))
        return found

    def _words(self, pod: Object, container: Object, reason: str, message: str) -> str:
        name = container["name"]
        if reason != "CrashLoopBackOff":
            image = f" image {container.get('image')}" if WAITING[reason][0] == "image" else ""
            return f"container {name}:{image} {reason}" + (f": {message}" if message else "")
        last = (container.get("lastState") or {}).get("terminated") or {}
        ended = f", exit code {last['exitCode']}" if "exitCode" in last else ""
        why = f" ({last['reason']})" if last.get("reason") not in (None, "Error", "Completed") else ""
        line = last.get("message") or self.client.log_line(
            pod["metadata"]["namespace"], pod["metadata"]["name"], name, previous=True
        )
        said = f", its last words: {line.strip()}" if line else ""
        return f"container {name} starts and ends again (CrashLoopBackOff{ended}{why}){said}"

    def _of_owner(self, owner: Object) -> list[Trouble]:
        """Events at the owner: a quota, an admission policy, a volume that cannot be made."""
        meta = owner["metadata"]
        uids = [meta["uid"]]
        if owner["kind"] == "Deployment":
            uids.append(self._newest_replica_set(owner, _selector(owner)))
        found: list[Trouble] = []
        for uid in filter(None, uids):
            for event in self.client.list(EVENTS, meta["namespace"], fieldSelector=f"involvedObject.uid={uid}"):
                if event.get("reason") in NO_PODS and event.get("type") == "Warning":
                    text = f"{event['reason']}: {event.get('message')}"
                    lasting = any(word in text for word in ("exceeded quota", "is forbidden", "is invalid"))
                    found.append(Trouble((uid, "events"), text, NO_PODS_GRACE if lasting else None))
        return found[-1:]


def waits_for_consumer(client: Client, claim: Object) -> bool:
    """Whether a claim is as ready as it can be: its storage class makes the volume when a pod first needs it."""
    name = (claim.get("spec") or {}).get("storageClassName")
    chosen = "volume.kubernetes.io/selected-node" in (claim["metadata"].get("annotations") or {})
    if not name or chosen:
        return False
    try:
        found = client.get(STORAGE_CLASSES, "", str(name)) or {}
    except HomelabError:
        return False
    return found.get("volumeBindingMode") == "WaitForFirstConsumer"


def _selector(owner: Object) -> str:
    labels = ((owner.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _owners(one: Object) -> list[str]:
    return [str(owner.get("uid")) for owner in one["metadata"].get("ownerReferences") or []]


def _revision(one: Object) -> str:
    return str((one["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision", ""))
