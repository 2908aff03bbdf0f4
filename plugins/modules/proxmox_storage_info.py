#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_storage_info
short_description: Look up the storages of Proxmox VE and what lies on them
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Lists the storages of each node with their usage, one request for the list of nodes and one for each node.
  - With O(contents) also what lies on each storage that was picked. The content of a storage that nodes share is read once.
  - A node that is offline is said in RV(errors), and in a warning, and does not fail the task.
options:
  name:
    description: Names of the storages. By default all. Those that do not exist are returned as RV(missing).
    type: list
    elements: str
  node:
    description: Nodes on which the storages are. By default all. Those that do not exist are returned as RV(missing).
    type: list
    elements: str
  content:
    description: Kinds of content of which the storages must take one; with O(contents) only volumes of these kinds are listed.
    type: list
    elements: str
    choices: [backup, images, import, iso, rootdir, snippets, vztmpl]
  active:
    description: Whether the storages can be used now. By default all.
    type: bool
  contents:
    description: Whether to list the volumes of each storage.
    type: bool
    default: false
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes.read_only
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed - Datastore.Audit or Datastore.AllocateSpace on C(/storage/<storage>); what may not be seen is left out by
    the server. Disks of a VM are listed with VM.Config.Disk on it, its backups with VM.Backup.
seealso:
  - module: groundwork.homelab.proxmox_image
  - module: groundwork.homelab.proxmox_node_info
"""

EXAMPLES = r"""
- name: The storages of all nodes
  groundwork.homelab.proxmox_storage_info:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
  register: storages

- name: Container templates and ISO images that are there
  groundwork.homelab.proxmox_storage_info:
    content: [vztmpl, iso]
    contents: true
"""

RETURN = r"""
storages:
  description: The storages, by node and name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
      sample: local-lvm
    node:
      description: Node.
      type: str
      sample: pve1
    type:
      description: Kind, such as V(dir) or V(lvmthin).
      type: str
    content:
      description: Kinds of content that it takes.
      type: list
      elements: str
    shared:
      description: Whether it is the same on all nodes.
      type: bool
    enabled:
      description: Whether it is switched on.
      type: bool
    active:
      description: Whether it can be used now.
      type: bool
    total:
      description: Size in bytes.
      type: int
    used:
      description: Used bytes.
      type: int
    available:
      description: Free bytes.
      type: int
    contents:
      description: Volumes, by volume id.
      returned: O(contents) is true
      type: list
      elements: dict
      contains:
        volid:
          description: Volume id.
          type: str
          sample: local:iso/debian-13.iso
        content:
          description: Kind of content.
          type: str
        format:
          description: Format, such as V(qcow2).
          type: str
        size:
          description: Size in bytes.
          type: int
        time:
          description: When it was made, in seconds since 1970.
          type: int
        vmid:
          description: Guest that it belongs to, if any.
          type: int
        notes:
          description: Notes of a backup, if any.
          type: str
    errors:
      description: V(contents) to why they could not be read.
      type: dict
errors:
  description: Node to why its storages could not be read.
  returned: success
  type: dict
missing:
  description: Names of O(name) and O(node) that do not exist.
  returned: success
  type: list
  elements: str
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.facts import node_facts
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_STRINGS: dict[str, t.Any] = {"type": "list", "elements": "str"}
_CONTENT = ["backup", "images", "import", "iso", "rootdir", "snippets", "vztmpl"]

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "name": _STRINGS,
        "node": _STRINGS,
        "content": {**_STRINGS, "choices": _CONTENT},
        "active": {"type": "bool"},
        "contents": {"type": "bool", "default": False},
    }
)


def run(task: Task) -> Result:
    return node_facts.look_up_storages(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
