# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab gives its nodes so that containers can be processes."""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import typing as t

from .delivery import Delivery

#: Where systems keep the certificates that they trust.
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


async def _nothing(subnet: str, gateway: str) -> None: ...


@dataclasses.dataclass
class Support:
    """One object for all nodes of a lab.

    ``trusted`` is a file with the certificates that containers trust. ``addresses`` resolves names outside of the
    cluster (none: there is no such name). ``announce`` tells the network's router the way to a node's pods: subnet,
    node address. ``identities``: of the service network of each cluster, by the cluster's authority."""

    delivery: Delivery
    trusted: pathlib.Path
    addresses: t.Callable[[str], list[str]] = lambda name: []
    announce: t.Callable[[str, str], t.Awaitable[None]] = _nothing
    identities: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    _wanted: dict[str, asyncio.Event] = dataclasses.field(default_factory=dict)

    def wanted(self, cluster: str) -> asyncio.Event:
        """Set when the first process of a cluster needs its service network."""
        return self._wanted.setdefault(cluster, asyncio.Event())
