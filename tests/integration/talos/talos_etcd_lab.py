# SPDX-License-Identifier: GPL-3.0-or-later
"""Played nodes whose members of etcd say what a test wants, and whose snapshots are of the real form."""

from __future__ import annotations

import hashlib
import typing as t

from talos_lab import WellKubernetes
from talos_support import FakeEtcd

from simlab.cluster import EtcdError, Member, Status


def snapshot(pages: int = 3, *, filling: bytes = b"x") -> bytes:
    """A database of some pages with its SHA-256, as etcd streams it."""
    head = bytes(16) + (0xED0CDAED).to_bytes(4, "little")
    body = (head + filling * 4096)[:4096] + filling * 4096 * (pages - 1)
    return body + hashlib.sha256(body).digest()


class Cluster:
    """What all members of one test know."""

    def __init__(self) -> None:
        self.members: dict[int, tuple[str, str, bool]] = {}
        self.leader = 1
        self.alarms: list[tuple[int, str]] = []
        self.data = snapshot()
        self.index: dict[int, int] = {}
        self.broken: dict[str, EtcdError] = {}
        self.errors: dict[int, tuple[str, ...]] = {}
        self.taken_from: list[str] = []

    def add(self, name: str, address: str, *, learner: bool = False) -> int:
        """One more member, by its number."""
        number = len(self.members) + 1
        self.members[number] = (name, address, learner)
        return number


class PlayedEtcd(FakeEtcd):
    cluster = Cluster()

    @property
    def _id(self) -> int:
        return next((number for number, one in self.cluster.members.items() if one[0] == self._name), 99)

    async def status(self) -> t.Any:
        if "status" in self.cluster.broken:
            raise self.cluster.broken["status"]
        number, learner = self._id, self.cluster.members.get(self._id, ("", "", False))[2]
        index, errors = self.cluster.index.get(number, 476), self.cluster.errors.get(number, ())
        leader = self.cluster.leader
        return Status(number, "3.6.8", "3.6.0", 487424, 479232, leader, index, 2, index, errors, learner)

    async def members(self, *, linearizable: bool = True) -> list[t.Any]:
        return [
            Member(number, name, (f"https://{address}:2380",), (f"https://{address}:2379",) if name else (), learner)
            for number, (name, address, learner) in self.cluster.members.items()
        ]

    async def alarms(self) -> list[tuple[int, str]]:
        return self.cluster.alarms

    async def snapshot(self) -> t.AsyncIterator[bytes]:
        self.cluster.taken_from.append(self._name)
        for at in range(0, len(self.cluster.data), 1000):
            yield self.cluster.data[at : at + 1000]


def kubernetes(cluster: Cluster) -> type[WellKubernetes]:
    """The class that a lab's settings take, with members of this cluster."""

    class Etcd(PlayedEtcd):
        pass

    Etcd.cluster = cluster

    class Kubernetes(WellKubernetes):
        def __init__(self, node: t.Any, behaviours: t.Any) -> None:
            super().__init__(node, behaviours)
            if self.etcd is not None:
                self.etcd = Etcd(node.directory / "lib" / "etcd", node.name)

    return Kubernetes
