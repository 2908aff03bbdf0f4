#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_mapping
short_description: Keep the names that guests of Proxmox VE use for PCI devices, USB devices and directories
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - A mapping gives devices of the nodes a name. Guests that pass a device through by its mapping can be made with an API token, and can
    be started on each node that the mapping knows; raw devices are for C(root@pam) with a password only.
  - An option that is left out is left alone; an empty description is taken away.
  - The server takes devices that a node does not have, and guests then do not start. Read address and numbers from the node.
options:
  mappings:
    description: The mappings.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the mapping.
        type: str
        required: true
      type:
        description: Kind of device. Mappings of different kinds may have the same name.
        type: str
        required: true
        choices: [pci, usb, dir]
      state:
        description: V(absent) removes the mapping. Guests that use it do not start any more.
        type: str
        choices: [present, absent]
        default: present
      devices:
        description: The devices, at least one for each node that is to have it. Required to create a mapping.
        type: list
        elements: dict
        suboptions:
          node:
            description: Node that has the device.
            type: str
            required: true
          path:
            description:
              - Address of the PCI device, such as V(0000:00:02.0), more of them with V(;); or port of the USB device, such as V(1-4.2),
                without which any device of its O(mappings[].devices[].id) is meant; or the directory. Required for V(pci) and V(dir).
            type: str
          id:
            description: Vendor and device, such as V(8086:46d1), as C(lspci -n) and C(lsusb) show them. Required for V(pci) and V(usb).
            type: str
          subsystem_id:
            description: Vendor and device of the subsystem (V(pci)).
            type: str
          iommugroup:
            description: IOMMU group (V(pci)).
            type: int
          description:
            description: Description of the device on this node (V(pci), V(usb)).
            type: str
      exclusive:
        description:
          - Whether O(mappings[].devices) are all of them. V(false) leaves the devices of other nodes as they are, for when each node's
            part is described elsewhere.
        type: bool
        default: true
      description:
        description: Description of the mapping.
        type: str
      mediated:
        description: Whether the device is divided into mediated devices (V(pci)).
        type: bool
      live_migration:
        description: Whether the device can move with a running guest (V(pci)).
        type: bool
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed - Mapping.Modify on C(/mapping/<type>); it is in the role C(AnsibleSystem) of
    M(groundwork.homelab.proxmox_access). Guests that use a mapping need Mapping.Use on C(/mapping/<type>/<name>).
seealso:
  - module: groundwork.homelab.proxmox_vm
  - module: groundwork.homelab.proxmox_access
"""

EXAMPLES = r"""
- name: The graphics of the small nodes, a Zigbee stick, and a directory of films
  groundwork.homelab.proxmox_mapping:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    mappings:
      - name: igpu
        type: pci
        description: Intel graphics, for transcoding
        devices:
          - node: pve1
            path: "0000:00:02.0"
            id: "8086:46d1"
      - name: zigbee
        type: usb
        devices:
          - node: pve1
            id: "10c4:ea60"
      - name: films
        type: dir
        devices:
          - node: pve1
            path: /srv/films

- name: The stick is gone
  groundwork.homelab.proxmox_mapping:
    mappings:
      - name: old-zigbee
        type: usb
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
      description: The mapping, as V(mapping/<type>/<name>).
      type: str
      sample: mapping/pci/igpu
    action:
      description: V(create), V(update) or V(delete).
      type: str
    before:
      description: What differs, as it was.
      type: dict
    after:
      description: What differs, as it is now.
      type: dict
mappings:
  description: The mappings, in the order of the input; also in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the mapping.
      type: str
      sample: igpu
    type:
      description: V(pci), V(usb) or V(dir).
      type: str
    state:
      description: V(present) or V(absent).
      type: str
    changed:
      description: Whether it was changed.
      type: bool
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.records import mappings
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_DEVICE: dict[str, t.Any] = {
    "node": {"type": "str", "required": True},
    "path": {"type": "str"},
    "id": {"type": "str"},
    "subsystem_id": {"type": "str"},
    "iommugroup": {"type": "int"},
    "description": {"type": "str"},
}
_MAPPING: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "required": True, "choices": ["pci", "usb", "dir"]},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "devices": {"type": "list", "elements": "dict", "options": _DEVICE},
    "exclusive": {"type": "bool", "default": True},
    "description": {"type": "str"},
    "mediated": {"type": "bool"},
    "live_migration": {"type": "bool"},
}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "mappings": {"type": "list", "elements": "dict", "required": True, "options": _MAPPING},
    }
)


def run(task: Task) -> Result:
    return mappings.converge(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
