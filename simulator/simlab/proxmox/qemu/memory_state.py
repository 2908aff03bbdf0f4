# SPDX-License-Identifier: GPL-3.0-or-later
"""The volume that holds the memory of a suspended VM or of a snapshot, and what the configuration says of it."""

from __future__ import annotations

from ..cluster import Cluster
from ..errors import Failure
from . import checks, drives, options
from .vm import Vm

#: MiB for the state of the devices, beside twice the memory.
_DEVICES = 500
#: Of a VM whose memory is kept, or of such a snapshot.
OPTIONS = ("vmstate", "runningmachine", "runningcpu")
#: What no state of a running VM can be saved with.
_BLOCKERS = ("amd-sev", "intel-tdx", "virtiofs")


def storage_of(cluster: Cluster, vm: Vm, chosen: str | None = None) -> str:
    """Where the memory goes: as the request or the VM says, else where it has a disk, rather a shared one."""
    chosen = chosen or vm.options.get("vmstatestorage")
    if chosen:
        return chosen
    found = {drive["file"].partition(":")[0] for _, drive in vm.volumes() if not drives.is_cdrom(drive)}
    stores = [cluster.storages.get(vm.node, name) for name in sorted(found)]
    best = [store for store in stores if store.shared] or stores
    files = [store.name for store in best if not store.flat]
    return files[-1] if files else best[0].name if best else "local"


def check(vm: Vm) -> None:
    """Whether it is on or not."""
    there = {options.base_of(name) for name in vm.options}
    blockers = [name for name in _BLOCKERS if name in there]
    if blockers:
        listed = ", ".join(blockers)
        raise Failure(f"Cannot live-migrate, snapshot (with RAM), or hibernate a VM with: {listed}")


def save(cluster: Cluster, vm: Vm, storage: str, suffix: str) -> dict[str, str]:
    """Make the volume; the options that tell of it."""
    target = cluster.storages.get_active(vm.node, storage)
    name = f"vm-{vm.vmid}-state-{suffix}"
    size = (checks.memory_of(vm.options.get("memory", "512")) * 2 + _DEVICES) << 20
    made = cluster.storages.allocate(vm.node, storage, name if target.flat else f"{vm.vmid}/{name}.raw", size)
    machine = vm.options.get("machine", "pc").partition(",")[0]
    family = {"pc": "i440fx", "q35": "q35"}.get(machine)
    values = (
        made.volid,
        f"pc-{family}-{options.MACHINE_VERSION}" if family else machine,
        "kvm64,enforce,+kvm_pv_eoi,+kvm_pv_unhalt,+lahf_lm,+sep",
    )
    return dict(zip(OPTIONS, values, strict=True))
