#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway
short_description: Gateways of the Kubernetes Gateway API, programmed and with an address
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Makes Gateways from a class, listeners, certificates and addresses, any number of them in one task.
  - It waits until the controller has accepted each Gateway and all its listeners, has programmed them, and has given them an address, or says
    why not, in the controller's words.
  - Gateways that are as wanted are not written.
extends_documentation_fragment:
  - groundwork.homelab.kubernetes
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_kubernetes
attributes:
  check_mode:
    details:
      - A namespace or a kind that does not exist yet is taken as made by an earlier task, with a warning.
      - Nothing is waited for. Of what stays as it is, what is not ready is warned of.
notes:
  - Rights that are needed - C(get), C(list), C(watch), C(create) and C(patch) on the kinds, C(delete) for those that are to be absent.
options:
  gateways:
    description:
      - The Gateways.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      namespace:
        description: Its namespace. If left out, O(namespace).
        type: str
      labels:
        description: Its labels.
        type: dict
        default: {}
      annotations:
        description: Its annotations.
        type: dict
        default: {}
      state:
        description:
          - V(present) makes it as it is described, V(absent) deletes it. For the latter only its kind, name and namespace count.
        type: str
        choices: [present, absent]
        default: present
      class:
        description:
          - The GatewayClass, which says whose controller serves it. Needed unless the Gateway is to be absent.
        type: str
      listeners:
        description:
          - What it listens for. Needed unless the Gateway is to be absent.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the listener, by which routes choose it.
            type: str
            required: true
          protocol:
            description: The protocol.
            type: str
            choices: [HTTP, HTTPS, TLS, TCP, UDP]
            required: true
          port:
            description: The port. By default 80 for V(HTTP), 443 for V(HTTPS) and V(TLS).
            type: int
          hostname:
            description: The hostname, such as V(*.lab.example.com). If left out, all.
            type: str
          certificates:
            description:
              - Secrets of the type C(kubernetes.io/tls), as C(name) or C(namespace/name). One of another namespace must be granted there by a
                C(ReferenceGrant).
              - What is terminated needs some, unless O(gateways[].listeners[].tls_options) tells its controller where it gets them.
            type: list
            elements: str
            default: []
          tls_mode:
            description:
              - Whether TLS ends here, or is passed through to the backend (only with V(TLS)). By default V(terminate).
            type: str
            choices: [terminate, passthrough]
          tls_options:
            description: Options for TLS that the controller has.
            type: dict
            default: {}
          allowed_namespaces:
            description:
              - Whose routes may attach, those of the Gateway's own namespace, of all, or of those with
                O(gateways[].listeners[].allowed_namespace_labels).
            type: str
            choices: [same, all, selector]
            default: same
          allowed_namespace_labels:
            description: Labels that a namespace must have.
            type: dict
            default: {}
          allowed_routes:
            description: Kinds of routes that may attach. By default all that fit the protocol.
            type: list
            elements: str
            choices: [HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, UDPRoute]
            default: []
      addresses:
        description:
          - Addresses, or hostnames, that the Gateway wants. By default the controller chooses.
        type: list
        elements: str
        default: []
      infrastructure:
        description:
          - What the controller puts on, or takes for, the things that it makes for the Gateway, such as its Service.
        type: dict
        suboptions:
          labels:
            description: Labels.
            type: dict
            default: {}
          annotations:
            description: Annotations.
            type: dict
            default: {}
          parameters:
            description: An object with parameters.
            type: dict
            suboptions:
              group:
                description: API group of its kind.
                type: str
                required: true
              kind:
                description: Its kind.
                type: str
                required: true
              name:
                description: Its name.
                type: str
                required: true
  namespace:
    description:
      - The namespace of those that name none.
      - If left out, the one of the kubeconfig's context, or V(default).
    type: str
  field_manager:
    description:
      - Under which name the server records the fields that are set here.
    type: str
    default: groundwork.homelab
  force_conflicts:
    description:
      - Take over fields that another manager has set to something else. If V(false), such fields are an error that names them.
    type: bool
    default: false
  wait:
    description:
      - Wait until the Gateways are programmed and have an address, or, if they are to be absent, gone.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds to wait for all of them.
    type: float
    default: 120
  planned:
    description:
      - Whether, in check mode, the cluster would be made by an earlier task. Nothing is asked then, and everything is a creation.
      - Without effect outside check mode.
    type: bool
    default: false
seealso:
  - module: groundwork.homelab.gateway_route
  - module: groundwork.homelab.ready
  - name: Gateway API
    description: What the fields mean.
    link: https://gateway-api.sigs.k8s.io/reference/spec/
"""

EXAMPLES = r"""
- name: One Gateway for the lab
  groundwork.homelab.gateway:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    namespace: gateways
    gateways:
      - name: lab
        class: cilium
        listeners:
          - name: http
            protocol: HTTP
            allowed_namespaces: all
          - name: https
            protocol: HTTPS
            hostname: "*.lab.example.com"
            certificates: [lab-wildcard]
            allowed_namespaces: all
          - name: passthrough
            protocol: TLS
            port: 8443
            tls_mode: passthrough
            allowed_namespaces: selector
            allowed_namespace_labels:
              kubernetes.io/metadata.name: media
          - name: postgres
            protocol: TCP
            port: 5432
            allowed_namespaces: all
  register: made

- name: Show its address
  ansible.builtin.debug:
    msg: "{{ made.gateways[0].addresses | default('known once it runs') }}"

- name: Remove a Gateway that is no longer used
  groundwork.homelab.gateway:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    gateways:
      - name: old
        namespace: gateways
        state: absent
"""

RETURN = r"""
gateways:
  description: The Gateways that are there, in the order given.
  returned: success
  type: list
  elements: dict
  contains:
    resource:
      description: The Gateway, as C(Gateway/<namespace>/<name>).
      type: str
      returned: always
    api_version:
      description: The version of the API that was used.
      type: str
      returned: always
    class:
      description: Its class.
      type: str
      returned: always
    listeners:
      description: The names of its listeners.
      type: list
      elements: str
      returned: always
    addresses:
      description: The addresses that it has got.
      type: list
      elements: str
      returned: with O(wait), and in check mode for a Gateway that stays as it is
  sample:
    - resource: Gateway/gateways/lab
      api_version: gateway.networking.k8s.io/v1
      class: cilium
      listeners: [http, https]
      addresses: [192.168.30.80]
changes:
  description:
    - What was changed, or would be in check mode, in the order in which it is applied.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: The object, as C(<Kind>/<namespace>/<name>).
      type: str
      returned: always
    action:
      description: V(create), V(update) or V(delete).
      type: str
      returned: always
    before:
      description: The fields that differ, as they were; for a deletion the whole object.
      type: dict
      returned: when there were any
    after:
      description: The fields that differ, as they become; for a creation the whole object.
      type: dict
      returned: when there are any
    note:
      description: What else is to be known about it.
      type: str
      returned: when there is something
  sample:
    - resource: Gateway/gateways/lab
      action: update
      before:
        spec.listeners[https].hostname: "*.example.com"
      after:
        spec.listeners[https].hostname: "*.lab.example.com"
error:
  description: What went wrong, in parts.
  returned: failure
  type: dict
  contains:
    kind:
      description: V(WaitTimeout) at the deadline, V(TaskFailed) if a controller has refused something, or what else happened.
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
      description: The reasons in the controllers' words, or what came back.
      type: str
      returned: when there is something
    hint:
      description: What to try.
      type: str
      returned: when there is something
    waiting:
      description: All objects that were not ready then, each with its reason.
      type: list
      elements: dict
      returned: when there was a wait
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import gateway_objects, gateway_run
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.gateway_spec import (
    GATEWAY,
    argument_spec,
    check_common,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, Task, run_as_module

SPEC = Spec(
    argument_spec=argument_spec(
        gateways={"type": "list", "elements": "dict", "required": True, "options": GATEWAY},
    ),
)


def run(task: Task) -> dict[str, t.Any]:
    """Read, plan, and apply unless in check mode."""
    check_common(task.params)
    work = gateway_run.Work(
        task, gateway_objects.objects_of, "gateways", gateway_run.shown_gateway, gateway_run.PROGRAMMED
    )
    return work.run()


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
