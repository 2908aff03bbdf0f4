# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with a control plane: arguments, faults on purpose, power, lost quorum."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import pathlib
import shutil
import socket
import ssl
import typing as t

import pytest
import yaml
from clusterlab import Cluster, Loop
from netlab import Network, machine_config

from simlab.cluster import EtcdError, EtcdMember, KubernetesNode, admin_kubeconfig
from simlab.faults import Fault


def with_api_server(cluster: Cluster, **changes: t.Any) -> t.Any:
    config = copy.deepcopy(dict(cluster.node.config))
    config["cluster"]["apiServer"] |= changes
    return dataclasses.replace(cluster.node, config=config)


def api_server(cluster: Cluster) -> t.Any:
    assert cluster.kubernetes.control_plane is not None
    return next(pod for pod in cluster.kubernetes.control_plane.pods() if pod.name == "kube-apiserver")


def test_a_wrong_extra_argument_is_a_crash_loop_and_a_right_config_ends_it(cluster: Cluster) -> None:
    plane = cluster.kubernetes.control_plane
    assert plane is not None
    broken = with_api_server(cluster, extraArgs={"no-such-flag": "1"})
    assert cluster.loop.run(cluster.kubernetes.reconfigure(broken)) == ["kube-apiserver"]
    cluster.loop.until(lambda: api_server(cluster).reason == "CrashLoopBackOff", "crash loop")
    assert api_server(cluster).exit_code == 1
    assert api_server(cluster).ready is False
    cluster.loop.until(lambda: api_server(cluster).restarts >= 1, "a restart", 20)
    assert any("unknown flag: --no-such-flag" in line for line in plane.logs("kube-apiserver"))
    assert cluster.loop.run(plane.ready()) is False
    assert cluster.loop.run(cluster.kubernetes.reconfigure(cluster.node)) == ["kube-apiserver"]
    assert cluster.loop.run(plane.wait_ready(30))
    version = int(api_server(cluster).config_version)
    cluster.loop.until(lambda: _mirror_version(cluster, version), "mirror pod of the new configuration ready")


def test_an_argument_that_talos_refuses_leaves_the_pod_as_it_is(cluster: Cluster) -> None:
    assert cluster.kubernetes.control_plane is not None
    before = api_server(cluster).pid
    refused = with_api_server(cluster, extraArgs={"etcd-servers": "https://elsewhere:2379"})
    assert cluster.loop.run(cluster.kubernetes.reconfigure(refused)) == []
    assert api_server(cluster).pid == before
    assert 'extra arg "etcd-servers" is not allowed' in cluster.kubernetes.control_plane.logs("kube-apiserver")[-1]
    cluster.loop.run(cluster.kubernetes.reconfigure(cluster.node))


class Outside:
    """A client of the admin kubeconfig at the endpoint, one connection a request."""

    def __init__(self, cluster: Cluster) -> None:
        config = yaml.safe_load(admin_kubeconfig(cluster.node.config))
        import base64

        user, inside = config["users"][0]["user"], config["clusters"][0]["cluster"]
        ca = base64.b64decode(inside["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=ca)
        self.context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        pem = pathlib.Path(cluster.node.runtime / "outside.pem")
        pem.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        self.context.load_cert_chain(pem)
        self.cluster = cluster

    async def request(self, method: str, path: str, body: str = "") -> bytes:
        made: socket.socket = await self.cluster.network.switch.connect("10.99.0.11", 6443)
        reader, writer = await asyncio.open_connection(sock=made, ssl=self.context, server_hostname="10.99.0.11")
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        try:
            return await asyncio.wait_for(reader.read(-1), 10)
        except (ConnectionError, ssl.SSLError):
            return b""
        finally:
            writer.close()

    def __call__(self, method: str, path: str, body: str = "") -> bytes:
        return self.cluster.loop.run(self.request(method, path, body))


PATH = "/api/v1/namespaces/default/configmaps"


def config_map(name: str) -> str:
    return f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}}}}'


@pytest.fixture
def outside(cluster: Cluster) -> t.Iterator[Outside]:
    assert cluster.kubernetes.proxy is not None
    yield Outside(cluster)
    cluster.node.faults.clear()
    proxy = cluster.kubernetes.proxy
    cluster.loop.until(lambda: not proxy.listening, "proxy gone")


def add(cluster: Cluster, fault: Fault) -> None:
    proxy = cluster.kubernetes.proxy
    assert proxy is not None
    cluster.node.faults.add(fault)
    cluster.loop.until(lambda: proxy.listening, "proxy there")


def exists(cluster: Cluster, name: str) -> bool:
    return cluster.loop.run(cluster.client.get(f"{PATH}/{name}")) is not None


def test_without_a_fault_nothing_stands_before_the_api_server(cluster: Cluster, outside: Outside) -> None:
    assert b" 200 OK" in outside("GET", PATH)
    assert cluster.kubernetes.proxy is not None and not cluster.kubernetes.proxy.listening


def test_a_dropped_write_did_or_did_not_happen_as_told(cluster: Cluster, outside: Outside) -> None:
    add(cluster, Fault("drop-before", api="kubernetes", writes=True, nth=1))
    assert outside("POST", PATH, config_map("before")) == b""
    assert not exists(cluster, "before")
    cluster.node.faults.clear()
    add(cluster, Fault("drop-after", api="kubernetes", writes=True, nth=2))
    assert b" 201 Created" in outside("POST", PATH, config_map("first"))
    assert outside("POST", PATH, config_map("after")) == b""
    assert exists(cluster, "after")


def test_through_the_proxy_the_caller_stays_who_it_is(cluster: Cluster, outside: Outside) -> None:
    mark = cluster.node.ledger.mark()
    add(cluster, Fault("delay", api="kubernetes", args={"seconds": 0.1}))
    assert b" 200 OK" in outside("GET", f"{PATH}?limit=3")

    def mine() -> list[t.Any]:
        cluster.kubernetes.sync_ledger()
        return [e for e in cluster.node.ledger.entries(mark) if e.caller == "admin" and "limit" in e.path]

    cluster.loop.until(mine, "in the ledger")
    assert [(e.verb, e.path, e.source, e.result) for e in mine()] == [("list", f"{PATH}?limit=3", "10.99.0.1", "200")]


def test_answers_on_purpose(cluster: Cluster, outside: Outside) -> None:
    add(cluster, Fault("answer", api="kubernetes", verb="list", args={"status": 503, "text": "no"}))
    add(cluster, Fault("garbage", api="kubernetes", verb="get"))
    assert b" 503 " in outside("GET", PATH)
    assert not outside("GET", f"{PATH}/kube-root-ca.crt").startswith(b"HTTP/")
    cluster.node.faults.clear()
    add(cluster, Fault("cut", api="kubernetes", verb="list"))
    head, _, rest = outside("GET", "/api/v1/pods").partition(b"\r\n\r\n")
    assert b" 200 OK" in head
    assert not rest.rstrip().endswith(b"}")


def test_kill_kills_the_playbook_before_the_write(cluster: Cluster, outside: Outside) -> None:
    killed: list[str] = []

    async def kill() -> None:
        killed.append("playbook")

    cluster.node.faults.kill_playbook = kill
    add(cluster, Fault("kill-before", api="kubernetes", writes=True))
    assert outside("POST", PATH, config_map("killed")) == b""
    assert killed == ["playbook"]
    assert not exists(cluster, "killed")


def test_power_off_is_seen_by_nobody_but_time_and_power_on_brings_all_back(cluster: Cluster) -> None:
    pids = [pod.pid for pod in cluster.kubernetes.control_plane.pods()]  # type: ignore[union-attr]
    cluster.create_pod("stays", {"containers": [{"name": "c", "image": "nginx"}]})
    cluster.loop.until(lambda: _running(cluster, "stays"), "running")
    cluster.loop.run(cluster.kubernetes.power_off())
    assert not any(pathlib.Path(f"/proc/{pid}/cmdline").exists() for pid in pids)
    shutil.rmtree(cluster.node.runtime)
    cluster.node.runtime.mkdir()
    cluster.kubernetes = KubernetesNode(cluster.node, cluster.behaviours)

    async def boot() -> None:
        assert cluster.kubernetes.etcd is not None
        await cluster.kubernetes.start_kubelet()
        await asyncio.gather(cluster.kubernetes.etcd.start_existing(), cluster.kubernetes.start_control_plane())

    cluster.loop.run(boot())
    cluster.loop.until(cluster.ready, "node Ready again", 60)
    cluster.loop.until(lambda: _running(cluster, "stays", restarts=1), "the pod runs again, restarted once")


async def _mirror_version(cluster: Cluster, version: int) -> bool:
    found = await cluster.client.get("/api/v1/namespaces/kube-system/pods/kube-apiserver-n11")
    if found is None:
        return False
    statuses = found["status"].get("containerStatuses") or [{}]
    return found["metadata"]["annotations"]["talos.dev/config-version"] == str(version) and statuses[0].get(
        "ready", False
    )


async def _running(cluster: Cluster, name: str, restarts: int = 0) -> bool:
    found = await cluster.client.call("GET", f"/api/v1/namespaces/default/pods/{name}")
    statuses = found["status"].get("containerStatuses") or [{}]
    return bool(statuses[0].get("ready")) and statuses[0]["restartCount"] == restarts


def test_members_join_as_learners_and_a_snapshot_brings_a_lost_cluster_back(
    loop: Loop, network: Network, tmp_path: pathlib.Path
) -> None:
    config = machine_config()
    first, second = (EtcdMember(network.node(number, config)) for number in (21, 22))
    try:
        loop.run(first.start_new())
        loop.run(first.wait_healthy())
        loop.run(second.join(["10.99.0.21"]))

        async def voters() -> bool:
            return len([m for m in await first.members() if m.name and not m.learner]) == 2

        loop.until(voters, "two voting members", 30)
        snapshot = tmp_path / "etcd.snapshot"

        async def save() -> None:
            with snapshot.open("wb") as file:
                async for chunk in first.snapshot():
                    file.write(chunk)

        loop.run(save())
        loop.run(second.stop(kill=True))
        assert loop.run(first.healthy()) is False
        loop.run(first.stop(kill=True))
        shutil.rmtree(first.directory)
        loop.run(first.recover(snapshot))
        loop.run(first.wait_healthy())
        assert [m.name for m in loop.run(first.members())] == ["n21"]
    finally:
        loop.run(first.stop(kill=True))
        loop.run(second.stop(kill=True))


def test_a_broken_snapshot_is_refused_in_etcds_words(loop: Loop, network: Network, tmp_path: pathlib.Path) -> None:
    member = EtcdMember(network.node(23, machine_config()))
    broken = tmp_path / "broken"
    broken.write_bytes(b"nothing of the kind")
    with pytest.raises(EtcdError, match="error recovering from the snapshot"):
        loop.run(member.recover(broken))
    assert not member.has_data


def test_etcd_with_a_wrong_argument_says_why_it_does_not_run(loop: Loop, network: Network) -> None:
    config = machine_config()
    config["cluster"]["etcd"]["extraArgs"] = {"no-such-flag": "1"}
    member = EtcdMember(network.node(24, config))
    loop.run(member.start_new())
    loop.until(lambda: member.failure, "failure")
    assert any("no-such-flag" in line for line in member.logs())
    loop.run(member.stop(kill=True))
