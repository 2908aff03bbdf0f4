#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_route
short_description: Routes of the Kubernetes Gateway API, accepted by their Gateways
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Makes HTTPRoutes, GRPCRoutes, TLSRoutes, TCPRoutes and UDPRoutes from hostnames, backends, parents and filters, any number of them in one task.
  - The version of the API is found by discovery. It is the newest in which the server has the kind.
  - It waits until each parent that a route names has accepted it and resolved what it refers to, or says why not, in the controller's words. A
    judgement that stays (no listener allows the route, no listener has such a hostname, a reference that is not granted) ends the wait within
    seconds. What may still come, such as a missing backend, is waited for.
  - Routes that are as wanted are not written.
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
  routes:
    description:
      - The routes.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: Kind of the route.
        type: str
        choices: [HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, UDPRoute]
        default: HTTPRoute
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
      hostnames:
        description:
          - Hostnames that the route is for. A V(TLSRoute) needs some, a V(TCPRoute) and a V(UDPRoute) have none.
        type: list
        elements: str
        default: []
      parents:
        description:
          - Whom the route attaches to. If left out, O(parents).
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the Gateway.
            type: str
            required: true
          namespace:
            description: Its namespace. If left out, the route's.
            type: str
          section:
            description: Name of one of its listeners. If left out, all of those that fit.
            type: str
          port:
            description: Port of the listeners.
            type: int
          kind:
            description: Kind of the parent.
            type: str
            default: Gateway
          group:
            description: API group of that kind.
            type: str
            default: gateway.networking.k8s.io
      backends:
        description:
          - Where the traffic goes.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the Service.
            type: str
            required: true
          port:
            description: Port of the Service.
            type: int
          namespace:
            description: Its namespace, if it is another than the route's. That must be granted there by a C(ReferenceGrant).
            type: str
          weight:
            description: Its part of the traffic, compared to the other backends'.
            type: int
            default: 1
          kind:
            description: Kind of the backend.
            type: str
            default: Service
          group:
            description: API group of that kind.
            type: str
            default: ''
      matches:
        description:
          - Which requests the route is for, of V(HTTPRoute) and V(GRPCRoute). One of them must match. By default all are.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: The request's path.
            type: str
          path_type:
            description: Whether O(routes[].matches[].path) is the beginning of the path, all of it, or a regular expression.
            type: str
            choices: [prefix, exact, regex]
            default: prefix
          method:
            description: The request's method, or of a V(GRPCRoute) the called one.
            type: str
          service:
            description: The called service, of a V(GRPCRoute).
            type: str
          headers:
            description: Headers that must have these values.
            type: dict
            default: {}
          query:
            description: Parameters of the query that must have these values.
            type: dict
            default: {}
      filters:
        description:
          - What is done to requests and responses on their way, of V(HTTPRoute) and V(GRPCRoute).
        type: dict
        suboptions:
          redirect:
            description: Answer with a redirect instead of a backend.
            type: dict
            suboptions:
              scheme:
                description: The new scheme.
                type: str
                choices: [http, https]
              hostname:
                description: The new hostname.
                type: str
              port:
                description: The new port.
                type: int
              path:
                description: The new path.
                type: str
              prefix:
                description: What takes the place of the path's matched beginning.
                type: str
              status:
                description: The status of the answer.
                type: int
                choices: [301, 302, 303, 307, 308]
                default: 302
          rewrite:
            description: Change the request's address.
            type: dict
            suboptions:
              hostname:
                description: The new hostname.
                type: str
              path:
                description: The new path.
                type: str
              prefix:
                description: What takes the place of the path's matched beginning.
                type: str
          request_headers:
            description: What is done to the headers of a request.
            type: dict
            suboptions:
              set:
                description: Headers that get these values.
                type: dict
                default: {}
              add:
                description: Headers that get these values besides those that they have.
                type: dict
                default: {}
              remove:
                description: Headers that are taken away.
                type: list
                elements: str
                default: []
          response_headers:
            description: What is done to the headers of a response.
            type: dict
            suboptions:
              set:
                description: Headers that get these values.
                type: dict
                default: {}
              add:
                description: Headers that get these values besides those that they have.
                type: dict
                default: {}
              remove:
                description: Headers that are taken away.
                type: list
                elements: str
                default: []
          mirror:
            description: A backend that gets a copy of each request.
            type: dict
            suboptions:
              name:
                description: Name of the Service.
                type: str
                required: true
              port:
                description: Port of the Service.
                type: int
              namespace:
                description: Its namespace, if it is another than the route's. That must be granted there by a C(ReferenceGrant).
                type: str
              weight:
                description: Its part of the traffic, compared to the other backends'.
                type: int
                default: 1
              kind:
                description: Kind of the backend.
                type: str
                default: Service
              group:
                description: API group of that kind.
                type: str
                default: ''
          others:
            description: Filters in the Gateway API's own form, such as V({"type":"ExtensionRef"}), after those above.
            type: list
            elements: dict
            default: []
      timeouts:
        description:
          - How long a request may take, of V(HTTPRoute).
        type: dict
        suboptions:
          request:
            description: From the request to the end of the answer, such as V(30s).
            type: str
          backend_request:
            description: Of one try of a backend.
            type: str
      rules:
        description:
          - The rules in the Gateway API's own form, instead of backends, matches, filters and timeouts.
        type: list
        elements: dict
  parents:
    description:
      - Whom those routes attach to that name no parents.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the Gateway.
        type: str
        required: true
      namespace:
        description: Its namespace. If left out, the route's.
        type: str
      section:
        description: Name of one of its listeners. If left out, all of those that fit.
        type: str
      port:
        description: Port of the listeners.
        type: int
      kind:
        description: Kind of the parent.
        type: str
        default: Gateway
      group:
        description: API group of that kind.
        type: str
        default: gateway.networking.k8s.io
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
      - Wait until the routes are accepted, or, if they are to be absent, gone.
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
  - module: groundwork.homelab.gateway
  - module: groundwork.homelab.ready
  - name: Gateway API
    description: What the fields mean.
    link: https://gateway-api.sigs.k8s.io/reference/spec/
"""

EXAMPLES = r"""
- name: Two applications behind the same Gateway, and everything else to HTTPS
  groundwork.homelab.gateway_route:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    namespace: media
    parents:
      - name: lab
        namespace: gateways
        section: https
    routes:
      - name: jellyfin
        hostnames: [jellyfin.lab.example.com]
        backends:
          - name: jellyfin
            port: 8096
      - name: photos
        hostnames: [photos.lab.example.com]
        matches:
          - path: /api
        filters:
          request_headers:
            set:
              X-Forwarded-Prefix: /api
          rewrite:
            prefix: /
        timeouts:
          request: 60s
        backends:
          - name: photos
            port: 80
      - name: to-https
        parents:
          - name: lab
            namespace: gateways
            section: http
        filters:
          redirect:
            scheme: https
            status: 301

- name: TLS that the backend itself terminates, and plain TCP
  groundwork.homelab.gateway_route:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    namespace: media
    routes:
      - kind: TLSRoute
        name: vault
        hostnames: [vault.lab.example.com]
        parents:
          - name: lab
            namespace: gateways
            section: passthrough
        backends:
          - name: vault
            port: 8200
      - kind: TCPRoute
        name: postgres
        parents:
          - name: lab
            namespace: gateways
            section: postgres
        backends:
          - name: postgres
            port: 5432

- name: Remove a route
  groundwork.homelab.gateway_route:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    routes:
      - name: photos
        namespace: media
        state: absent
"""

RETURN = r"""
routes:
  description: The routes that are there, in the order given.
  returned: success
  type: list
  elements: dict
  contains:
    resource:
      description: The route, as C(<Kind>/<namespace>/<name>).
      type: str
      returned: always
    api_version:
      description: The version of the API that was used.
      type: str
      returned: always
    hostnames:
      description: Its hostnames.
      type: list
      elements: str
      returned: always
    parents:
      description: Whom it is attached to.
      type: list
      elements: str
      returned: always
  sample:
    - resource: HTTPRoute/media/jellyfin
      api_version: gateway.networking.k8s.io/v1
      hostnames: [jellyfin.lab.example.com]
      parents: ["Gateway gateways/lab, listener https"]
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
    - resource: HTTPRoute/media/jellyfin
      action: update
      before:
        spec.hostnames: [jellyfin.example.com]
      after:
        spec.hostnames: [jellyfin.lab.example.com]
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

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import gateway_routes, gateway_run
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.gateway_spec import (
    PARENT,
    ROUTE,
    argument_spec,
    check_common,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, Task, run_as_module

SPEC = Spec(
    argument_spec=argument_spec(
        routes={"type": "list", "elements": "dict", "required": True, "options": ROUTE},
        parents={"type": "list", "elements": "dict", "default": [], "options": PARENT},
    ),
)


def run(task: Task) -> dict[str, t.Any]:
    """Read, plan, and apply unless in check mode."""
    check_common(task.params)
    work = gateway_run.Work(task, gateway_routes.objects_of, "routes", gateway_run.shown_route, gateway_run.ACCEPTED)
    return work.run()


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
