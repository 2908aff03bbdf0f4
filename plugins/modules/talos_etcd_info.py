#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_etcd_info
short_description: Read the state of a Talos cluster's etcd
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Asks the control plane nodes, all at once, for the status of their member, for the members that they know, and for alarms. That is three
    calls for each node.
  - Compares what they tell. Members that are not one of the nodes, or whose node does not answer, are named as dead, so that they can be
    removed before they cost the quorum.
  - A client certificate with the role V(os:etcd:backup) or V(os:reader) is enough.
extends_documentation_fragment:
  - groundwork.homelab.attributes.read_only
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
options:
  nodes:
    description:
      - All control plane nodes. Each is an address, or a mapping with C(address) and C(name), as M(groundwork.homelab.talos_health) takes
        them.
      - The endpoints of the O(talosconfig) by default.
    type: list
    elements: raw
    default: []
  on_error:
    description:
      - What to do when a node or its etcd does not answer.
      - V(warn) warns of each, and fails when no node answered. V(ignore) says nothing. V(fail) fails, and names all of them.
    type: str
    choices: [ignore, warn, fail]
    default: warn
"""

EXAMPLES = r"""
- name: Look at etcd
  groundwork.homelab.talos_etcd_info:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    nodes:
      - name: talos-cp01
        address: 192.168.30.50
  register: etcd

- name: Go on only when every member is well
  ansible.builtin.assert:
    that: etcd.healthy
    fail_msg: "{{ etcd.reasons | join(' ') }}"
"""

RETURN = r"""
healthy:
  description:
    - Whether all nodes answered and agree, all members are started voters of these nodes, and there is a leader, no alarm and no error.
  returned: success
  type: bool
reasons:
  description: Why it is not healthy, as sentences.
  returned: success
  type: list
  elements: str
  sample: []
leader:
  description: Name of the leader, if all agree on one.
  returned: success
  type: str
  sample: talos-cp01
quorum:
  description: How many members have a vote, must be alive, are alive, and may fail on top.
  returned: success
  type: dict
  contains:
    voters:
      description: Members with a vote.
      type: int
      sample: 3
    needed:
      description: How many of them must be alive.
      type: int
      sample: 2
    alive:
      description: How many of them answered.
      type: int
      sample: 3
    spare:
      description: How many more may fail.
      type: int
      sample: 1
members:
  description: The members of etcd that any node knows, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id in hexadecimal, as etcd writes it.
      type: str
      sample: 2528d8d4e1a2b3c6
    name:
      description: Name of the member, which is the node's host name. Empty when it has not started and its node is not known.
      type: str
      sample: talos-cp01
    node:
      description: Name of the node that it belongs to, none when that is not one of O(nodes).
      type: str
    peer_urls:
      description: Where other members reach it.
      type: list
      elements: str
    client_urls:
      description: Where clients reach it.
      type: list
      elements: str
    started:
      description: Whether it has ever started.
      type: bool
    learner:
      description: Whether it has no vote yet.
      type: bool
    leader:
      description: Whether a node names it as the leader.
      type: bool
    alarms:
      description: Its alarms, V(NOSPACE) or V(CORRUPT).
      type: list
      elements: str
    dead:
      description: Why it cannot be counted on. Empty when it can.
      type: str
    answered:
      description: Whether it told its status. What follows is there only then.
      type: bool
    version:
      description: Version of etcd.
      type: str
      sample: 3.6.8
    storage_version:
      description: Version of the form of its data.
      type: str
    db_size:
      description: Size of the database in bytes.
      type: int
    db_size_in_use:
      description: How many of these bytes are in use. The rest can be had back by defragmentation.
      type: int
    raft_index:
      description: Last entry of the log.
      type: int
    raft_applied_index:
      description: Last entry that is applied.
      type: int
    raft_term:
      description: Number of elections.
      type: int
    raft_lag:
      description: How many entries it is behind the member that is furthest. Answers are not of one moment, so a few mean nothing.
      type: int
    errors:
      description: What it reports.
      type: list
      elements: str
dead:
  description: Those of RV(members) that cannot be counted on.
  returned: success
  type: list
  elements: dict
  sample: []
nodes:
  description: The nodes that were asked.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the node.
      type: str
    address:
      description: Address that was asked.
      type: str
    reachable:
      description: Whether the node and its etcd answered.
      type: bool
    member_id:
      description: Id of its member.
      returned: when RV(nodes[].reachable=true)
      type: str
    error:
      description: Why it did not answer.
      returned: when RV(nodes[].reachable=false)
      type: dict
silent:
  description: Names of the nodes that did not answer.
  returned: success
  type: list
  elements: str
  sample: []
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

SPEC = options.spec(options.CONNECTION, options.ASKED)


def run(task: Task) -> dict[str, t.Any]:
    """Ask all control plane nodes at once, and compare what they tell."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import asking, etcd

    nodes = asking.nodes_from(task)
    answers = asking.each(nodes, etcd.Question(asking.connector(task)).ask)
    silent = asking.judge(task, answers)
    found = etcd.summary(nodes, answers)
    return task.result(Plan(), **found, nodes=etcd.shown(answers), silent=silent)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
