#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_health
short_description: Wait until a Talos cluster is healthy
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Waits until each node runs with all services healthy, etcd has the control plane nodes as members and no others, the static
    pods of the control plane are up, and Kubernetes calls the nodes ready.
  - Fails as soon as waiting is pointless, with the cause. A service that failed, with its last lines. A static pod that crashes, with its exit
    code and its last lines. A static pod whose image does not come, but for a registry that does not answer, which gets a minute and a half. A
    machine that has no config, or another cluster's.
extends_documentation_fragment:
  - groundwork.homelab.attributes.read_only
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
options:
  nodes:
    description:
      - All nodes of the cluster.
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
  node_ready:
    description:
      - Whether to wait until Kubernetes calls the nodes ready, which they are only with a network plugin.
    type: bool
    default: true
  planned:
    description:
      - Whether the cluster does not exist yet, because an earlier task of the same check run would create it.
      - In check mode nothing is then waited for, and no node is called. Without check mode this has no effect.
    type: bool
    default: false
  wait_timeout:
    description:
      - Seconds that the cluster has to become healthy.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Wait for the cluster
  groundwork.homelab.talos_health:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    nodes:
      - name: talos-cp01
        address: 192.168.30.50
        type: controlplane
"""

RETURN = r"""
waited:
  description: Whether the nodes were looked at. V(false) in check mode with O(planned).
  returned: success
  type: bool
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
      description:
        - Stage of the machine, as it was seen. V(booting) is well where O(node_ready=false) and only a network plugin is missing.
        - V(planned) when it was not looked at.
      type: str
      sample: running
changes:
  description: Always empty, as this module only reads.
  returned: success
  type: list
  elements: dict
  sample: []
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.plan import Plan
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import options
from ansible_collections.groundwork.homelab.plugins.module_utils.task import (
    Task,
    run_as_module,
)

SPEC = options.spec(
    options.CONNECTION,
    {
        "nodes": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "address": {"type": "str", "required": True},
                "type": {"type": "str", "choices": ["controlplane", "worker"], "required": True},
            },
        },
        "node_ready": {"type": "bool", "default": True},
        "planned": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 600},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Look at all nodes until they are well, or one of them never will be."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
        operations,
    )

    if task.check_mode and task.params["planned"]:
        task.progress("the cluster does not exist yet: its health is not looked at")
        return task.result(Plan(), waited=False, nodes=operations.planned_nodes(task))
    return task.result(Plan(), waited=True, nodes=operations.health(task).wait())


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
