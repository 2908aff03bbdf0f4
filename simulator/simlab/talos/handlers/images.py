# SPDX-License-Identifier: GPL-3.0-or-later
"""Images, installing and debugging through containerd: only the refusals of requests that lack something."""

from __future__ import annotations

import collections.abc as c
import typing as t

from .. import refusals
from ..calls import Call, Reply, machine, streams, unary

if t.TYPE_CHECKING:
    from ..node import TalosNode

_SERVICE = "/machine.ImageService/"


@streams(*machine("ImageList"))
async def legacy_list(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    _legacy_namespace(call)
    raise refusals.not_simulated("ImageList")
    yield {}


@unary(*machine("ImagePull"))
async def legacy_pull(node: TalosNode, call: Call) -> Reply:
    _legacy_namespace(call)
    raise refusals.not_simulated("ImagePull")


@streams(_SERVICE + "List", _SERVICE + "Pull")
async def list_or_pull(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    _namespace(call)
    raise refusals.not_simulated("ImageService")
    yield {}


@unary(_SERVICE + "Remove")
async def remove(node: TalosNode, call: Call) -> Reply:
    _namespace(call)
    raise refusals.not_simulated("ImageService/Remove")


@unary(_SERVICE + "Verify")
async def verify(node: TalosNode, call: Call) -> Reply:
    if not call.request.image_ref:
        raise refusals.invalid("image reference is invalid: could not parse reference: ")
    raise refusals.not_simulated("ImageService/Verify")


@unary(_SERVICE + "Import")
async def import_(node: TalosNode, call: Call) -> Reply:
    raise refusals.invalid("containerd instance is required")


@streams("/machine.DebugService/ContainerRun")
async def container_run(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    raise refusals.invalid("expected debug container spec")
    yield {}


@unary(*machine("Stats"))
async def stats(node: TalosNode, call: Call) -> Reply:
    if not call.request.namespace:
        raise refusals.invalid("namespace can't be empty")
    raise refusals.not_simulated("Stats")


def _legacy_namespace(call: Call) -> None:
    if call.request.namespace == 0:
        raise refusals.invalid("invalid namespace NS_UNKNOWN")


def _namespace(call: Call) -> None:
    if call.request.containerd.namespace == 0:
        raise refusals.invalid("invalid containerd namespace NS_UNKNOWN")
