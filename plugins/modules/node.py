#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node
short_description: Label, taint, cordon, drain and delete Kubernetes nodes
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Sets and removes labels, annotations and taints of nodes, and says whether pods may be scheduled on them.
  - Drains nodes through the Eviction API, so that PodDisruptionBudgets are kept, within a deadline. What blocks a drain is named, with the
    pod, the budget and since when.
  - Deletes Node objects.
  - The API server judges all changes of Node objects in a dry run before the first is made. Pods that must not be evicted are
    known before a node is cordoned, too.
extends_documentation_fragment:
  - groundwork.homelab.kubernetes
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_kubernetes
attributes:
  check_mode:
    details:
      - Pods that come to a node between the plan and its end are evicted too, and are among the changes then.
options:
  nodes:
    description:
      - The nodes. Each is a name, or a mapping with C(name) and any of C(labels), C(annotations), C(taints) and C(schedulable), which
        go before what the task's options of these names say for all nodes.
      - Nodes are drained one after the other in this order, after all of them were cordoned.
    type: list
    elements: raw
    required: true
  state:
    description:
      - V(present) sets what is given.
      - V(drained) does so too, cordons the nodes, and evicts their pods. Pods of DaemonSets and static pods stay.
      - V(absent) deletes the Node objects, and with them the pods that are still bound to them. Drain the node and power it off or reset
        it before. A kubelet that still runs registers its node again when it starts anew.
    type: str
    choices: [present, drained, absent]
    default: present
  labels:
    description:
      - Labels of all nodes. Null removes a label. Others are left alone.
    type: dict
  annotations:
    description:
      - Annotations of all nodes. Null removes an annotation. Others are left alone.
    type: dict
  taints:
    description:
      - Taints of all nodes. Others are left alone, unless O(purge_taints=true).
    type: list
    elements: dict
    suboptions:
      key:
        description: Name of the taint, such as V(example.com/gpu).
        type: str
        required: true
      value:
        description: Its value, if it has one.
        type: str
      effect:
        description:
          - What it does to pods that do not tolerate it.
          - Can be left out when it is to be removed. All taints of that name are removed then.
        type: str
        choices: [NoSchedule, PreferNoSchedule, NoExecute]
      state:
        description: Whether the node is to have it.
        type: str
        choices: [present, absent]
        default: present
  purge_taints:
    description:
      - Remove all taints that are not given, but those under C(node.kubernetes.io) and C(node.cloudprovider.kubernetes.io), which are the
        cluster's own.
    type: bool
    default: false
  schedulable:
    description:
      - Whether new pods may be scheduled. V(false) cordons, V(true) uncordons. Left as it is by default.
    type: bool
  delete_emptydir_data:
    description:
      - Evict pods with volumes of type C(emptyDir), too. What they hold is lost.
    type: bool
    default: false
  delete_unmanaged:
    description:
      - Evict pods that no controller would make again, too. They are lost.
    type: bool
    default: false
  bypass_budgets:
    description:
      - Delete the pods in place of evicting them, whatever their PodDisruptionBudgets say.
    type: bool
    default: false
  pod_selectors:
    description:
      - Selectors of labels. Only pods for which all of them hold are evicted.
      - For pods that must outlive others, such as V(longhorn.io/component!=instance-manager).
    type: list
    elements: str
    default: []
  grace_period:
    description:
      - Seconds that programs get to end. What their pods say by default. V(0) ends them at once.
    type: int
  skip_terminating_after:
    description:
      - Do not wait for pods that should have ended so many seconds ago. For nodes that do not answer any more. Each is warned of.
    type: float
  timeout:
    description:
      - Seconds for the drain of one node, or for the deletion of all.
    type: float
    default: 600
"""

EXAMPLES = r"""
- name: Say where the nodes stand, and keep one for the graphics card
  groundwork.homelab.node:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    labels:
      topology.kubernetes.io/region: home
    nodes:
      - talos-cp01
      - name: talos-w01
        labels:
          topology.kubernetes.io/zone: rack-1
        taints:
          - key: example.com/gpu
            effect: NoSchedule

- name: Drain the workers for an upgrade, one after the other
  groundwork.homelab.node:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    nodes: [talos-w01, talos-w02]
    state: drained
    delete_emptydir_data: true
    timeout: 900

- name: Use them again
  groundwork.homelab.node:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    nodes: [talos-w01, talos-w02]
    schedulable: true

- name: Remove a taint
  groundwork.homelab.node:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    nodes: [talos-w01]
    taints:
      - key: example.com/gpu
        state: absent

- name: Forget a node that was powered off for good
  groundwork.homelab.node:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    nodes: [talos-w02]
    state: absent
"""

RETURN = r"""
changes:
  description:
    - What was changed, or would be in check mode, in the order of the plan.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: C(Node/<name>), or C(Pod/<namespace>/<name>) for an eviction.
      type: str
      returned: always
    action:
      description: V(update) or V(delete).
      type: str
      returned: always
    before:
      description: The fields that differ, as they were. Of a pod, its node and its controller.
      type: dict
      returned: when there were any
    after:
      description: The fields that differ, as they become.
      type: dict
      returned: when there are any
    note:
      description: What else is to be known, such as which PodDisruptionBudget an eviction has to wait for.
      type: str
      returned: when there is something
  sample:
    - resource: Node/talos-w01
      action: update
      after:
        spec.unschedulable: true
      note: cordoned
    - resource: Pod/media/jellyfin-6d5f9-x2x7k
      action: delete
      before:
        node: talos-w01
        controller: ReplicaSet/jellyfin-6d5f9
      note: "evicted; has to wait: PodDisruptionBudget media/jellyfin needs 1 healthy pods and has 1"
nodes:
  description: The nodes, as they are (or, in check mode, would be) afterwards.
  returned: when O(state) is not V(absent)
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      type: str
    schedulable:
      description: Whether new pods may be scheduled.
      type: bool
    labels:
      description: All labels.
      type: dict
    taints:
      description: All taints.
      type: list
      elements: dict
stayed:
  description: The pods that a drain left on the nodes.
  returned: when O(state=drained)
  type: list
  elements: dict
  contains:
    pod:
      description: Namespace and name.
      type: str
    reason:
      description: Why it stays.
      type: str
  sample:
    - pod: kube-system/cilium-7xq2v
      reason: of DaemonSet cilium
error:
  description: What went wrong, in parts, as M(groundwork.homelab.manifests) has it.
  returned: failure
  type: dict
  contains:
    blocked:
      description: The pods that are left when the time is over, each with C(pod), C(reason) and, for a budget, C(seconds).
      type: list
      elements: dict
      returned: when a drain was not done in time
    forbidden:
      description: The pods that must not be evicted as the task stands, each with C(pod) and C(reason).
      type: list
      elements: dict
      returned: when there are such pods. Nothing was changed then.
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import (
    client,
    drain,
    kubeconfig,
    node_changes,
    node_run,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, Task, run_as_module

_TAINT: dict[str, dict[str, t.Any]] = {
    "key": {"type": "str", "required": True, "no_log": False},
    "value": {"type": "str"},
    "effect": {"type": "str", "choices": list(node_changes.EFFECTS)},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}

SPEC = Spec(
    argument_spec={
        **kubeconfig.argument_spec(),
        "nodes": {"type": "list", "elements": "raw", "required": True},
        "state": {"type": "str", "choices": ["present", "drained", "absent"], "default": "present"},
        "labels": {"type": "dict"},
        "annotations": {"type": "dict"},
        "taints": {"type": "list", "elements": "dict", "options": _TAINT},
        "purge_taints": {"type": "bool", "default": False},
        "schedulable": {"type": "bool"},
        "delete_emptydir_data": {"type": "bool", "default": False},
        "delete_unmanaged": {"type": "bool", "default": False},
        "bypass_budgets": {"type": "bool", "default": False},
        "pod_selectors": {"type": "list", "elements": "str", "default": []},
        "grace_period": {"type": "int"},
        "skip_terminating_after": {"type": "float"},
        "timeout": {"type": "float", "default": 600.0},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Read, plan, and apply unless in check mode."""
    params = task.params
    _check(params)
    wanted = node_changes.wanted_of(params)
    if params["state"] == "absent":
        node_changes.only_names(wanted, params)
    if params["state"] == "drained":
        wanted = node_changes.cordoned(wanted)
    cluster = client.connect(params, task.progress)
    task.secret(*cluster.access.secrets())
    nodes = node_run.Nodes(cluster, wanted, _options(params), task.warn)
    if params["state"] == "absent":
        plan = nodes.plan_removal()
        if not task.check_mode:
            nodes.remove(plan, params["timeout"])
        return task.result(plan)
    plan = nodes.plan_drain() if params["state"] == "drained" else nodes.plan()
    more: dict[str, t.Any] = {"stayed": nodes.stayed()} if params["state"] == "drained" else {}
    more["nodes"] = nodes.after()
    if not task.check_mode:
        plan = nodes.apply(plan, params["timeout"])
    return task.result(plan, **more)


def _check(params: dict[str, t.Any]) -> None:
    for name in ("timeout", "grace_period", "skip_terminating_after"):
        if params[name] is not None and params[name] < 0:
            raise InvalidInput(f"{name} is {params[name]:g}, it must not be negative")
    if any(not selector.strip() for selector in params["pod_selectors"]):
        raise InvalidInput("pod_selectors has an empty selector", hint="Leave it out to evict all pods.")


def _options(params: dict[str, t.Any]) -> drain.Options:
    return drain.Options(
        emptydir=params["delete_emptydir_data"],
        unmanaged=params["delete_unmanaged"],
        bypass_budgets=params["bypass_budgets"],
        grace=params["grace_period"],
        skip_after=params["skip_terminating_after"],
        selector=",".join(selector.strip() for selector in params["pod_selectors"]),
    )


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
