# SPDX-License-Identifier: GPL-3.0-or-later
"""A real etcd member, run as Talos runs it."""

from __future__ import annotations

import asyncio
import base64
import collections.abc as c
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import typing as t

from .arguments import extra_arguments, host_path, merged
from .client import KubeClient, KubeError
from .node import Node
from .pki import CLIENT, SERVER, YEAR, Authority, client_context
from .process import Supervised

PKI = "/system/secrets/etcd"
DATA = "/var/lib/etcd"
CLIENT_PORT, PEER_PORT = 2379, 2380
#: gRPC status codes of EtcdError.
NOT_FOUND, FAILED_PRECONDITION, UNKNOWN, UNAVAILABLE = 5, 9, 2, 14
_UNHEALTHY = "etcdserver: unhealthy cluster"
_CIPHERS = ",".join(
    f"TLS_ECDHE_{kind}_WITH_{cipher}"
    for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305")
    for kind in ("ECDSA", "RSA")
)


class EtcdError(Exception):
    """etcd refused, or does not answer. ``code`` is a gRPC status code (5 NOT_FOUND, 9 FAILED_PRECONDITION,
    14 UNAVAILABLE, …), the text etcd's own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Member:
    id: int
    name: str  # "" while it has not started
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool


@dataclasses.dataclass(frozen=True)
class Status:
    """As ``machine.EtcdMemberStatus``."""

    member_id: int
    version: str  # "3.6.8"
    storage_version: str  # "3.6.0"
    db_size: int
    db_size_in_use: int
    leader: int
    raft_index: int
    raft_term: int
    raft_applied_index: int
    errors: tuple[str, ...]
    learner: bool


class EtcdMember:
    """One member. All queries raise :class:`EtcdError` when it does not run."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.directory = pathlib.Path(host_path(node, DATA))
        self._process = Supervised("etcd", node.machine.namespace, time_scale=node.time_scale)
        self._client: KubeClient | None = None
        self._promotion: asyncio.Task[None] | None = None

    # --- life ---
    @property
    def has_data(self) -> bool:
        """Whether the data directory is not empty (Bootstrap answers ALREADY_EXISTS then)."""
        return self.directory.is_dir() and any(self.directory.iterdir())

    @property
    def pid(self) -> int | None:
        """None while no process runs."""
        return self._process.pid

    @property
    def failure(self) -> str | None:
        """Why it does not run though it was started (the log's last line), None otherwise."""
        if not self._process.wanted or self._process.running or self._process.exit_code is None:
            return None
        lines = [line for line in self._process.lines if line.strip()]
        return lines[-1] if lines else f"exit code {self._process.exit_code}"

    @property
    def restarts(self) -> int:
        return self._process.restarts

    def logs(self, lines: int = 50) -> list[str]:
        return list(self._process.lines)[-lines:]

    async def start_new(self) -> None:
        """The first member of a new cluster (Bootstrap). Returns when the process runs."""
        await self._start({"initial-cluster": self._cluster_of([]), "initial-cluster-state": "new"})

    async def start_existing(self) -> None:
        """Boot with data on the disk."""
        await self._start({})

    async def join(self, endpoints: t.Sequence[str]) -> None:
        """Join the cluster of the members at these node addresses: added as learner, started, promoted in the
        background as soon as etcd allows it. Raises EtcdError when no endpoint answers or etcd refuses (retry)."""
        client = self._connect(endpoints)
        try:
            for member in await _members(client, linearizable=True):
                if member.name == self.node.name:  # it was here before and lost its data
                    await _post(client, "cluster/member/remove", {"ID": str(member.id)})
            added = await _post(client, "cluster/member/add", {"peerURLs": [self._peer_url], "isLearner": True})
            learner = int(added["member"]["ID"])
            others = await _members(client, linearizable=True)
        finally:
            await client.close()
        names = [(m.name, url) for m in others if m.id != learner for url in m.peer_urls]
        await self._start({"initial-cluster": self._cluster_of(names), "initial-cluster-state": "existing"})
        self._promotion = asyncio.create_task(self._promote(learner, list(endpoints)), name=f"promote {self.node.name}")

    async def recover(self, snapshot: pathlib.Path, *, skip_hash_check: bool = False) -> None:
        """A new cluster of one from a snapshot file (Bootstrap with recover_etcd). Raises EtcdError when the snapshot
        cannot be used."""
        argv = [str(self.node.program), "etcdutl", "snapshot", "restore", str(snapshot)]
        argv += [
            f"--name={self.node.name}",
            f"--data-dir={self.directory}",
            f"--initial-cluster={self._cluster_of([])}",
        ]
        argv += [f"--initial-advertise-peer-urls={self._peer_url}"] + (["--skip-hash-check"] if skip_hash_check else [])
        with contextlib.suppress(OSError):
            self.directory.rmdir()  # etcdutl wants to make it itself
        process = await self.node.machine.namespace.spawn(
            argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={"PATH": "/usr/bin:/bin"}
        )
        output, _ = await process.communicate()
        if process.returncode:
            last = (output.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
            raise EtcdError(UNKNOWN, f"error recovering from the snapshot: {last}")
        await self._start({})

    async def force_new_cluster(self) -> None:
        """Start from the data directory as the only member of a new cluster."""
        await self._start({"force-new-cluster": "true"})
        await self.wait_healthy()
        await self.stop()
        await self.start_existing()

    async def healthy(self) -> bool:
        """What Talos's health check asks: the member answers a linearizable read."""
        try:
            await self._post("kv/range", {"key": base64.b64encode(b"health").decode()}, timeout=5.0)
        except EtcdError:
            return False
        return True

    async def wait_healthy(self, timeout: float = 60.0) -> None:
        """Raises EtcdError when it exits or ``timeout`` (seconds) passes."""
        end = asyncio.get_running_loop().time() + timeout
        while not await self.healthy():
            if self.failure is not None:
                raise EtcdError(UNAVAILABLE, self.failure)
            if asyncio.get_running_loop().time() > end:
                raise EtcdError(UNAVAILABLE, f"etcd is not healthy after {timeout:.0f} s")
            await asyncio.sleep(0.1)

    async def stop(self, *, kill: bool = False) -> None:
        """SIGTERM and a bounded wait, or SIGKILL. The data stays."""
        if self._promotion is not None:
            self._promotion.cancel()
            self._promotion = None
        await self._process.stop(kill=kill)
        await self._disconnect()

    async def leave(self) -> None:
        """EtcdLeaveCluster: remove this member from the cluster, stop, wipe the data directory. While the others have no
        connection to it that is some seconds old, etcd does not remove it; Talos tries for five minutes."""
        status = await self.status()
        end = asyncio.get_running_loop().time() + max(10.0, 300.0 * self.node.time_scale)
        while True:
            try:
                await self.remove_member(status.member_id)
                break
            except EtcdError as error:
                if _UNHEALTHY not in str(error) or asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(max(0.3, 10.0 * self.node.time_scale))
        await self.stop(kill=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- queries ---
    async def members(self, *, linearizable: bool = True) -> list[Member]:
        return await _members(self._local(), linearizable=linearizable)

    async def status(self) -> Status:
        found = await self._post("maintenance/status", {})
        return Status(
            member_id=int(found["header"]["member_id"]),
            version=str(found.get("version", "")),
            storage_version=str(found.get("storageVersion", "")),
            db_size=int(found.get("dbSize", 0)),
            db_size_in_use=int(found.get("dbSizeInUse", 0)),
            leader=int(found.get("leader", 0)),
            raft_index=int(found.get("raftIndex", 0)),
            raft_term=int(found.get("raftTerm", 0)),
            raft_applied_index=int(found.get("raftAppliedIndex", 0)),
            errors=tuple(found.get("errors", ())),
            learner=bool(found.get("isLearner", False)),
        )

    async def alarms(self) -> list[tuple[int, str]]:
        """(member id, ``NOSPACE`` or ``CORRUPT``)."""
        found = await self._post("maintenance/alarm", {"action": "GET"})
        return [(int(alarm.get("memberID", 0)), str(alarm["alarm"])) for alarm in found.get("alarms", ())]

    async def disarm_alarms(self) -> list[tuple[int, str]]:
        """Disarm them all; returns those that were disarmed."""
        present = await self.alarms()
        for member, alarm in present:
            body = {"action": "DEACTIVATE", "memberID": str(member), "alarm": alarm}
            await self._post("maintenance/alarm", body)
        return present

    async def defragment(self) -> None:
        await self._post("maintenance/defragment", {}, timeout=60.0)

    async def snapshot(self) -> c.AsyncIterator[bytes]:
        """Chunks of the snapshot file."""
        try:
            async with self._local().stream("POST", "/v3/maintenance/snapshot", {}) as lines:
                async for line in lines:
                    answer = json.loads(line)
                    if "error" in answer:
                        raise EtcdError(int(answer["error"].get("code", UNKNOWN)), str(answer["error"].get("message")))
                    yield base64.b64decode(answer["result"].get("blob", ""))
        except KubeError as error:
            raise _etcd_error(error) from None

    async def remove_member(self, member_id: int) -> None:
        await self._post("cluster/member/remove", {"ID": str(member_id)})

    async def forfeit_leadership(self) -> str | None:
        """Name of the new leader; None when this member was not the leader. Raises EtcdError when there is no other
        voting member."""
        status = await self.status()
        if status.leader != status.member_id:
            return None
        others = [m for m in await self.members() if m.id != status.member_id and not m.learner and m.name]
        if not others:
            raise EtcdError(FAILED_PRECONDITION, "cannot forfeit leadership, only one member")
        await self._post("maintenance/transfer-leadership", {"targetID": str(others[0].id)})
        return others[0].name

    # --- inside ---
    @property
    def _peer_url(self) -> str:
        return f"https://{_host(self.node.address)}:{PEER_PORT}"

    def _cluster_of(self, others: t.Sequence[tuple[str, str]]) -> str:
        return ",".join(f"{name}={url}" for name, url in [*others, (self.node.name, self._peer_url)])

    async def _start(self, particular: t.Mapping[str, str]) -> None:
        await self.stop(kill=True)
        self._write_certificates()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        given = extra_arguments((self.node.cluster.get("etcd") or {}).get("extraArgs"))
        own = {name: [value] for name, value in (self._defaults() | dict(particular)).items()}
        replaceable = {"initial-cluster", "initial-cluster-state", "advertise-client-urls"}
        replaceable |= {"initial-advertise-peer-urls"}
        values = merged(own, given, set(), set(own) - replaceable)
        flags = [f"--{name}={value}" for name in sorted(values) for value in values[name]]
        argv = [str(self.node.program), "etcd", *flags, "--unsafe-no-fsync=true"]
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "ETCD_CIPHER_SUITES": _CIPHERS}
        await self._process.start(argv, env)

    def _defaults(self) -> dict[str, str]:
        secrets = host_path(self.node, PKI)
        client = f"https://{_host(self.node.address)}:{CLIENT_PORT}"
        return {
            "name": self.node.name,
            "auto-tls": "false",
            "peer-auto-tls": "false",
            "data-dir": str(self.directory),
            "listen-peer-urls": f"https://0.0.0.0:{PEER_PORT}",
            "listen-client-urls": f"https://0.0.0.0:{CLIENT_PORT}",
            "client-cert-auth": "true",
            "cert-file": f"{secrets}/server.crt",
            "key-file": f"{secrets}/server.key",
            "trusted-ca-file": f"{secrets}/ca.crt",
            "peer-client-cert-auth": "true",
            "peer-cert-file": f"{secrets}/peer.crt",
            "peer-key-file": f"{secrets}/peer.key",
            "peer-trusted-ca-file": f"{secrets}/ca.crt",
            "experimental-initial-corrupt-check": "true",
            "experimental-watch-progress-notify-interval": "5s",
            "experimental-compact-hash-check-enabled": "true",
            "initial-advertise-peer-urls": self._peer_url,
            "advertise-client-urls": client,
        }

    def _write_certificates(self) -> None:
        directory = pathlib.Path(host_path(self.node, PKI))
        directory.mkdir(parents=True, exist_ok=True)
        authority = self._authority()
        (directory / "ca.crt").write_text(authority.certificate_pem)
        names = [self.node.name, self.node.address, *self.node.addresses]
        both, long = (SERVER, CLIENT), YEAR * 10
        authority.issue(self.node.name, sans=names, usages=both, lifetime=long).write(directory, "peer")
        local = [*names, "localhost", "127.0.0.1", "::1"]
        authority.issue(self.node.name, sans=local, usages=both, lifetime=long).write(directory, "server")

    def _authority(self) -> Authority:
        return Authority((self.node.cluster.get("etcd") or {}).get("ca"), "cluster.etcd.ca")

    def _connect(self, hosts: t.Sequence[str]) -> KubeClient:
        authority = self._authority()
        context = client_context(authority.certificate_pem, authority.issue("talos"), self.node.runtime)
        servers = [(host, CLIENT_PORT) for host in hosts]
        return KubeClient(self.node, lambda: servers, context)

    def _local(self) -> KubeClient:
        if self._client is None:
            self._client = self._connect(["127.0.0.1"])
        return self._client

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _post(self, path: str, body: t.Mapping[str, t.Any], timeout: float = 10.0) -> dict[str, t.Any]:
        if not self._process.running:
            raise EtcdError(UNAVAILABLE, "etcd is not running")
        return await _post(self._local(), path, body, timeout)

    async def _promote(self, member: int, endpoints: list[str]) -> None:
        client = self._connect(endpoints)
        try:
            while True:
                with contextlib.suppress(EtcdError):
                    await _post(client, "cluster/member/promote", {"ID": str(member)})
                    return
                await asyncio.sleep(max(0.3, 15.0 * self.node.time_scale))
        finally:
            await client.close()


async def _post(client: KubeClient, path: str, body: t.Mapping[str, t.Any], timeout: float = 10.0) -> dict[str, t.Any]:
    try:
        return await client.call("POST", f"/v3/{path}", body, timeout=timeout)
    except KubeError as error:
        raise _etcd_error(error) from None


async def _members(client: KubeClient, *, linearizable: bool) -> list[Member]:
    found = await _post(client, "cluster/member/list", {"linearizable": linearizable})
    return [
        Member(
            id=int(member["ID"]),
            name=str(member.get("name", "")),
            peer_urls=tuple(member.get("peerURLs", ())),
            client_urls=tuple(member.get("clientURLs", ())),
            learner=bool(member.get("isLearner", False)),
        )
        for member in found.get("members", ())
    ]


def _etcd_error(error: KubeError) -> EtcdError:
    code = UNAVAILABLE if error.code == 0 else int(error.status.get("code") or UNKNOWN)
    return EtcdError(code, str(error))


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
