#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_config
short_description: Write machine configs and a talosconfig to files
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Renders the machine config of each node from the secrets bundle, the cluster's options and the patches, checks it, and writes it to a file.
  - The playbooks of this collection do not need these files, as M(groundwork.homelab.talos_apply_config) renders configs in memory.
    They are for people who boot machines with a config, or use C(talosctl).
  - The files hold secrets and have the mode V(0600).
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
  - groundwork.homelab.talos_cluster
attributes:
  diff_mode:
    details: Secrets are hidden.
options:
  dest:
    description:
      - Directory for the machine configs, one file C(<node name>.yaml) a node.
    type: path
  talosconfig_dest:
    description:
      - File for a talosconfig with an administrator's certificate and the control plane nodes as endpoints.
        It is made anew when its certificate has less than 30 days left.
      - A file there with several contexts is a person's own and is refused, unless it is as it should be.
    type: path
seealso:
  - module: groundwork.homelab.talos_apply_config
"""

EXAMPLES = r"""
- name: Write the configs to look at them
  groundwork.homelab.talos_config:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    dest: "{{ inventory_dir }}/secrets/configs"
    talosconfig_dest: "{{ inventory_dir }}/secrets/talosconfig"
    cluster:
      name: lab
      endpoint: https://192.168.30.50:6443
      allow_scheduling_on_control_planes: true
    nodes:
      - name: talos-cp01
        address: 192.168.30.50
        type: controlplane
    patches:
      - machine:
          sysctls:
            vm.nr_hugepages: "1024"
"""

RETURN = r"""
files:
  description: Paths of the files.
  returned: success
  type: list
  elements: str
  sample: [/home/me/lab/secrets/configs/talos-cp01.yaml]
changes:
  description: The changes that were made, or in check mode would be. Secrets are hidden.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: Name of what changes.
      type: str
      sample: talos-config-file//home/me/lab/secrets/configs/talos-cp01.yaml
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
        "dest": {"type": "path"},
        "talosconfig_dest": {"type": "path"},
    },
    required_one_of=[["dest", "talosconfig_dest"]],
)


def run(task: Task) -> dict[str, t.Any]:
    """Render, compare with the files, write those that differ."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
        config_files,
        desired,
    )

    wanted = desired.from_task(task)
    files = config_files.wanted_files(task, wanted)
    plan = config_files.plan(files, wanted.discretion)
    if not task.check_mode:
        config_files.write(plan)
    return task.result(plan, files=[str(file.path) for file in files])


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
