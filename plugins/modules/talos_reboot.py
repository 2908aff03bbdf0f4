#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_reboot
short_description: Reboot Talos nodes, and wait until they are back and healthy
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Reboots nodes one after the other, or all at once. A node is back when its boot ID has changed, and healthy as M(groundwork.homelab.talos_health)
    sees it. The next one is rebooted only then.
  - A node that must not be rebooted now, because etcd would lose its quorum, is refused before any node is rebooted. The quorum is looked at
    again before each node's turn. A machine that answers then, and is not the one that was looked at, is refused too.
  - Where nodes reboot one after the other, the one that leads etcd hands its leadership over first, unless O(mode=force); where that cannot be,
    it reboots all the same.
  - Talos neither cordons nor drains a node that is rebooted through its API. Where that matters, drain it first.
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
attributes:
  idempotent:
    support: none
    description:
      - Each run reboots the nodes.
options:
  nodes:
    description:
      - The nodes to reboot, control plane nodes first.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the node.
        type: str
        required: true
      address:
        description: Address of its Talos API.
        type: str
        required: true
      type:
        description: What the machine is in the cluster.
        type: str
        choices: [controlplane, worker]
        required: true
  mode:
    description:
      - V(default) is the quick way with kexec, where the machine has that.
      - V(powercycle) goes through the firmware.
      - V(force) does not wait until pods have stopped. Talos 1.12 and newer.
    type: str
    choices: [default, powercycle, force]
    default: default
  serial:
    description:
      - Whether the next node is rebooted only when the one before is back and healthy.
      - With V(false) all are rebooted together, and etcd has to keep its quorum without all of them.
    type: bool
    default: true
  wait_healthy:
    description:
      - Whether to wait until the nodes are healthy. With V(false) a node is back as soon as its API answers after the reboot.
    type: bool
    default: true
  node_ready:
    description:
      - Whether a healthy node is one that Kubernetes calls ready, which it is only with a network plugin.
    type: bool
    default: true
  force:
    description:
      - Whether to reboot although etcd loses its quorum, or has none. The Kubernetes API then stops until enough members are back.
      - The only member of etcd needs no force, as there is nobody it could have a quorum with.
    type: bool
    default: false
  wait_timeout:
    description:
      - Seconds that all nodes together have.
    type: int
    default: 900
seealso:
  - module: groundwork.homelab.talos_health
  - module: groundwork.homelab.talos_reset
"""

EXAMPLES = r"""
- name: Reboot the node through its firmware
  groundwork.homelab.talos_reboot:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    nodes:
      - name: talos-cp01
        address: 192.168.30.50
        type: controlplane
    mode: powercycle
"""

RETURN = r"""
nodes:
  description: The nodes, control plane nodes first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the node.
      type: str
      sample: talos-cp01
    address:
      description: Address of its Talos API.
      type: str
      sample: 192.168.30.50
    type:
      description: V(controlplane) or V(worker).
      type: str
      sample: controlplane
    stage:
      description: Stage when it was last seen.
      type: str
      sample: running
    boot_id:
      description: ID of its present boot. Empty when the client certificate does not allow reading it.
      type: str
      sample: 36e2e576-be92-468a-ada7-a1624f5a9d35
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
      description: V(restart).
      type: str
    note:
      description: How the node reboots.
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
    options.NODES,
    {
        "mode": {"type": "str", "choices": ["default", "powercycle", "force"], "default": "default"},
        "serial": {"type": "bool", "default": True},
        "wait_healthy": {"type": "bool", "default": True},
        "node_ready": {"type": "bool", "default": True},
        "force": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 900},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Judge whether all nodes may go, then let them."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
        operations,
    )

    reboot = operations.reboot(task)
    plan = reboot.plan()
    if not task.check_mode:
        reboot.apply(plan)
    return task.result(plan, nodes=reboot.report())


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
