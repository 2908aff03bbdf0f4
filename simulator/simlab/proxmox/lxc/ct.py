# SPDX-License-Identifier: GPL-3.0-or-later
"""A container."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ..errors import Failure
from ..guest import GuestConfig, Options
from ..sizes import parse_size
from . import options

if t.TYPE_CHECKING:
    from ..api import Call
    from ..cluster import Cluster

_ZERO = ("cpu", "disk", "diskread", "diskwrite", "mem", "netin", "netout", "swap", "uptime")
_PRESSURE = ("cpufull", "cpusome", "iofull", "iosome", "memoryfull", "memorysome")


@dataclasses.dataclass
class Container(GuestConfig):
    #: Cores of the node: what a container without ``cores`` sees.
    node_cores: int = 2
    kind: t.ClassVar[str] = "lxc"
    word: t.ClassVar[str] = "CT"
    lock_file: t.ClassVar[str] = "/run/lock/lxc/pve-config-{vmid}.lock"

    @property
    def name(self) -> str:
        return self.options.get("hostname") or f"CT{self.vmid}"

    def mounts(self, section: Options | None = None) -> t.Iterator[tuple[str, dict[str, str]]]:
        """Mount points: ``rootfs`` first, then by name."""
        chosen = self.options if section is None else section
        for name in sorted(chosen, key=lambda name: (name != "rootfs", name)):
            if options.is_mount(name):
                yield name, options.parse_mount(name, chosen[name])

    def volume_ids(self, section: Options | None = None) -> t.Iterator[tuple[str, str]]:
        for name, mount in self.mounts(section):
            yield name, mount["volume"]

    def archived(self) -> list[tuple[str, str]]:
        return [(n, mount["volume"]) for n, mount in self.mounts() if n == "rootfs" or mount.get("backup") == "1"]

    def summary(self) -> dict[str, t.Any]:
        rootfs = options.parse_mount("rootfs", self.options["rootfs"]) if "rootfs" in self.options else {}
        found: dict[str, t.Any] = {
            "vmid": self.vmid, "name": self.name, "type": "lxc", "status": "running" if self.running else "stopped",
            "cpus": int(self.options.get("cores", self.node_cores)),
            "maxmem": int(self.options.get("memory", 512)) << 20, "maxswap": int(self.options.get("swap", 512)) << 20,
            "maxdisk": parse_size(rootfs.get("size", "0")) or 0, **dict.fromkeys(_ZERO, 0),
        }  # fmt: skip
        for key in ("tags", "lock"):
            if key in self.options:
                found[key] = self.options[key]
        if self.template:
            found["template"] = 1
        if self.running:
            found |= {"pid": self.running.pid, "uptime": max(1, int(time.time() - self.running.since))}
            found |= {f"pressure{what}": "0.00" for what in _PRESSURE}
        return found


def find(call: Call) -> Container:
    """The container of a call; raises Failure."""
    return of(call.cluster, call.node.name, call.vmid)


def of(cluster: Cluster, node: str, vmid: int) -> Container:
    guest = cluster.guests.get(vmid)
    if not isinstance(guest, Container) or guest.node != node:
        raise Failure(f"Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist")
    return guest


def shown(values: Options) -> dict[str, t.Any]:
    return {name: options.shown(name, value) for name, value in values.items()}
