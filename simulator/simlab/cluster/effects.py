# SPDX-License-Identifier: GPL-3.0-or-later
"""What the work of some containers does to the cluster.

Most containers just run. A few are there to change the cluster, and what comes after waits for that: they are
listed in :data:`EFFECTS` and do it through the API, as their own service account.
"""

from __future__ import annotations

import collections.abc as c
import typing as t

from .cilium import install_cilium
from .client import KubeClient

Pod = t.Mapping[str, t.Any]
Effect = c.Callable[[KubeClient, Pod, str], c.Awaitable[None]]


class Failed(Exception):
    """The container ends with an error; the text is what it would print."""


def container_of(pod: Pod, name: str) -> t.Mapping[str, t.Any]:
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return next(container for container in containers if container["name"] == name)


def words_of(pod: Pod, name: str) -> list[str]:
    """Command and arguments of a container."""
    container = container_of(pod, name)
    return [str(word) for word in [*(container.get("command") or ()), *(container.get("args") or ())]]


async def _cilium(client: KubeClient, pod: Pod, name: str) -> None:
    words = words_of(pod, name)
    if "install" not in words:
        return
    await install_cilium(client, words[words.index("install") + 1 :])


#: A part of the image's name: what the container does.
EFFECTS: dict[str, Effect] = {"cilium/cilium-cli": _cilium}


def effect_of(pod: Pod, name: str) -> Effect | None:
    image = str(container_of(pod, name)["image"])
    return next((effect for part, effect in EFFECTS.items() if part in image), None)
