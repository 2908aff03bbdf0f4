#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_kubeconfig
short_description: Keep the administrator's kubeconfig of a Talos cluster in a file
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Gets a kubeconfig from a control plane node and writes it to a file of its own with the mode V(0600). It is not merged into another one.
  - The file stays as it is when its server, user and certificate authority are the cluster's and its certificate has more than 30 days left.
    A certificate that is made for less than 90 days (C(cluster.adminKubeconfig.certLifetime)) is renewed in the last third of its time.
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
attributes:
  diff_mode:
    details: The content of the file is never shown.
options:
  node:
    description:
      - Address of a control plane node.
    type: str
    required: true
  node_name:
    description:
      - Name of the node, for messages. Its address by default.
    type: str
  dest:
    description:
      - Path of the kubeconfig. A file there with several contexts is a person's own and is refused, unless it is as it should be.
    type: path
    required: true
  planned:
    description:
      - Whether the cluster does not exist yet, because an earlier task of the same check run would create it.
      - In check mode the file is then predicted, and the node is not called. Without check mode this has no effect.
    type: bool
    default: false
  wait_timeout:
    description:
      - Seconds that the node has to answer.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Keep the kubeconfig
  groundwork.homelab.talos_kubeconfig:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    node: 192.168.30.50
    dest: "{{ inventory_dir }}/secrets/kubeconfig"
"""

RETURN = r"""
kubeconfig:
  description: Path of the kubeconfig.
  returned: success
  type: str
  sample: /home/me/lab/secrets/kubeconfig
changes:
  description: The changes that were made, or in check mode would be. Secrets are hidden.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: Name of what changes.
      type: str
      sample: kubeconfig//home/me/lab/secrets/kubeconfig
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
        "dest": {"type": "path", "required": True},
        "planned": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 300},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Compare the file with what the node issues, and write it when it is missing or stale."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
        operations,
    )

    kubeconfig = operations.kubeconfig(task)
    plan, text = kubeconfig.plan(check_mode=task.check_mode, planned=task.params["planned"])
    if plan and not task.check_mode:
        kubeconfig.write(plan, text)
    return task.result(plan, kubeconfig=str(kubeconfig.dest))


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
