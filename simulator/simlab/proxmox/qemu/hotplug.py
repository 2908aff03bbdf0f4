# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of a VM that runs: what QEMU can do at once, what has to wait for a stop."""

from __future__ import annotations

import re
import typing as t

from .. import formats
from ..errors import Failure, Skip
from . import boot, drives, machine, options
from .vm import Vm

if t.TYPE_CHECKING:
    from ..cluster import Cluster

#: Sub-options of a network card that mean another card; the others are set on the tap device.
_CARD = ("model", "macaddr", "queues", "mtu")
#: Sub-options of a disk that a running QEMU does not change.
_FIXED = ("aio", "discard", "iothread", "queues", "product", "cache", "ssd", "vendor", "ro")


class Plugger:
    """Without a guest operating system nothing answers when a PCI device shall be released."""

    def __init__(self, cluster: Cluster, vm: Vm) -> None:
        self._cluster = cluster
        self._vm = vm
        self._features = features(vm.options.get("hotplug", "1"))
        self.nics_changed = False

    async def tell_host(self) -> None:
        if self._cluster.host is not None:
            await self._cluster.host.nics_changed(machine.guest_of(self._cluster, self._vm))

    # -- deletion -----------------------------------------------------------------------------------------

    async def remove(self, name: str, force: bool) -> None:
        """Raises Skip when it has to wait, Failure when the guest keeps the device."""
        from . import pending

        base = options.base_of(name)
        if name in options.FAST_PLUG or pending.is_cloud_init(name) or name in ("cpulimit", "cpuunits"):
            return
        if name == "hotplug":
            self._keep_parts("")
        elif name in ("tablet", "vcpus"):
            self._need({"tablet": "usb", "vcpus": "cpu"}.get(name))
        elif name == "balloon" and self._vm.options.get("balloon") != "0":
            return
        elif base == "usb" and name != base:
            self._need_usb()
        elif base == "net" and name != base:
            self._need("network")
            self._unplug(name, pci=True)
            self.nics_changed = True
        elif drives.is_drive(name) and base not in ("ide", "sata", "efidisk", "tpmstate"):
            self._need("disk")
            self._unplug(name, pci=base == "virtio")
            pending.detach(self._cluster, self._vm, name, force)
        else:
            raise Skip

    def _need(self, feature: str | None) -> None:
        if feature is not None and feature not in self._features:
            raise Skip

    def _need_usb(self) -> None:
        """Only guests that are known to cope get USB devices while they run."""
        self._need("usb")
        if self._vm.options.get("ostype", "other") not in ("l26", "win8", "win10", "win11"):
            raise Skip

    def _keep_parts(self, value: str) -> None:
        """That memory or processors come and go is nothing that a running VM learns."""
        if any(part in text for text in (value, self._vm.options.get("hotplug", "")) for part in ("cpu", "memory")):
            raise Skip

    def _unplug(self, name: str, pci: bool) -> None:
        if name in boot.disks(self._vm.options):
            raise Failure(f"can't unplug bootdisk '{name}'")
        if pci and self._cluster.host is None:
            raise Failure(f"error on hot-unplugging device '{name}' - still busy in guest?")

    # -- change -------------------------------------------------------------------------------------------

    async def change(self, name: str, value: str) -> None:
        """Raises Skip when it has to wait, Failure when it does not work."""
        from . import pending

        base = options.base_of(name)
        if pending.is_cloud_init(name) or name in ("cpulimit", "cpuunits"):
            return
        if name == "hotplug":
            self._keep_parts(value)
        elif name in ("tablet", "vcpus"):
            self._need({"tablet": "usb", "vcpus": "cpu"}.get(name))
        elif name == "balloon":
            if (self._vm.options.get("balloon") == "0") != (value == "0"):
                raise Skip
        elif base == "usb" and name != base:
            self._need_usb()
        elif base == "net" and name != base:
            self._change_net(name, value)
            self.nics_changed = True
        elif name == "agent":
            self._change_agent(value)
        elif drives.is_drive(name) and name not in ("efidisk0", "tpmstate0"):
            self._change_drive(name, value)
        else:
            raise Skip

    def _change_net(self, name: str, value: str) -> None:
        new = drives.parse_net(name, value)
        if name in self._vm.options:
            old = drives.parse_net(name, self._vm.options[name])
            bridged = bool(old.get("bridge") and new.get("bridge"))
            if bridged and all(old.get(key) == new.get(key) for key in _CARD):
                machine.check_bridge(self._cluster, self._vm.node, new)
                return
            self._need("network")
            self._unplug(name, pci=True)
        self._need("network")
        machine.check_bridge(self._cluster, self._vm.node, new)

    def _change_agent(self, value: str) -> None:
        wanted = options.spec_of("agent")["format"]
        if not self._vm.options.get("agent"):
            raise Skip
        old = formats.parse(wanted, self._vm.options["agent"], "agent")
        new = formats.parse(wanted, value, "agent")
        if any(old.get(key) != new.get(key) for key in (set(old) | set(new)) - {"fstrim_cloned_disks"}):
            raise Skip

    def _change_drive(self, name: str, value: str) -> None:
        from . import pending

        new = drives.parse(name, value)
        if drives.is_cloudinit(new) and name not in self._vm.options:
            raise Skip
        if name in self._vm.options:
            old = drives.parse(name, self._vm.options[name])
            if old.get("media", "disk") != new.get("media", "disk"):
                raise Failure("unable to change media type")
            if drives.is_cdrom(old):
                if drives.is_cloudinit(old) and new["file"] == "none":
                    pending.register_unused(self._cluster, self._vm, self._vm.options[name], name)
                return
            if new["file"] == old["file"]:
                self._change_disk(old, new)
                return
            self._need("disk")
            self._unplug(name, pci=name.startswith("virtio"))
            pending.register_unused(self._cluster, self._vm, self._vm.options[name], name)
        self._need("disk")
        if re.match("ide|sata", name):
            raise Skip

    @staticmethod
    def _change_disk(old: drives.Drive, new: drives.Drive) -> None:
        if any(old.get(key) != new.get(key) for key in _FIXED):
            raise Skip


def features(value: str) -> set[str]:
    """The parts of a VM that its ``hotplug`` option allows to change."""
    if value == "1":
        return {"network", "disk", "usb"}
    return set() if value == "0" else set(formats.split_list(value))
