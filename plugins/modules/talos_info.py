#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_info
short_description: Read what Talos nodes tell of themselves
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Asks any number of nodes, eight at a time, directly and not through an endpoint.
  - A node that does not answer has its error in its own entry, and the others are read all the same. O(on_error) makes it an error of the
    task.
  - A node in maintenance mode is read as far as it lets anybody read.
extends_documentation_fragment:
  - groundwork.homelab.attributes.read_only
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
options:
  nodes:
    description:
      - Nodes to ask. Each is an address, or a mapping with C(address) and C(name), as M(groundwork.homelab.talos_health) takes them.
      - The endpoints of the O(talosconfig) by default.
    type: list
    elements: raw
    default: []
  facts:
    description:
      - What to ask for besides the stage, which is one call for each node.
      - Each of V(version), V(hostname), V(type), V(services), V(links), V(addresses), V(extensions) and V(members) is one more call for each
        node. V(disks) is two.
      - V(members) are the nodes of the cluster as discovery knows them, so it is enough to ask one node.
    type: list
    elements: str
    choices: [version, hostname, type, services, disks, links, addresses, extensions, members]
    default: [version]
  resources:
    description:
      - COSI resources to read, as C(talosctl get) does. One more call for each node and entry.
    type: list
    elements: dict
    default: []
    suboptions:
      namespace:
        description: Namespace, such as V(runtime) or V(network).
        type: str
        required: true
      type:
        description: Full name of the type, such as V(MachineStatuses.runtime.talos.dev).
        type: str
        required: true
      id:
        description: Id of the one resource to read. All of the type by default.
        type: str
  sensitive:
    description:
      - Whether O(resources) may name types that hold secrets, such as V(MachineConfigs.config.talos.dev). The result then shows them, so set
        C(no_log) on the task.
    type: bool
    default: false
  on_error:
    description:
      - What to do when a node does not answer, or refuses a part of what it was asked.
      - V(warn) warns of each, and fails when no node answered. V(ignore) says nothing. V(fail) fails, and names all of them.
    type: str
    choices: [ignore, warn, fail]
    default: warn
"""

EXAMPLES = r"""
- name: Versions of the cluster's nodes
  groundwork.homelab.talos_info:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    nodes:
      - 192.168.30.50
  register: cluster

- name: Who is in the cluster, and what runs on its first node
  groundwork.homelab.talos_info:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    nodes:
      - name: talos-cp01
        address: 192.168.30.50
    facts: [type, services, disks, links, addresses, extensions, members]

- name: Routes, and the state of the machine, by their resources
  groundwork.homelab.talos_info:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    nodes: [192.168.30.50]
    facts: []
    resources:
      - namespace: network
        type: RouteStatuses.net.talos.dev
      - namespace: runtime
        type: MachineStatuses.runtime.talos.dev
        id: machine
    on_error: fail
"""

RETURN = r"""
nodes:
  description: The nodes, in the order of O(nodes).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the node, or its address when it was given none.
      type: str
      sample: talos-cp01
    address:
      description: Address that was asked.
      type: str
      sample: 192.168.30.50
    reachable:
      description: Whether the node answered.
      type: bool
    error:
      description:
        - Why it did not, with C(msg), C(kind), C(asked), C(of), C(answer) and C(hint).
        - C(refused) is V(true) when the machine is up and its API is not, as that of a worker whose control plane is not up.
      returned: when RV(nodes[].reachable=false)
      type: dict
    maintenance:
      description: Whether the node is in maintenance mode.
      type: bool
    stage:
      description: Stage of the machine.
      type: str
      sample: running
    ready:
      description: Whether Talos calls the machine ready.
      type: bool
    unmet:
      description: What it waits for.
      type: list
      elements: dict
    problems:
      description: Facts and resources that the node refused, with the reason.
      type: list
      elements: dict
    version:
      description: Talos version. With V(version) in O(facts), as are C(arch), C(platform) and C(mode).
      type: str
      sample: v1.13.9
    hostname:
      description: Host name. With V(hostname) in O(facts), as is C(domain).
      type: str
      sample: talos-cp01
    type:
      description: V(controlplane) or V(worker). With V(type) in O(facts).
      type: str
      sample: controlplane
    services:
      description: Services, with C(id), C(state), C(healthy), C(last_event) and C(health_message). With V(services) in O(facts).
      type: list
      elements: dict
    disks:
      description:
        - Disks, with C(name), C(path), C(size) in bytes, C(model), C(serial), C(wwid), C(transport), C(rotational), C(readonly), C(cdrom), and
          C(system) for the one that Talos is on. With V(disks) in O(facts).
      type: list
      elements: dict
    links:
      description: Network links, with C(name), C(type), C(kind), C(mac), C(mtu), C(up), C(state) and C(driver). With V(links) in O(facts).
      type: list
      elements: dict
    addresses:
      description: Addresses, with C(address) in CIDR form, C(link), C(family) and C(scope). With V(addresses) in O(facts).
      type: list
      elements: dict
    extensions:
      description: System extensions, with C(name), C(version), C(author) and C(description). With V(extensions) in O(facts).
      type: list
      elements: dict
    schematic:
      description: Id of the image's schematic. With V(extensions) in O(facts).
      type: str
    members:
      description:
        - Nodes of the cluster, with C(name), C(addresses), C(type), C(version), C(operating_system), C(node_id) and C(control_plane_port).
          With V(members) in O(facts).
      type: list
      elements: dict
    resources:
      description:
        - The O(resources), each with C(namespace), C(type), and as C(found) a list with C(id), C(version), C(phase), C(owner), C(labels) and
          C(spec).
      type: list
      elements: dict
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

SPEC = options.spec(
    options.CONNECTION,
    options.ASKED,
    {
        "facts": {
            "type": "list",
            "elements": "str",
            "choices": [
                "version",
                "hostname",
                "type",
                "services",
                "disks",
                "links",
                "addresses",
                "extensions",
                "members",
            ],
            "default": ["version"],
        },
        "resources": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "namespace": {"type": "str", "required": True},
                "type": {"type": "str", "required": True},
                "id": {"type": "str"},
            },
        },
        "sensitive": {"type": "bool", "default": False},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Ask all nodes at once."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import asking, info

    wanted = info.wanted_from(task.params["resources"], sensitive=task.params["sensitive"])
    nodes = asking.nodes_from(task)
    question = info.Question(asking.connector(task), task.params["facts"], wanted)
    answers = asking.each(nodes, question.ask)
    return task.result(Plan(), nodes=answers, silent=asking.judge(task, answers))


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
