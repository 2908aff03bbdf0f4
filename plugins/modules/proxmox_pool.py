#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_pool
short_description: Keep the pools of Proxmox VE and what belongs to them
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Creates pools, changes their comments and members, and deletes pools that are to be absent. Takes all pools at once and reads once.
  - Members are added; with O(pools[].exclusive) those that are not listed are taken out. Nothing is ever deleted but a pool.
  - An option that is left out is left alone.
  - Pools above others are made before them, and deleted after them, whatever their order in the list.
options:
  pools:
    description: The pools.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the pool. A pool below another one has its name before its own, as in V(lab/media), up to three deep.
        type: str
        required: true
      state:
        description: V(absent) deletes the pool, which must be empty unless O(pools[].release_members) is set.
        type: str
        choices: [present, absent]
        default: present
      comment:
        description: Comment. V("") takes it away.
        type: str
      vms:
        description: Numbers of the virtual machines and containers that belong to the pool. One belongs to one pool at most.
        type: list
        elements: int
      storages:
        description: Storages that belong to the pool.
        type: list
        elements: str
      exclusive:
        description: Whether the members that O(pools[].vms) and O(pools[].storages) list are all of their kind. The others are taken out.
        type: bool
        default: false
      allow_move:
        description:
          - Whether guests may be taken from pools that do not let go of them. A pool in the list lets go of a guest when it is
            O(pools[].exclusive) without it, or absent with O(pools[].release_members).
        type: bool
        default: false
      release_members:
        description: Whether a pool that is to be absent may have members. They are taken out before, and stay as they are.
        type: bool
        default: false
  planned_vms:
    description: Numbers of guests that an earlier task of this check run would create. Only used in check mode.
    type: list
    elements: int
    default: []
  planned_storages:
    description: Storages that an earlier task of this check run would define. Only used in check mode.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed - Pool.Allocate and Pool.Audit on C(/pool/<pool>), which are in the role C(AnsiblePools) of
    M(groundwork.homelab.proxmox_access); for each guest that comes or goes VM.Allocate or Permissions.Modify on C(/vms/<vmid>), and
    Pool.Allocate on the pool that it is moved from; for each storage Datastore.Allocate or Permissions.Modify on C(/storage/<storage>). A
    token needs them as well as its user.
seealso:
  - module: groundwork.homelab.proxmox_vm
  - module: groundwork.homelab.proxmox_access
"""

EXAMPLES = r"""
- name: A pool for the lab with one below it
  groundwork.homelab.proxmox_pool:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    pools:
      - name: homelab
        comment: Made by Ansible
        storages: [local]
      - name: homelab/media
        comment: What may be lost

- name: Exactly this storage belongs to it
  groundwork.homelab.proxmox_pool:
    pools:
      - name: homelab
        storages: [isoonly]
        exclusive: true

- name: Both are gone, and what was in them stays as it is
  groundwork.homelab.proxmox_pool:
    pools:
      - name: homelab
        state: absent
        release_members: true
      - name: homelab/media
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
      description: The pool, as V(pool/<name>).
      type: str
      sample: pool/lab
    action:
      description: V(create), V(update) or V(delete).
      type: str
    before:
      description: Comment and members, as they were, as far as they differ.
      type: dict
    after:
      description: Comment and members, as they are now, as far as they differ.
      type: dict
    note:
      description: Which guests come from other pools.
      type: str
pools:
  description: The pools, in the order of the input; also in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the pool.
      type: str
      sample: lab
    state:
      description: V(present) or V(absent).
      type: str
    changed:
      description: Whether it was changed.
      type: bool
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.records import pools
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_POOL: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "comment": {"type": "str"},
    "vms": {"type": "list", "elements": "int"},
    "storages": {"type": "list", "elements": "str"},
    "exclusive": {"type": "bool", "default": False},
    "allow_move": {"type": "bool", "default": False},
    "release_members": {"type": "bool", "default": False},
}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "pools": {"type": "list", "elements": "dict", "required": True, "options": _POOL},
        "planned_vms": {"type": "list", "elements": "int", "default": []},
        "planned_storages": {"type": "list", "elements": "str", "default": []},
    }
)


def run(task: Task) -> Result:
    return pools.converge(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
