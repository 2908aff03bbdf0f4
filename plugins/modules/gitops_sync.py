#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gitops_sync
short_description: Have Argo CD and Flux do what their objects say, and wait for it
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Asks Argo CD to refresh and sync Applications, and Flux to reconcile Kustomizations, HelmReleases and their sources, and waits until
    they are synced and healthy.
  - When they do not become so, it says why, in the words of those who know. These are the message of the operation, the results of its
    resources and hooks, the conditions, the sources, and what keeps the applied objects from being ready.
  - What is synced to the wanted revision and healthy is not written to, unless O(refresh) asks for it.
  - All objects are worked on at the same time, sources before what is built of them.
  - Speaks with the Kubernetes API only. Argo CD's own server and the programs C(argocd) and C(flux) are not needed.
extends_documentation_fragment:
  - groundwork.homelab.kubernetes
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_kubernetes
attributes:
  idempotent:
    support: partial
    details:
      - With O(refresh), O(objects[].with_source), O(objects[].force) or O(objects[].reset) each run asks anew.
options:
  objects:
    description:
      - The objects to sync.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: The kind.
        type: str
        required: true
        choices: [Application, Kustomization, HelmRelease, GitRepository, OCIRepository, HelmRepository, HelmChart, Bucket]
      name:
        description: The name.
        type: str
        required: true
      namespace:
        description:
          - The namespace. V(argocd) for an Application, V(flux-system) for the others by default.
        type: str
      revision:
        description:
          - Where it has to be. By default where its definition says.
          - An Application is synced to it. When this is not what C(targetRevision) names, automated sync must be off. The Application then is
            compared with C(targetRevision) still, so that only the sync and the health are waited for. With O(refresh) a branch or tag is synced to
            anew in each run, as it may be another commit by then.
          - A commit that was pushed to C(targetRevision) a moment ago needs O(refresh=normal), which has Argo CD look for it.
          - Objects of Flux go where their sources are. There it is waited for, as a branch, a tag, (the beginning of) a commit or the version
            of a chart.
        type: str
      prune:
        description:
          - Delete what an Application no longer has in its source.
          - Where its automated sync prunes, so does this one, as Argo CD would not sync the same commit again to do it. Like Argo CD, it does not
            when nothing would be left, unless the policy has C(allowEmpty) or V(true) is given here.
        type: bool
        default: false
      sync_options:
        description:
          - Options of an Application's sync, such as V(ServerSideApply=true), in place of those of its sync policy.
        type: list
        elements: str
      with_source:
        description:
          - Have the source of a Kustomization or HelmRelease fetched first. Of a HelmRelease also its chart.
        type: bool
        default: false
      force:
        description: Have a HelmRelease installed or upgraded even if nothing has changed.
        type: bool
        default: false
      reset:
        description: Have a HelmRelease forget its failures, so that it is tried again when its retries are used up.
        type: bool
        default: false
  state:
    description:
      - V(synced) asks for what is missing, and waits.
      - V(suspended) stops Flux from reconciling the objects, V(resumed) lets it go on, and waits.
    type: str
    choices: [synced, suspended, resumed]
    default: synced
  refresh:
    description:
      - Whether to ask also where everything is as wanted, because the source may have changed.
      - V(normal) has Argo CD compare with the latest commit, and Flux reconcile. An Application is synced if it then differs.
      - V(hard) has Argo CD forget the manifests that it has generated, too.
    type: str
    choices: [never, normal, hard]
    default: never
  wait:
    description:
      - Wait until all are synced and healthy. Otherwise it only asks.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds to wait for all of them.
    type: float
    default: 300
seealso:
  - module: groundwork.homelab.manifests
  - module: groundwork.homelab.ready
"""

EXAMPLES = r"""
- name: Sync an Application, and delete what is no longer in its repository
  groundwork.homelab.gitops_sync:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    objects:
      - kind: Application
        name: media
        prune: true
    refresh: normal

- name: Have Flux fetch the repository and apply it
  groundwork.homelab.gitops_sync:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    objects:
      - kind: Kustomization
        name: apps
        with_source: true
    wait_timeout: 600

- name: Try a release again whose retries are used up
  groundwork.homelab.gitops_sync:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    objects:
      - kind: HelmRelease
        name: jellyfin
        namespace: media
        reset: true

- name: Keep Flux away while something is repaired by hand
  groundwork.homelab.gitops_sync:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    objects:
      - kind: Kustomization
        name: apps
    state: suspended

- name: Let it go on
  groundwork.homelab.gitops_sync:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    objects:
      - kind: Kustomization
        name: apps
    state: resumed
"""

RETURN = r"""
changes:
  description:
    - What was asked for, or would be in check mode, in that order.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: The object, as C(<Kind>/<namespace>/<name>).
      type: str
      returned: always
    action:
      description: V(update).
      type: str
      returned: always
    before:
      description: How it stood.
      type: dict
      returned: when that is known
    after:
      description: What is asked for, such as C(sync) with its revision, or C(reconcile).
      type: dict
      returned: always
    note:
      description: Why it is asked for.
      type: str
      returned: when there is a reason
  sample:
    - resource: Application/argocd/media
      action: update
      before:
        revision: 8b1c2f0a5d6e7f8091a2b3c4d5e6f708192a3b4c
        sync: OutOfSync
        health: Healthy
      after:
        sync:
          revision: main
          prune: true
      note: it is OutOfSync
objects:
  description:
    - How the objects stand, as they were last seen.
  returned: success
  type: list
  elements: dict
  contains:
    resource:
      description: The object, as C(<Kind>/<namespace>/<name>).
      type: str
    revision:
      description: The revision that it is at.
      type: str
      returned: when there is one
    sync:
      description: The sync status of an Application.
      type: str
      returned: for Applications
    health:
      description: The health of an Application.
      type: str
      returned: for Applications
    phase:
      description: The phase of an Application's last operation.
      type: str
      returned: when there was one
    ready:
      description: The status of the condition C(Ready) of an object of Flux.
      type: str
      returned: for objects of Flux
    suspended:
      description: Whether Flux leaves it alone.
      type: bool
      returned: when it is
    message:
      description: What the operation or the condition says.
      type: str
      returned: when it says something
error:
  description: What went wrong, in parts, as M(groundwork.homelab.manifests) has it.
  returned: failure
  type: dict
  contains:
    waiting:
      description: The objects that were not there, each with C(resource), C(reason) and, where more was found out, C(causes).
      type: list
      elements: dict
      returned: when a wait failed
"""

import datetime
import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import (
    client,
    gitops,
    gitops_inputs,
    kubeconfig,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, Task, run_as_module
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Deadline

_FLAG = {"type": "bool", "default": False}
_OBJECT: dict[str, dict[str, t.Any]] = {
    "kind": {
        "type": "str",
        "required": True,
        "choices": [
            "Application", "Kustomization", "HelmRelease", "GitRepository", "OCIRepository", "HelmRepository", "HelmChart",
            "Bucket",
        ],
    },
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str"},
    "revision": {"type": "str"},
    "prune": _FLAG,
    "sync_options": {"type": "list", "elements": "str"},
    "with_source": _FLAG,
    "force": _FLAG,
    "reset": _FLAG,
}  # fmt: skip

SPEC = Spec(
    argument_spec={
        **kubeconfig.argument_spec(),
        "objects": {"type": "list", "elements": "dict", "required": True, "options": _OBJECT},
        "state": {"type": "str", "choices": ["synced", "suspended", "resumed"], "default": "synced"},
        "refresh": {"type": "str", "choices": ["never", "normal", "hard"], "default": "never"},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "float", "default": 300.0},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Read, plan, and ask unless in check mode."""
    params = task.params
    if params["wait_timeout"] < 0:
        raise InvalidInput(f"wait_timeout is {params['wait_timeout']:g}, it must not be negative")
    asked = gitops_inputs.asked_of(params)
    cluster = client.connect(params, task.progress)
    task.secret(*cluster.access.secrets())
    token = datetime.datetime.now(datetime.timezone.utc).isoformat()
    options = gitops.Options(params["state"], params["refresh"], token, params["wait"])
    work = gitops.Gitops(cluster, asked, options)
    plan = work.plan()
    if not task.check_mode:
        work.apply(plan, Deadline(params["wait_timeout"]))
        plan = work.done(plan)
    return task.result(plan, objects=work.stand())


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
