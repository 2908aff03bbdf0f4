#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_storage
short_description: Keep the storage definitions of Proxmox VE as they are described
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Defines storages, changes what differs, and removes definitions that are to be absent. Takes all storages at once and reads once.
  - An option that is left out is left alone. An empty one (V(""), V([]), V({})) is taken away, so that it has its default again.
  - A storage that is absent is only no longer defined. What lies on it stays, and is there again when it is defined again. The nodes'
    copies of its password and keys are deleted; there is a warning when the backups of a backup server were encrypted with such a key.
  - What cannot be changed after the creation (the type, where the storage is) is said before anything is written.
options:
  storages:
    description: The storages.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the storage.
        type: str
        required: true
      type:
        description: Type of the storage. Required unless O(storages[].state=absent). Cannot be changed.
        type: str
        choices: [dir, btrfs, nfs, cifs, cephfs, lvm, lvmthin, zfspool, rbd, pbs]
      state:
        description: V(absent) removes the definition and leaves the data.
        type: str
        choices: [present, absent]
        default: present
      content:
        description:
          - What the storage may hold, from V(images) (disks of VMs), V(rootdir) (containers), V(vztmpl), V(iso), V(backup), V(snippets)
            and V(import). Not each type can hold all of it.
        type: list
        elements: str
      nodes:
        description: Nodes that have the storage. V([]) is all of them.
        type: list
        elements: str
      disable:
        description: Whether the storage is out of use. A storage that is created disabled is not contacted.
        type: bool
      shared:
        description: Whether the same content is there on all nodes (V(dir), V(btrfs), V(lvm)). Network storages always are.
        type: bool
      path:
        description:
          - Directory (V(dir), V(btrfs)), or where a network storage is mounted, V(/mnt/pve/<name>) by default. Cannot be changed.
        type: str
      is_mountpoint:
        description: V(yes), or a path, when something must be mounted there before the storage is used (V(dir), V(btrfs)).
        type: str
      create_base_path:
        description: Whether the directory is made when it is not there.
        type: bool
      create_subdirs:
        description: Whether the directories for the kinds of content are made.
        type: bool
      content_dirs:
        description: Kind of content to the directory that it lies in, relative to the storage, where that is not the usual one.
        type: dict
      format:
        description: Format of new disks.
        type: str
        choices: [raw, qcow2, subvol, vmdk]
      preallocation:
        description: How much of a new disk is allocated at once.
        type: str
        choices: ["off", metadata, falloc, full]
      snapshot_as_volume_chain:
        description: Whether snapshots are chains of volumes. Can be changed later with V(lvm) only.
        type: bool
      nocow:
        description: Whether copy on write is switched off for disks (V(btrfs)).
        type: bool
      retention:
        description: Which backups are kept when old ones are pruned. V({}) leaves it to the node's settings.
        type: dict
        suboptions:
          keep_all:
            description: Keep all of them. Not together with the others.
            type: bool
          keep_last:
            description: How many of the latest.
            type: int
          keep_hourly:
            description: For how many hours the last of the hour.
            type: int
          keep_daily:
            description: For how many days the last of the day.
            type: int
          keep_weekly:
            description: For how many weeks the last of the week.
            type: int
          keep_monthly:
            description: For how many months the last of the month.
            type: int
          keep_yearly:
            description: For how many years the last of the year.
            type: int
      max_protected_backups:
        description: How many protected backups a guest may have. V(-1) is any number.
        type: int
      bandwidth_limits:
        description: Limits in KiB/s, by V(default), V(clone), V(migration), V(move) and V(restore).
        type: dict
      server:
        description: Name or address of the server (V(nfs), V(cifs), V(pbs)). Cannot be changed.
        type: str
      export:
        description: Path of the export (V(nfs)). Cannot be changed.
        type: str
      share:
        description: Name of the share (V(cifs)). Cannot be changed.
        type: str
      subdir:
        description: Directory in the share or file system (V(cifs), V(cephfs)).
        type: str
      mount_options:
        description: Options of the mount, such as V(vers=4.2,soft) (V(nfs), V(cifs), V(cephfs)).
        type: str
      username:
        description: Who logs in (V(cifs), V(pbs), V(cephfs), V(rbd)). With V(pbs) a token is V(user@pbs!name).
        type: str
      password:
        description: Password, or secret of the token (V(cifs), V(pbs)). See O(update_secrets).
        type: str
      domain:
        description: Domain of the user (V(cifs)).
        type: str
      smbversion:
        description: Version of the protocol (V(cifs)).
        type: str
        choices: [default, "2.0", "2.1", "3", "3.0", "3.11"]
      vgname:
        description: Volume group (V(lvm), V(lvmthin)). Cannot be changed.
        type: str
      thinpool:
        description: Thin pool in the volume group (V(lvmthin)). Cannot be changed.
        type: str
      base:
        description: Volume that the volume group lies on (V(lvm)). Cannot be changed.
        type: str
      saferemove:
        description: Whether removed volumes are overwritten with zeros (V(lvm)).
        type: bool
      saferemove_throughput:
        description: How fast they are overwritten (V(lvm)).
        type: str
      tagged_only:
        description: Whether only volumes with the tag of the storage are used (V(lvm)).
        type: bool
      pool:
        description: Pool or dataset (V(zfspool), where it cannot be changed), or pool (V(rbd)).
        type: str
      blocksize:
        description: Block size of new volumes, such as V(16k) (V(zfspool)).
        type: str
      sparse:
        description: Whether volumes are thin (V(zfspool)).
        type: bool
      mountpoint:
        description: Where the dataset is mounted (V(zfspool)). Cannot be changed.
        type: str
      datastore:
        description: Datastore of the backup server (V(pbs)). Cannot be changed.
        type: str
      namespace:
        description: Namespace in the datastore (V(pbs)), or of the pool (V(rbd)).
        type: str
      port:
        description: Port of the backup server (V(pbs)).
        type: int
      fingerprint:
        description: SHA-256 fingerprint of the backup server's certificate, with colons (V(pbs)).
        type: str
      encryption_key:
        description:
          - Key that backups are encrypted with (V(pbs)), as the JSON text that C(proxmox-backup-client key create) makes. Keep a copy of it.
            See O(update_secrets).
        type: str
      master_pubkey:
        description:
          - Public RSA key, as PEM (also in base64), with which the encryption key is put into each backup (V(pbs)). Needs
            O(storages[].encryption_key) when the storage is created. See O(update_secrets).
        type: str
      skip_cert_verification:
        description: Whether any certificate will do (V(pbs)).
        type: bool
      monhost:
        description: Addresses of the monitors (V(cephfs), V(rbd)).
        type: list
        elements: str
      data_pool:
        description: Pool for the data, when it is not that of the metadata (V(rbd)).
        type: str
      krbd:
        description: Whether disks are mapped by the kernel (V(rbd)).
        type: bool
      keyring:
        description: Keyring of the user (V(cephfs), V(rbd)). See O(update_secrets).
        type: str
      fs_name:
        description: Name of the file system (V(cephfs)).
        type: str
      fuse:
        description: Whether it is mounted by FUSE (V(cephfs)).
        type: bool
  update_secrets:
    description:
      - The API never tells a password, an encryption key or a keyring, so nobody can know whether it differs.
      - With V(on_create) they are sent when a storage is created, and then no more.
      - With V(always) they are sent in every run, which is then always changed. Use it once, after a secret was changed.
    type: str
    choices: [on_create, always]
    default: on_create
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_proxmox
attributes:
  idempotent:
    support: partial
    details:
      - With O(update_secrets=always) secrets that are given are written in every run.
notes:
  - Rights that are needed - Datastore.Allocate and Datastore.Audit on C(/storage); they are in the role C(AnsibleSystem) of
    M(groundwork.homelab.proxmox_access). A token needs them as well as its user.
seealso:
  - module: groundwork.homelab.proxmox_access
  - name: Storage in the Proxmox VE documentation
    description: What the types can do.
    link: https://pve.proxmox.com/pve-docs/chapter-pvesm.html
"""

EXAMPLES = r"""
- name: A directory for images and templates, a share for backups, and a thin pool for disks
  groundwork.homelab.proxmox_storage:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    storages:
      - name: tank
        type: dir
        path: /srv/tank
        content: [images, rootdir, import, iso]
      - name: nas
        type: nfs
        server: 192.168.30.5
        export: /volume1/proxmox
        mount_options: vers=4.2,soft
        content: [backup, iso]
        retention:
          keep_daily: 7
          keep_weekly: 4
        disable: true
      - name: fast
        type: lvm
        vgname: nvme
        content: [images, rootdir]

- name: A backup server
  groundwork.homelab.proxmox_storage:
    storages:
      - name: pbs
        type: pbs
        server: 192.168.30.6
        datastore: lab
        username: backup@pbs!pve
        password: "{{ pbs_token_secret }}"
        fingerprint: "ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89"
        disable: true

- name: The old share is no longer used; its files stay
  groundwork.homelab.proxmox_storage:
    storages:
      - name: old-nas
        state: absent
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode, in order.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: The storage, as V(storage/<name>).
      type: str
      sample: storage/nas
    action:
      description: V(create), V(update) or V(delete).
      type: str
    before:
      description: Options that differ, as they were. Secrets are hidden.
      type: dict
    after:
      description: Options that differ, as they are now. Secrets are hidden.
      type: dict
storages:
  description: The storages, in the order of the input; also in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the storage.
      type: str
      sample: nas
    type:
      description: Its type; empty for an absent one that was not there.
      type: str
      sample: nfs
    state:
      description: V(present) or V(absent).
      type: str
    changed:
      description: Whether it was changed.
      type: bool
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.records import storages
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_KEEP = {f"keep_{what}": {"type": "int"} for what in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
_STORAGE: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "type": {
        "type": "str",
        "choices": ["dir", "btrfs", "nfs", "cifs", "cephfs", "lvm", "lvmthin", "zfspool", "rbd", "pbs"],
    },
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "content": {"type": "list", "elements": "str"},
    "nodes": {"type": "list", "elements": "str"},
    "disable": {"type": "bool"},
    "shared": {"type": "bool"},
    "path": {"type": "str"},
    "is_mountpoint": {"type": "str"},
    "create_base_path": {"type": "bool"},
    "create_subdirs": {"type": "bool"},
    "content_dirs": {"type": "dict"},
    "format": {"type": "str", "choices": ["raw", "qcow2", "subvol", "vmdk"]},
    "preallocation": {"type": "str", "choices": ["off", "metadata", "falloc", "full"]},
    "snapshot_as_volume_chain": {"type": "bool"},
    "nocow": {"type": "bool"},
    "retention": {"type": "dict", "options": {"keep_all": {"type": "bool"}, **_KEEP}},
    "max_protected_backups": {"type": "int"},
    "bandwidth_limits": {"type": "dict"},
    "server": {"type": "str"},
    "export": {"type": "str"},
    "share": {"type": "str"},
    "subdir": {"type": "str"},
    "mount_options": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "domain": {"type": "str"},
    "smbversion": {"type": "str", "choices": ["default", "2.0", "2.1", "3", "3.0", "3.11"]},
    "vgname": {"type": "str"},
    "thinpool": {"type": "str"},
    "base": {"type": "str"},
    "saferemove": {"type": "bool"},
    "saferemove_throughput": {"type": "str"},
    "tagged_only": {"type": "bool"},
    "pool": {"type": "str"},
    "blocksize": {"type": "str"},
    "sparse": {"type": "bool"},
    "mountpoint": {"type": "str"},
    "datastore": {"type": "str"},
    "namespace": {"type": "str"},
    "port": {"type": "int"},
    "fingerprint": {"type": "str"},
    "encryption_key": {"type": "str", "no_log": True},
    "master_pubkey": {"type": "str", "no_log": True},
    "skip_cert_verification": {"type": "bool"},
    "monhost": {"type": "list", "elements": "str"},
    "data_pool": {"type": "str"},
    "krbd": {"type": "bool"},
    "keyring": {"type": "str", "no_log": True},
    "fs_name": {"type": "str"},
    "fuse": {"type": "bool"},
}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "storages": {"type": "list", "elements": "dict", "required": True, "options": _STORAGE},
        "update_secrets": {"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
    }
)


def run(task: Task) -> Result:
    return storages.converge(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
