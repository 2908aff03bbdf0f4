#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_task_info
short_description: Look up what nodes of Proxmox VE have done and are doing
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Lists the tasks of the nodes, the newest first. A task that failed, or ended with warnings, comes with the last lines of its log.
  - A node that is offline is said in RV(errors), and in a warning, and does not fail the task.
options:
  upid:
    description: Ids of tasks. No list is read then; the other options that pick tasks are not used.
    type: list
    elements: str
  node:
    description: Nodes whose tasks are listed. By default all.
    type: list
    elements: str
  vmid:
    description: Guest that the tasks work on.
    type: int
  type:
    description: Kind of task, such as V(qmstart) or V(vzdump).
    type: str
  user:
    description: Part of the name of who started the tasks.
    type: str
  state:
    description: State of the tasks. By default all.
    type: str
    choices: [running, ok, warnings, failed]
  since:
    description: Only tasks that began at this time or later, in seconds since 1970.
    type: int
  limit:
    description: How many tasks are read of each node, and returned at most.
    type: int
    default: 50
  log_lines:
    description: How many lines of a log are returned.
    type: int
    default: 8
  logs:
    description: Whether the log of each task is read, not only those of the tasks that failed.
    type: bool
    default: false
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes.read_only
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed - none for one's own tasks, Sys.Audit on C(/nodes/<node>) for those of others. What may not be seen is left
    out by the server.
seealso:
  - module: groundwork.homelab.proxmox_node_info
"""

EXAMPLES = r"""
- name: What failed lately, and why
  groundwork.homelab.proxmox_task_info:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    state: failed
  register: failed_tasks

- name: What works on a VM now
  groundwork.homelab.proxmox_task_info:
    vmid: 200
    state: running
"""

RETURN = r"""
tasks:
  description: The tasks, the newest first.
  returned: success
  type: list
  elements: dict
  contains:
    upid:
      description: Id.
      type: str
      sample: "UPID:pve1:000018AF:000B41C0:6B015CC2:qmcreate:200:root@pam:"
    node:
      description: Node.
      type: str
    type:
      description: Kind.
      type: str
      sample: qmcreate
    id:
      description: What it works on, such as the id of a guest.
      type: str
    user:
      description: Who started it.
      type: str
    started:
      description: When it began, in seconds since 1970.
      type: int
    ended:
      description: When it ended; 0 while it runs, and for tasks of O(upid), as the API does not tell it of these.
      type: int
    state:
      description: V(running), V(ok), V(warnings) or V(failed).
      type: str
    exit_status:
      description: V(OK), V(WARNINGS:) and their number, or the error; empty while it runs.
      type: str
    log:
      description: Last lines of its log.
      returned: it failed, or ended with warnings, or O(logs) is true
      type: list
      elements: str
errors:
  description: Node (or id of O(upid)) to why its tasks could not be read.
  returned: success
  type: dict
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.facts import task_facts
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_STRINGS: dict[str, t.Any] = {"type": "list", "elements": "str"}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "upid": _STRINGS,
        "node": _STRINGS,
        "vmid": {"type": "int"},
        "type": {"type": "str"},
        "user": {"type": "str"},
        "state": {"type": "str", "choices": ["running", "ok", "warnings", "failed"]},
        "since": {"type": "int"},
        "limit": {"type": "int", "default": 50},
        "log_lines": {"type": "int", "default": 8},
        "logs": {"type": "bool", "default": False},
    }
)


def run(task: Task) -> Result:
    return task_facts.look_up(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
