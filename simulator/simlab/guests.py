# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests with power: the hypervisor's side of the network, and booting what lies on the disks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import typing as t

from .contracts import BootImage, Disk, Guest, GuestFailure, Lease, Namespace, Nic, OperatingSystem
from .inventory import Inventory
from .network import NetNamespace, Network, Plug

#: Makes the operating system of an image; raises LookupError or ValueError when it is none that this lab can play.
Boot = t.Callable[["RunningMachine", Disk, BootImage], OperatingSystem]
#: First interface of a guest in Linux' naming on Proxmox: ``ens18`` is net0.
_FIRST_SLOT = 18
#: The service that answers for the guest agent, as Talos names it.
_AGENT = "ext-qemu-guest-agent"


class Leases:
    """One static lease for every machine of the inventory: by its MAC, or by its VM's number where the inventory
    leaves the MAC to the collection.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def find(self, guest: Guest, nic: Nic) -> Lease | None:
        if nic.link_down:
            return None
        for machine in self._inventory.machines:
            by_mac = machine.mac is not None and machine.mac == nic.mac
            by_vmid = machine.mac is None and machine.vmid == guest.vmid and guest.nics[:1] == (nic,)
            network = self._inventory.network(machine.network)
            if machine.address and (by_mac or by_vmid) and (network.bridge, network.vlan) == (nic.bridge, nic.vlan):
                servers = network.nameservers or (network.gateway,)
                return Lease(machine.address, network.prefix, network.gateway, servers, machine.name)
        return None


class RunningMachine:
    """See :class:`simlab.contracts.Machine`."""

    def __init__(
        self, guest: Guest, namespace: NetNamespace, network: Network, leases: Leases, time_scale: float
    ) -> None:
        self.guest = guest
        self.namespace: Namespace = namespace
        self.inside = namespace
        self.time_scale = time_scale
        self.plugs: dict[str, Plug] = {}
        self.since = time.time()
        self.system: OperatingSystem | None = None
        #: What the firmware and the host say about this boot, for ``rehearse status``.
        self.console = ""
        self._network = network
        self._leases = leases
        self._gone: t.Callable[[int], None] = lambda vmid: None

    def when_powered_off(self, callback: t.Callable[[int], None]) -> None:
        self._gone = callback

    def device(self, nic: Nic) -> str:
        """The interface's name inside of the guest (``ens18``)."""
        return f"ens{_FIRST_SLOT + int(nic.slot.removeprefix('net'))}"

    def lease(self, nic: Nic) -> Lease | None:
        return self._leases.find(self.guest, nic)

    async def set_addresses(self, nic: Nic, addresses: t.Sequence[str], gateway: str | None) -> None:
        if nic.slot in self.plugs:
            await self._network.set_addresses(self.inside, self.plugs[nic.slot], addresses, gateway)

    async def add_address(self, nic: Nic, address: str) -> None:
        if nic.slot in self.plugs:
            await self._network.add_address(self.inside, self.plugs[nic.slot], address)

    async def remove_address(self, nic: Nic, address: str) -> None:
        if nic.slot in self.plugs:
            await self._network.remove_address(self.inside, self.plugs[nic.slot], address)

    async def announce(self, nic: Nic, address: str) -> None:
        if nic.slot in self.plugs:
            await self._network.answer_for(self.inside, self.plugs[nic.slot], address)

    async def withdraw(self, nic: Nic, address: str) -> None:
        if nic.slot in self.plugs:
            await self._network.answer_no_more(self.inside, self.plugs[nic.slot], address)

    def powered_off(self) -> None:
        self._gone(self.guest.vmid)

    def addresses(self) -> list[str]:
        return [address for plug in self.plugs.values() for address in plug.addresses]


class Guests:
    """See :class:`simlab.contracts.GuestHost`. ``stopped`` is told when a guest went down by itself."""

    def __init__(self, network: Network, leases: Leases, boot: Boot, time_scale: float) -> None:
        self.machines: dict[int, RunningMachine] = {}
        self.stopped: t.Callable[[int], None] = lambda vmid: None
        self._network = network
        self._leases = leases
        self._boot = boot
        self._scale = time_scale
        self._locks: dict[int, asyncio.Lock] = {}
        self._background: set[asyncio.Task[None]] = set()

    def _lock(self, vmid: int) -> asyncio.Lock:
        return self._locks.setdefault(vmid, asyncio.Lock())

    async def power_on(self, guest: Guest) -> None:
        async with self._lock(guest.vmid):
            if guest.vmid in self.machines:
                raise GuestFailure(f"VM {guest.vmid} already running")
            await self._power_on(guest)

    async def _power_on(self, guest: Guest) -> None:
        name = f"{'ct' if guest.kind == 'lxc' else 'vm'}{guest.vmid}"
        namespace = await self._network.create_namespace(name)
        machine = RunningMachine(guest, namespace, self._network, self._leases, self._scale)
        machine.when_powered_off(self._went_down)
        self.machines[guest.vmid] = machine
        for nic in guest.nics:
            machine.plugs[nic.slot] = await self._network.plug_in(namespace, machine.device(nic), nic)
        found = _bootable(guest.disks)
        if found is None:
            machine.console = "no bootable device"
            return
        try:
            machine.system = self._boot(machine, *found)
        except (LookupError, ValueError) as error:
            machine.console = f"{found[1].os} on {found[0].slot} does not start in a simulated lab: {error}"
            return
        try:
            await machine.system.boot()
        except BaseException:
            await self._power_off(guest.vmid)
            raise

    async def power_off(self, vmid: int) -> None:
        async with self._lock(vmid):
            await self._power_off(vmid)

    async def _power_off(self, vmid: int) -> None:
        machine = self.machines.pop(vmid, None)
        if machine is None:
            return
        await self._network.pull_out(machine.plugs.values())
        if machine.system is not None:
            await machine.system.power_off()
        await self._network.delete_namespace(machine.inside)

    async def shut_down(self, vmid: int, timeout: float) -> bool:
        machine = self.machines.get(vmid)
        if machine is None:
            return True
        if machine.system is None:  # nothing there that would notice the button
            await asyncio.sleep(timeout * self._scale)
            return False
        try:
            await asyncio.wait_for(machine.system.shut_down(), timeout)
        except TimeoutError:
            return False
        if self.machines.get(vmid) is machine:
            await self.power_off(vmid)
        return True

    async def reset(self, vmid: int) -> None:
        async with self._lock(vmid):
            machine = self.machines.get(vmid)
            if machine is not None:
                await self._power_off(vmid)
                await self._power_on(machine.guest)

    async def nics_changed(self, guest: Guest) -> None:
        async with self._lock(guest.vmid):
            machine = self.machines.get(guest.vmid)
            if machine is None:
                return
            before = {nic.slot: nic for nic in machine.guest.nics}
            machine.guest = guest
            after = {nic.slot: nic for nic in guest.nics}
            for slot, nic in before.items():
                if slot not in after or after[slot].mac != nic.mac:
                    await self._network.pull_out([machine.plugs.pop(slot)])
            plugged = [slot for slot in after if slot not in machine.plugs]
            for slot, nic in after.items():
                if slot in plugged:
                    machine.plugs[slot] = await self._network.plug_in(machine.inside, machine.device(nic), nic)
                elif before[slot] != nic:
                    await self._network.move(machine.plugs[slot], nic)
            if plugged and machine.system is not None:
                await machine.system.links_changed()

    async def gone(self, vmid: int) -> None:
        await self.power_off(vmid)

    async def pull_plug(self, vmid: int) -> None:
        """Power fails; the hypervisor sees its process end."""
        await self.power_off(vmid)
        self.stopped(vmid)

    def agent_interfaces(self, vmid: int) -> list[dict[str, t.Any]] | None:
        machine = self.machines.get(vmid)
        if machine is None or machine.system is None or not machine.guest.agent:
            return None
        if machine.system.describe().get("services", {}).get(_AGENT) != "Running":
            return None
        loopback = _interface("lo", "00:00:00:00:00:00", ["127.0.0.1/8"])
        return [loopback, *(_interface(plug.device, plug.mac, plug.addresses) for plug in machine.plugs.values())]

    def agent_system(self, vmid: int) -> dict[str, t.Any] | None:
        """Nobody has recorded what the agent of a Talos node answers."""
        return None

    def _went_down(self, vmid: int) -> None:
        task = asyncio.get_running_loop().create_task(self.pull_plug(vmid))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """Pull every plug."""
        for vmid in list(self.machines):
            with contextlib.suppress(Exception):
                await self.power_off(vmid)

    def describe(self) -> list[dict[str, t.Any]]:
        """For ``rehearse status``: every guest that has power."""
        return [_describe(machine) for machine in self.machines.values()]


def _describe(machine: RunningMachine) -> dict[str, t.Any]:
    guest = machine.guest
    nics: dict[str, dict[str, t.Any]] = {}
    for nic in guest.nics:
        nics[nic.slot] = {"mac": nic.mac, "bridge": nic.bridge, "vlan": nic.vlan, "link_down": nic.link_down}
    for slot, plug in machine.plugs.items():
        nics[slot]["addresses"] = list(plug.addresses)
    return {
        "vmid": guest.vmid,
        "name": guest.name,
        "node": guest.node,
        "cores": guest.cores,
        "memory": guest.memory,
        "since": machine.since,
        "namespace": machine.namespace.name,
        "nics": nics,
        "console": machine.console,
        "system": machine.system.describe() if machine.system else None,
    }


def _bootable(disks: t.Sequence[Disk]) -> tuple[Disk, BootImage] | None:
    """The first disk that something boots from, and what. An installer writes ``boot.json`` into the disk's data."""
    for disk in disks:
        installed = disk.path / "data" / "boot.json"
        if installed.is_file():
            return disk, BootImage(**json.loads(installed.read_text(encoding="utf-8")))
        if disk.image is not None:
            return disk, disk.image
    return None


def _interface(name: str, mac: str, addresses: t.Iterable[str]) -> dict[str, t.Any]:
    listed = [
        {"ip-address": address.partition("/")[0], "ip-address-type": "ipv4", "prefix": int(address.partition("/")[2])}
        for address in addresses
    ]
    return {"name": name, "hardware-address": mac, "ip-addresses": listed}


__all__ = ["Boot", "Guests", "Leases", "RunningMachine"]
