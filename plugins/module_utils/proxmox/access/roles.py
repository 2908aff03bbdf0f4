# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least-privilege roles that the collection's own users and those of its neighbours need, as data.

Measured on 9.1.8: each privilege was found by adding what a refusal named, then removing each. Documentation and tests read
this list. The server has no role of these names until somebody makes it (``proxmox_access``).
"""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Role:
    """``paths`` are those on which an ACL gives the role, with propagation; a token of privsep 1 needs it as well.

    Of the ACLs of one user or token only those on the deepest path count. So where another role stands on a path below,
    this one has to stand there, too.
    """

    name: str
    purpose: str
    paths: tuple[str, ...]
    privileges: frozenset[str]


def _role(name: str, purpose: str, paths: str, privileges: str) -> Role:
    return Role(name, purpose, tuple(paths.split()), frozenset(privileges.split()))


ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        _role(
            "AnsibleGuests",
            "virtual machines, containers, images, snapshots and backups, and the inventory",
            "/vms /storage /sdn/zones/localnetwork /nodes /mapping /pool",
            """VM.Audit Pool.Audit Datastore.Audit Sys.Audit SDN.Audit
            VM.Allocate Datastore.AllocateSpace SDN.Use Mapping.Use
            VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk VM.Config.HWType VM.Config.Memory
            VM.Config.Network VM.Config.Options
            VM.PowerMgmt VM.Snapshot VM.Snapshot.Rollback VM.Clone VM.Backup VM.Migrate VM.GuestAgent.Audit
            Datastore.AllocateTemplate Sys.AccessNetwork Datastore.Allocate""",
        ),
        _role(
            "AnsibleSystem",
            "storage definitions, mappings, backup jobs, datacenter firewall, HA, startup order of VMs",
            "/ /nodes /storage /mapping",
            "Sys.Audit Sys.Modify Sys.Console Datastore.Audit Datastore.Allocate Mapping.Audit Mapping.Modify",
        ),
        _role("AnsiblePools", "pools and their members", "/pool", "Pool.Audit Pool.Allocate"),
        _role(
            "AnsibleAccess",
            "users, groups, roles, tokens and ACLs; who may change ACLs on a path can give anybody any right there",
            "/ /access",
            "Sys.Audit Sys.Modify User.Modify Group.Allocate Realm.AllocateUser Permissions.Modify",
        ),
        _role(
            "CSI",
            "the Proxmox CSI plugin for Kubernetes",
            "/",
            "VM.Audit VM.Config.Disk Datastore.Allocate Datastore.AllocateSpace Datastore.Audit",
        ),
    )
}

#: Privileges that older versions do not know -> the one that did their work there (Proxmox VE 8).
BEFORE: dict[str, str] = {"VM.GuestAgent.Audit": "VM.Monitor"}


def privileges(name: str, known: t.Collection[str]) -> tuple[list[str], list[str]]:
    """The privileges of a role of ours on a server that knows ``known``, and those that it does not know. Sorted."""
    wanted = ROLES[name].privileges
    there = {one if one in known else BEFORE.get(one, "") for one in wanted}
    return sorted(there & set(known)), sorted(one for one in wanted if one not in known)


def holding(privilege: str) -> str:
    """The first of our roles that has a privilege; empty when none has."""
    return next((role.name for role in ROLES.values() if privilege in role.privileges), "")
