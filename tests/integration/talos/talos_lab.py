# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of played Talos nodes on loopback, and a way to run modules as the action plugin does."""

from __future__ import annotations

import asyncio
import collections.abc as c
import contextlib
import dataclasses
import importlib
import pathlib
import socket
import threading
import time
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from talos_support import SCHEMATIC, FakeKubernetes, FakeMachine

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import credentials, secrets_bundle
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.client import Client
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.inputs import Node
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.node import Connector
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute
from simlab.contracts import BootImage, Disk, Guest, Lease, Nic
from simlab.faults import Faults
from simlab.ledger import Ledger
from simlab.talos import Registry, Settings, TalosNode
from simlab.talos.versions import Version

MODULES = "ansible_collections.groundwork.homelab.plugins.modules"


@contextlib.contextmanager
def running_loop() -> c.Iterator[asyncio.AbstractEventLoop]:
    """In a thread of its own, which plays the nodes."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever, daemon=True)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join(5)


class Loopback:
    """The network of this machine: a node listens at its own address below 127.0.0.0/8."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        return socket.socket(family, kind)

    def listen(self, host: str, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        #: A node that listens on all its addresses has one here; all of loopback is not its own.
        listener.bind((self.address if host in ("", "0.0.0.0", "::") else host, port))
        listener.listen(50)
        return listener

    async def connect(self, host: str, port: int, timeout: float = 5.0) -> socket.socket:
        made = socket.socket()
        made.setblocking(False)
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(made, (host, port)), timeout)
        return made

    async def spawn(self, argv: t.Sequence[str], **keywords: t.Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(*argv, **keywords)


def run_module(
    module: str,
    given: dict[str, t.Any],
    check: bool,
    diff: bool,
    progress: t.Callable[[str], None],
    warn: t.Callable[[str], None],
) -> tuple[dict[str, t.Any], t.Any]:
    """Validate its parameters, then run its core. The result, and the secrets that it must not tell."""
    found = importlib.import_module(f"{MODULES}.talos_{module}")
    if "wait_timeout" in found.SPEC.argument_spec:
        given.setdefault("wait_timeout", 30)
    validated = ArgumentSpecValidator(**found.SPEC.keywords()).validate(given)
    if validated.error_messages:
        return {"failed": True, "changed": False, "msg": "; ".join(validated.error_messages)}, ()
    task = Task(validated.validated_parameters, check_mode=check, diff_mode=diff, progress=progress, warn=warn)
    return execute(found.run, task), task.secrets


@dataclasses.dataclass(frozen=True)
class StaticPod:
    name: str
    manifest: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    state: str = "running"
    reason: str = ""
    message: str = ""
    ready: bool = True
    pid: int | None = 1
    exit_code: int | None = None
    restarts: int = 0


class WellKubernetes(FakeKubernetes):
    """No processes: a control plane whose static pods are always ready."""

    def __init__(self, *arguments: t.Any) -> None:
        super().__init__(*arguments)
        if self.etcd is not None:
            self.control_plane = self

    def pods(self) -> list[StaticPod]:
        names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        return [StaticPod(name) for name in names] if self.etcd and self.etcd.pid else []


class PlayedLab:
    """Nodes with addresses ``<subnet>.<number>``, and what their API was asked."""

    def __init__(self, path: pathlib.Path, loop: asyncio.AbstractEventLoop, subnet: str) -> None:
        self.path, self.loop, self.subnet = path, loop, subnet
        self.settings = Settings(registry=Registry(), runtime=path / "run", kubernetes=WellKubernetes)
        self.ledger, self.faults = Ledger(), Faults()
        self.nodes: dict[str, TalosNode] = {}
        self.machines: dict[str, FakeMachine] = {}
        self.secrets_path = path / "secrets" / "talos-secrets.yaml"
        self.said: list[str] = []
        self.warned: list[str] = []
        #: Of the machines that are made from now on, and of the clusters that are described.
        self.version = Version("v1.13.9")

    # -- machines

    def power_on(self, *names: str) -> None:
        """Boot machines; a new one has a Talos disk image on its disk."""
        for name in names:
            if name not in self.nodes:
                self.nodes[name] = self._machine(name)
            self._do(self.nodes[name].boot())

    def power_off(self, name: str) -> None:
        self._do(self.nodes[name].power_off())

    def close(self) -> None:
        for node in self.nodes.values():
            self._do(node.power_off())

    def address(self, name: str) -> str:
        return f"{self.subnet}.{10 + int(name.lstrip('cpw')) + (10 if name.startswith('w') else 0)}"

    def _do(self, coroutine: t.Coroutine[t.Any, t.Any, t.Any]) -> t.Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def _machine(self, name: str) -> TalosNode:
        address = self.address(name)
        image = BootImage("talos", self.version.tag, "nocloud", "amd64", SCHEMATIC, "disk")
        path = self.path / f"disk-{name}"
        path.mkdir()
        disk = Disk("scsi0", f"local-lvm:{name}", path, 32 << 30, image)
        number = int(address.rpartition(".")[2])
        guest = Guest(
            vmid=100 + number,
            kind="qemu",
            name=name,
            node="pve1",
            uuid=f"{number:08d}-0000-4000-8000-000000000000",
            cores=2,
            memory=4 << 30,
            bios="ovmf",
            nics=(Nic("net0", f"bc:24:11:00:00:{number:02x}", "vmbr0", None),),
            disks=(disk,),
            cloud_init={"ipconfig0": f"ip={address}/24,gw={self.subnet}.1"},
        )
        machine = FakeMachine(guest, t.cast(t.Any, Loopback(name, address)), Lease(address, 24, f"{self.subnet}.1"))
        self.machines[name] = machine
        keywords = {"ledger": self.ledger, "faults": self.faults, "settings": self.settings}
        return TalosNode(t.cast(t.Any, machine), disk, image, **t.cast(t.Any, keywords))

    def call(self, name: str, work: t.Callable[[Client], t.Any]) -> t.Any:
        """Ask a node directly, with the rights that a module has."""
        identity = credentials.from_bundle(secrets_bundle.load(self.secrets_path))
        with Connector(identity).open(Node(name, self.address(name), "controlplane")) as client:
            return work(client)

    def wait_until_serving(self, *names: str) -> None:
        """Until their API answers as a configured node's."""
        for name in names:
            for _ in range(200):
                if self.nodes[name].serving:
                    break
                time.sleep(0.05)
            else:
                raise TimeoutError(f"{name} does not serve")

    def wait_for_service(self, name: str, service: str) -> None:
        for _ in range(200):
            found = {one.id: one.state for one in self.call(name, lambda client: client.services())}
            if found.get(service) == "Running":
                return
            time.sleep(0.05)
        raise TimeoutError(f"{service} on {name} does not run")

    # -- modules

    def run(self, module: str, *, check: bool = False, diff: bool = True, **params: t.Any) -> dict[str, t.Any]:
        """Run a module as the action plugin does, with this lab's secrets."""
        given = {"secrets_path": str(self.secrets_path), **params}
        result, self.secrets = run_module(module, given, check, diff, self.said.append, self.warned.append)
        return result

    def cluster(self, *names: str, **more: t.Any) -> dict[str, t.Any]:
        """The options that describe a cluster of these nodes."""
        described = {
            "cluster": {
                "name": "lab",
                "endpoint": f"https://{self.address(names[0])}:6443",
                "cni": "none",
                "talos_version": self.version.tag,
                "kubernetes_version": self.version.default_kubernetes,
            },
            "nodes": self.described(*names),
        }
        return {**described, **more}

    def described(self, *names: str) -> list[dict[str, t.Any]]:
        types = {"c": "controlplane", "w": "worker"}
        return [{"name": name, "address": self.address(name), "type": types[name[0]]} for name in names]

    def writes(self) -> list[str]:
        """What was asked of the nodes that could change something, in order."""
        return [entry.path for entry in self.ledger.entries() if entry.write]
