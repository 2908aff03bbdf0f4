#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_vm_info
short_description: Look up VMs and containers of Proxmox VE
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Lists the VMs and containers of a node or a cluster, with one request however many there are, and picks those that all given
    options fit.
  - Names, states of power, sizes and what is a template are as the cluster's status daemon saw them, which may be ten seconds ago. Who
    waits for a guest that was started just now repeats the task with C(until). Only new guests that the daemon has not seen yet are
    asked themselves.
  - More can be asked for of each guest that was picked, by O(facts). It is read of eight guests at a time.
  - What cannot be read of a guest is said in RV(guests[].errors) and does not fail the task. A guest that is off, or has no agent, is
    no error; RV(guests[].agent.reason) says which.
options:
  vmid:
    description: Ids. Those that do not exist, or may not be seen, are returned as RV(missing).
    type: list
    elements: int
  name:
    description: Names, which may be shell patterns such as V(talos-*).
    type: list
    elements: str
  node:
    description: Nodes on which the guests are.
    type: list
    elements: str
  pool:
    description: Pools in which the guests are.
    type: list
    elements: str
  tag:
    description: Tags that the guests must all have.
    type: list
    elements: str
  type:
    description: V(qemu) for VMs, V(lxc) for containers. By default both.
    type: str
    choices: [qemu, lxc]
  status:
    description: State of power. V(unknown) are the guests of nodes that are offline.
    type: str
    choices: [running, stopped, unknown]
  template:
    description: Whether the guests are templates. By default both.
    type: bool
  facts:
    description:
      - What to read of each guest besides the list.
      - V(config) is its configuration as it will be after a stop and start, V(pending) what waits for that; both together cost one
        request for each guest.
      - V(snapshots) are its snapshots, V(agent) its addresses and operating system, from the agent of a VM or from a container itself.
    type: list
    elements: str
    choices: [agent, config, pending, snapshots]
    default: []
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes.read_only
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed - VM.Audit on C(/vms/<vmid>) or on the guest's pool, Pool.Audit on C(/pool/<pool>) to see the pool's name,
    and VM.GuestAgent.Audit for the agent. What may not be seen is left out by the server.
seealso:
  - module: groundwork.homelab.proxmox_vm
  - module: groundwork.homelab.proxmox_node_info
"""

EXAMPLES = r"""
- name: All guests
  groundwork.homelab.proxmox_vm_info:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
  register: all_guests

- name: Addresses of the running Talos nodes
  groundwork.homelab.proxmox_vm_info:
    tag: [talos]
    status: running
    facts: [agent]

- name: What waits for a restart
  groundwork.homelab.proxmox_vm_info:
    type: qemu
    facts: [config, pending]

- name: Snapshots of one VM
  groundwork.homelab.proxmox_vm_info:
    vmid: [200]
    facts: [snapshots]
"""

RETURN = r"""
guests:
  description: The guests, by id.
  returned: success
  type: list
  elements: dict
  contains:
    vmid:
      description: Id.
      type: int
      sample: 200
    name:
      description: Name.
      type: str
      sample: talos-cp01
    node:
      description: Node.
      type: str
      sample: pve1
    type:
      description: V(qemu) for a VM, V(lxc) for a container.
      type: str
    status:
      description: V(running), V(stopped), or V(unknown) when its node is offline.
      type: str
    template:
      description: Whether it is a template.
      type: bool
    tags:
      description: Tags in lower case.
      type: list
      elements: str
    pool:
      description: Pool, or empty.
      type: str
    lock:
      description: What holds it, such as V(backup), or empty.
      type: str
    ha_state:
      description: State that the HA manager wants, or empty.
      type: str
    cpus:
      description: Number of CPUs.
      type: int
    memory:
      description: Memory in bytes.
      type: int
    disk:
      description: Size of the first disk in bytes.
      type: int
    uptime:
      description: Seconds since it was started.
      type: int
    config:
      description: Configuration, if asked for.
      returned: O(facts) has V(config)
      type: dict
    pending:
      description: Option to its V(current) and its V(pending) value, which is null where the option will be gone.
      returned: O(facts) has V(pending)
      type: dict
    snapshots:
      description: Snapshots, oldest first.
      returned: O(facts) has V(snapshots)
      type: list
      elements: dict
      contains:
        name:
          description: Name.
          type: str
        description:
          description: Description.
          type: str
        time:
          description: When it was made, in seconds since 1970.
          type: int
        parent:
          description: Snapshot before it, or empty.
          type: str
        memory:
          description: Whether it holds the memory.
          type: bool
    agent:
      description: What is known from inside the guest.
      returned: O(facts) has V(agent)
      type: dict
      contains:
        available:
          description: Whether anybody answered.
          type: bool
        reason:
          description: Why nobody did.
          type: str
          sample: QEMU guest agent is not running
        addresses:
          description: Addresses that others can reach, in the order of the interfaces.
          type: list
          elements: str
        interfaces:
          description: Network interfaces, each with V(name), V(mac) and V(addresses).
          type: list
          elements: dict
        os:
          description: Operating system, as the agent tells it, such as V(id), V(version_id), V(kernel_release).
          type: dict
    errors:
      description: Fact to why it could not be read.
      type: dict
missing:
  description: Ids of O(vmid) that do not exist, or may not be seen.
  returned: success
  type: list
  elements: int
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.facts import guest_facts
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_STRINGS: dict[str, t.Any] = {"type": "list", "elements": "str"}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "vmid": {"type": "list", "elements": "int"},
        "name": _STRINGS,
        "node": _STRINGS,
        "pool": _STRINGS,
        "tag": _STRINGS,
        "type": {"type": "str", "choices": ["qemu", "lxc"]},
        "status": {"type": "str", "choices": ["running", "stopped", "unknown"]},
        "template": {"type": "bool"},
        "facts": {**_STRINGS, "choices": list(guest_facts.FACTS), "default": []},
    }
)


def run(task: Task) -> Result:
    return guest_facts.look_up(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
