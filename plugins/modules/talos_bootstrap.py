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
  - With O(recover_from), etcd gets the data of a snapshot. That is for a cluster whose etcd has lost its quorum for good, and does nothing where
    etcd serves.
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
        a node that was made again, or that was put in front of the others, could become a second cluster.
      - The others have to answer before anything is bootstrapped, so that this is known. In check mode, those who do not answer are left out.
      - Control plane nodes that are not listed, and that the node knows from Talos's discovery, are asked too. Those who do not answer are left out.
    type: list
    elements: str
    default: []
  cluster_name:
    description:
      - Name of the cluster, for messages and for the name of the change.
    type: str
    required: true
  recover_from:
    description:
      - Path of a snapshot of etcd, such as M(groundwork.homelab.talos_etcd_snapshot) makes. It is checked, brought to the node, and etcd begins
        with its data. The other control plane nodes join by themselves.
      - No control plane node may have data of the old etcd any more. One that has, and does not serve, is named, and nothing is done. Wipe it
        with M(groundwork.homelab.talos_reset), O(groundwork.homelab.talos_reset#module:partitions=[EPHEMERAL]) and without leaving etcd.
      - When etcd serves on one of them, there is nothing to recover, and nothing is done. So a run that was cut off can be repeated.
    type: path
  recover_skip_hash_check:
    description:
      - Whether O(recover_from) may be a copy of a member's database, which has no checksum.
    type: bool
    default: false
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
  - module: groundwork.homelab.talos_reset
"""

EXAMPLES = r"""
- name: Start the cluster
  groundwork.homelab.talos_bootstrap:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    node: 192.168.30.50
    control_planes: [192.168.30.50, 192.168.30.51, 192.168.30.52]
    cluster_name: lab

- name: Begin again from a snapshot after etcd's quorum was lost
  groundwork.homelab.talos_bootstrap:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    node: 192.168.30.50
    control_planes: [192.168.30.50, 192.168.30.51, 192.168.30.52]
    cluster_name: lab
    recover_from: "{{ inventory_dir }}/backups/etcd.snapshot"
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
        "recover_from": {"type": "path"},
        "recover_skip_hash_check": {"type": "bool", "default": False},
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
