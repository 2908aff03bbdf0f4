#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ready
short_description: Wait until Kubernetes objects are ready, whoever applied them
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Waits for any number of objects at once, named by reference, by selector, or by the manifests that somebody else applied.
  - Each kind is read once and then watched, so that what becomes ready is noticed at once, with one connection for a kind.
  - What is not ready yet is told with the reason, in the words of whoever knows it. The pod's waiting message, the controller's condition, the
    Gateway that does not accept a route, the latest event.
  - What cannot become ready without help (an image that cannot be pulled, a failed Job, a route that no listener allows, a sync that
    failed) ends the wait within seconds, with the cause.
extends_documentation_fragment:
  - groundwork.homelab.kubernetes
  - groundwork.homelab.attributes.read_only
  - groundwork.homelab.attributes.actiongroup_kubernetes
attributes:
  check_mode:
    details:
      - Check mode looks once, warns of what is not ready, and does not fail for it.
notes:
  - Rights that are needed - C(get), C(list) and C(watch) on the kinds. Without C(watch), and without C(list) where objects have names, the
    objects are asked for again and again instead. With C(list) on pods, events and replicasets the reasons are better.
options:
  objects:
    description:
      - What to wait for. Each is one object by its name, or all that a selector finds.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description:
          - The kind, as manifests write it, such as V(Deployment).
        type: str
        required: true
      api_version:
        description:
          - The group and version of the kind, or the group alone for the newest version that the server has.
          - May be left out for Kubernetes' own kinds, and for those of the Gateway API, cert-manager, Argo CD, Flux, sealed-secrets,
            Cilium's address pools and volume snapshots.
          - A kind that the server does not have yet is waited for too, unless it is Kubernetes' own.
        type: str
      name:
        description:
          - The name of one object.
        type: str
      namespace:
        description:
          - The namespace. If left out, O(namespace).
        type: str
      all_namespaces:
        description:
          - Whether the selector is for all namespaces.
        type: bool
        default: false
      selector:
        description:
          - A label selector as C(kubectl) takes it, such as V(app=web,tier!=cache). An empty one means all objects of the kind.
        type: str
      at_least:
        description:
          - How many objects the selector must find. All that it finds must be ready. By default 1.
        type: int
      conditions:
        description:
          - Conditions of the status that must hold, all of them, instead of what is usually meant by ready.
        type: list
        elements: dict
        default: []
        suboptions:
          type:
            description:
              - The condition's type, such as V(Available).
            type: str
            required: true
          status:
            description:
              - Its status.
            type: str
            choices: ['True', 'False', 'Unknown']
            default: 'True'
          reason:
            description:
              - Its reason, if that matters.
            type: str
      state:
        description:
          - V(ready) waits until the object is ready, V(present) until it exists, V(absent) until it does not.
          - Deployments, StatefulSets, DaemonSets and ReplicaSets are ready when their current pods are, Jobs when they are complete,
            PersistentVolumeClaims when they are bound (or only wait for their first pod), Services of type LoadBalancer and Gateways when
            they have an address, Gateways moreover when they and all their listeners are programmed, routes when each parent that they name
            accepts them and resolves their references, Argo CD's applications when they are compared, synced and healthy, Flux's objects when
            they are Ready for their latest change, certificates and issuers likewise, sealed secrets when they are unsealed, Pods,
            Namespaces, Nodes, APIServices and CustomResourceDefinitions by their status.
          - Objects of other kinds are ready when they exist, but if they have a condition C(Ready) or C(Available), that must be true.
        type: str
        choices: [ready, present, absent]
        default: ready
  definitions:
    description:
      - Objects that are waited for until they are ready, as manifests. Only C(apiVersion), C(kind), C(name) and C(namespace) count.
    type: list
    elements: raw
    default: []
  src:
    description:
      - Files with manifests, and folders of such files, of which the same holds, on the machine where the module runs (the controller, usually).
    type: list
    elements: path
    default: []
  namespace:
    description:
      - The namespace of objects of namespaced kinds that name none.
      - If left out, the one of the kubeconfig's context, or V(default).
    type: str
  wait_timeout:
    description:
      - Seconds to wait for all of them. With V(0) they are looked at once.
    type: float
    default: 300
  planned:
    description:
      - Whether, in check mode, the cluster would be made by an earlier task. Nothing is asked then.
      - Without effect outside check mode.
    type: bool
    default: false
seealso:
  - module: groundwork.homelab.manifests
"""

EXAMPLES = r"""
- name: Wait for what somebody applied with kubectl
  groundwork.homelab.ready:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    namespace: media
    objects:
      - kind: Deployment
        name: jellyfin
      - kind: HTTPRoute
        name: jellyfin
      - kind: PersistentVolumeClaim
        selector: app=jellyfin
    wait_timeout: 600

- name: Wait until Argo CD has synced all applications, at least three of them
  groundwork.homelab.ready:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    objects:
      - kind: Application
        namespace: argocd
        selector: ""
        at_least: 3

- name: Wait for any condition of any kind
  groundwork.homelab.ready:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    objects:
      - kind: Deployment
        namespace: media
        name: jellyfin
        conditions:
          - type: Progressing
            reason: NewReplicaSetAvailable

- name: Wait until the release's own manifests are ready, and a one-time job is gone
  groundwork.homelab.ready:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    src:
      - files/operator.yaml
    objects:
      - kind: Job
        namespace: media
        name: migrate
        state: absent
"""

RETURN = r"""
objects:
  description:
    - What was waited for, in the order given, those of O(definitions) and O(src) last.
  returned: success
  type: list
  elements: dict
  contains:
    resource:
      description: The object, as C(<Kind>/<namespace>/<name>) or C(<Kind>/<name>), with the selector in brackets in the name's place.
      type: str
      returned: always
    ready:
      description: Whether it is ready. Always V(true) outside check mode.
      type: bool
      returned: always
    reason:
      description: Why it is not.
      type: str
      returned: when it is not ready
    found:
      description: The objects that the selector found.
      type: list
      elements: str
      returned: with a selector
    addresses:
      description: The addresses of a Gateway, or of a Service of type LoadBalancer.
      type: list
      elements: str
      returned: when it has some
  sample:
    - resource: Gateway/lab/main
      ready: true
      addresses: [192.168.30.80]
changes:
  description: Nothing is changed.
  returned: always
  type: list
  elements: dict
  sample: []
error:
  description: What went wrong, in parts.
  returned: failure
  type: dict
  contains:
    kind:
      description: V(WaitTimeout) at the deadline, V(TaskFailed) if something has failed, or what else happened.
      type: str
      returned: always
    asked:
      description: What was asked.
      type: str
      returned: always
    of:
      description: Of whom.
      type: str
      returned: when somebody was asked
    answer:
      description: The reasons, or what came back.
      type: str
      returned: when there is something
    hint:
      description: What to try.
      type: str
      returned: when there is something
    waiting:
      description: All objects that were not ready then.
      type: list
      elements: dict
      returned: when there was a wait
      contains:
        resource:
          description: The object.
          type: str
          returned: always
        reason:
          description: Why it is not ready.
          type: str
          returned: always
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import (
    client,
    documents,
    kubeconfig,
    readiness,
    readiness_inputs,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import Plan
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, Task, run_as_module
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Deadline

CONDITION = {
    "type": {"type": "str", "required": True},
    "status": {"type": "str", "choices": ["True", "False", "Unknown"], "default": "True"},
    "reason": {"type": "str"},
}
OBJECT = {
    "kind": {"type": "str", "required": True},
    "api_version": {"type": "str"},
    "name": {"type": "str"},
    "namespace": {"type": "str"},
    "all_namespaces": {"type": "bool", "default": False},
    "selector": {"type": "str"},
    "at_least": {"type": "int"},
    "conditions": {"type": "list", "elements": "dict", "default": [], "options": CONDITION},
    "state": {"type": "str", "choices": ["ready", "present", "absent"], "default": "ready"},
}
SPEC = Spec(
    argument_spec={
        **kubeconfig.argument_spec(),
        "objects": {"type": "list", "elements": "dict", "default": [], "options": OBJECT},
        "definitions": {"type": "list", "elements": "raw", "default": []},
        "src": {"type": "list", "elements": "path", "default": []},
        "namespace": {"type": "str"},
        "wait_timeout": {"type": "float", "default": 300.0},
        "planned": {"type": "bool", "default": False},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Wait, or in check mode look once."""
    task.secret(*documents.given_secrets(task.params["definitions"]))
    # All input is checked before anybody is asked; the namespace that is the default is in the kubeconfig.
    readiness_inputs.wants_of(task.params, task.params["namespace"] or "default")
    if task.check_mode and task.params["planned"]:
        return task.result(Plan(), objects=[])
    cluster = client.connect(task.params, task.progress)
    task.secret(*cluster.access.secrets())
    wants = readiness_inputs.wants_of(task.params, task.params["namespace"] or cluster.access.namespace)
    readiness.check_kinds(cluster, wants)
    if task.check_mode:
        return _look(task, cluster, wants)
    outcomes = readiness.wait(cluster, wants, Deadline(task.params["wait_timeout"]))
    return task.result(Plan(), objects=[readiness_inputs.shown(one) for one in outcomes])


def _look(task: Task, cluster: client.Client, wants: list[readiness.Want]) -> dict[str, t.Any]:
    outcomes = readiness.look(cluster, wants)
    for one in outcomes:
        if one.failed:
            task.warn(f"{one.want.label} is not ready, and a run would fail: {one.reason}.")
        elif one.reason:
            task.warn(f"{one.want.label} is not ready, a run would wait for it: {one.reason}.")
    return task.result(Plan(), objects=[readiness_inputs.shown(one) for one in outcomes])


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
