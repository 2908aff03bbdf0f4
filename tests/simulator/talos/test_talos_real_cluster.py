# SPDX-License-Identifier: GPL-3.0-or-later
"""A node with real etcd and Kubernetes processes in a network namespace of its own."""

from __future__ import annotations

import asyncio
import os
import pathlib
import sys
import time
import typing as t

import pytest
import yaml
from talos_support import Client, FakeMachine, InsideChannel, Lab, client_pair, config, context, text, until

from simlab.talos import Registry, Settings

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "cluster"))
from netlab import NetNamespace, program

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ADDRESS = "10.77.0.11"


class InsideMachine(FakeMachine):
    async def set_addresses(self, nic: t.Any, addresses: t.Sequence[str], gateway: str | None) -> None:
        await super().set_addresses(nic, addresses, gateway)
        for address in addresses:
            self.namespace.ip("addr", "replace", address, "dev", "lo")  # type: ignore[attr-defined]


@pytest.fixture
def inside() -> t.Iterator[NetNamespace]:
    namespace = NetNamespace("cp1")
    try:
        yield namespace
    finally:
        namespace.close()


def test_bootstrap_to_ready_snapshot_reboot(tmp_path: pathlib.Path, secrets: t.Any, inside: NetNamespace) -> None:
    lab = Lab(tmp_path, Settings(registry=Registry(), program=program(), runtime=tmp_path / "run"))
    (tmp_path / "run").mkdir()

    async def scenario() -> None:
        node = lab.node(ADDRESS)
        node.machine = t.cast(t.Any, InsideMachine(node.machine.guest, t.cast(t.Any, inside)))
        node.machine.time_scale = 0.02
        try:
            await _drill(node, inside, secrets)
        finally:
            await lab.close()

    asyncio.run(asyncio.wait_for(scenario(), 150))


async def _drill(node: t.Any, inside: NetNamespace, secrets: t.Any) -> None:
    def client(tls: t.Any) -> Client:
        return Client(InsideChannel(inside, ADDRESS, tls))

    admin = context(client_pair(secrets["os"], ["os:admin"]), secrets["os"])
    begun = time.monotonic()
    await node.boot()
    await until(lambda: node.describe()["stage"] == "maintenance")
    anonymous = client(context())
    document = config(secrets)
    document["cluster"]["network"]["cni"] = {"name": "flannel"}
    assert (await anonymous.call("ApplyConfiguration", {"data": text(document, "cp1"), "mode": "AUTO"})).code == "OK"
    anonymous.close()
    await until(lambda: node.serving and node.runtime.services.healthy("cri"))
    caller = client(admin)
    assert (await caller.call("Bootstrap")).code == "OK"
    await until(lambda: node.runtime.services.healthy("etcd"), 60)
    print("etcd", time.monotonic() - begun)
    await until(lambda: node.runtime.stage == "running" and not node.runtime.unmet(), 90)
    print("ready", time.monotonic() - begun)
    members = (await caller.call("EtcdMemberList")).first
    assert [member.hostname for member in members.members] == ["cp1"]
    snapshot = await caller.call("EtcdSnapshot", timeout=20)
    assert snapshot.code == "OK" and sum(len(part.bytes) for part in snapshot.messages) > 20000
    health = await caller.call("/cluster.ClusterService/HealthCheck", {"wait_timeout": {"seconds": 30}}, timeout=40)
    print([line.message for line in health.messages][-3:])
    assert health.code == "OK", health.message
    boot_id = (await caller.call("Read", {"path": "/proc/sys/kernel/random/boot_id"})).messages[0].bytes
    assert (await caller.call("Reboot")).code == "OK"
    caller.close()
    await until(lambda: not node.serving, 20)
    await until(lambda: node.serving and node.runtime.stage == "running" and not node.runtime.unmet(), 90)
    print("again", time.monotonic() - begun)
    caller = client(admin)
    assert (await caller.call("Read", {"path": "/proc/sys/kernel/random/boot_id"})).messages[0].bytes != boot_id
    assert (await caller.call("Bootstrap")).code == "ALREADY_EXISTS"
    await _break_api_server(caller, node, document)
    caller.close()


async def _break_api_server(caller: Client, node: t.Any, document: t.Any) -> None:
    """A wrong extra argument: the container's log has the reason."""
    broken = yaml.safe_load(yaml.safe_dump(document))
    broken["cluster"]["apiServer"]["extraArgs"] = {"no-such-flag": "1"}
    assert (await caller.call("ApplyConfiguration", {"data": text(broken, "cp1"), "mode": "AUTO"})).code == "OK"
    await until(lambda: bool([pod for pod in node.runtime.workload.static_pods() if pod.exit_code]), 30)
    containers = (await caller.call("Containers", {"namespace": "k8s.io"})).first.containers
    name = next(entry.id for entry in containers if entry.name == "kube-apiserver" and ":" in entry.id)
    logs = await caller.call("Logs", {"namespace": "k8s.io", "id": name, "tail_lines": 20, "driver": "CRI"})
    assert "unknown flag: --no-such-flag" in b"".join(part.bytes for part in logs.messages).decode()
