# SPDX-License-Identifier: GPL-3.0-or-later
"""What is beyond the lab's router: the mirror's namespace, its names, and how hypervisors reach it."""

from __future__ import annotations

import pathlib
import typing as t

from .authority import Authority
from .faults import Faults
from .ledger import Ledger
from .mirror.dns import NameServer
from .mirror.releases import Releases
from .mirror.server import MirrorServer
from .network import NetNamespace, Network
from .proxmox.fetching import Fetch, fetcher

#: RFC 2544 keeps these addresses free of real hosts.
_PREFIX, _ROUTER, _MIRROR = 15, "198.18.0.1", "198.18.0.2"


class Internet:
    """One namespace with one web server, under as many names as the lab needs."""

    def __init__(self, network: Network, authority: Authority, names: NameServer) -> None:
        self._network = network
        self._authority = authority
        self._names = names
        self.mirror: MirrorServer | None = None

    async def start(
        self,
        factories: t.Iterable[str],
        files: t.Mapping[str, pathlib.Path],
        ledger: Ledger,
        faults: Faults,
        releases: Releases | None = None,
        scratch: pathlib.Path | None = None,
    ) -> None:
        """``scratch``: where the mirror keeps what it makes; a folder that ends with the lab, however that ends."""
        namespace = await self._network.connect_outside("internet", f"{_ROUTER}/{_PREFIX}", f"{_MIRROR}/{_PREFIX}")
        self.mirror = MirrorServer(factories, files, ledger, faults, releases, scratch)
        for name in self.mirror.names:
            self._names.records[name] = [_MIRROR]
        context = self._authority.server_context(*self.mirror.names)
        await self.mirror.start(namespace.listen("0.0.0.0", 443), namespace.listen("0.0.0.0", 80), context)

    async def stop(self) -> None:
        if self.mirror is not None:
            await self.mirror.stop()


def fetch_from(namespace: NetNamespace) -> Fetch:
    """How a machine in ``namespace`` downloads: through the lab's network. The names are those of the sandbox's
    ``/etc/hosts`` and the lab's name server, the trusted authorities those of ``SSL_CERT_FILE``.
    """
    return fetcher(lambda info: namespace.socket(info[0], info[1]))
