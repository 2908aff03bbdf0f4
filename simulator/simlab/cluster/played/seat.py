# SPDX-License-Identifier: GPL-3.0-or-later
"""What a played program is given: its identity, its pod, the machine that it runs on."""

from __future__ import annotations

import dataclasses
import typing as t

from ..client import KubeClient
from ..node import Node

Object = dict[str, t.Any]


class Refused(Exception):
    """The program cannot work in this lab, or not as it is configured: its container ends with this text."""


async def _nothing(kind: str, reason: str, message: str) -> None: ...


@dataclasses.dataclass(frozen=True)
class Seat:
    """``client`` has the rights of the pod's service account. ``node`` and ``kubelet`` (a client as the node itself) are
    None when a program is played beside a cluster, without nodes. ``tell`` records an event of the pod. ``address`` is the
    pod's own, "" while it has none."""

    client: KubeClient
    pod: t.Mapping[str, t.Any]
    container: t.Mapping[str, t.Any]
    node: Node | None = None
    kubelet: KubeClient | None = None
    tell: t.Callable[[str, str, str], t.Awaitable[None]] = _nothing
    address: str = ""

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def words(self) -> list[str]:
        """The container's command and arguments."""
        return [str(word) for part in ("command", "args") for word in self.container.get(part) or ()]

    def flag(self, name: str, default: str = "") -> str:
        """``--name=value`` or ``--name value`` among the words; "true" for a bare one."""
        words = self.words
        for place, word in enumerate(words):
            given, equals, value = word.partition("=")
            if given not in (f"--{name}", f"-{name}"):
                continue
            if equals:
                return value
            following = words[place + 1] if place + 1 < len(words) else "-"
            return "true" if following.startswith("-") else following
        return default


Program = t.Callable[[Seat], t.Awaitable[None]]
