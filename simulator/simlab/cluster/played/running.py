# SPDX-License-Identifier: GPL-3.0-or-later
"""A program in its pod: with the pod's own rights, for as long as its container runs."""

from __future__ import annotations

import asyncio
import typing as t

from ..client import KubeClient, KubeError
from ..kubelet_identity import TOKEN_SECONDS, service_account_client, service_account_token
from ..node import Node
from .seat import Program, Seat

#: Real seconds: until the token is asked for again, and between attempts to get one.
_RENEW, _RETRY = TOKEN_SECONDS * 0.8, 1.0


class Host(t.Protocol):
    """The kubelet that the pod runs on."""

    node: Node

    @property
    def client(self) -> KubeClient: ...

    @property
    def address(self) -> str: ...

    def pod_address(self, uid: str) -> str | None: ...

    async def event(self, pod: t.Mapping[str, t.Any], kind: str, reason: str, message: str) -> None: ...


async def running_program(host: Host, pod: t.Mapping[str, t.Any], name: str, program: Program) -> None:
    """Until it is cancelled. Raises Refused when the program gives up."""
    container = next(one for one in pod["spec"]["containers"] if one["name"] == name)
    agent = str(container["image"]).partition("@")[0].rpartition("/")[2]
    client = await _client(host, pod, agent)

    async def tell(kind: str, reason: str, message: str) -> None:
        await host.event(pod, kind, reason, message)

    own = host.address if pod["spec"].get("hostNetwork") else host.pod_address(pod["metadata"]["uid"])
    seat = Seat(client, pod, container, host.node, _KubeletClient(host), tell, own or "")
    renewal = asyncio.create_task(_renew(host, pod, client), name=f"token {pod['metadata']['name']}")
    try:
        await program(seat)
    finally:
        renewal.cancel()
        await client.close()


async def _client(host: Host, pod: t.Mapping[str, t.Any], agent: str) -> KubeClient:
    while True:
        try:
            return await service_account_client(host.node, host.client, pod, agent)
        except KubeError:
            await asyncio.sleep(_RETRY)


async def _renew(host: Host, pod: t.Mapping[str, t.Any], client: KubeClient) -> None:
    while True:
        await asyncio.sleep(_RENEW)
        while True:
            try:
                client.authorize(await service_account_token(host.client, pod))
                break
            except KubeError:
                await asyncio.sleep(_RETRY)


class _KubeletClient(KubeClient):
    """The kubelet's own client, whichever it has now: a kubelet that restarts has another."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def text(self, *words: t.Any, **keywords: t.Any) -> str:
        return await self._host.client.text(*words, **keywords)
