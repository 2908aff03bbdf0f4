#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_snapshot
short_description: Take, delete and go back to snapshots of VMs and containers on Proxmox VE
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Takes snapshots that are missing, changes descriptions that differ, deletes what is to be absent, and rolls guests back.
    Works on any number of guests at once, the entries of one guest in their order.
  - Whether a guest is a VM or a container, and on which node it is, is looked up with one request for all.
  - A snapshot that is there is not taken again. Whether it has the memory cannot be changed afterwards, and is not compared.
  - Locks, and tasks that are working on a guest, are waited for.
options:
  snapshots:
    description: The snapshots.
    type: list
    elements: dict
    required: true
    suboptions:
      vmid:
        description: Id of the VM or container.
        type: int
        required: true
      name:
        description: Name of the snapshot, 2 to 40 letters, digits, C(-) and C(_), a letter first.
        type: str
        required: true
      state:
        description:
          - V(present) takes the snapshot if it is not there.
          - V(absent) deletes it. Snapshots that were taken later stay.
          - V(rolled_back) makes the guest again what it was when the snapshot was taken. It is a change in every run, as nobody can tell
            whether the disks still hold what they held then; C(changes) says what is lost.
        type: str
        choices: [present, absent, rolled_back]
        default: present
      description:
        description: What the snapshot is for. Left alone when it is left out.
        type: str
      vmstate:
        description:
          - Whether the memory of a running VM is kept, too (not of containers). A VM that is off has none, so its snapshot is one without.
        type: bool
      start:
        description:
          - Whether the guest runs after it was rolled back. By default it does if it did before. With memory in the snapshot it always does.
          - A rollback stops the guest at once, without shutting it down.
        type: bool
      prefix:
        description: Beginning of the names of a series, such as V(auto-). Required with O(snapshots[].keep); O(snapshots[].name) has to begin with it.
        type: str
      keep:
        description:
          - How many of the guest's snapshots whose names begin with O(snapshots[].prefix) stay, this one counted. The oldest others are deleted
            after it was taken. All other snapshots are left alone.
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
      - O(snapshots[].state=rolled_back) rolls back in every run.
notes:
  - Rights that are needed - VM.Audit and VM.Snapshot on the guest (or its pool); for a rollback alone VM.Snapshot.Rollback is enough. They are in
    the role C(AnsibleGuests) of M(groundwork.homelab.proxmox_access). A token needs them as well as its user.
  - All disks have to be able to have snapshots, which is asked before one is taken - qcow2 files, and storages such as LVM-thin, ZFS and Ceph RBD.
  - ZFS only goes back to the latest snapshot.
seealso:
  - module: groundwork.homelab.proxmox_backup
  - module: groundwork.homelab.proxmox_vm_info
"""

EXAMPLES = r"""
- name: Before the upgrade, with what is in the memory
  groundwork.homelab.proxmox_snapshot:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    snapshots:
      - vmid: 200
        name: before-upgrade
        description: Talos v1.13.9
        vmstate: true
      - vmid: 201
        name: before-upgrade

- name: One a day, and no more than seven of them
  groundwork.homelab.proxmox_snapshot:
    snapshots:
      - vmid: 200
        name: "daily-{{ snapshot_day | default('20261121') }}"
        prefix: daily-
        keep: 7

- name: The upgrade failed, so back to what was before
  groundwork.homelab.proxmox_snapshot:
    snapshots:
      - vmid: 201
        name: before-upgrade
        state: rolled_back
        start: true

- name: It is not needed any more
  groundwork.homelab.proxmox_snapshot:
    snapshots:
      - vmid: 200
        name: before-upgrade
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
      description: The snapshot, as V(snapshot/vm/<vmid>/<name>) or V(snapshot/ct/<vmid>/<name>).
      type: str
      sample: snapshot/vm/200/before-upgrade
    action:
      description: V(create), V(update) (a description, a rollback) or V(delete).
      type: str
    before:
      description: What differs, as it was. For a rollback, the snapshot that the guest's state came from and whether it ran.
      type: dict
    after:
      description: What differs, as it is now.
      type: dict
    note:
      description: Why a snapshot of a series is deleted; what a rollback loses.
      type: str
snapshots:
  description: The snapshots, in the order of the input; as they are when all is done, also in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    vmid:
      description: Id of the guest.
      type: int
      sample: 200
    type:
      description: V(qemu) or V(lxc); empty when there is no such guest.
      type: str
    node:
      description: Node of the guest.
      type: str
    name:
      description: Name of the snapshot.
      type: str
      sample: before-upgrade
    state:
      description: What was asked for.
      type: str
    description:
      description: Its description.
      type: str
    vmstate:
      description: Whether it has the memory.
      type: bool
    parent:
      description: The snapshot before it, empty for the first.
      type: str
    children:
      description: The snapshots that come from it.
      type: list
      elements: str
    current:
      description: Whether what the guest is now comes from it.
      type: bool
    changed:
      description: Whether it was changed.
      type: bool
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.guests import planned_guests
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.snapshots import snapshots
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_SNAPSHOT: dict[str, t.Any] = {
    "vmid": {"type": "int", "required": True},
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "rolled_back"], "default": "present"},
    "description": {"type": "str"},
    "vmstate": {"type": "bool"},
    "start": {"type": "bool"},
    "prefix": {"type": "str"},
    "keep": {"type": "int"},
}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        **planned_guests.ARGUMENTS,
        "snapshots": {"type": "list", "elements": "dict", "required": True, "options": _SNAPSHOT},
    }
)


def run(task: Task) -> Result:
    return snapshots.converge(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
