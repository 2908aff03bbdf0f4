# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane's static pods on a node: whether they are up, and the cause when one of them never will be."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import typing as t

from ..errors import HomelabError, TaskFailed
from .client import Client, ContainerInfo
from .inputs import Node

PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")

#: Reasons of a waiting container that only a person can mend; those of the second set may pass.
_CRASHES = frozenset({"CrashLoopBackOff"})
_PULLS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "RunContainerError"}
)
#: These two crash until the API server answers, which is normal; later it is not.
_NEED_API = frozenset({"kube-controller-manager", "kube-scheduler"})
#: Causes of an image that does not come that are its registry's or the network's: the kubelet tries again by itself.
_PASSING = re.compile(
    r"timeout|timed out|deadline exceeded|no such host|server misbehaving|temporary failure|connection re(fused|set)"
    r"|unreachable|no route to host|\bEOF\b|too many requests|\b(429|50[0234]) [A-Z]",
    re.IGNORECASE,
)
#: Seconds that a pod may be seen crashed; longer for one that may have missed the API server's start, or whose image may
#: still come.
_DOWN, _DOWN_NEEDING_API, _DOWN_PULLING = 3.0, 30.0, 90.0
_LOG_LINES = 10
_LOG_SHOWN = 3
_LOG_ATTEMPTS = 3
#: Lines that say what is wrong, as Kubernetes' components write them.
_ERROR = re.compile(r"([EF]\d{4} |Error|error|panic|fatal|invalid|unknown)")


@dataclasses.dataclass(frozen=True)
class Pod:
    """One static pod as the kubelet sees it. ``exit_code`` is of the last container that ended, if one did."""

    component: str
    name: str
    ready: bool
    waiting: str = ""
    message: str = ""
    exit_code: int | None = None
    restarts: int = 0
    #: Whether the kubelet said anything about the container.
    detailed: bool = False


@dataclasses.dataclass
class StaticPods:
    """One node's static pods, looked at again and again. ``now`` counts seconds."""

    node: Node
    now: t.Callable[[], float]
    censor: t.Callable[[str], str] = str
    _down_since: dict[str, float] = dataclasses.field(default_factory=dict)

    def look(self, client: Client) -> str:
        """Why a static pod is not ready yet, or the empty string. Raises when one crashes, with its last words.

        A crash has to be seen for some seconds: right after a config was mended, the old pod is still there.
        """
        pods = {pod.component: pod for pod in _pods(client)}
        for component in PODS:
            pod = pods.get(component)
            patience = self._patience(pod, client, pods) if pod and not pod.ready else None
            if pod is None or patience is None:
                self._down_since.pop(component, None)
                continue
            since = self._down_since.setdefault(component, self.now())
            if self.now() - since >= patience:
                raise _failure(self.node, client, pod, self.censor)
        return next(filter(None, (_reason(component, pods.get(component)) for component in PODS)), "")

    def _patience(self, pod: Pod, client: Client, pods: t.Mapping[str, Pod]) -> float | None:
        """Seconds that this state of a pod may last, None when it is one that passes by itself."""
        if _hopeless(pod, pods):
            return _DOWN_PULLING if _may_still_come(pod) else _DOWN
        api = pods.get("kube-apiserver")
        waits_for_api = pod.component in _NEED_API and not (api and api.ready)
        # A kubelet that tells nothing of containers: then an exited one that stays so is a crash.
        if pod.detailed or waits_for_api or not _has_exited(pod, client):
            return None
        return _DOWN_NEEDING_API if pod.component in _NEED_API else _DOWN


def _reason(component: str, pod: Pod | None) -> str:
    if pod is None:
        return f"the static pod {component} is not there yet"
    if pod.ready:
        return ""
    return f"the static pod {component} is not ready{': ' + pod.waiting if pod.waiting else ''}"


def _containers(pod: Pod, client: Client) -> list[ContainerInfo]:
    return [one for one in client.containers() if one.pod == pod.name and one.id.split(":")[1:2] == [pod.component]]


def _has_exited(pod: Pod, client: Client) -> bool:
    states = {one.status for one in _containers(pod, client)}
    return states == {"CONTAINER_EXITED"}


def _pods(client: Client) -> t.Iterator[Pod]:
    for identifier, spec in client.resources("k8s", "StaticPodStatuses.kubernetes.talos.dev").items():
        name = identifier.rpartition("/")[2]
        component = next((component for component in PODS if name.startswith(component)), "")
        if component:
            yield _pod(component, identifier, spec or {})


def _pod(component: str, name: str, spec: dict[str, t.Any]) -> Pod:
    status = spec.get("podStatus") or spec
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or []}
    containers = status.get("containerStatuses") or [{}]
    container = containers[0]
    waiting = (container.get("state") or {}).get("waiting") or {}
    ended = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get("terminated")
    return Pod(
        component,
        name,
        str(conditions.get("Ready")) == "True",
        str(waiting.get("reason") or ""),
        str(waiting.get("message") or ""),
        int(ended["exitCode"]) if ended and "exitCode" in ended else None,
        int(container.get("restartCount") or 0),
        detailed=bool(container),
    )


def _hopeless(pod: Pod, pods: t.Mapping[str, Pod]) -> bool:
    if pod.waiting in _PULLS:
        return True
    if pod.waiting not in _CRASHES:
        return False
    api = pods.get("kube-apiserver")
    return pod.component not in _NEED_API or bool(api and api.ready and pod.restarts >= 3)


def _may_still_come(pod: Pod) -> bool:
    """Its image, when the registry did not answer."""
    return pod.waiting in ("ErrImagePull", "ImagePullBackOff") and bool(_PASSING.search(pod.message))


def _failure(node: Node, client: Client, pod: Pod, censor: t.Callable[[str], str]) -> HomelabError:
    code = "" if pod.exit_code is None else f", exit code {pod.exit_code}"
    lines = [censor(line) for line in _last_words(client, pod)]
    shown = list(dict.fromkeys(line for line in lines if _ERROR.match(line))) or lines
    said = f": {' | '.join(shown[-_LOG_SHOWN:])}" if shown else f": {pod.message}" if pod.message else ""
    state = f"is in {pod.waiting}" if pod.waiting else "has exited and is not started again"
    return TaskFailed(
        f"see the static pod {pod.component} of {node.name} run",
        of=client.of,
        answer=f"{pod.name} {state}{code}{said}",
        hint="Does the node reach its registry (its gateway, name servers, a mirror)? The kubelet goes on trying."
        if _may_still_come(pod)
        else "Correct the machine config and run talos_apply_config again.",
        node=node.name,
        pod=pod.name,
        reason=pod.waiting or "Exited",
        exit_code=pod.exit_code,
        log=lines,
    )


def _last_words(client: Client, pod: Pod) -> list[str]:
    """The log of the pod's last container that ended; a crash's cause is in it.

    A container that crashes is replaced all the time, so one of the list may be gone by now: look again then.
    """
    for _attempt in range(_LOG_ATTEMPTS):
        try:
            containers = _containers(pod, client)
        except HomelabError:  # the log is a courtesy: its absence must not hide the crash
            return []
        ended = [one for one in containers if one.status == "CONTAINER_EXITED"]
        for container in [*reversed(ended), *reversed(containers)]:
            with contextlib.suppress(HomelabError):
                lines = client.container_log(container.id, _LOG_LINES)
                if lines:
                    return [_message(line) for line in lines]
    return []


def _message(line: str) -> str:
    """A CRI log line without its time stamp and stream: ``2026-11-21T08:00:00Z stderr F message``."""
    parts = line.split(" ", 3)
    return parts[3] if len(parts) == 4 and parts[1] in ("stdout", "stderr") and len(parts[2]) == 1 else line
