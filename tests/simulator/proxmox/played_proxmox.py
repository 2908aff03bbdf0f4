# SPDX-License-Identifier: GPL-3.0-or-later
"""A played Proxmox VE with a recording guest host, and a client that speaks to it."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import dataclasses
import pathlib
import socket
import sys
import typing as t

import aiohttp

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "simulator"))

from simlab import images
from simlab.contracts import BootImage, Guest, GuestFailure
from simlab.faults import Faults
from simlab.ledger import Ledger
from simlab.proxmox.config import AclConfig, NodeConfig, ProxmoxConfig, StorageConfig, TokenConfig
from simlab.proxmox.server import ProxmoxServer

IDENTITY = BootImage("talos", "v1.13.9", "nocloud", "amd64", "a" * 64, "disk")
SECRET = "11111111-2222-3333-4444-555555555555"


class Host:
    """Writes down what the server asks for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.guests: dict[int, Guest] = {}
        self.refuse: str | None = None
        self.obeys = True

    async def power_on(self, guest: Guest) -> None:
        if self.refuse:
            raise GuestFailure(self.refuse)
        self.calls.append(f"on {guest.vmid}")
        self.guests[guest.vmid] = guest

    async def power_off(self, vmid: int) -> None:
        self.calls.append(f"off {vmid}")

    async def shut_down(self, vmid: int, timeout: float) -> bool:
        self.calls.append(f"shutdown {vmid}")
        return self.obeys

    async def reset(self, vmid: int) -> None:
        self.calls.append(f"reset {vmid}")

    async def nics_changed(self, guest: Guest) -> None:
        self.calls.append(f"nics {guest.vmid}")
        self.guests[guest.vmid] = guest

    async def gone(self, vmid: int) -> None:
        self.calls.append(f"gone {vmid}")

    def agent_interfaces(self, vmid: int) -> list[dict[str, t.Any]] | None:
        return [{"name": "eth0", "ip-addresses": []}] if vmid in self.guests else None


@dataclasses.dataclass
class Answer:
    status: int
    reason: str
    data: t.Any
    errors: dict[str, str]


class Client:
    """As ``ansible@pve!groundwork`` unless ``headers`` say otherwise."""

    def __init__(self, server: ProxmoxServer, host: Host, base: str, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.host = host
        self.base = base
        self.session = session
        self.headers = {"Authorization": f"PVEAPIToken=ansible@pve!groundwork={SECRET}"}

    async def __call__(self, method: str, path: str, /, **params: t.Any) -> Answer:
        place: dict[str, t.Any] = {"params" if method in ("GET", "DELETE") else "data": params}
        async with self.session.request(method, self.base + path, headers=self.headers, **place) as response:
            decoded = await response.json(content_type=None) if response.status not in (401,) else {}
            decoded = decoded or {}
            return Answer(response.status, response.reason or "", decoded.get("data"), decoded.get("errors") or {})

    async def task(self, method: str, path: str, /, **params: t.Any) -> str:
        """The exit status of the task that a request starts."""
        answer = await self(method, path, **params)
        assert answer.status == 200, answer
        for _ in range(500):
            state = (await self("GET", f"/nodes/pve1/tasks/{answer.data}/status")).data
            if state["status"] == "stopped":
                return str(state["exitstatus"])
            await asyncio.sleep(0.01)
        raise AssertionError(f"the task {answer.data} does not end")


ROLE = (
    "VM.Audit Datastore.Audit Sys.Audit SDN.Audit VM.Allocate Datastore.AllocateSpace SDN.Use VM.Config.CDROM "
    "VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk VM.Config.HWType VM.Config.Memory VM.Config.Network "
    "VM.Config.Options VM.PowerMgmt VM.Snapshot VM.Clone VM.GuestAgent.Audit Datastore.AllocateTemplate "
    "Sys.AccessNetwork"
).split()


def config(root: pathlib.Path) -> ProxmoxConfig:
    acls = [
        AclConfig(path, "Lab", subject)
        for path in ("/vms", "/storage", "/sdn/zones/localnetwork", "/nodes")
        for subject in ("ansible@pve", "ansible@pve!groundwork")
    ]
    return ProxmoxConfig(
        root=root,
        nodes=(NodeConfig("pve1"), NodeConfig("pve2")),
        storages=(
            StorageConfig("local", content=("iso", "import", "vztmpl"), path="/var/lib/vz"),
            StorageConfig("local-lvm", "lvmthin", options={"vgname": "pve", "thinpool": "data"}),
        ),
        root_password="of-root",
        users=("ansible@pve",),
        tokens=(TokenConfig("ansible@pve", "groundwork", SECRET),),
        roles={"Lab": ROLE},
        acls=tuple(acls),
        time_scale=0.001,
    )


@contextlib.asynccontextmanager
async def proxmox(root: pathlib.Path) -> collections.abc.AsyncIterator[Client]:
    imports = root / "pve1" / "local" / "import"
    imports.mkdir(parents=True)
    (imports / "talos.qcow2").write_bytes(images.disk_image(IDENTITY, 4 << 30))
    host = Host()
    server = ProxmoxServer(config(root), host, Ledger(), Faults())
    sock = socket.create_server(("127.0.0.1", 0))
    await server.start(sock, None)
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(server, host, f"http://127.0.0.1:{sock.getsockname()[1]}/api2/json", session)
    finally:
        await server.stop()
