#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_info
short_description: Read Kubernetes objects of any kind
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Reads objects by kind, name, namespace, labels and fields. The server does the selecting.
  - A query costs one request, and one more for each O(page_size) objects after the first. Kinds that not every server has cost one more, for
    discovery, however many they are.
  - Several O(queries) are asked at the same time.
  - An object that is not there is no error. Its query has no resources then.
extends_documentation_fragment:
  - groundwork.homelab.kubernetes
  - groundwork.homelab.attributes.read_only
  - groundwork.homelab.attributes.actiongroup_kubernetes
options:
  api_version:
    description:
      - The API version of O(kind), such as V(apps/v1).
      - V(v1) by default.
    type: str
  kind:
    description:
      - The kind of the objects, such as V(Deployment).
    type: str
  name:
    description:
      - The name of the one object to read. All objects by default.
    type: str
  namespace:
    description:
      - The namespace of the objects. By default all namespaces, or, with O(name), the namespace of the kubeconfig's context or V(default).
      - Without effect for kinds that are in no namespace.
    type: str
  label_selectors:
    description:
      - Selectors of labels, such as V(app=jellyfin), V(tier!=cache), V(zone in (a, b)) or V(!canary). All of them must hold.
    type: list
    elements: str
  field_selectors:
    description:
      - Selectors of fields, such as V(status.phase=Running) or V(spec.nodeName=talos-cp01). All of them must hold.
      - The server has them for few fields of each kind.
    type: list
    elements: str
  queries:
    description:
      - Several queries, in place of O(kind) and the other options of one.
    type: list
    elements: dict
    suboptions:
      api_version:
        description: As O(api_version).
        type: str
      kind:
        description: As O(kind).
        type: str
        required: true
      name:
        description: As O(name).
        type: str
      namespace:
        description: As O(namespace).
        type: str
      label_selectors:
        description: As O(label_selectors).
        type: list
        elements: str
      field_selectors:
        description: As O(field_selectors).
        type: list
        elements: str
  show_secrets:
    description:
      - Show what objects of the kind C(Secret) hold, Base64-encoded as the server gives it. Otherwise their values are V((hidden\)).
      - The result is then treated as with C(no_log) on the task. It is not printed, and can be registered.
    type: bool
    default: false
  managed_fields:
    description:
      - Keep C(metadata.managedFields), the record of who has set which field.
    type: bool
    default: false
  page_size:
    description:
      - How many objects the server is asked for at once.
    type: int
    default: 500
  unknown_kinds:
    description:
      - What to do when the server does not have a kind.
      - V(fail) fails, and says which kinds it has. V(ignore) tells it by RV(queries[].served).
    type: str
    choices: [fail, ignore]
    default: fail
"""

EXAMPLES = r"""
- name: Pods of one node that do not run
  groundwork.homelab.kubernetes_info:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    kind: Pod
    field_selectors:
      - spec.nodeName=talos-cp01
      - status.phase!=Running
  register: pods

- name: What runs in a namespace, and what it is given
  groundwork.homelab.kubernetes_info:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    queries:
      - api_version: apps/v1
        kind: Deployment
        namespace: media
        label_selectors:
          - app.kubernetes.io/part-of=media
      - kind: ConfigMap
        namespace: media
      - kind: Node
        name: talos-cp01
  register: media

- name: Read a password
  groundwork.homelab.kubernetes_info:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    kind: Secret
    name: jellyfin
    namespace: media
    show_secrets: true
  register: secret

- name: Are there routes, in a cluster that may have no Gateway API
  groundwork.homelab.kubernetes_info:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    api_version: gateway.networking.k8s.io/v1
    kind: HTTPRoute
    unknown_kinds: ignore
  register: routes
"""

RETURN = r"""
resources:
  description: All objects of all queries, in the order of the queries and of the server.
  returned: success
  type: list
  elements: dict
  sample:
    - apiVersion: v1
      kind: ConfigMap
      metadata:
        name: settings
        namespace: media
      data:
        timezone: Europe/Berlin
queries:
  description: The queries one by one, with what they found.
  returned: success
  type: list
  elements: dict
  contains:
    api_version:
      description: The API version that was asked for.
      type: str
    kind:
      description: The kind that was asked for.
      type: str
    name:
      description: The name, if one was given.
      type: str
      returned: when given
    namespace:
      description: The namespace, if one was given.
      type: str
      returned: when given
    label_selector:
      description: The selectors of labels, as one.
      type: str
      returned: when given
    field_selector:
      description: The selectors of fields, as one.
      type: str
      returned: when given
    served:
      description: Whether the server has this kind.
      type: bool
    resources:
      description: The objects.
      type: list
      elements: dict
changes:
  description: Always empty, as this module only reads.
  returned: success
  type: list
  elements: dict
  sample: []
error:
  description: What went wrong, in parts, as M(groundwork.homelab.manifests) has it.
  returned: failure
  type: dict
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import client, info, kubeconfig
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import Plan
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, Task, run_as_module

_QUERY: dict[str, dict[str, t.Any]] = {
    "api_version": {"type": "str"},
    "name": {"type": "str"},
    "namespace": {"type": "str"},
    "label_selectors": {"type": "list", "elements": "str"},
    "field_selectors": {"type": "list", "elements": "str"},
}

SPEC = Spec(
    argument_spec={
        **kubeconfig.argument_spec(),
        **_QUERY,
        "kind": {"type": "str"},
        "queries": {
            "type": "list",
            "elements": "dict",
            "options": {**_QUERY, "kind": {"type": "str", "required": True}},
        },
        "show_secrets": {"type": "bool", "default": False, "no_log": False},
        "managed_fields": {"type": "bool", "default": False},
        "page_size": {"type": "int", "default": 500},
        "unknown_kinds": {"type": "str", "choices": ["fail", "ignore"], "default": "fail"},
    },
    mutually_exclusive=[["queries", option] for option in ("kind", *_QUERY)],
    required_one_of=[["kind", "queries"]],
)


def run(task: Task) -> dict[str, t.Any]:
    """Ask everything at once; nothing is ever written."""
    queries = info.queries_of(task.params)
    if not 1 <= task.params["page_size"] <= 10000:
        raise InvalidInput(f"page_size is {task.params['page_size']}, it must be 1 to 10000")
    options = info.Options(
        page=task.params["page_size"],
        secrets=task.params["show_secrets"],
        managed_fields=task.params["managed_fields"],
        lenient=task.params["unknown_kinds"] == "ignore",
    )
    cluster = client.connect(task.params, task.progress)
    task.secret(*cluster.access.secrets())
    found = info.ask(cluster, queries, options)
    resources = [live for one in found for live in one.objects]
    return task.result(Plan(), resources=resources, queries=[one.as_result() for one in found])


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
