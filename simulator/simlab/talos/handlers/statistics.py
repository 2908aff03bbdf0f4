# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dashboard shows of a machine: processors, disks, network devices, processes. Counters grow with the uptime, as
nobody counts here what a kernel counts.
"""

from __future__ import annotations

import ipaddress
import time
import typing as t

from .. import publish, refusals
from ..calls import Call, Reply, machine, single, unary
from ..network import link_names

if t.TYPE_CHECKING:
    from ..node import TalosNode

Json = dict[str, t.Any]

_MIB = 1 << 20
_NTP, _DNS = 123, 53
_DEFAULT_NTP, _DEFAULT_DNS = "time.cloudflare.com", "1.1.1.1"
#: Programs of the services that have a process of their own: what they are called, where they lie, with what they run.
_PROGRAMS = {
    "containerd": (
        "/usr/bin/containerd",
        "/bin/containerd --address /system/run/containerd/containerd.sock --state /system/run/containerd "
        "--root /system/var/lib/containerd",
    ),
    "cri": (
        "/usr/bin/containerd",
        "/bin/containerd --address /run/containerd/containerd.sock --config /etc/cri/containerd.toml",
    ),
    "apid": ("/apid", "/apid"),
    "trustd": ("/trustd", "/trustd"),
    "udevd": ("/usr/bin/systemd-udevd", "/sbin/systemd-udevd --resolve-names=never"),
    "dashboard": ("/usr/bin/dashboard", "/sbin/dashboard"),
    "etcd": ("/usr/local/bin/etcd", "/usr/local/bin/etcd"),
    "kubelet": ("/usr/local/bin/kubelet", "/usr/local/bin/kubelet"),
}


@unary(*machine("CPUInfo"))
async def processors(node: TalosNode, call: Call) -> Reply:
    """Those of a guest whose type of processor is a general one."""
    cores = node.machine.guest.cores
    one = {
        "vendor_id": "GenuineIntel",
        "cpu_family": "15",
        "model": "107",
        "model_name": "QEMU Virtual CPU version 2.5+",
        "stepping": "1",
        "cpu_mhz": 2596.122,
        "cache_size": "16384 KB",
        "physical_id": "0",
        "siblings": cores,
        "cpu_cores": cores,
        "fpu": "yes",
        "fpu_exception": "yes",
        "cpu_id_level": 13,
        "wp": "yes",
        "flags": ["fpu", "sse", "sse2", "syscall", "nx", "lm", "x2apic", "aes", "hypervisor"],
        "bogo_mips": 5192.24,
        "cl_flush_size": 64,
        "cache_alignment": 128,
        "address_sizes": "40 bits physical, 48 bits virtual",
    }
    info = [
        {**one, "processor": number, "core_id": str(number), "apic_id": str(number), "initial_apic_id": str(number)}
        for number in range(cores)
    ]
    return single(cpu_info=info)


@unary(*machine("CPUFreqStats"))
async def frequencies(node: TalosNode, call: Call) -> Reply:
    """A guest's processors tell nothing of their frequency."""
    return single(cpu_freq_stats=[{} for _ in range(node.machine.guest.cores)])


@unary(*machine("NetworkDeviceStats"))
async def network_devices(node: TalosNode, call: Call) -> Reply:
    up = _uptime(node)
    devices = [_device(name, up) for name in ("lo", *link_names(node.machine))]
    names = ", ".join(sorted(device["name"] for device in devices))
    return single(devices=devices, total={**_sum(devices), "name": names})


@unary(*machine("DiskStats"))
async def disks(node: TalosNode, call: Call) -> Reply:
    up = _uptime(node)
    names = [publish.device_at(disk.slot).rpartition("/")[2] for disk in node.machine.guest.disks]
    devices = [
        {
            "name": name,
            "read_completed": 4000 + int(up),
            "read_sectors": 400_000 + int(up * 16),
            "read_time_ms": 900 + int(up / 10),
            "write_completed": 2000 + int(up * 20),
            "write_sectors": 100_000 + int(up * 400),
            "write_time_ms": 700 + int(up),
            "io_time_ms": 1200 + int(up),
            "io_time_weighted_ms": 1600 + int(up),
        }
        for name in names
    ]
    return single(devices=devices, total=_sum(devices))


@unary(*machine("Processes"))
async def processes(node: TalosNode, call: Call) -> Reply:
    """The init process, and those of the services that run."""
    up = _uptime(node)
    found = [_process(1, 0, "init", "/usr/bin/init", "/sbin/init", up)]
    for service in node.runtime.services.all():
        if service.running and service.id in _PROGRAMS:
            path, arguments = _PROGRAMS[service.id]
            number = service.pid or 60 + len(found)
            found.append(_process(number, 1, path.rpartition("/")[2][:15], path, arguments, up))
    return single(processes=found)


@unary("/time.TimeService/Time")
async def own_time(node: TalosNode, call: Call) -> Reply:
    """No time server is reached in a lab: neither its name is resolved, nor does one answer. The node says so."""
    config = node.runtime.config
    servers = (config.get("machine.time.servers", []) if config is not None else []) or [_DEFAULT_NTP]
    raise _no_time_server(node, str(servers[0]))


@unary("/time.TimeService/TimeCheck")
async def time_check(node: TalosNode, call: Call) -> Reply:
    if not call.request.server:
        raise refusals.invalid("ntp server is required")
    raise _no_time_server(node, str(call.request.server))


def _no_time_server(node: TalosNode, server: str) -> refusals.Refusal:
    network = node.runtime.network
    own, resolver = next(iter(network.addresses), "127.0.0.1"), next(iter(network.nameservers), _DEFAULT_DNS)
    try:
        ipaddress.ip_address(server)
        why = f"read udp {own}:40123->{server}:{_NTP}: i/o timeout"
    except ValueError:
        dns = f"{resolver}:{_DNS}"
        why = f"lookup {server} on {dns}: read udp {own}:40123->{dns}: read: connection refused"
    return refusals.unknown(f'error querying NTP server "{server}": {why}')


def _uptime(node: TalosNode) -> float:
    return max(0.0, time.time() - node.runtime.booted_at)


def _device(name: str, up: float) -> Json:
    sent, received = (int(up * 2000), int(up * 2000)) if name == "lo" else (60_000 + int(up * 900), int(up * 1500))
    return {
        "name": name,
        "rx_bytes": received,
        "rx_packets": received // 400,
        "tx_bytes": sent,
        "tx_packets": sent // 400,
    }


def _sum(devices: t.Sequence[Json]) -> Json:
    keys = {key for device in devices for key in device if key != "name"}
    return {key: sum(device[key] for device in devices) for key in keys}


def _process(number: int, parent: int, command: str, path: str, arguments: str, up: float) -> Json:
    return {
        "pid": number,
        "ppid": parent,
        "state": "S",
        "threads": 10,
        "cpu_time": round(0.2 + up * 0.004, 2),
        "virtual_memory": 1300 * _MIB,
        "resident_memory": 40 * _MIB,
        "command": command,
        "executable": path,
        "args": arguments,
    }
