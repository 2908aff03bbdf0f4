# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of one lab know of each other: who has power, who is in which cluster, who holds which virtual address.

In life this is discovery, trustd and etcd elections; here it is one object that the lab gives to every node.
"""

from __future__ import annotations

import collections.abc as c
import ipaddress
import typing as t

if t.TYPE_CHECKING:
    from .node import TalosNode


class Registry:
    def __init__(self) -> None:
        self._powered: list[TalosNode] = []
        self._virtual: dict[str, TalosNode] = {}

    def up(self, node: TalosNode) -> None:
        if node not in self._powered:
            self._powered.append(node)

    def down(self, node: TalosNode) -> None:
        """The node has no power any more; its virtual addresses are free."""
        if node in self._powered:
            self._powered.remove(node)
        self.release_all(node)

    def by_address(self, address: str) -> TalosNode | None:
        return next((node for node in self._powered if address in node.addresses()), None)

    def members(self, cluster: str) -> c.Sequence[TalosNode]:
        """Configured nodes of a cluster (by ``cluster.id``, or its endpoint where there is none) that have power."""
        found = [node for node in self._powered if node.cluster_key == cluster]
        return sorted(found, key=lambda node: node.hostname)

    def control_planes(self, cluster: str) -> c.Sequence[TalosNode]:
        return [node for node in self.members(cluster) if node.control_plane]

    def trustd_for(self, node: TalosNode) -> bool:
        """Whether a worker gets its API certificate: a control plane node serves where the endpoint points to."""
        planes = [other for other in self.control_planes(node.cluster_key) if other is not node and other.serving]
        if not planes:
            return False
        host = node.endpoint_host
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return True  # a name: the lab's resolver knows it, or kube-apiserver would not come up either
        return any(host in other.addresses() for other in planes) or any(
            host in other.virtual_wanted() for other in planes
        )

    def claim(self, address: str, node: TalosNode) -> bool:
        """Hold a virtual address, unless another node with power holds it."""
        return self._virtual.setdefault(address, node) is node

    def release_all(self, node: TalosNode) -> None:
        self._virtual = {address: holder for address, holder in self._virtual.items() if holder is not node}

    def release(self, address: str, node: TalosNode) -> None:
        if self._virtual.get(address) is node:
            del self._virtual[address]
