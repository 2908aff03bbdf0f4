# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible-inventory`` against a played cluster of two nodes whose guests stand in its state from the start."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
import typing as t

import yaml
from pve_lab import ROLE, PveLab

from ansible_collections.groundwork.homelab.plugins.module_utils import task
from simlab.ledger import Entry
from simlab.proxmox.cluster import Pool
from simlab.proxmox.config import NodeConfig
from simlab.proxmox.guest import Running
from simlab.proxmox.lxc.ct import Container
from simlab.proxmox.qemu.vm import Vm

Json = dict[str, t.Any]

#: Where the collections' tree begins, under whatever name the tests import it.
COLLECTIONS = pathlib.Path(str(task.__file__)).parents[5]
LINES = ("PROXMOX_", "ANSIBLE_", "PYTHON", "REQUESTS_CA", "CURL_CA")


class Agents:
    """The guests' agents: what those that answer tell of their interfaces. All others are silent."""

    def __init__(self) -> None:
        self.interfaces: dict[int, list[Json]] = {}

    def agent_interfaces(self, vmid: int) -> list[Json] | None:
        return self.interfaces.get(vmid)


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def interface(name: str, mac: str, *addresses: str) -> Json:
    """``10.0.0.5/24``."""
    told = [
        {
            "ip-address": address.partition("/")[0],
            "prefix": int(address.partition("/")[2]),
            "ip-address-type": "ipv6" if ":" in address else "ipv4",
        }
        for address in addresses
    ]
    return {"name": name, "hardware-address": mac, "ip-addresses": told}


@dataclasses.dataclass
class Seen:
    """What ``ansible-inventory --list`` gave, and the requests that it made. ``text`` is all that it said besides."""

    exit: int
    inventory: Json
    text: str
    requests: list[Entry]
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def paths(self) -> list[str]:
        return [entry.path for entry in self.requests]

    @property
    def hosts(self) -> dict[str, Json]:
        return t.cast("dict[str, Json]", self.inventory["_meta"]["hostvars"])

    def group(self, name: str) -> list[str]:
        return sorted(self.inventory.get(name, {}).get("hosts", []))


class InventoryLab(PveLab):
    """Two nodes, ``pve1`` (which is asked) and ``pve2``; the token has the role of the documentation."""

    def __init__(self, root: pathlib.Path, *, rights: t.Collection[str] = (*ROLE, "VM.GuestAgent.Audit")) -> None:
        super().__init__(root, rights=rights)
        self.config.nodes = (NodeConfig(cores=8), NodeConfig("pve2", address="10.66.0.3"))
        self.config.cluster_name = "lab"
        self.agents = Agents()

    def __enter__(self) -> t.Self:
        super().__enter__()
        self.cluster.host = t.cast("t.Any", self.agents)
        return self

    @property
    def cluster(self) -> t.Any:
        return self.server.cluster

    def vm(self, vmid: int, name: str = "", *, node: str = "pve1", running: bool = False, **options: str) -> Vm:
        named = {"name": name} if name else {}
        found = Vm(vmid, node, {**named, "memory": "2048", "cores": "2", "ostype": "l26", **options})
        return t.cast(Vm, self._add(found, running))

    def ct(self, vmid: int, name: str, *, node: str = "pve1", running: bool = False, **options: str) -> Container:
        found = Container(vmid, node, {"hostname": name, "memory": "512", "ostype": "debian", **options})
        return t.cast(Container, self._add(found, running))

    def _add(self, guest: t.Any, running: bool) -> t.Any:
        if running:
            guest.running = Running(1000 + guest.vmid, time.time() - 600, options=dict(guest.options))
        self.cluster.guests[guest.vmid] = guest
        return guest

    def pool(self, name: str, *vmids: int) -> None:
        self.cluster.pools[name] = Pool()
        self.cluster.pools[name].guests |= set(vmids)

    def typical(self) -> None:
        """A lab as people have them."""
        self.vm(
            101, "web", running=True, agent="1", tags="web;prod", net0="virtio=02:00:00:00:00:01,bridge=vmbr0",
            ipconfig0="ip=192.168.30.11/24,gw=192.168.30.1", description="{{ lookup('pipe', 'echo pwned') }}",
        )  # fmt: skip
        self.vm(102, "db", node="pve2", running=True, agent="enabled=1", net0="virtio=02:00:00:00:00:02,bridge=vmbr0")
        self.vm(103, "golden", template="1", tags="prod")
        self.vm(104, "win", ostype="win11")
        self.ct(
            201, "dns", running=True, rootfs="local:201/vm-201-disk-0.raw,size=1G", tags="prod",
            net0="name=eth0,bridge=vmbr0,hwaddr=02:00:00:00:00:03,ip=192.168.30.53/24,type=veth",
        )  # fmt: skip
        self.pool("lab", 101, 201)
        self.agents.interfaces[101] = [
            interface("lo", "00:00:00:00:00:00", "127.0.0.1/8"),
            interface("cni0", "0a:00:00:00:00:01", "10.244.0.1/24"),
            interface("eth0", "02:00:00:00:00:01", "192.168.30.11/24", "fe80::1/64"),
        ]

    # -- ansible-inventory -----------------------------------------------------------------------------------------

    def file(self, options: t.Mapping[str, t.Any] | str, name: str = "lab.proxmox.yml") -> pathlib.Path:
        path = self.root / name
        text = (
            options if isinstance(options, str) else yaml.safe_dump({"plugin": "groundwork.homelab.proxmox", **options})
        )
        path.write_text(text)
        return path

    def environment(self) -> dict[str, str]:
        config = self.root / "ansible.cfg"
        if not config.exists():
            config.write_text("[defaults]\n")
        site = (
            pathlib.Path(sys.prefix)
            / "lib"
            / f"python{sys.version_info.major}.{sys.version_info.minor}"
            / "site-packages"
        )
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(LINES)},
            "ANSIBLE_COLLECTIONS_PATH": f"{COLLECTIONS}:{site}",
            "ANSIBLE_CONFIG": str(config),
            "ANSIBLE_HOME": str(self.root / "home"),
            "PROXMOX_HOST": "127.0.0.1",
            "PROXMOX_PORT": str(self.port),
            "PROXMOX_CA_PATH": self.ca_path,
            "PROXMOX_TOKEN_ID": "ansible@pve!groundwork",
            "PROXMOX_TOKEN_SECRET": "token-not-a-secret",
        }

    def inventory(
        self,
        *arguments: str,
        file: pathlib.Path | None = None,
        environment: t.Mapping[str, str] | None = None,
        program: t.Sequence[str] = ("-m", "ansible.cli.inventory"),
        patience: float = 120.0,
        **options: t.Any,
    ) -> Seen:
        """``environment``: an empty value takes a variable away. ``program`` is what Python is given, ``patience`` in seconds."""
        path = file or self.file(options)
        mark, started, used = self.ledger.mark(), time.monotonic(), cpu_of_children()
        merged = {**self.environment(), **(environment or {})}
        command = [sys.executable, *program, "-i", str(path), "--list", *arguments]
        done = subprocess.run(
            command,
            env={name: value for name, value in merged.items() if value},
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
        seconds, cpu = time.monotonic() - started, cpu_of_children() - used
        if "token-not-a-secret" in done.stdout + done.stderr or "root-not-a-secret" in done.stdout + done.stderr:
            raise AssertionError("a secret was printed")
        found = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        text = " ".join((done.stderr + ("" if found else done.stdout)).split())
        return Seen(done.returncode, found, text, self.ledger.entries(mark), seconds, cpu)
