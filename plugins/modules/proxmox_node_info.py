#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_node_info
short_description: Look up the nodes of Proxmox VE
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Lists the nodes with one request; more of each is read where O(facts) asks for it, of eight nodes at a time.
  - A node that is offline, or may not be looked into, says so in RV(nodes[].errors) and does not fail the task.
options:
  name:
    description: Names of the nodes. By default all. Those that do not exist are returned as RV(missing).
    type: list
    elements: str
  facts:
    description:
      - What to read of each node besides the list.
      - V(status) is processor, kernel, load and usage, V(version) the version of Proxmox VE, V(network) the network interfaces with
        their bridges and VLANs.
    type: list
    elements: str
    choices: [network, status, version]
    default: []
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes.read_only
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed - none for names and states; Sys.Audit on C(/nodes/<node>) for the numbers and for V(status); SDN.Audit on
    C(/sdn/zones/localnetwork/<bridge>) to see a bridge.
seealso:
  - module: groundwork.homelab.proxmox_storage_info
  - module: groundwork.homelab.proxmox_vm_info
"""

EXAMPLES = r"""
- name: The nodes and their bridges
  groundwork.homelab.proxmox_node_info:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    facts: [network]
  register: nodes

- name: What one node is made of
  groundwork.homelab.proxmox_node_info:
    name: [pve1]
    facts: [status, version]
"""

RETURN = r"""
nodes:
  description: The nodes, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
      sample: pve1
    status:
      description: V(online) or V(offline).
      type: str
    cpus:
      description: Number of CPUs; 0 when it may not be seen.
      type: int
    memory:
      description: Memory in bytes; 0 when it may not be seen.
      type: int
    memory_used:
      description: Used memory in bytes.
      type: int
    uptime:
      description: Seconds since it was started.
      type: int
    node_status:
      description: State of the node.
      returned: O(facts) has V(status)
      type: dict
      contains:
        cpu_model:
          description: Name of the processor.
          type: str
        sockets:
          description: Number of processors.
          type: int
        hardware_virtualisation:
          description: Whether VMs can use hardware virtualisation.
          type: bool
        kernel:
          description: Version of the kernel.
          type: str
        pve_version:
          description: Version of the package pve-manager.
          type: str
        boot_mode:
          description: V(efi) or V(legacy-bios).
          type: str
        load:
          description: Load of the last 1, 5 and 15 minutes.
          type: list
          elements: float
        memory:
          description: V(total), V(used) and V(free) bytes.
          type: dict
        rootfs:
          description: V(total), V(used) and V(free) bytes.
          type: dict
        swap:
          description: V(total), V(used) and V(free) bytes.
          type: dict
    version:
      description: Version of Proxmox VE, as V(version), V(release) and V(repoid).
      returned: O(facts) has V(version)
      type: dict
    network:
      description: Network interfaces, by name.
      returned: O(facts) has V(network)
      type: list
      elements: dict
      contains:
        iface:
          description: Name.
          type: str
          sample: vmbr0
        type:
          description: Kind, such as V(bridge), V(bond), V(vlan), V(eth).
          type: str
        cidr:
          description: Address with its prefix length, if it has one.
          type: str
        gateway:
          description: Gateway, if it has one.
          type: str
        bridge_ports:
          description: Ports of a bridge, if it has any.
          type: str
        vlan_aware:
          description: Whether a bridge is aware of VLANs.
          type: bool
        active:
          description: Whether it is up.
          type: bool
        autostart:
          description: Whether it comes up with the node.
          type: bool
    errors:
      description: Fact to why it could not be read.
      type: dict
missing:
  description: Names of O(name) that do not exist.
  returned: success
  type: list
  elements: str
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.facts import node_facts
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_STRINGS: dict[str, t.Any] = {"type": "list", "elements": "str"}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "name": _STRINGS,
        "facts": {**_STRINGS, "choices": list(node_facts.FACTS), "default": []},
    }
)


def run(task: Task) -> Result:
    return node_facts.look_up_nodes(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
