# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab: everything that an inventory needs, brought up inside of the sandbox and joined."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import json
import os
import pathlib
import secrets
import time
import typing as t

from . import binaries, census, guests, hypervisor, inventory, sandbox
from .authority import Authority
from .builder import Builder
from .cluster import KubernetesNode
from .cluster.containers.delivery import Delivery
from .cluster.containers.support import Support
from .cluster.pki import KeyPair
from .contracts import BootImage, Disk, GuestFailure, OperatingSystem
from .faults import Fault, Faults
from .internet import Internet, fetch_from
from .ledger import Ledger
from .mirror.dns import NameServer
from .mirror.releases import Releases
from .network import Network, Segment
from .proxmox.errors import Failure
from .proxmox.qemu.power import start_vm, stopped
from .proxmox.qemu.vm import Vm
from .proxmox.server import ProxmoxServer
from .talos.node import TalosNode
from .talos.settings import Settings

#: Where systems keep the certificates they trust; the lab's CA is added to each that is there.
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclasses.dataclass(frozen=True)
class LabOptions:
    """``folder`` is the lab's inventory, ``reading`` what became of it so far; ``files`` are hosts of the internet with the directories they serve;
    ``environment`` is that of the playbooks before the lab adds its own."""

    folder: pathlib.Path
    reading: inventory.Reading
    time_scale: float = 0.02
    faults: tuple[Fault, ...] = ()
    files: t.Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    environment: t.Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(os.environ))
    outer_pid: int = 0
    #: Builds the programs of real containers; None: those that are not built yet do not start.
    builder: Builder | None = None


class Lab:
    """Use: ``await start()`` in the sandbox, then playbooks in the router's namespace, then ``await stop()``."""

    def __init__(self, options: LabOptions) -> None:
        self.options = options
        self.ledger = Ledger()
        self.faults = Faults()
        for fault in options.faults:
            self.faults.add(fault)
        self.authority = Authority(sandbox.RUN / "secrets")
        self.network = Network()
        self.names = NameServer({})
        self.internet = Internet(self.network, self.authority, self.names)
        self.token_secret = secrets.token_hex(4) + "-simulated-" + secrets.token_hex(12)
        self.password = secrets.token_urlsafe(18)
        self.since = time.time()
        self.inventory: inventory.Inventory
        self.guests: guests.Guests
        self.proxmox: ProxmoxServer
        self._settings: Settings

    # -- start ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Raises :class:`simlab.inventory.InventoryError`, :class:`simlab.network.NetworkError`."""
        await self.network.start()
        self.inventory = await self.options.reading.result()
        await self._start_networks()
        await self._start_names()
        builder = self.options.builder
        releases = Releases(builder.module if builder else binaries.module_folder)
        await self.internet.start(
            self.inventory.factories, self.options.files, self.ledger, self.faults, releases, sandbox.RUN
        )
        self._overlay()
        self._settings = self._talos_settings()
        leases = guests.Leases(self.inventory)
        self.guests = guests.Guests(self.network, leases, self._boot, self.options.time_scale)
        await self._start_proxmox()
        self._sign()

    async def _start_networks(self) -> None:
        for network in self.inventory.networks:
            segment = Segment(network.bridge, network.vlan)
            await self.network.add_network(segment, network.subnet, network.gateway, network.mtu)
        for node in self.inventory.hypervisors:
            if self.network.segment_of(node.address) is None:  # a management network that the inventory leaves out
                subnet = ipaddress.IPv4Network(f"{node.address}/24", strict=False)
                gateway = subnet[1] if str(subnet[1]) != node.address else subnet[254]
                await self.network.add_network(Segment("mgmt", None), str(subnet), str(gateway))
        await self.network.expect(machine.address for machine in self.inventory.machines if machine.address)

    async def _start_names(self) -> None:
        """Every name server of the inventory is the lab's, wherever its address lies; so is each gateway."""
        records, domain = self.names.records, self.inventory.domain
        hosts = [(node.name, node.address) for node in self.inventory.hypervisors]
        hosts += [(machine.name, machine.address) for machine in self.inventory.machines if machine.address]
        for name, address in hosts:
            for known in (name, *([f"{name}.{domain}"] if domain else [])):
                records[known.lower()] = [address]
        for name, address in self.inventory.names.items():
            records.setdefault(name.lower(), [address])
        taken = {address for _, address in hosts}
        for address in dict.fromkeys(self._name_servers()):
            if address not in taken:
                segment = self.network.segment_of(address)
                await self.network.add_own_address(f"{address}/32", segment.device if segment else "lo")
                udp = self.network.router.datagrams(address, 53)
                await self.names.listen(udp, self.network.router.listen(address, 53))

    def _name_servers(self) -> list[str]:
        servers = [server for network in self.inventory.networks for server in network.nameservers]
        return [*servers, *(network.gateway for network in self.inventory.networks)]

    def _overlay(self) -> None:
        """Files of the machine that the lab's programs read, seen in the sandbox only."""
        hosts = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
        hosts += [f"{address} {name}" for name, addresses in self.names.records.items() for address in addresses]
        sandbox.overlay("/etc/hosts", "\n".join([*hosts, ""]))
        servers = [line for server in self._name_servers()[:3] for line in (f"nameserver {server}",)]
        search = [f"search {self.inventory.domain}"] if self.inventory.domain else []
        sandbox.overlay("/etc/resolv.conf", "\n".join([*search, *servers, "options timeout:2 attempts:1", ""]))
        (sandbox.RUN / "ca.pem").write_text(self.authority.certificate, encoding="utf-8")
        bundle = self.authority.certificate
        for path in _BUNDLES:
            with contextlib.suppress(OSError):
                text = pathlib.Path(path).read_text(encoding="utf-8") + "\n" + self.authority.certificate
                sandbox.overlay(path, text)
                bundle = text
        (sandbox.RUN / "ca-bundle.pem").write_text(bundle, encoding="utf-8")
        os.environ["SSL_CERT_FILE"] = str(sandbox.RUN / "ca-bundle.pem")

    def _talos_settings(self) -> Settings:
        runtime = sandbox.RUN / "runtime"
        runtime.mkdir(mode=0o700)
        mirror = self.internet.mirror
        try:
            program: pathlib.Path | None = binaries.CONTROL_PLANE.find()
        except FileNotFoundError:
            program = None
        return Settings(
            program=program,
            runtime=runtime,
            extensions=mirror.factory.extensions if mirror else lambda _: (),
            containers=self._containers(),
            authority=KeyPair(*self.authority.pair()),
        )

    def _containers(self) -> Support:
        """Some containers are processes: built outside of the sandbox, they see the lab's names and certificates."""
        builder = self.options.builder
        return Support(
            Delivery(lambda program: builder.build(program.name) if builder else program.build()),
            sandbox.RUN / "ca-bundle.pem",
            addresses=self.names.addresses,
            announce=self.network.add_route,
        )

    def _boot(self, machine: guests.RunningMachine, disk: Disk, image: BootImage) -> OperatingSystem:
        if image.os != "talos":
            raise LookupError("only Talos is simulated")
        return TalosNode(machine, disk, image, ledger=self.ledger, faults=self.faults, settings=self._settings)

    async def _start_proxmox(self) -> None:
        """One namespace for each hypervisor; the API is that of the whole cluster, at each of their addresses."""
        config = hypervisor.proxmox_config(
            self.inventory, sandbox.RUN / "volumes", self.token_secret, self.password, self.options.time_scale
        )
        namespaces = [await self.network.add_host(node.name, node.address) for node in self.inventory.hypervisors]
        fetch = fetch_from(namespaces[0])
        self.proxmox = ProxmoxServer(config, self.guests, self.ledger, self.faults, fetch)
        self.guests.stopped = lambda vmid: stopped(self.proxmox.cluster, vmid)
        domain = self.inventory.domain
        for node, namespace in zip(self.inventory.hypervisors, namespaces, strict=True):
            names = [node.name, *([f"{node.name}.{domain}"] if domain else []), node.address]
            sock = namespace.listen("0.0.0.0", self.inventory.access.port)
            await self.proxmox.start(sock, self.authority.server_context(*names))

    def _sign(self) -> None:
        """By this file, the lab is found from outside."""
        text = json.dumps({"lab": str(self.options.folder), "pid": self.options.outer_pid, "since": self.since})
        (sandbox.RUN / "lab.json").write_text(text, encoding="utf-8")

    # -- end --------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Quickly; what this leaves, the end of the sandbox takes."""
        for part in ("proxmox", "guests"):
            with contextlib.suppress(AttributeError):
                owner = getattr(self, part)
                await (owner.stop() if part == "proxmox" else owner.close())
        await self.internet.stop()
        self.names.stop()

    def _control_planes(self) -> list[KubernetesNode]:
        """Those of the first cluster that have power, in the order in which they got it."""
        found = []
        for machine in self.guests.machines.values():
            system = machine.system
            workload = system.runtime.workload if isinstance(system, TalosNode) and system.powered else None
            if workload is not None and workload.etcd is not None:
                found.append(workload.kubernetes)
        return found

    async def power(self, vmid: int, on: bool) -> None:
        """The button at the machine. Raises LookupError when there is no such guest."""
        if not on:
            if vmid not in self.guests.machines:
                raise LookupError(f"VM {vmid} has no power")
            await self.guests.pull_plug(vmid)
            return
        vm = self.proxmox.cluster.guests.get(vmid)
        if not isinstance(vm, Vm):
            raise LookupError(f"there is no VM {vmid}")
        try:
            await start_vm(self.proxmox.cluster, vm)
        except Failure as error:
            raise GuestFailure(str(error)) from None

    # -- looking in ---------------------------------------------------------------------------------------------

    async def status(self) -> dict[str, t.Any]:
        """VMs, nodes and counts, for ``rehearse status`` and tests."""
        running = self.guests.describe()
        kubernetes = [await census.take(node) for node in self._control_planes()]
        counts: dict[str, dict[str, int]] = {}
        for entry in self.ledger.entries():
            count = counts.setdefault(entry.api, {"reads": 0, "writes": 0, "refused": 0})
            count["writes" if entry.write else "reads"] += 1
            count["refused"] += entry.refused
        return {
            "lab": self.inventory.name,
            "folder": str(self.options.folder),
            "pid": self.options.outer_pid,
            "since": self.since,
            "time_scale": self.options.time_scale,
            "control_plane_program": str(self._settings.program) if self._settings.program else None,
            "hypervisors": [dataclasses.asdict(node) for node in self.inventory.hypervisors],
            "vms": [_vm(guest) for guest in self.proxmox.cluster.guests.values()],
            "guests": running,
            "kubernetes": next(
                (found for found in kubernetes if not found["problem"]), kubernetes[0] if kubernetes else None
            ),
            "ledger": {"last": self.ledger.mark(), "requests": counts},
            "faults": [dataclasses.asdict(fault) for fault in self.faults.active],
        }


def _vm(guest: t.Any) -> dict[str, t.Any]:
    """What Proxmox has configured, with or without power."""
    return {
        "vmid": guest.vmid,
        "kind": guest.kind,
        "node": guest.node,
        "status": "running" if guest.running else "stopped",
        "config": dict(guest.options),
    }
