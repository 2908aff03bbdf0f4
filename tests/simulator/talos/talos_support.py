# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine on loopback, a bundle of secrets, configs, and a gRPC client, for tests of the played Talos node."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import datetime as dt
import os
import pathlib
import socket
import ssl
import typing as t

import grpclib.client
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from grpclib.exceptions import GRPCError

from simlab.contracts import BootImage, Disk, Guest, Lease, Nic
from simlab.faults import Faults
from simlab.ledger import Ledger
from simlab.talos import Settings, TalosNode, schema

SCHEMATIC = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515"
RPCS = {rpc.path: rpc for rpc in schema.rpcs()}


class LoopbackNamespace:
    """The current network namespace; port 50000 becomes a free port, and addresses become 127.0.0.1."""

    def __init__(self, name: str, ports: dict[str, int]) -> None:
        self.name = name
        self.ports = ports  # by address of the lab
        self.address = ""

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        return socket.socket(family, kind)

    def listen(self, host: str, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.ports.get(self.address, 0)))
        listener.listen(50)
        self.ports[self.address] = listener.getsockname()[1]
        return listener

    async def connect(self, host: str, port: int, timeout: float = 5.0) -> socket.socket:
        if host not in self.ports:
            raise OSError("no route to host")
        made = socket.socket()
        made.setblocking(False)
        await asyncio.wait_for(
            asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", self.ports[host])),
            timeout,
        )
        return made

    async def spawn(self, argv: t.Sequence[str], **keywords: t.Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(*argv, **keywords)


class FakeMachine:
    def __init__(self, guest: Guest, namespace: LoopbackNamespace, lease: Lease | None = None) -> None:
        self.guest = guest
        self.namespace = namespace
        self.time_scale = 0.005
        self.addresses: dict[str, list[str]] = {}
        self.off = asyncio.Event()
        self._lease = lease

    def lease(self, nic: Nic) -> Lease | None:
        return self._lease

    async def set_addresses(self, nic: Nic, addresses: t.Sequence[str], gateway: str | None) -> None:
        self.addresses[nic.slot] = list(addresses)

    async def add_address(self, nic: Nic, address: str) -> None:
        self.addresses.setdefault(nic.slot, []).append(address)

    async def remove_address(self, nic: Nic, address: str) -> None:
        self.addresses[nic.slot].remove(address)

    def powered_off(self) -> None:
        self.off.set()


@dataclasses.dataclass
class Lab:
    """Nodes that know each other."""

    path: pathlib.Path
    settings: Settings
    ledger: Ledger = dataclasses.field(default_factory=Ledger)
    faults: Faults = dataclasses.field(default_factory=Faults)
    ports: dict[str, int] = dataclasses.field(default_factory=dict)
    nodes: list[TalosNode] = dataclasses.field(default_factory=list)

    def node(
        self,
        address: str,
        *,
        version: str = "v1.13.9",
        platform: str = "nocloud",
        medium: str = "disk",
        vmid: int = 100,
        cloud_init: dict[str, str] | None = None,
    ) -> TalosNode:
        image = BootImage("talos", version, platform, "amd64", SCHEMATIC, t.cast(t.Any, medium))
        path = self.path / f"disk-{address}"
        path.mkdir(exist_ok=True)
        disk = Disk(
            "scsi0",
            "local-lvm:vm-100-disk-0",
            path,
            32 << 30,
            image if medium == "disk" else None,
        )
        nic = Nic("net0", f"bc:24:11:00:00:{vmid % 256:02x}", "vmbr0", None)
        guest = Guest(
            vmid=vmid, kind="qemu", name=f"vm{vmid}", node="pve1", uuid=f"{vmid:08d}-0000-4000-8000-000000000000",
            cores=2, memory=4 << 30, bios="ovmf", nics=(nic,), disks=(disk,),
            cloud_init={"ipconfig0": f"ip={address}/24,gw=10.77.0.1"} if cloud_init is None else cloud_init,
        )  # fmt: skip
        namespace = LoopbackNamespace(guest.name, self.ports)
        namespace.address = address
        machine = FakeMachine(guest, namespace, Lease(address, 24, "10.77.0.1"))
        node = TalosNode(
            t.cast(t.Any, machine),
            disk,
            image,
            ledger=self.ledger,
            faults=self.faults,
            settings=self.settings,
        )
        self.nodes.append(node)
        return node

    async def close(self) -> None:
        for node in self.nodes:
            await node.power_off()


class FakeKubernetes:
    """Stands where ``simlab.cluster.KubernetesNode`` does in tests of the node alone: processes that are always well."""

    def __init__(self, node: t.Any, behaviours: t.Any) -> None:
        self.node = node
        self._name = node.name
        self.etcd = FakeEtcd(node.directory / "lib" / "etcd", node.name) if node.is_control_plane else None
        self.control_plane = None
        self.manifests = None
        self.kubelet = self
        self.running = False
        self.reconfigured = 0

    def node_object(self) -> t.Any:
        ready = {"type": "Ready", "status": "True"}
        return {"metadata": {"name": self._name}, "status": {"conditions": [ready]}} if self.running else None

    async def start_kubelet(self) -> None:
        self.running = True

    async def start(self, *, boot: bool = True) -> None:
        self.running = True

    async def stop(self, *, pods: bool = True) -> None:
        self.running = False

    async def start_control_plane(self) -> None:
        pass

    async def reconfigure(self, node: t.Any) -> list[str]:
        self.node = node
        self.reconfigured += 1
        return []

    async def power_off(self) -> None:
        pass

    async def shut_down(self) -> None:
        pass

    def describe(self) -> dict[str, t.Any]:
        return {}


class FakeEtcd:
    failure = None

    def __init__(self, data: pathlib.Path, name: str) -> None:
        self._data, self._name = data, name
        self.pid: int | None = None

    @property
    def has_data(self) -> bool:
        return self._data.exists()

    async def start_new(self) -> None:
        self._data.mkdir(parents=True)
        self.pid = 1

    async def start_existing(self) -> None:
        self.pid = 1

    async def join(self, endpoints: t.Sequence[str]) -> None:
        await self.start_new()

    async def recover(self, snapshot: pathlib.Path, *, skip_hash_check: bool = False) -> None:
        await self.start_new()

    async def healthy(self) -> bool:
        return True

    async def leave(self) -> None:
        self.pid = None
        self._data.rmdir()

    async def status(self) -> t.Any:
        from simlab.cluster import Status

        return Status(1, "3.6.8", "3.6.0", 500000, 490000, 1, 10, 2, 10, (), False)

    async def members(self, *, linearizable: bool = True) -> list[t.Any]:
        from simlab.cluster import Member

        return [
            Member(
                1,
                self._name,
                ("https://10.77.0.11:2380",),
                ("https://10.77.0.11:2379",),
                False,
            )
        ]

    async def forfeit_leadership(self) -> str | None:
        from simlab.cluster import EtcdError

        raise EtcdError(9, "cannot forfeit leadership, only one member")

    async def alarms(self) -> list[tuple[int, str]]:
        return []

    async def disarm_alarms(self) -> list[tuple[int, str]]:
        return []

    async def defragment(self) -> None:
        pass

    async def snapshot(self) -> t.AsyncIterator[bytes]:
        yield b"a snapshot"


# --- secrets and configs
def authority(organization: str, key: t.Any = None) -> dict[str, str]:
    """A CA as a secrets bundle has it: base64 of PEM."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else [])
    now = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=3650)).add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(os.urandom(20)), critical=False)
    )  # fmt: skip
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)
    return {
        "crt": base64.b64encode(certificate).decode(),
        "key": base64.b64encode(pem(key)).decode(),
    }


def pem(key: t.Any) -> bytes:
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    if isinstance(key, ed25519.Ed25519PrivateKey):
        text = text.replace(b"PRIVATE KEY", b"ED25519 PRIVATE KEY")
    return bytes(text)


def bundle() -> dict[str, t.Any]:
    service_account = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return {
        "os": authority("talos", ed25519.Ed25519PrivateKey.generate()),
        "k8s": authority("kubernetes"),
        "etcd": authority("etcd"),
        "aggregator": authority(""),
        "serviceAccount": {"key": base64.b64encode(service_account).decode()},
    }


def config(secrets: dict[str, t.Any], kind: str = "controlplane", **machine: t.Any) -> dict[str, t.Any]:
    """The v1alpha1 document of contract 1.13."""
    public = kind == "worker"

    def ca(name: str) -> dict[str, str]:
        return {**secrets[name], "key": ""} if public else secrets[name]

    cluster: dict[str, t.Any] = {
        "id": "sIW92Vo9S4lwRVe-jSUEiuNef8zNmbcvPcxACtWLR3o=",
        "secret": base64.b64encode(b"x" * 32).decode(),
        "controlPlane": {"endpoint": "https://10.77.0.11:6443"},
        "clusterName": "lab",
        "network": {
            "cni": {"name": "none"},
            "dnsDomain": "cluster.local",
            "podSubnets": ["10.244.0.0/16"],
            "serviceSubnets": ["10.96.0.0/12"],
        },
        "token": "abcdef.0123456789abcdef",
        "ca": ca("k8s"),
    }
    if not public:
        cluster |= {
            "secretboxEncryptionSecret": base64.b64encode(b"y" * 32).decode(),
            "aggregatorCA": secrets["aggregator"],
            "serviceAccount": secrets["serviceAccount"],
            "apiServer": {"image": "registry.k8s.io/kube-apiserver:v1.36.3"},
            "controllerManager": {"image": "registry.k8s.io/kube-controller-manager:v1.36.3"},
            "proxy": {"disabled": True, "image": "registry.k8s.io/kube-proxy:v1.36.3"},
            "scheduler": {"image": "registry.k8s.io/kube-scheduler:v1.36.3"},
            "etcd": {"ca": secrets["etcd"]},
        }
    return {
        "version": "v1alpha1",
        "debug": False,
        "persist": True,
        "machine": {
            "type": kind,
            "token": "abcdef.0123456789abcdef",
            "ca": ca("os"),
            "certSANs": [],
            "kubelet": {"image": "ghcr.io/siderolabs/kubelet:v1.36.3"},
            "install": {
                "disk": "/dev/sda",
                "image": "ghcr.io/siderolabs/installer:v1.13.9",
                "wipe": False,
            },
            "nodeLabels": {},
            **machine,
        },
        "cluster": cluster,
    }


def text(document: dict[str, t.Any], hostname: str = "") -> bytes:
    documents = [yaml.safe_dump(document, sort_keys=False)]
    name = {"hostname": hostname} if hostname else {"auto": "stable"}
    documents.append(
        yaml.safe_dump(
            {"apiVersion": "v1alpha1", "kind": "HostnameConfig", **name},
            sort_keys=False,
        )
    )
    return "---\n".join(documents).encode()


# --- client
def client_pair(ca: dict[str, str], roles: t.Sequence[str], usages: t.Sequence[t.Any] | None = None) -> bytes:
    """Certificate and key, PEM, of a Talos client."""
    issuer = x509.load_pem_x509_certificate(base64.b64decode(ca["crt"]))
    issuer_key = serialization.load_pem_private_key(
        base64.b64decode(ca["key"]).replace(b"ED25519 PRIVATE KEY", b"PRIVATE KEY"),
        None,
    )
    key = ed25519.Ed25519PrivateKey.generate()
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, role) for role in sorted(roles)]))
        .issuer_name(issuer.subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage(usages or [ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(t.cast(t.Any, issuer_key), None)
    )  # fmt: skip
    return certificate.public_bytes(serialization.Encoding.PEM) + pem(key).replace(b"ED25519 ", b"")


def context(pair: bytes | None = None, ca: dict[str, str] | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.set_alpn_protocols(["h2"])
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED if ca else ssl.CERT_NONE
    if ca:
        made.load_verify_locations(cadata=base64.b64decode(ca["crt"]).decode())
    if pair:
        descriptor = os.memfd_create("client")
        os.write(descriptor, pair)
        made.load_cert_chain(f"/proc/self/fd/{descriptor}")
        os.close(descriptor)
    return made


@dataclasses.dataclass
class Answer:
    code: str
    message: str
    messages: list[t.Any]

    @property
    def first(self) -> t.Any:
        """The only message of the first reply."""
        return self.messages[0].messages[0]


class Client:
    """Calls by path and a dict; an answer is data, also when it is an error."""

    def __init__(self, channel: grpclib.client.Channel) -> None:
        self._channel = channel

    async def call(
        self, path: str, request: dict[str, t.Any] | list[dict[str, t.Any]] | None = None, *,
        timeout: float = 5.0, metadata: t.Any = None,
    ) -> Answer:  # fmt: skip
        if not path.startswith("/"):
            path = f"/machine.MachineService/{path}"
        rpc = RPCS[path]
        cardinality = grpclib.const.Cardinality[
            f"{'STREAM' if rpc.client_streams else 'UNARY'}_{'STREAM' if rpc.server_streams else 'UNARY'}"
        ]
        parts = request if isinstance(request, list) else [request or {}]
        received: list[t.Any] = []
        type_, reply = schema.message(rpc.request), schema.message(rpc.reply)
        try:
            async with self._channel.request(
                path, cardinality, type_, reply, timeout=timeout, metadata=metadata
            ) as stream:
                for index, part in enumerate(parts):
                    await stream.send_message(type_(**part), end=index == len(parts) - 1)
                async for message in stream:
                    received.append(message)
        except GRPCError as error:
            return Answer(error.status.name, error.message or "", received)
        except asyncio.TimeoutError:
            return Answer("DEADLINE_EXCEEDED", "", received)
        return Answer("OK", "", received)

    def close(self) -> None:
        self._channel.close()


@contextlib.asynccontextmanager
async def connected(lab: Lab, address: str, tls: ssl.SSLContext) -> t.AsyncIterator[Client]:
    client = Client(grpclib.client.Channel("127.0.0.1", lab.ports[address], ssl=tls))
    try:
        yield client
    finally:
        client.close()


async def until(condition: t.Callable[[], bool], timeout: float = 10.0) -> None:
    """Wait, bounded."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


class InsideChannel(grpclib.client.Channel):
    """A channel whose connections are made in a network namespace."""

    def __init__(self, namespace: t.Any, address: str, tls: ssl.SSLContext) -> None:
        super().__init__(address, 50000, ssl=tls)
        self._namespace = namespace

    async def _create_connection(self) -> t.Any:
        made = await self._namespace.connect(self._host, self._port)
        _, protocol = await self._loop.create_connection(
            self._protocol_factory, sock=made, ssl=self._ssl, server_hostname=self._host
        )
        return protocol
