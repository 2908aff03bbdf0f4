# SPDX-License-Identifier: GPL-3.0-or-later
"""A small network for these tests: one network namespace a node, on one bridge. Needs root (or `unshare -r`)."""

from __future__ import annotations

import asyncio
import base64
import ctypes
import dataclasses
import datetime
import os
import pathlib
import socket
import subprocess
import time
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from simlab import binaries
from simlab.cluster import Node
from simlab.contracts import Guest, Lease, Nic
from simlab.faults import Faults
from simlab.ledger import Ledger


def program() -> pathlib.Path:
    """The control plane's program; ``make setup`` builds it."""
    return binaries.CONTROL_PLANE.find()


_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNET = 0x40000000


class NetNamespace:
    """A network namespace, begun by a sleeping process and kept by a descriptor, which a whole run of tests may need
    for longer; as :class:`simlab.contracts.Namespace`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._holder = subprocess.Popen(["unshare", "--net", "--", "sleep", "600"])
        own = os.readlink("/proc/self/ns/net")
        path = f"/proc/{self._holder.pid}/ns/net"
        for _ in range(500):
            if os.path.exists(path) and os.readlink(path) != own:
                break
            time.sleep(0.01)
        self.pid = self._holder.pid
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words: str) -> None:
        subprocess.run(["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.fd}", "ip", *words], check=True)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._own)
        self._holder.kill()
        self._holder.wait()

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        _setns(self.fd)
        try:
            return socket.socket(family, kind)
        finally:
            _setns(self._own)

    def listen(self, host: str, port: int) -> socket.socket:
        made = self.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(100)
        made.setblocking(False)
        return made

    async def connect(self, host: str, port: int, timeout: float = 5.0) -> socket.socket:
        made = self.socket()
        made.setblocking(False)
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(made, (host, port)), timeout)
        return made

    async def spawn(self, argv: t.Sequence[str], **keywords: t.Any) -> asyncio.subprocess.Process:
        fd = self.fd

        def enter() -> None:
            _setns(fd)
            _LIBC.prctl(1, 9)

        return await asyncio.create_subprocess_exec(*argv, preexec_fn=enter, **keywords)


def _setns(fd: int) -> None:
    if _LIBC.setns(fd, _NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@dataclasses.dataclass
class SmallMachine:
    guest: Guest
    namespace: NetNamespace
    time_scale: float = 0.02

    def lease(self, nic: Nic) -> Lease | None:
        return None

    async def set_addresses(self, nic: Nic, addresses: t.Sequence[str], gateway: str | None) -> None: ...

    async def add_address(self, nic: Nic, address: str) -> None: ...

    async def remove_address(self, nic: Nic, address: str) -> None: ...

    def device(self, nic: Nic) -> str:
        return "eth0"

    async def announce(self, nic: Nic, address: str) -> None:
        self.namespace.ip("addr", "replace", f"{address}/32", "dev", "eth0")

    async def withdraw(self, nic: Nic, address: str) -> None:
        self.namespace.ip("addr", "del", f"{address}/32", "dev", "eth0")

    def powered_off(self) -> None: ...


class Network:
    """A bridge with the tests on 10.99.0.1; nodes get 10.99.0.<n>."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.switch = NetNamespace("switch")
        self.switch.ip("link", "add", "br0", "type", "bridge")
        self.switch.ip("addr", "add", "10.99.0.1/24", "dev", "br0")
        self.switch.ip("link", "set", "br0", "up")
        self.namespaces: list[NetNamespace] = []
        self.ledger, self.faults = Ledger(), Faults()

    def node(self, number: int, config: dict[str, t.Any], name: str = "") -> Node:
        name = name or f"n{number}"
        inside = NetNamespace(name)
        self.namespaces.append(inside)
        self.switch.ip("link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", str(inside.pid))
        self.switch.ip("link", "set", f"v{number}", "master", "br0", "up")
        inside.ip("addr", "add", f"10.99.0.{number}/24", "dev", "eth0")
        inside.ip("link", "set", "eth0", "up")
        nic = Nic("net0", f"02:00:0a:63:00:{number:02x}", "br0", None)
        guest = Guest(number, "qemu", name, "pve", "", 4, 4 << 30, "ovmf", (nic,), ())
        place = self.directory / name
        (place / "var").mkdir(parents=True)
        (place / "system").mkdir()
        return Node(
            machine=SmallMachine(guest, inside),
            name=name,
            address=f"10.99.0.{number}",
            config=config,
            directory=place / "var",
            runtime=place / "system",
            program=binaries.CONTROL_PLANE.find(),
            ledger=self.ledger,
            faults=self.faults,
        )

    def close(self) -> None:
        for namespace in [*self.namespaces, self.switch]:
            namespace.close()


def machine_config(endpoint: str = "https://10.99.0.11:6443", version: str = "v1.36.3") -> dict[str, t.Any]:
    """A control plane's v1alpha1 document as `gen config` of 1.13 makes it, with new secrets."""
    return {
        "version": "v1alpha1",
        "machine": {
            "type": "controlplane",
            "kubelet": {"image": f"ghcr.io/siderolabs/kubelet:{version}"},
            "nodeLabels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""},
            "features": {"kubePrism": {"enabled": True, "port": 7445}},
        },
        "cluster": {
            "id": base64.b64encode(os.urandom(32)).decode(),
            "clusterName": "lab",
            "controlPlane": {"endpoint": endpoint},
            "network": {
                "dnsDomain": "cluster.local",
                "podSubnets": ["10.244.0.0/16"],
                "serviceSubnets": ["10.96.0.0/12"],
            },
            "token": "abcdef.0123456789abcdef",
            "secretboxEncryptionSecret": base64.b64encode(os.urandom(32)).decode(),
            "ca": authority("kubernetes"),
            "aggregatorCA": authority(""),
            "etcd": {"ca": authority("etcd")},
            "serviceAccount": {"key": _service_account_key()},
            "apiServer": {
                "image": f"registry.k8s.io/kube-apiserver:{version}",
                "admissionControl": [{"name": "PodSecurity", "configuration": _POD_SECURITY}],
                "auditPolicy": {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]},
            },
            "controllerManager": {"image": f"registry.k8s.io/kube-controller-manager:{version}"},
            "proxy": {"image": f"registry.k8s.io/kube-proxy:{version}"},
            "scheduler": {"image": f"registry.k8s.io/kube-scheduler:{version}"},
        },
    }


_POD_SECURITY = {
    "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
    "kind": "PodSecurityConfiguration",
    "defaults": {"enforce": "baseline", "enforce-version": "latest"},
    "exemptions": {"namespaces": ["kube-system"], "runtimeClasses": [], "usernames": []},
}


def authority(organization: str) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    name, now = x509.Name(attributes), datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(os.urandom(20)), critical=False)
        .sign(key, hashes.SHA256())
    )
    return {"crt": _b64(certificate.public_bytes(serialization.Encoding.PEM)), "key": _b64(_pem(key))}


def _service_account_key() -> str:
    return _b64(_pem(rsa.generate_private_key(65537, 2048)))


def _pem(key: t.Any) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return t.cast("bytes", key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
