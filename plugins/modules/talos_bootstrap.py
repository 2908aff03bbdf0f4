#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_bootstrap
short_description: Bootstrap etcd on the first control plane node of a Talos cluster
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Makes one control plane node the first member of etcd, which starts the cluster. Other control plane nodes join by themselves.
  - Does nothing when etcd runs or has data, on the node or on another one of O(control_planes). A run that was cut off and is
    started again does not bootstrap a second time.
  - Waits until the node is ready to be bootstrapped, and afterwards until etcd runs.
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
options:
  node:
    description:
      - Address of the control plane node.
    type: str
    required: true
  node_name:
    description:
      - Name of the node, for messages. Its address by default.
    type: str
  control_planes:
    description:
      - Addresses of the cluster's control plane nodes. The node itself may be among them.
      - When one of the others runs etcd or has its data, the cluster is bootstrapped, and the node joins it by itself. Without this option
        a node that was made again, or that was put in front of the others, would become a second cluster.
      - The others have to answer before anything is bootstrapped, so that this is known. In check mode, those who do not answer are left out.
    type: list
    elements: str
    default: []
  cluster_name:
    description:
      - Name of the cluster, for messages and for the name of the change.
    type: str
    required: true
  planned:
    description:
      - Whether the node does not run yet, because an earlier task of the same check run would create or configure it.
      - In check mode the bootstrap is then predicted, and the node is not called. Without check mode this has no effect.
    type: bool
    default: false
  wait_timeout:
    description:
      - Seconds that the node has to become ready for the bootstrap, and etcd to run after it.
    type: int
    default: 300
seealso:
  - module: groundwork.homelab.talos_apply_config
  - module: groundwork.homelab.talos_health
"""

EXAMPLES = r"""
- name: Start the cluster
  groundwork.homelab.talos_bootstrap:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    node: 192.168.30.50
    control_planes: [192.168.30.50, 192.168.30.51, 192.168.30.52]
    cluster_name: lab
"""

RETURN = r"""
changes:
  description: The changes that were made, or in check mode would be. Secrets are hidden.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: Name of what changes.
      type: str
      sample: etcd/lab
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
    {
        "node": {"type": "str", "required": True},
        "node_name": {"type": "str"},
        "control_planes": {"type": "list", "elements": "str", "default": []},
        "cluster_name": {"type": "str", "required": True},
        "planned": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 300},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Look whether etcd has data, and bootstrap it when it has not."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
        operations,
    )

    bootstrap = operations.bootstrap(task)
    plan = bootstrap.plan(check_mode=task.check_mode, planned=task.params["planned"])
    if plan and not task.check_mode:
        bootstrap.apply()
    return task.result(plan)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
