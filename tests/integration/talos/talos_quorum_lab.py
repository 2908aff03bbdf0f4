# SPDX-License-Identifier: GPL-3.0-or-later
"""Played nodes whose members of etcd know each other: they join, leave, lose their quorum, begin again from a snapshot."""

from __future__ import annotations

import dataclasses
import pathlib
import time
import typing as t

from talos_lab import PlayedLab, WellKubernetes
from talos_support import FakeEtcd
from test_talos_life import SYSCTL, steps

from simlab.cluster import EtcdError, Member

FAILED_PRECONDITION, UNAVAILABLE = 9, 14


class Membership:
    """All members of one test, by name, with the address of their node; and those that run."""

    def __init__(self) -> None:
        self.members: dict[str, str] = {}
        self.running: set[str] = set()
        #: Members that run and do not answer.
        self.ill: set[str] = set()
        #: Whether Talos sees it when a member is not well: it looks only every few seconds.
        self.noticed = True
        self.recovered: list[bytes] = []
        self.leader = ""

    @property
    def quorum(self) -> bool:
        return len((self.running & set(self.members)) - self.ill) > len(self.members) / 2


class MemberOfEtcd(FakeEtcd):
    shared: Membership
    address = ""

    async def start_new(self) -> None:
        self.shared.members[self._name] = self.address
        await self._run()

    async def start_existing(self) -> None:
        await self._run()

    async def join(self, endpoints: t.Sequence[str]) -> None:
        if not self.shared.quorum:
            raise EtcdError(UNAVAILABLE, "etcdserver: request timed out")
        await self.start_new()

    async def recover(self, snapshot: pathlib.Path, *, skip_hash_check: bool = False) -> None:
        self.shared.recovered.append(snapshot.read_bytes())
        self.shared.members.clear()
        await self.start_new()

    async def _run(self) -> None:
        self._data.mkdir(parents=True, exist_ok=True)
        (self._data / "member").mkdir(exist_ok=True)
        self.shared.running.add(self._name)
        self.pid = 1

    async def healthy(self) -> bool:
        return not self.shared.noticed or (self.shared.quorum and self._name not in self.shared.ill)

    async def leave(self) -> None:
        self.shared.members.pop(self._name, None)
        self.shared.running.discard(self._name)
        self.pid = None
        (self._data / "member").rmdir()
        self._data.rmdir()

    async def forfeit_leadership(self) -> str | None:
        if len(self.shared.members) < 2:
            raise EtcdError(FAILED_PRECONDITION, "cannot forfeit leadership, only one member")
        if self.shared.leader != self._name:
            return None
        self.shared.leader = min((self.shared.running & set(self.shared.members)) - {self._name} - self.shared.ill)
        return self.shared.leader

    async def members(self, *, linearizable: bool = True) -> list[Member]:
        if linearizable and not self.shared.quorum:
            raise EtcdError(UNAVAILABLE, "etcdserver: request timed out")
        return [
            Member(number, name, (f"https://{address}:2380",), (f"https://{address}:2379",), False)
            for number, (name, address) in enumerate(self.shared.members.items(), 1)
        ]


def share(lab: PlayedLab) -> Membership:
    """Let the lab's control plane nodes, which are still off, be members of one etcd."""
    shared = Membership()

    class Kubernetes(WellKubernetes):
        def __init__(self, node: t.Any, behaviours: t.Any) -> None:
            super().__init__(node, behaviours)
            if self.etcd is not None:
                self.etcd = MemberOfEtcd(node.directory / "lib" / "etcd", node.name)
                self.etcd.shared, self.etcd.address = shared, node.address

        async def power_off(self) -> None:
            await self.shut_down()

        async def shut_down(self) -> None:
            if self.etcd is not None:
                shared.running.discard(self._name)
                self.etcd.pid = None

    lab.settings = dataclasses.replace(lab.settings, kubernetes=t.cast(t.Any, Kubernetes))
    return shared


def stand_up(lab: PlayedLab, *names: str, furnish: t.Callable[[], object] = lambda: None) -> Membership:
    """A cluster of these nodes, healthy, whose members all vote. ``furnish``: done to the machines before they are on."""
    shared = share(lab)
    furnish()
    lab.power_on(*names)
    for module, params in steps(lab, *names):
        made = lab.run(module, **params)
        assert not made.get("failed"), made
    assert sorted(shared.members) == [name for name in names if name.startswith("c")]
    return shared


__all__ = ["SYSCTL", "Membership", "share", "stand_up"]


def fall_ill(lab: PlayedLab, shared: Membership, *names: str) -> None:
    """These members no longer answer, and Talos, which looks from time to time, has noticed."""
    shared.ill.update(names)
    deadline = time.monotonic() + 20
    while any(lab.nodes[name].runtime.services.healthy("etcd") for name in names):
        assert time.monotonic() < deadline, f"nobody notices that {names} are ill"
        time.sleep(0.02)
