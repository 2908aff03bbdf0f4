# SPDX-License-Identifier: GPL-3.0-or-later
"""How played containers behave."""

from __future__ import annotations

import dataclasses
import typing as t

#: What a container can be told to do instead of just running.
IMAGE_PULL, CRASH, NOT_READY = "ImagePullBackOff", "CrashLoopBackOff", "NotReady"
KNOWN = (IMAGE_PULL, CRASH, NOT_READY)
#: Annotations by which one pod says how it behaves, and when it is ready (seconds of lab time).
BEHAVIOUR, READY_AFTER = "simlab/behaviour", "simlab/ready-after"

#: Images whose pod brings a node's network up, once its containers run: a part of the image's name.
CNI_IMAGES = ("/flannel", "cilium/cilium:", "cilium/cilium@", "calico/node", "kindnetd", "antrea-agent", "kube-router")


@dataclasses.dataclass
class Behaviours:
    """What the lab's settings say of containers; changes take effect at the next look.

    ``images`` maps an image prefix to ``ImagePullBackOff``, ``CrashLoopBackOff`` or ``NotReady``. A pod's annotations
    ``simlab/behaviour`` (one of those) and ``simlab/ready-after`` (seconds, lab time) say it for one pod. An image of a
    registry below ``.invalid`` never pulls, as in life: no name server knows that domain.
    """

    images: dict[str, str] = dataclasses.field(default_factory=dict)
    ready_after: float = 2.0  # seconds of lab time from scheduling to Ready
    job_after: float = 2.0  # and from Running to Succeeded, for pods that end

    def of(self, pod: t.Mapping[str, t.Any], image: str) -> str | None:
        """How a container of this pod behaves; None when it just runs. The longest matching prefix counts."""
        told = (pod["metadata"].get("annotations") or {}).get(BEHAVIOUR)
        if told in KNOWN:
            return str(told)
        fitting = [prefix for prefix in self.images if image.startswith(prefix)]
        if fitting:
            return self.images[max(fitting, key=len)]
        return IMAGE_PULL if is_nowhere(image) else None

    def ready_delay(self, pod: t.Mapping[str, t.Any]) -> float:
        """Seconds of lab time until the pod is ready."""
        told = (pod["metadata"].get("annotations") or {}).get(READY_AFTER)
        try:
            return float(str(told).rstrip("s")) if told is not None else self.ready_after
        except ValueError:
            return self.ready_after


def is_nowhere(image: str) -> bool:
    """Whether the image's registry has a name that cannot exist (RFC 2606)."""
    registry = image.partition("/")[0].partition(":")[0]
    return "/" in image and registry.endswith(".invalid")


def pull_error(image: str) -> str:
    """Why an image does not come, in containerd's words."""
    why = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": '
    if not is_nowhere(image):
        return f"rpc error: code = NotFound desc = {why}{image}: not found"
    registry, _, rest = image.partition("/")
    name, _, tag = rest.partition(":")
    url = f"https://{registry}/v2/{name}/manifests/{tag or 'latest'}"
    host = registry.partition(":")[0]
    return f'rpc error: code = Unknown desc = {why}failed to do request: Head "{url}": dial tcp: lookup {host}: no such host'


def brings_network(image: str) -> bool:
    """Whether a pod with this image is a CNI plugin's agent."""
    return any(part in image for part in CNI_IMAGES)
