# SPDX-License-Identifier: GPL-3.0-or-later
"""Cilium's operator and agent: what their containers do in the cluster."""

from __future__ import annotations

import asyncio
import contextlib

from ..client import KubeClient, KubeError
from . import cilium_crds
from .cilium_config import Settings, settings
from .gateway_controller import GatewayController, missing
from .l2_announcer import L2Announcer
from .lbipam import LBIPAM
from .leading import leading
from .seat import Seat

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_RETRY = 1.0


async def operator(seat: Seat) -> None:
    """Registers Cilium's resources, then LB-IPAM and, if it is switched on, the Gateway API; one replica works."""
    async with leading(seat, "cilium-operator"):
        config = await _settings(seat)
        await _register(seat)
        parts = [LBIPAM(seat, config).run()] if config.lbipam else []
        if await _has_gateway(seat, config):
            parts.append(GatewayController(seat).run())
        await asyncio.gather(*parts, asyncio.Event().wait())


async def agent(seat: Seat) -> None:
    """The L2 announcer of this node, if it is switched on."""
    config = await _settings(seat)
    if config.l2:
        await L2Announcer(seat).run()
    await asyncio.Event().wait()


async def _settings(seat: Seat) -> Settings:
    told = ""
    while True:
        try:
            return await settings(seat)
        except KubeError as error:
            if error.code == 403 and str(error) != told:
                told = str(error)
                await seat.tell("Warning", "Forbidden", told)
        await asyncio.sleep(_RETRY)


async def _register(seat: Seat) -> None:
    """As the operator: what is not there is created, what is there is left."""
    told = ""
    while True:
        try:
            for definition in cilium_crds.definitions():
                await _create(seat.client, definition)
            return
        except KubeError as error:
            if error.code == 403 and str(error) != told:
                told = str(error)
                await seat.tell("Warning", "Forbidden", f"Unable to create CRDs: {error}")
        await asyncio.sleep(_RETRY)


async def _create(client: KubeClient, definition: dict[str, object]) -> None:
    with contextlib.suppress(_Exists):
        try:
            await client.call("POST", _DEFINITIONS, definition)
        except KubeError as error:
            if error.code == 409:
                raise _Exists from None
            raise


class _Exists(Exception):
    pass


async def _has_gateway(seat: Seat, config: Settings) -> bool:
    """Whether the Gateway API is played. As in life, its definitions must be there when the operator starts: they are not
    looked for again before it starts anew."""
    if not config.gateway:
        return False
    if not config.kube_proxy_replacement:
        await seat.tell("Warning", "GatewayAPI", "Gateway API support requires kube-proxy-replacement enabled")
        return False
    while True:
        try:
            absent = await missing(seat.client)
            break
        except KubeError:
            await asyncio.sleep(_RETRY)
    if absent:
        text = "Required GatewayAPI resources are not found, please refer to docs for installation instructions: "
        await seat.tell("Warning", "GatewayAPI", text + ", ".join(absent))
    return not absent
