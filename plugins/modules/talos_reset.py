#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_reset
short_description: Wipe a Talos node
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Makes a node leave etcd, wipes it and reboots it into maintenance mode, where it waits for a config. Or wipes only a part of it, or powers
    it off afterwards.
  - One task resets one node, which has to call itself O(node_name). Another machine at that address is refused, and is looked for once more right
    before the wiping. So is an address that is a virtual one of the cluster.
  - Refused before anything is wiped when etcd would lose its quorum or its last data.
  - Refused where Talos runs in a container, which has no disk to wipe. A reset would only switch it off.
  - Does nothing to a machine that is in maintenance mode, as it has no config to lose.
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
attributes:
  idempotent:
    support: partial
    description:
      - A machine that is in maintenance mode is left alone. Where its config is kept, each run wipes again.
options:
  node:
    description:
      - Address of the node.
    type: str
    required: true
  node_name:
    description:
      - Host name of the node, as the machine itself says it.
    type: str
    required: true
  partitions:
    description:
      - Partitions of the system disk to wipe. V(STATE) holds the machine config, V(EPHEMERAL) etcd's data, images and logs.
      - Both by default. With only V(EPHEMERAL) the node comes back configured, and a control plane node without its etcd data.
      - An empty list wipes none, for O(user_disks) alone.
    type: list
    elements: str
    choices: [STATE, EPHEMERAL]
  system_disk:
    description:
      - Whether to wipe all of the system disk, with Talos itself. The machine then needs another medium to boot from.
    type: bool
    default: false
  user_disks:
    description:
      - Further disks to wipe, such as V(/dev/sdb).
    type: list
    elements: str
    default: []
  graceful:
    description:
      - Whether the node drains its pods and leaves etcd first.
      - Without that it stays a member of etcd that is away, until it is back or is removed.
    type: bool
    default: true
  reboot:
    description:
      - Whether the machine reboots afterwards. It powers off otherwise.
    type: bool
    default: true
  force:
    description:
      - Whether to wipe although etcd loses its quorum or its last data.
    type: bool
    default: false
  wait_timeout:
    description:
      - Seconds that the node has to be wiped and to come back.
      - It has to come back at O(node), where nothing but the machine config gives it that address it does not. Then the task fails at the end of
        that time, although the machine is wiped. DHCP, or the cloud-init drive of a VM, keeps the address.
    type: int
    default: 600
seealso:
  - module: groundwork.homelab.talos_bootstrap
  - module: groundwork.homelab.talos_reboot
"""

EXAMPLES = r"""
- name: Give the machine back
  groundwork.homelab.talos_reset:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    node: 192.168.30.50
    node_name: talos-cp01
    # It is the cluster's only control plane node: etcd's last data goes with it.
    force: true
"""

RETURN = r"""
node:
  description: The node.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the node.
      type: str
      sample: talos-cp01
    address:
      description: Address of its Talos API.
      type: str
      sample: 192.168.30.50
    stage:
      description: Stage when it was last seen, V(off) when it does not answer any more.
      type: str
      sample: maintenance
changes:
  description: The changes that were made, or in check mode would be.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: Name of what changes.
      type: str
      sample: talos-node/talos-cp01
    action:
      description: V(delete).
      type: str
    before:
      description: What is wiped.
      type: dict
    note:
      description: What happens to the node.
      type: str
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import options
from ansible_collections.groundwork.homelab.plugins.module_utils.task import (
    Task,
    run_as_module,
)

SPEC = options.spec(
    options.CONNECTION,
    {
        "node": {"type": "str", "required": True},
        "node_name": {"type": "str", "required": True},
        "partitions": {"type": "list", "elements": "str", "choices": ["STATE", "EPHEMERAL"]},
        "system_disk": {"type": "bool", "default": False},
        "user_disks": {"type": "list", "elements": "str", "default": []},
        "graceful": {"type": "bool", "default": True},
        "reboot": {"type": "bool", "default": True},
        "force": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 600},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Judge whether it is this node and may go, then wipe it."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
        operations,
    )

    reset = operations.reset(task)
    plan = reset.plan()
    if not task.check_mode:
        reset.apply(plan)
    return task.result(plan, node=reset.report())


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
