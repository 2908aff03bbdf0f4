# SPDX-License-Identifier: GPL-3.0-or-later
"""Privileges and the built-in roles of Proxmox VE 9."""

from __future__ import annotations

ALL = frozenset(
    """Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit Group.Allocate
    Mapping.Audit Mapping.Modify Mapping.Use Permissions.Modify Pool.Allocate Pool.Audit Realm.Allocate
    Realm.AllocateUser SDN.Allocate SDN.Audit SDN.Use Sys.AccessNetwork Sys.Audit Sys.Console Sys.Incoming
    Sys.Modify Sys.PowerMgmt Sys.Syslog User.Modify VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM
    VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk VM.Config.HWType VM.Config.Memory VM.Config.Network
    VM.Config.Options VM.Console VM.GuestAgent.Audit VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt
    VM.GuestAgent.FileWrite VM.GuestAgent.Unrestricted VM.Migrate VM.PowerMgmt VM.Replicate VM.Snapshot
    VM.Snapshot.Rollback""".split()
)

#: What ``Administrator`` has is ALL; the rest is written out.
ROLES: dict[str, frozenset[str]] = {
    "Administrator": ALL,
    "NoAccess": frozenset("".split()),
    "PVEAdmin": frozenset(
        """Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit Group.Allocate
        Mapping.Audit Mapping.Use Pool.Allocate Pool.Audit Realm.AllocateUser SDN.Allocate SDN.Audit
        SDN.Use Sys.Audit Sys.Console Sys.Syslog User.Modify VM.Allocate VM.Audit VM.Backup VM.Clone
        VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk VM.Config.HWType
        VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console VM.GuestAgent.Audit
        VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite
        VM.GuestAgent.Unrestricted VM.Migrate VM.PowerMgmt VM.Replicate VM.Snapshot VM.Snapshot.Rollback""".split()
    ),
    "PVEAuditor": frozenset(
        """Datastore.Audit Mapping.Audit Pool.Audit SDN.Audit Sys.Audit VM.Audit VM.GuestAgent.Audit""".split()
    ),
    "PVEDatastoreAdmin": frozenset(
        """Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit""".split()
    ),
    "PVEDatastoreUser": frozenset("Datastore.AllocateSpace Datastore.Audit".split()),
    "PVEMappingAdmin": frozenset("Mapping.Audit Mapping.Modify Mapping.Use".split()),
    "PVEMappingUser": frozenset("Mapping.Audit Mapping.Use".split()),
    "PVEPoolAdmin": frozenset("Pool.Allocate Pool.Audit".split()),
    "PVEPoolUser": frozenset("Pool.Audit".split()),
    "PVESDNAdmin": frozenset("SDN.Allocate SDN.Audit SDN.Use".split()),
    "PVESDNUser": frozenset("SDN.Audit SDN.Use".split()),
    "PVESysAdmin": frozenset("Sys.Audit Sys.Console Sys.Syslog".split()),
    "PVETemplateUser": frozenset("VM.Audit VM.Clone".split()),
    "PVEUserAdmin": frozenset("Group.Allocate Realm.AllocateUser User.Modify".split()),
    "PVEVMAdmin": frozenset(
        """VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk
        VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console
        VM.GuestAgent.Audit VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite
        VM.GuestAgent.Unrestricted VM.Migrate VM.PowerMgmt VM.Replicate VM.Snapshot VM.Snapshot.Rollback""".split()
    ),
    "PVEVMUser": frozenset(
        """VM.Audit VM.Backup VM.Config.CDROM VM.Config.Cloudinit VM.Console VM.GuestAgent.Audit
        VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite VM.PowerMgmt""".split()
    ),
}

#: The parts of the tree in the ``cap`` of a ticket: path, and the privileges that are shown for it.
CAPABILITY_PATHS = {
    "vms": "/vms",
    "storage": "/storage",
    "access": "/access",
    "nodes": "/nodes",
    "dc": "/",
    "sdn": "/sdn",
    "mapping": "/mapping",
}
_CAPABILITY_PREFIX = {
    "vms": ("VM.",),
    "storage": ("Datastore.",),
    "access": ("User.", "Group."),
    "nodes": ("Sys.",),
    "dc": ("Sys.Audit", "Sys.Modify", "SDN."),
    "sdn": ("SDN.",),
    "mapping": ("Mapping.",),
}


def capabilities(kind: str, privileges: frozenset[str]) -> dict[str, int]:
    """What a ticket's ``cap`` shows of the privileges on one part of the tree."""
    shown = {name for name in privileges if name.startswith(_CAPABILITY_PREFIX[kind])}
    if kind != "dc":
        shown |= privileges & {"Permissions.Modify"}
    return dict.fromkeys(sorted(shown), 1)
