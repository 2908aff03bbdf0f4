# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane that left etcd comes back by a reboot, step by step as real nodes did it. The members are real."""

from __future__ import annotations

import asyncio
import os
import pathlib
import re
import sys
import typing as t

import pytest
import recorded
from talos_support import (
    Client,
    FakeKubernetes,
    FakeMachine,
    InsideChannel,
    Lab,
    client_pair,
    config,
    context,
    text,
    until,
)

from simlab.cluster import EtcdMember
from simlab.talos import Registry, Settings

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "cluster"))
from netlab import NetNamespace, program

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ADDRESSES = {"cp1": "10.77.0.11", "cp2": "10.77.0.12", "cp3": "10.77.0.13"}

#: What cp1 says of the members (name -> learner), and the state and health of etcd on cp3 (empty while it is away).
Moment = tuple[dict[str, bool], tuple[str, ...]]
_LINE = re.compile(r"\d+ ms (?P<members>(?:cp\d=\w+ )+)\| cp3 etcd: (?P<etcd>.*)$")


def recorded_moments() -> list[Moment]:
    lines = (recorded.ROOT / "cluster" / "rejoin.txt").read_text(encoding="utf-8").splitlines()
    found = []
    for match in filter(None, map(_LINE.match, lines)):
        members = dict(one.split("=") for one in match["members"].split())
        found.append(({name: told == "true" for name, told in members.items()}, tuple(match["etcd"].split())))
    return found


class Switched:
    """Machines on one bridge, and the tests in the bridge's namespace."""

    def __init__(self) -> None:
        self.switch = NetNamespace("switch")
        self.switch.ip("link", "add", "br0", "type", "bridge")
        self.switch.ip("addr", "add", "10.77.0.1/24", "dev", "br0")
        self.switch.ip("link", "set", "br0", "up")
        self.inside = {name: self._plugged(name, address) for name, address in ADDRESSES.items()}

    def _plugged(self, name: str, address: str) -> NetNamespace:
        made = NetNamespace(name)
        self.switch.ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(made.pid))
        self.switch.ip("link", "set", name, "master", "br0", "up")
        made.ip("addr", "add", f"{address}/24", "dev", "eth0")
        made.ip("link", "set", "eth0", "up")
        return made

    def close(self) -> None:
        for namespace in [*self.inside.values(), self.switch]:
            namespace.close()


class OnlyEtcd(FakeKubernetes):
    """The member of etcd is real; nothing else of Kubernetes matters here."""

    def __init__(self, node: t.Any, behaviours: t.Any) -> None:
        super().__init__(node, behaviours)
        self.etcd: t.Any = EtcdMember(node)

    async def power_off(self) -> None:
        await self.etcd.stop(kill=True)

    async def shut_down(self) -> None:
        await self.etcd.stop()


@pytest.fixture
def network() -> t.Iterator[Switched]:
    made = Switched()
    try:
        yield made
    finally:
        made.close()


def test_a_member_that_left_rejoins_as_recorded(
    tmp_path: pathlib.Path, secrets: dict[str, t.Any], network: Switched
) -> None:
    expected = recorded_moments()
    assert len(expected) == 6
    (tmp_path / "run").mkdir()
    settings = Settings(
        registry=Registry(), program=program(), runtime=tmp_path / "run", kubernetes=t.cast(t.Any, OnlyEtcd)
    )
    lab = Lab(tmp_path, settings)

    async def scenario() -> None:
        try:
            seen = await rejoined(lab, network, secrets)
        finally:
            await lab.close()
        at = 0
        for moment in expected:
            assert moment in seen[at:], f"{moment} is not among {seen[at:]}"
            at = seen.index(moment, at)
        assert seen[-1] == expected[-1]

    asyncio.run(asyncio.wait_for(scenario(), 120))


async def rejoined(lab: Lab, network: Switched, secrets: dict[str, t.Any]) -> list[Moment]:
    """Three members; the third one leaves and is rebooted. The moments from then on, each once."""
    nodes = {name: lab.node(address, vmid=100 + at) for at, (name, address) in enumerate(ADDRESSES.items())}
    for name, node in nodes.items():
        node.machine = t.cast(
            t.Any, FakeMachine(node.machine.guest, t.cast(t.Any, network.inside[name]), node.machine.lease(None))
        )
        node.machine.time_scale = 0.1
        await node.boot()
        await until(lambda node=node: node.describe()["stage"] == "maintenance")
        anonymous = Client(InsideChannel(network.switch, ADDRESSES[name], context()))
        assert (await anonymous.call("ApplyConfiguration", {"data": text(config(secrets), name)})).code == "OK"
        anonymous.close()
    admin = context(client_pair(secrets["os"], ["os:admin"]), secrets["os"])
    clients = {name: Client(InsideChannel(network.switch, address, admin)) for name, address in ADDRESSES.items()}
    await until(lambda: nodes["cp1"].runtime.services.healthy("cri"), 20)
    assert (await clients["cp1"].call("Bootstrap")).code == "OK"
    await until(lambda: all(node.runtime.services.healthy("etcd") for node in nodes.values()), 60)
    # etcd is real and takes what time it takes: what Talos does every few seconds comes after it on a busy machine, too.
    nodes["cp3"].machine.time_scale = 0.4
    assert (await clients["cp3"].call("EtcdLeaveCluster")).code == "OK"
    assert (await clients["cp3"].call("Reboot")).code == "OK"
    moments: list[Moment] = []
    while not moments or not nodes["cp3"].runtime.services.healthy("etcd"):
        await noted(moments, clients, nodes["cp3"])
    await noted(moments, clients, nodes["cp3"])
    for client in clients.values():
        client.close()
    return moments


async def noted(moments: list[Moment], clients: dict[str, Client], third: t.Any) -> None:
    answer = (await clients["cp1"].call("EtcdMemberList")).first
    members = {member.hostname: member.is_learner for member in answer.members}
    services = third.runtime.services if third.serving else None
    etcd = services.get("etcd") if services else None
    state: tuple[str, ...] = ()
    if etcd is not None:
        state = (etcd.state, "?" if etcd.healthy is None else "OK" if etcd.healthy else "Fail")
    if not moments or moments[-1] != (members, state):
        moments.append((members, state))
    await asyncio.sleep(0.02)
