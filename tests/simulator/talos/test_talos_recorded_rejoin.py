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

#: What cp1 says of the members: name -> learner.
Members = dict[str, bool]
#: The state and health of etcd on cp3; empty while it is away.
Service = tuple[str, ...]
_LINE = re.compile(r"\d+ ms (?P<members>(?:cp\d=\w+ )+)\| cp3 etcd: (?P<etcd>.*)$")


def recorded_steps() -> tuple[list[Members], list[Service]]:
    """Each step once. How the steps of the two lie to each other is a matter of how long the real etcd takes for its own."""
    lines = (recorded.ROOT / "cluster" / "rejoin.txt").read_text(encoding="utf-8").splitlines()
    members: list[Members] = []
    services: list[Service] = []
    for match in filter(None, map(_LINE.match, lines)):
        told = dict(one.split("=") for one in match["members"].split())
        note(members, {name: learner == "true" for name, learner in told.items()})
        note(services, tuple(match["etcd"].split()))
    return members, services


def note(steps: list[t.Any], now: t.Any) -> None:
    if not steps or steps[-1] != now:
        steps.append(now)


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
    expected_members, expected_services = recorded_steps()
    assert (len(expected_members), len(expected_services)) == (3, 5)
    (tmp_path / "run").mkdir()
    settings = Settings(
        registry=Registry(), program=program(), runtime=tmp_path / "run", kubernetes=t.cast(t.Any, OnlyEtcd)
    )
    lab = Lab(tmp_path, settings)

    async def scenario() -> None:
        try:
            members, services = await rejoined(lab, network, secrets)
        finally:
            await lab.close()
        # Neither a member that has not told its name yet nor a service that prepares lasts long enough to be in the recording.
        assert [one for one in members if "" not in one] == expected_members
        assert [one for one in services if one[:1] not in (("Preparing",), ("Waiting",))] == expected_services

    asyncio.run(asyncio.wait_for(scenario(), 120))


async def rejoined(lab: Lab, network: Switched, secrets: dict[str, t.Any]) -> tuple[list[Members], list[Service]]:
    """Three members; the third one leaves and is rebooted. The steps from then on, each once."""
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
    await leaves(clients["cp3"])
    assert (await clients["cp3"].call("Reboot")).code == "OK"
    members: list[Members] = []
    services: list[Service] = []
    watching = asyncio.create_task(watch(services, nodes["cp3"]))
    while not members or not nodes["cp3"].runtime.services.healthy("etcd") or any(members[-1].values()):
        answer = (await clients["cp1"].call("EtcdMemberList")).first
        note(members, {member.hostname: member.is_learner for member in answer.members})
        await asyncio.sleep(0.02)
    watching.cancel()
    for client in clients.values():
        client.close()
    return members, services


async def leaves(client: Client) -> None:
    """etcd lets no member go before all have known each other for five seconds, and on a busy machine it is late."""
    async with asyncio.timeout(60):
        while (code := (await client.call("EtcdLeaveCluster")).code) in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            await asyncio.sleep(0.5)
    assert code == "OK"


async def watch(steps: list[Service], third: t.Any) -> None:
    """Without a call: an etcd whose members change lets callers wait."""
    while True:
        services = third.runtime.services if third.serving else None
        etcd = services.get("etcd") if services else None
        health = "?" if etcd is None or etcd.healthy is None else "OK" if etcd.healthy else "Fail"
        note(steps, () if etcd is None else (etcd.state, health))
        await asyncio.sleep(0.005)
