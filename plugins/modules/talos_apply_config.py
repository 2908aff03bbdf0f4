#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_apply_config
short_description: Bring the machine configs of Talos nodes to what they shall be
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Renders the machine config of each node in memory, compares it with what the node has, and applies it where it differs.
  - A node in maintenance mode gets its first config. A node that runs gets changes, one node after the other.
  - Each node judges its config before any node gets one, so that a config which one node rejects changes nothing.
  - Refused when the machine at an address has the config of another one of O(nodes), or is of another type than it is to be, as when addresses were
    swapped. So is an address that is a virtual one of the cluster, and an install disk that a machine without Talos on its disk does not have. A
    machine that gets another name is warned of.
  - A change that needs a reboot of a control plane node is refused when etcd would lose its quorum by it, before any node gets its config and
    again at each node's turn. The next node's turn comes when etcd serves again on the one before.
  - Waits until each node's Talos API is back with the cluster's certificate, and after a change that needs a reboot until the node runs,
    or lacks nothing but a network plugin.
  - Control plane nodes come first. A worker's API stays silent until one of them is up, which is not taken for a fault.
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
  - groundwork.homelab.talos_cluster
attributes:
  diff_mode:
    details: Secrets are hidden, and so are all values that come from the secrets bundle.
options:
  mode:
    description:
      - How a running node takes a change. V(auto) lets the node reboot when the change needs it.
      - V(no_reboot) fails when the change needs a reboot.
      - V(staged) takes effect at the next reboot.
      - V(try) is undone after a minute, unless the same change is applied with another mode until then.
      - V(reboot) reboots always. Talos 1.14 does not know it any more.
      - A node in maintenance mode gets its first config with V(auto), and not with V(staged) or V(try).
    type: str
    choices: [auto, no_reboot, staged, try, reboot]
    default: auto
  planned_nodes:
    description:
      - Names of nodes that do not run yet, because an earlier task of the same check run would create them.
      - In check mode they are predicted to get their first config, and are not called. Without check mode this has no effect.
    type: list
    elements: str
    default: []
  wait_timeout:
    description:
      - Seconds that all nodes together have to answer, to take their config and to come back.
    type: int
    default: 600
seealso:
  - module: groundwork.homelab.talos_secrets
  - module: groundwork.homelab.talos_bootstrap
"""

EXAMPLES = r"""
- name: Configure the node
  groundwork.homelab.talos_apply_config:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    cluster:
      name: lab
      endpoint: https://192.168.30.50:6443
      installer_image: factory.talos.dev/nocloud-installer/ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515:v1.13.9
      allow_scheduling_on_control_planes: true
    nodes:
      - name: talos-cp01
        address: 192.168.30.50
        type: controlplane
    patches:
      - machine:
          time:
            servers: [192.168.30.1]
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
      description: Stage when it was last seen. V(planned) for nodes of O(planned_nodes), V(waiting for a control plane) for workers.
      type: str
      sample: booting
    changed:
      description: Whether its config was changed, or in check mode would be.
      type: bool
changes:
  description: The changes that were made, or in check mode would be. Secrets are hidden.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: Name of what changes.
      type: str
      sample: talos-config/talos-cp01
    action:
      description: V(create) or V(update).
      type: str
    before:
      description: What differs, as it was.
      type: dict
    after:
      description: What differs, as it is to be.
      type: dict
    note:
      description: What the change costs or why it is made.
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
    options.CLUSTER,
    {
        "mode": {"type": "str", "choices": ["auto", "no_reboot", "staged", "try", "reboot"], "default": "auto"},
        "planned_nodes": {"type": "list", "elements": "str", "default": []},
        "wait_timeout": {"type": "int", "default": 600},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Render, compare with the nodes, apply what differs."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
        apply,
        desired,
    )

    wanted = desired.from_task(task)
    rollout = desired.rollout(task, wanted)
    plan = rollout.plan(wanted.configs, task.params["planned_nodes"] if task.check_mode else [])
    if not task.check_mode:
        rollout.apply(plan)
    return task.result(plan, nodes=apply.report(wanted.configs, rollout.seen, plan))


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
