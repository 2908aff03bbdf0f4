#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_backup
short_description: Back up, restore and prune VMs and containers on Proxmox VE
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - With O(state=present) guests get a backup now (C(vzdump)), each on the node where it is, unless they have a whole one that is young enough.
    Each backup is waited for, and looked at afterwards - it has to be listed, with a size, and its log has to say that it was finished.
  - With O(state=restored) guests that are not there are made from a backup; with O(restores[].force) also those that are.
  - With O(state=absent) backups are deleted.
  - A guest that cannot be backed up does not keep the others from it; the task fails at the end, and says all that failed.
  - For backups by a schedule see M(groundwork.homelab.proxmox_backup_job).
options:
  state:
    description: What is wanted.
    type: str
    choices: [present, absent, restored]
    default: present
  vmids:
    description: Ids of the VMs and containers that get a backup. One of O(vmids), O(pool) and O(all) is required with O(state=present).
    type: list
    elements: int
  pool:
    description: Pool whose guests get a backup.
    type: str
  all:
    description: Whether all guests that can be seen get a backup.
    type: bool
    default: false
  exclude:
    description: Guests that get none, with O(all) and O(pool).
    type: list
    elements: int
  node:
    description: Only guests, and storages, of these nodes.
    type: list
    elements: str
  storage:
    description:
      - Storage that takes the backups (O(state=present)), or where the latest is looked for (O(restores[].source_vmid)).
    type: str
  mode:
    description: Whether running guests go on (V(snapshot)), are suspended for a moment (V(suspend)) or shut down for it (V(stop)).
    type: str
    choices: [snapshot, suspend, stop]
    default: snapshot
  compress:
    description: Compression. A backup server does its own.
    type: str
    choices: [none, lzo, gzip, zstd]
    default: zstd
  notes_template:
    description:
      - Notes of the backup. Proxmox VE puts in C(guestname), C(vmid), C(node) and C(cluster) where they stand in double braces; write it with
        C(!unsafe), or Ansible does.
    type: str
  protected:
    description: Whether the backup is protected, so that it is neither pruned nor deleted.
    type: bool
    default: false
  bandwidth_limit:
    description: Limit in KiB/s. Needs the right Sys.Modify on C(/).
    type: int
  fleecing:
    description: Storage for the image in which a running VM's old data are kept while it is backed up.
    type: str
  max_age:
    description:
      - A guest that has a whole backup on O(storage) that is younger needs none, such as V(20h) or V(7d) (V(s), V(m), V(h), V(d), V(w); seconds
        without). A backup is not whole when it is empty, or its verification by the backup server failed.
      - Without it a backup is made in every run.
    type: str
  retention:
    description:
      - Which backups of these guests stay on O(storage); the others are deleted, after the new one is there. Protected ones always stay,
          and so does the latest that is whole.
      - What goes is computed by the node (a dry run), so it is known in check mode. When left out, all stay, whatever the storage's own settings say.
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
  volids:
    description: Backups that are deleted with O(state=absent), such as V(nas:backup/vzdump-qemu-200-2026_11_21-03_00_00.vma.zst).
    type: list
    elements: str
  restores:
    description: Guests that are restored with O(state=restored).
    type: list
    elements: dict
    suboptions:
      vmid:
        description: Id that the guest has afterwards.
        type: int
        required: true
      volid:
        description: Backup to restore from. One of O(restores[].volid) and O(restores[].source_vmid) is required.
        type: str
      source_vmid:
        description: Guest whose latest whole backup on O(storage) is restored.
        type: int
      target_storage:
        description:
          - Storage for the disks. By default those that they were on.
          - A container with directories of the node mounted can only be restored to one storage, and only by C(root@pam) logged in
            with a password.
        type: str
      node:
        description: Node on which a new guest is made. By default the one where the backup is seen.
        type: str
      pool:
        description: Pool that a new guest comes into.
        type: str
      unique:
        description: Whether it gets new MAC addresses and ids, so that it can run beside the guest that the backup is of.
        type: bool
        default: false
      force:
        description:
          - Whether a guest that is there is overwritten; all that is on it is lost, and if it runs, it is stopped at once. It is done in every run.
          - Without it a guest of this id that is there is taken to be restored.
        type: bool
        default: false
      start:
        description: Whether the guest is started afterwards. By default one that is overwritten is if it ran, and a new one is not.
        type: bool
      bandwidth_limit:
        description: Limit in KiB/s.
        type: int
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.proxmox.planned
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_proxmox
attributes:
  idempotent:
    support: partial
    details:
      - With O(max_age) nothing is done while there is a young backup; without it a backup is made in every run.
      - With O(restores[].force) a guest is restored in every run.
notes:
  - O(task_timeout) is how long one backup or restore may take; choose it by the largest guest.
  - Rights that are needed - VM.Backup on the guests and Datastore.AllocateSpace on the storage; to restore a guest that is not there VM.Allocate,
    and VM.PowerMgmt to stop one that runs; Datastore.AllocateSpace on the storages of a container's volumes, VM.Config.Disk when they
    are several, and Sys.Modify on C(/) to make a privileged container. All but Sys.Modify are in the role C(AnsibleGuests) of
    M(groundwork.homelab.proxmox_access). O(bandwidth_limit) takes Sys.Modify on C(/) (C(AnsibleSystem)).
seealso:
  - module: groundwork.homelab.proxmox_backup_info
  - module: groundwork.homelab.proxmox_backup_job
  - module: groundwork.homelab.proxmox_snapshot
"""

EXAMPLES = r"""
- name: A backup before the upgrade, if there is none of today
  groundwork.homelab.proxmox_backup:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    vmids: [200, 310]
    storage: nas
    max_age: 12h
    notes_template: !unsafe "{{guestname}}, before the upgrade"

- name: All guests of the lab, of which the last three and one a week stay
  groundwork.homelab.proxmox_backup:
    all: true
    exclude: [201]
    storage: nas
    retention:
      keep_last: 3
      keep_weekly: 4

- name: A copy beside the guest, from its latest backup
  groundwork.homelab.proxmox_backup:
    state: restored
    storage: nas
    restores:
      - vmid: 9200
        source_vmid: 200
        unique: true

- name: The container is again what it was
  groundwork.homelab.proxmox_backup:
    state: restored
    storage: nas
    restores:
      - vmid: 310
        source_vmid: 310
        force: true
        start: true

- name: This one is not needed any more
  groundwork.homelab.proxmox_backup:
    state: absent
    volids:
      - nas:backup/vzdump-qemu-200-2026_11_21-03_00_00.vma.zst
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode, in order.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description:
        - V(backup/vm/<vmid>/<storage>) for a new backup (V(ct) for a container), V(backup/<volume id>) for one that is deleted, V(vm/<vmid>) or
          V(ct/<vmid>) for a guest that is restored.
      type: str
      sample: backup/vm/200/nas
    action:
      description: V(create), V(update) (a guest that is overwritten) or V(delete).
      type: str
    before:
      description: What is deleted or overwritten.
      type: dict
    after:
      description: How the backup is made; what a guest is restored from.
      type: dict
    note:
      description: Why; what is lost.
      type: str
backups:
  description: The latest backup of each guest (O(state=present)), or what was deleted (O(state=absent)).
  returned: success
  type: list
  elements: dict
  contains:
    vmid:
      description: Id of the guest.
      type: int
      sample: 200
    name:
      description: Name of the guest.
      type: str
    node:
      description: Node on which the backup is seen.
      type: str
    volid:
      description: The backup. In check mode a text that says that it is not known yet.
      type: str
      sample: nas:backup/vzdump-qemu-200-2026_11_21-03_00_00.vma.zst
    taken:
      description: When it was made.
      type: str
      sample: 2026-11-21 03:00:00 UTC
    time:
      description: When it was made, in seconds since 1970.
      type: int
    size:
      description: Its size in bytes.
      type: int
    protected:
      description: Whether it is protected.
      type: bool
    notes:
      description: Its notes.
      type: str
    verified:
      description: What the backup server's last verification said, V(ok) or V(failed); empty when there was none.
      type: str
    changed:
      description: Whether it was made or deleted now.
      type: bool
guests:
  description: The guests that are to be restored, in the order of the input.
  returned: success
  type: list
  elements: dict
  contains:
    vmid:
      description: Id of the guest.
      type: int
    type:
      description: V(qemu) or V(lxc).
      type: str
    node:
      description: Node on which it is.
      type: str
    volid:
      description: What it was restored from; empty when it was there.
      type: str
    changed:
      description: Whether it was restored now.
      type: bool
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups import backups
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.guests import planned_guests
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_KEEP = {f"keep_{what}": {"type": "int"} for what in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
_RESTORE: dict[str, t.Any] = {
    "vmid": {"type": "int", "required": True},
    "volid": {"type": "str"},
    "source_vmid": {"type": "int"},
    "target_storage": {"type": "str"},
    "node": {"type": "str"},
    "pool": {"type": "str"},
    "unique": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "start": {"type": "bool"},
    "bandwidth_limit": {"type": "int"},
}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        **planned_guests.ARGUMENTS,
        "state": {"type": "str", "choices": ["present", "absent", "restored"], "default": "present"},
        "vmids": {"type": "list", "elements": "int"},
        "pool": {"type": "str"},
        "all": {"type": "bool", "default": False},
        "exclude": {"type": "list", "elements": "int"},
        "node": {"type": "list", "elements": "str"},
        "storage": {"type": "str"},
        "mode": {"type": "str", "choices": ["snapshot", "suspend", "stop"], "default": "snapshot"},
        "compress": {"type": "str", "choices": ["none", "lzo", "gzip", "zstd"], "default": "zstd"},
        "notes_template": {"type": "str"},
        "protected": {"type": "bool", "default": False},
        "bandwidth_limit": {"type": "int"},
        "fleecing": {"type": "str"},
        "max_age": {"type": "str"},
        "retention": {"type": "dict", "options": {"keep_all": {"type": "bool"}, **_KEEP}},
        "volids": {"type": "list", "elements": "str"},
        "restores": {"type": "list", "elements": "dict", "options": _RESTORE},
    }
)


def run(task: Task) -> Result:
    return backups.converge(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
