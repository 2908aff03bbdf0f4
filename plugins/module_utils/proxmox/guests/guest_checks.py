# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does what a guest needs exist, VM or container? Pure; each raises :class:`InvalidInput` that says what there is."""

from __future__ import annotations

from ...errors import InvalidInput, Unreachable
from ..vms.vm_state import Surroundings


def check_node(title: str, node: str, around: Surroundings) -> None:
    if node not in around.nodes:
        known = ", ".join(sorted(around.nodes)) or "none"
        raise InvalidInput(f"{title} is to be on node {node!r}, which does not exist", hint=f"There are: {known}.")
    if not around.nodes[node].online:
        raise Unreachable(f"create {title}", of=f"node {node}", answer="the node is offline", hint="Switch it on.")


def check_storage(title: str, name: str, node: str, around: Surroundings, *, content: str, what: str) -> None:
    """``content`` as a storage lists it (``images``), ``what`` as people say it (``disks of VMs``)."""
    storages = around.storages.get(node, {})
    found = storages.get(name)
    if found is None:
        known = ", ".join(sorted(storages)) or "none"
        hint = f"There are: {known}. Without the right Datastore.Audit a storage cannot be seen."
        raise InvalidInput(f"{title} is to have a disk on {name!r}, which is no storage of node {node}", hint=hint)
    if content not in found.content:
        able = ", ".join(sorted(one.name for one in storages.values() if content in one.content)) or "none"
        only = ", ".join(sorted(found.content))
        raise InvalidInput(f"The storage {name!r} takes no {what}, only {only}", hint=f"These do: {able}.")
    if not found.active:
        raise InvalidInput(
            f"The storage {name!r} is not active on node {node}", hint="Is it disabled, or its server away?"
        )


def check_bridge(title: str, slot: str, bridge: str, node: str, around: Surroundings) -> None:
    bridges = around.bridges.get(node)
    if bridges is not None and bridge not in bridges:
        raise InvalidInput(
            f"{slot} of {title} is to be on the bridge {bridge!r}, which node {node} does not have",
            hint=f"There are: {', '.join(sorted(bridges))}. Without SDN.Use or SDN.Audit on it a bridge cannot be seen.",
        )


def check_pool(title: str, pool: str, is_in: str, around: Surroundings) -> None:
    """Nobody can say so when no pool can be seen."""
    if pool and pool != is_in and around.pools and pool not in around.pools:
        raise InvalidInput(
            f"{title} is to be in the pool {pool!r}, which does not exist",
            hint=f"There are: {', '.join(sorted(around.pools))}. Without the right Pool.Audit a pool cannot be seen.",
        )
