# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of the simulated lab know of each other, and nothing more.

The played Proxmox owns guests and volumes and calls a :class:`GuestHost` when one gets or loses
power. The lab is that host: it gives a guest a :class:`Machine` (a network namespace, leases, its
disks) and boots the operating system that lies on the boot disk. An operating system knows its
machine and nothing of Proxmox.
"""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import socket
import typing as t

#: Its own name, because classes below have a method ``socket``.
Socket: t.TypeAlias = socket.socket


@dataclasses.dataclass(frozen=True)
class BootImage:
    """What lies on a bootable volume. ``medium`` is ``disk`` (pre-installed) or ``iso`` (installer)."""

    os: str  # "talos"
    version: str  # "v1.13.9"
    platform: str  # "nocloud", "metal"
    arch: str  # "amd64"
    schematic: str  # 64 hex digits
    medium: t.Literal["disk", "iso"]


@dataclasses.dataclass(frozen=True)
class Nic:
    slot: str  # "net0"
    mac: str  # lower case, colons
    bridge: str  # "vmbr0"
    vlan: int | None
    link_down: bool = False


@dataclasses.dataclass(frozen=True)
class Disk:
    """One volume as its guest sees it. ``path`` is a directory of the volume's own: ``volume.json`` is
    Proxmox's, ``data/`` belongs to whatever runs on the disk and is copied, rolled back and deleted
    with the volume. ``size`` is in bytes.
    """

    slot: str  # "scsi0"
    volume: str  # "local:200/vm-200-disk-0.qcow2"
    path: pathlib.Path
    size: int
    image: BootImage | None
    cdrom: bool = False


@dataclasses.dataclass(frozen=True)
class Guest:
    """A guest's hardware at the moment it gets power. ``memory`` is in bytes."""

    vmid: int
    kind: t.Literal["qemu", "lxc"]
    name: str
    node: str
    uuid: str
    cores: int
    memory: int
    bios: str
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]  # in boot order; disks that are not in the boot order come last
    #: Cloud-init values as they stand in the VM's configuration (``ipconfig0``, ``nameserver``, …),
    #: or None when there is no cloud-init drive.
    cloud_init: t.Mapping[str, str] | None = None
    agent: bool = False


class GuestFailure(Exception):
    """The guest cannot do this; the text is what QEMU would have said."""


class GuestHost(t.Protocol):
    """Power, as the played Proxmox asks for it. Implemented by the lab."""

    async def power_on(self, guest: Guest) -> None: ...

    async def power_off(self, vmid: int) -> None:
        """Pull the plug. Nothing of the guest answers after this returns."""

    async def shut_down(self, vmid: int, timeout: float) -> bool:
        """ACPI power button. False when the guest has not gone within ``timeout`` seconds."""

    async def reset(self, vmid: int) -> None: ...

    async def nics_changed(self, guest: Guest) -> None:
        """A hotplugged or changed NIC of a running guest."""

    async def gone(self, vmid: int) -> None:
        """The guest was destroyed; its volumes go with it."""

    def agent_interfaces(self, vmid: int) -> list[dict[str, t.Any]] | None:
        """What the guest agent reports (``network-get-interfaces``), None when no agent answers."""

    def agent_system(self, vmid: int) -> dict[str, t.Any] | None:
        """What an agent that answers says of its operating system (``get-osinfo``), None when that is not simulated."""


class Namespace(t.Protocol):
    """A network namespace of the lab, as something to listen, connect and start processes in."""

    name: str

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> Socket:
        """A new socket that lives in this namespace, whatever thread uses it."""

    def listen(self, host: str, port: int) -> Socket: ...

    async def connect(self, host: str, port: int, timeout: float = 5.0) -> Socket: ...

    async def spawn(self, argv: t.Sequence[str], **keywords: t.Any) -> asyncio.subprocess.Process:
        """Start a process in this namespace (keywords as for ``create_subprocess_exec``).

        The process dies with the lab, however the lab dies.
        """


@dataclasses.dataclass(frozen=True)
class Lease:
    """What DHCP answers a NIC: one static lease by MAC, on the right VLAN only."""

    address: str  # "192.168.30.50"
    prefix: int  # 24
    gateway: str | None
    nameservers: tuple[str, ...] = ()
    hostname: str | None = None


class Machine(t.Protocol):
    """A guest that has power, as its operating system sees it."""

    guest: Guest
    namespace: Namespace
    #: Real seconds per lab second for things that are only played (boot, install): 0.02 by default.
    time_scale: float

    def lease(self, nic: Nic) -> Lease | None: ...

    async def set_addresses(self, nic: Nic, addresses: t.Sequence[str], gateway: str | None) -> None:
        """Give the NIC exactly these addresses (``192.168.30.50/24``)."""

    async def add_address(self, nic: Nic, address: str) -> None:
        """One more (a VIP); announced by gratuitous ARP as in life."""

    async def remove_address(self, nic: Nic, address: str) -> None: ...

    def device(self, nic: Nic) -> str:
        """The kernel's name of the NIC (``ens18``)."""

    async def announce(self, nic: Nic, address: str) -> None:
        """Answer ARP for an address that is not the operating system's own (of a Service), without prefix. The NIC's own
        addresses come and go beside it."""

    async def withdraw(self, nic: Nic, address: str) -> None: ...

    def powered_off(self) -> None:
        """The operating system has shut down by itself; the hypervisor shows the guest as stopped."""


class OperatingSystem(t.Protocol):
    """What boots from a disk."""

    async def boot(self) -> None:
        """Return soon; go on booting in tasks of one's own."""

    async def power_off(self) -> None:
        """Power is gone: stop answering at once, kill every process, flush nothing."""

    async def shut_down(self) -> None:
        """Orderly; returns when down."""

    async def links_changed(self) -> None:
        """NICs were plugged in while it runs: a new one under an old name gets what that name is configured for."""

    def describe(self) -> dict[str, t.Any]:
        """For ``rehearse status``: stage, version, hostname, addresses, services, problems."""
