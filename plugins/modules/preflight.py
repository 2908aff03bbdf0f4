#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check a lab's variables before anything is called
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Checks all variables of a lab against one schema and against each other. Asks no server, writes nothing.
  - Says all problems at once. Each with the variable, its value, what was expected, and the nearest right spelling where a name is unknown.
  - Values of secrets are neither needed nor shown.
options:
  inventory:
    description:
      - The lab's hosts and variables, as the filter P(groundwork.homelab.lab_inventory#filter) makes them.
    type: dict
    required: true
    suboptions:
      groups:
        description: Names of the groups V(proxmox), V(talos_control_planes) and V(talos_workers), each with its hosts.
        type: dict
        required: true
      hosts:
        description: Each host with its variables.
        type: dict
        required: true
      unreadable:
        description: Each host with the variables whose templates fail, and why.
        type: dict
        default: {}
      folder:
        description: Folder of the inventory.
        type: str
        default: ""
extends_documentation_fragment:
  - groundwork.homelab.attributes.read_only
seealso:
  - plugin: groundwork.homelab.lab_inventory
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Check the lab's variables
  groundwork.homelab.preflight:
    inventory: "{{ hostvars | groundwork.homelab.lab_inventory(groups) }}"
"""

RETURN = r"""
problems:
  description: What is wrong. The task fails when there is anything.
  returned: always
  type: list
  elements: dict
  contains:
    variable:
      description: The variable, with the path inside it.
      type: str
      sample: lab_networks.homelab.gateway
    where:
      description: The host that it is set for, V(all hosts), or V(the lab).
      type: str
    value:
      description: Its value, where that may be shown.
      type: str
    expected:
      description: What was expected instead.
      type: str
    hint:
      description: What may help.
      type: str
advice:
  description: What is allowed, but likely not meant. Shown as warnings too.
  returned: always
  type: list
  elements: str
machines:
  description: Number of machines that were checked.
  returned: success
  type: int
  sample: 1
changes:
  description: Always empty, as this module only reads.
  returned: success
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.lab.checks import examine
from ansible_collections.groundwork.homelab.plugins.module_utils.lab.inventory import Inventory
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import Plan
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

SPEC = Spec(
    argument_spec={
        "inventory": {
            "type": "dict",
            "required": True,
            "options": {
                "groups": {"type": "dict", "required": True},
                "hosts": {"type": "dict", "required": True},
                "unreadable": {"type": "dict", "default": {}},
                "folder": {"type": "str", "default": ""},
            },
        }
    }
)


def run(task: Task) -> Result:
    inventory = Inventory.from_mapping(task.params["inventory"])
    findings = examine(inventory)
    for warning in findings.warnings:
        task.warn(warning)
    if findings.problems:
        raise InvalidInput(
            "\n".join(
                [
                    f"{len(findings.problems)} problem(s) in the lab's variables; nothing was called:",
                    *(f"- {problem.text}" for problem in findings.problems),
                ]
            ),
            problems=[problem.as_result() for problem in findings.problems],
            advice=list(findings.warnings),
        )
    return task.result(Plan(), problems=[], advice=list(findings.warnings), machines=len(inventory.machines))


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
