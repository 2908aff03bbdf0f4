# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod's own network: a namespace on a virtual cable to its node, as CNI plugins make it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import typing as t

from ...contracts import Namespace

#: The gateway of every pod: an address that each cable's end at the node has.
GATEWAY = "169.254.1.1"


class NetworkFailed(Exception):
    """The text is that of the command that failed."""


class PodNetwork:
    """The namespace of one pod; a sleeping process keeps it."""

    def __init__(self, node: Namespace, uid: str, address: str) -> None:
        self._node, self.address = node, address
        self._cable = "lxc" + hashlib.sha256(uid.encode()).hexdigest()[:11]
        self._holder: asyncio.subprocess.Process | None = None

    @property
    def path(self) -> str:
        if self._holder is None:
            raise NetworkFailed("the pod has no network")
        return f"/proc/{self._holder.pid}/ns/net"

    async def start(self) -> None:
        """Raises NetworkFailed."""
        self._holder = await self._node.spawn(["unshare", "--net", "--", "sleep", "infinity"], **_QUIET)
        await self._entered(self._holder.pid)
        await ip(
            self._node,
            [
                f"link add {self._cable} type veth peer name eth0 netns {self._holder.pid}",
                f"addr add {GATEWAY}/32 dev {self._cable}",
                f"link set {self._cable} up",
                f"route replace {self.address}/32 dev {self._cable}",
            ],
        )
        inside = [
            "link set lo up",
            f"addr add {self.address}/32 dev eth0",
            "link set eth0 up",
            f"route add {GATEWAY} dev eth0 scope link",
            f"route add default via {GATEWAY} dev eth0",
        ]
        await ip(self._node, inside, ["nsenter", f"--net={self.path}", "--"])

    async def stop(self) -> None:
        """The cable goes with the namespace."""
        holder, self._holder = self._holder, None
        if holder is not None and holder.returncode is None:
            holder.send_signal(signal.SIGKILL)
            await holder.wait()

    async def spawn(self, argv: t.Sequence[str], **keywords: t.Any) -> asyncio.subprocess.Process:
        """A process in the pod's network."""
        return await self._node.spawn(["nsenter", f"--net={self.path}", "--", *argv], **keywords)

    async def _entered(self, pid: int) -> None:
        node = await self._node.spawn(["readlink", "/proc/self/ns/net"], stdout=asyncio.subprocess.PIPE)
        own = (await node.communicate())[0].decode().strip()
        for _ in range(500):
            if self._holder is None or self._holder.returncode is not None:
                raise NetworkFailed("no network namespace: unshare has ended")
            if os.readlink(f"/proc/{pid}/ns/net") != own and _comm(pid) == "sleep":
                return
            await asyncio.sleep(0.01)
        raise NetworkFailed("no network namespace after 5 s")


def _comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


async def ip(node: Namespace, lines: t.Sequence[str], prefix: t.Sequence[str] = ()) -> None:
    """A batch of ``ip``. Raises NetworkFailed."""
    process = await node.spawn(
        [*prefix, "ip", "-batch", "-"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate("".join(f"{line}\n" for line in lines).encode())
    if process.returncode != 0:
        raise NetworkFailed(f"ip: {errors.decode(errors='replace').strip()}")


async def forward(node: Namespace) -> None:
    """Let the node pass on its pods' packets. Raises NetworkFailed."""
    script = "echo 1 2>/dev/null >/proc/sys/net/ipv4/ip_forward; read -r on </proc/sys/net/ipv4/ip_forward; [ $on = 1 ]"
    process = await node.spawn(["sh", "-c", script], **_QUIET)
    if await process.wait() != 0:
        raise NetworkFailed("the node cannot route: /proc/sys/net/ipv4/ip_forward is read-only and 0")


_QUIET: dict[str, t.Any] = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.DEVNULL)
