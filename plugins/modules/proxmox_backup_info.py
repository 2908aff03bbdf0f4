#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_backup_info
short_description: Look up backups on Proxmox VE, and guests that have none
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Lists the backups on all storages that take them, how old they are and whether they are whole, and says which guests have no whole one, or none
    that is young enough.
options:
  vmid:
    description: Only these guests, and their backups.
    type: list
    elements: int
  storage:
    description: Only these storages. By default all that take backups.
    type: list
    elements: str
  node:
    description: Only guests, and storages, of these nodes.
    type: list
    elements: str
  max_age:
    description: How old the latest backup of a guest may be for it to count as covered, such as V(26h) or V(8d). Any age when left out.
    type: str
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes.read_only
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed - Datastore.Audit and Datastore.AllocateSpace on the storages, VM.Audit and VM.Backup on the guests, and Sys.Audit on the
    nodes for their time. Backups of guests without VM.Backup are not listed. They are in the role C(AnsibleGuests).
seealso:
  - module: groundwork.homelab.proxmox_backup
"""

EXAMPLES = r"""
- name: Who has no backup of the last day
  groundwork.homelab.proxmox_backup_info:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    max_age: 26h
  register: found

- name: The latest of one guest
  groundwork.homelab.proxmox_backup_info:
    vmid: [200]
"""

RETURN = r"""
backups:
  description: The backups, by guest, the newest of a guest first.
  returned: success
  type: list
  elements: dict
  contains:
    vmid:
      description: Id of the guest that it is of.
      type: int
      sample: 200
    type:
      description: V(qemu) or V(lxc).
      type: str
    node:
      description: Node on which it is seen.
      type: str
    storage:
      description: Storage on which it is.
      type: str
    volid:
      description: Its volume id.
      type: str
      sample: nas:backup/vzdump-qemu-200-2026_11_21-03_00_00.vma.zst
    taken:
      description: When it was made.
      type: str
      sample: 2026-11-21 03:00:00 UTC
    time:
      description: When it was made, in seconds since 1970.
      type: int
    age:
      description: Its age in seconds.
      type: int
    size:
      description: Its size in bytes.
      type: int
    protected:
      description: Whether it is protected.
      type: bool
    encrypted:
      description: Whether it is encrypted.
      type: bool
    notes:
      description: Its notes.
      type: str
    verified:
      description: What the backup server's last verification said, V(ok) or V(failed); empty when there was none.
      type: str
    problem:
      description: Why it is not whole; empty when nothing is known to be wrong.
      type: str
guests:
  description: The guests, by id.
  returned: success
  type: list
  elements: dict
  contains:
    vmid:
      description: Id of the guest.
      type: int
    name:
      description: Its name.
      type: str
    type:
      description: V(qemu) or V(lxc).
      type: str
    node:
      description: Its node.
      type: str
    latest:
      description: Its latest whole backup; empty when there is none.
      type: str
    age:
      description: Age of that, in seconds; none when there is none.
      type: int
    count:
      description: How many whole backups there are.
      type: int
    covered:
      description: Whether there is a whole one that is young enough.
      type: bool
not_covered:
  description: Ids of the guests that are not covered.
  returned: success
  type: list
  elements: int
missing:
  description: Ids that were asked for and that no guest has.
  returned: success
  type: list
  elements: int
"""

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups import backups
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "vmid": {"type": "list", "elements": "int"},
        "storage": {"type": "list", "elements": "str"},
        "node": {"type": "list", "elements": "str"},
        "max_age": {"type": "str"},
    }
)


def run(task: Task) -> Result:
    return backups.look_up(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
