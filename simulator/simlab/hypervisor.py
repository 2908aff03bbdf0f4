# SPDX-License-Identifier: GPL-3.0-or-later
"""From an inventory to the configuration of its played Proxmox VE: nodes, storages, the playbooks' user and rights."""

from __future__ import annotations

import pathlib

from .inventory import Inventory
from .proxmox.config import AclConfig, NodeConfig, ProxmoxConfig, StorageConfig, TokenConfig

_GIB = 1 << 30
_ROLE = "AnsibleGuests"
#: What the collection needs, and nothing else.
_PRIVILEGES = [
    "VM.Audit",
    "Pool.Audit",
    "Datastore.Audit",
    "Sys.Audit",
    "SDN.Audit",
    "VM.Allocate",
    "Datastore.AllocateSpace",
    "SDN.Use",
    "Mapping.Use",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.PowerMgmt",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
    "VM.Clone",
    "VM.Backup",
    "VM.GuestAgent.Audit",
    "Datastore.AllocateTemplate",
    "Sys.AccessNetwork",
    "Datastore.Allocate",
]
_FILES = ("images", "iso", "vztmpl", "import", "backup", "snippets", "rootdir")


def proxmox_config(
    inventory: Inventory, root: pathlib.Path, secret: str, password: str, time_scale: float
) -> ProxmoxConfig:
    """``secret`` is the token's, ``password`` that of root and of the playbooks' user."""
    bridges = tuple(sorted({network.bridge for network in inventory.networks} | {"vmbr0"}))
    user, token = inventory.access.user, inventory.access.token
    subjects = [user, *([f"{user}!{token}"] if token else [])]
    return ProxmoxConfig(
        root=root,
        nodes=tuple(
            NodeConfig(name=node.name, address=node.address, cores=16, memory=128 * _GIB, bridges=bridges)
            for node in inventory.hypervisors
        ),
        storages=_storages(inventory),
        root_password=password,
        users=() if user == "root@pam" else (user,),
        passwords={} if user == "root@pam" else {user: password},
        tokens=(TokenConfig(user=user, name=token, secret=secret),) if token else (),
        roles={_ROLE: _PRIVILEGES},
        acls=tuple(AclConfig(path, _ROLE, subject) for subject in subjects for path in _paths(inventory)),
        cluster_name=inventory.name if len(inventory.hypervisors) > 1 else None,
        time_scale=time_scale,
    )


def _paths(inventory: Inventory) -> list[str]:
    pools = {f"/pool/{machine.pool}" for machine in inventory.machines if machine.pool}
    nodes = {f"/nodes/{node.name}" for node in inventory.hypervisors}
    return ["/vms", "/storage", "/sdn/zones/localnetwork", "/mapping", *sorted(pools | nodes)]


def _storages(inventory: Inventory) -> tuple[StorageConfig, ...]:
    names = {inventory.storage, *(machine.storage for machine in inventory.machines if machine.storage)}
    found = [StorageConfig("local", "dir", _FILES, "/var/lib/vz")]
    if inventory.image_storage != "local":
        found.append(StorageConfig(inventory.image_storage, "dir", _FILES, f"/mnt/pve/{inventory.image_storage}"))
    for name in sorted(names - {storage.name for storage in found}):
        options = {"vgname": "pve", "thinpool": "data" if name == "local-lvm" else name}
        found.append(StorageConfig(name, "lvmthin", ("images", "rootdir"), capacity=1024 * _GIB, options=options))
    return tuple(found)
