# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a lab: bridges, network namespaces, virtual cables.

The sandbox's own network namespace is the router of the lab: it has the gateway address of every network, and playbooks
run in it. Every guest, every hypervisor and the internet are namespaces of their own. A VLAN of a bridge is a Linux
bridge (a *segment*); a guest is on it when its cable ends there. Pulling the cable is what power off does.

A machine that does not answer must be a time-out, so the router holds a permanent neighbour entry for every known
address: without it, Linux would say "no route to host" when ARP finds nobody.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import ipaddress
import os
import pathlib
import socket
import struct
import typing as t

from . import namespaces
from .contracts import Nic, Socket
from .iproute import NetworkError, ip

#: Stands in the neighbour table for a machine that was never switched on.
_NOBODY = "02:00:00:00:00:00"
_ETH_P_ARP = 0x0806


class NetNamespace:
    """A network namespace; see :class:`simlab.contracts.Namespace`."""

    def __init__(self, name: str, path: str, home: int) -> None:
        self.name = name
        self.path = path
        self._home = home
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._descriptor)

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> Socket:
        with namespaces.in_network_of(self._descriptor, self._home):
            return socket.socket(family, kind, protocol)

    def listen(self, host: str, port: int) -> Socket:
        sock = self.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(128)
        except OSError:
            sock.close()
            raise
        sock.setblocking(False)
        return sock

    def datagrams(self, host: str, port: int) -> Socket:
        """A UDP socket bound to an address of the namespace."""
        sock = self.socket(kind=socket.SOCK_DGRAM)
        sock.bind((host, port))
        sock.setblocking(False)
        return sock

    async def connect(self, host: str, port: int, timeout: float = 5.0) -> Socket:
        sock = self.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setblocking(False)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, (host, port)), timeout)
        except BaseException:
            sock.close()
            raise
        return sock

    async def spawn(self, argv: t.Sequence[str], **keywords: t.Any) -> asyncio.subprocess.Process:
        """The sandbox's process namespace sees to it that the process dies with the lab."""
        return await asyncio.create_subprocess_exec("nsenter", f"--net={self.path}", "--", *argv, **keywords)


@dataclasses.dataclass(frozen=True)
class Segment:
    """A VLAN (None: untagged) of a hypervisor's bridge: whoever is on it hears each other."""

    bridge: str
    vlan: int | None

    @property
    def device(self) -> str:
        """The Linux bridge's name, 15 characters at most."""
        name = f"{self.bridge}v{self.vlan or 0}"
        return name if len(name) <= 15 else f"v{self.vlan or 0}-{hashlib.sha256(self.bridge.encode()).hexdigest()[:6]}"

    @property
    def mac(self) -> str:
        """The router's, on this segment. Without one of its own, a Linux bridge takes that of its ports whose is the
        lowest, and when that cable is pulled everybody else's ARP entry of the gateway is wrong for half a minute."""
        digest = hashlib.sha256(f"{self.bridge}/{self.vlan}".encode()).hexdigest()
        return ":".join(["02", "fe", *(digest[at : at + 2] for at in range(0, 8, 2))])


@dataclasses.dataclass
class Plug:
    """An interface inside of a namespace and the end of its cable at the router."""

    device: str  # inside: "ens18"
    cable: str  # outside: "vm200n0"
    mac: str
    segment: Segment
    addresses: tuple[str, ...] = ()


class Network:
    """All segments, namespaces and cables. Use: ``await start()``, then the rest; the sandbox's end is its end."""

    def __init__(self) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.router = NetNamespace("router", "/proc/self/ns/net", self._home)
        self.namespaces: dict[str, NetNamespace] = {}
        self._segments: dict[Segment, asyncio.Lock] = {}
        self._ready: set[Segment] = set()
        self._subnets: dict[Segment, list[ipaddress.IPv4Network]] = {}
        self._gateways: dict[ipaddress.IPv4Network, str] = {}
        #: Addresses of the router itself: what comes from one of these comes from a playbook.
        self.own_addresses: set[str] = set()

    async def start(self) -> None:
        await ip(["link set lo up"])
        forwarding = pathlib.Path("/proc/sys/net/ipv4/ip_forward")
        try:
            forwarding.write_text("1")
        except OSError as error:  # /proc is read-only in some containers
            if forwarding.read_text().strip() != "1":
                raise NetworkError(f"the lab's router cannot route: {forwarding}: {error.strerror}") from None

    async def add_network(self, segment: Segment, subnet: str, gateway: str, mtu: int | None = None) -> None:
        """A segment on which the router has the gateway's address. A segment can carry several subnets."""
        await self._need(segment)
        prefix = ipaddress.IPv4Network(subnet).prefixlen
        self._subnets.setdefault(segment, []).append(ipaddress.IPv4Network(subnet))
        self._gateways[ipaddress.IPv4Network(subnet)] = gateway
        await self.add_own_address(f"{gateway}/{prefix}", segment.device)
        if mtu:
            await ip([f"link set {segment.device} mtu {mtu}"])

    async def add_own_address(self, address: str, device: str = "lo") -> None:
        """One more address of the router (a name server, say)."""
        plain = address.partition("/")[0]
        if plain not in self.own_addresses:
            self.own_addresses.add(plain)
            await ip([f"addr add {address} dev {device}"])

    async def add_route(self, subnet: str, gateway: str) -> None:
        """The router's way to addresses behind a machine (a node's pods); the newest one counts."""
        await ip([f"route replace {subnet} via {gateway}"])

    async def expect(self, addresses: t.Iterable[str]) -> None:
        """These addresses exist in the lab: time-outs from now on, while nobody has them."""
        await ip([line for address in addresses for line in self._neighbour(address, _NOBODY)])

    def segment_of(self, address: str) -> Segment | None:
        """The segment whose subnet holds the address."""
        wanted = ipaddress.IPv4Address(address.partition("/")[0])
        for segment, subnets in self._subnets.items():
            if any(wanted in subnet for subnet in subnets):
                return segment
        return None

    def _neighbour(self, address: str, mac: str) -> list[str]:
        plain = address.partition("/")[0]
        segment = self.segment_of(plain)
        if segment is None or plain in self.own_addresses:
            return []
        return [f"neigh replace {plain} lladdr {mac} dev {segment.device} nud permanent"]

    async def _need(self, segment: Segment) -> None:
        async with self._segments.setdefault(segment, asyncio.Lock()):
            if segment not in self._ready:
                device = segment.device
                await ip([
                    f"link add {device} address {segment.mac} type bridge forward_delay 0",
                    f"link set {device} up",
                ])  # fmt: skip
                self._ready.add(segment)

    async def create_namespace(self, name: str) -> NetNamespace:
        await ip([f"netns add {name}"])
        self.namespaces[name] = NetNamespace(name, f"/run/netns/{name}", self._home)
        return self.namespaces[name]

    async def add_host(self, name: str, address: str) -> NetNamespace:
        """A namespace with an address on the segment that the address belongs to: a hypervisor."""
        segment = self.segment_of(address)
        if segment is None:
            raise NetworkError(f"{name}: no network of the lab holds {address}")
        namespace = await self.create_namespace(f"host-{name}")
        mac = "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))
        plug = await self.plug_in(namespace, "eno1", Nic("net0", mac, segment.bridge, segment.vlan), f"{name[:10]}-nic")
        subnet = next(known for known in self._subnets[segment] if ipaddress.IPv4Address(address) in known)
        gateway = self._gateways[subnet]
        await self.set_addresses(namespace, plug, [f"{address}/{subnet.prefixlen}"], gateway)
        return namespace

    async def connect_outside(self, name: str, router: str, outside: str) -> NetNamespace:
        """A namespace beyond the router, on a cable of its own. Addresses with their prefix."""
        namespace = await self.create_namespace(name)
        cable = f"{name[:12]}0"
        await ip([f"link add {cable} type veth peer name eth0 netns {name}", f"link set {cable} up"])
        await self.add_own_address(router, cable)
        gateway = router.partition("/")[0]
        lines = [
            "link set lo up",
            "link set eth0 up",
            f"addr add {outside} dev eth0",
            f"route add default via {gateway}",
        ]
        await ip(lines, name)
        return namespace

    async def delete_namespace(self, namespace: NetNamespace) -> None:
        self.namespaces.pop(namespace.name, None)
        namespace.close()
        await ip([f"netns del {namespace.name}"])

    async def plug_in(self, namespace: NetNamespace, device: str, nic: Nic, cable: str | None = None) -> Plug:
        """Put a NIC into a namespace and its cable into the segment, unless the cable is out (``link_down``)."""
        segment = Segment(nic.bridge, nic.vlan)
        await self._need(segment)
        cable = cable or f"{namespace.name}n{nic.slot.removeprefix('net')}"
        up = "down" if nic.link_down else "up"
        await ip([
            f"link add {cable} type veth peer name {device} address {nic.mac} netns {namespace.name}",
            f"link set {cable} master {segment.device} {up}",
        ])  # fmt: skip
        await ip(["link set lo up", f"link set {device} up"], namespace.name)
        return Plug(device, cable, nic.mac, segment)

    async def move(self, plug: Plug, nic: Nic) -> None:
        """The cable to another segment, or out, or in again; the guest keeps its addresses."""
        segment = Segment(nic.bridge, nic.vlan)
        await self._need(segment)
        await ip([f"link set {plug.cable} master {segment.device} {'down' if nic.link_down else 'up'}"])
        plug.segment = segment

    async def pull_out(self, plugs: t.Iterable[Plug]) -> None:
        """From here on, nothing gets in or out by these cables; the interfaces are gone too."""
        await ip([f"link del {plug.cable}" for plug in plugs])

    async def set_addresses(
        self, namespace: NetNamespace, plug: Plug, addresses: t.Sequence[str], gateway: str | None
    ) -> None:
        """Exactly these addresses on the interface, and the default route by this gateway."""
        gone = [address for address in plug.addresses if address not in addresses]
        lines = [f"addr del {address} dev {plug.device}" for address in gone]
        lines += [f"addr replace {address} dev {plug.device}" for address in addresses]
        if gateway:
            lines.append(f"route replace default via {gateway} dev {plug.device} onlink")
        await ip(lines, namespace.name)
        plug.addresses = tuple(addresses)
        await self._announce(namespace, plug, addresses)

    async def add_address(self, namespace: NetNamespace, plug: Plug, address: str) -> None:
        await ip([f"addr replace {address} dev {plug.device}"], namespace.name)
        plug.addresses = (*(have for have in plug.addresses if have != address), address)
        await self._announce(namespace, plug, [address])

    async def remove_address(self, namespace: NetNamespace, plug: Plug, address: str) -> None:
        if address in plug.addresses:
            await ip([f"addr del {address} dev {plug.device}"], namespace.name)
            plug.addresses = tuple(have for have in plug.addresses if have != address)

    async def answer_for(self, namespace: NetNamespace, plug: Plug, address: str) -> None:
        """Answer ARP for an address that is not among the interface's own (``plug.addresses``), without prefix."""
        await ip([f"addr replace {address}/{_host_prefix(address)} dev {plug.device}"], namespace.name)
        await self._announce(namespace, plug, [address])

    async def answer_no_more(self, namespace: NetNamespace, plug: Plug, address: str) -> None:
        await ip([f"addr del {address}/{_host_prefix(address)} dev {plug.device}"], namespace.name)

    async def _announce(self, namespace: NetNamespace, plug: Plug, addresses: t.Sequence[str]) -> None:
        """Tell the segment by gratuitous ARP who has the addresses now. The router's entries are permanent, so it is
        told separately, and only when its address is heard there: on a wrong VLAN, nobody hears it."""
        await ip([line for address in addresses for line in self._neighbour(address, plug.mac)])
        with namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP)) as sock:
            sock.bind((plug.device, _ETH_P_ARP))
            for address in addresses:
                if ":" not in address:
                    sock.send(_gratuitous_arp(plug.mac, address.partition("/")[0]))


def _host_prefix(address: str) -> int:
    return ipaddress.ip_address(address).max_prefixlen


def _gratuitous_arp(mac: str, address: str) -> bytes:
    hardware, protocol = bytes.fromhex(mac.replace(":", "")), socket.inet_aton(address)
    ethernet = b"\xff" * 6 + hardware + struct.pack("!H", _ETH_P_ARP)
    return ethernet + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + hardware + protocol + b"\0" * 6 + protocol


__all__ = ["NetNamespace", "Network", "NetworkError", "Plug", "Segment"]
