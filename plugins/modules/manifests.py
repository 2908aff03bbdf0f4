#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: manifests
short_description: Apply Kubernetes objects by server-side apply, and wait for them
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Applies any number of Kubernetes objects in one task, in an order that works (namespaces and CustomResourceDefinitions, then
    configuration, workloads, custom resources and webhooks).
  - What is already as wanted is not written. What is not is first judged by the API server in a dry run, all of it, so that one
    wrong object leaves the whole set unwritten.
  - What the server warns of, such as a deprecated apiVersion or a pod that the namespace's security level would not admit, is said as a
    warning, as C(kubectl) does.
  - Fields that an earlier run set, and the definition no longer has, are removed. Fields of others are left alone.
  - With O(inventory) and O(prune), whole objects that are no longer defined are deleted, too.
extends_documentation_fragment:
  - groundwork.homelab.kubernetes
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_kubernetes
attributes:
  check_mode:
    details:
      - A namespace or a kind that does not exist yet, and is not in the same task either, is taken as made by an earlier task, with a warning.
      - The server tries nothing in a namespace, or of a kind, that only this task makes. There it is asked, in every run, whether the
        kubeconfig's user may create such objects.
      - What the server cannot try because an admission webhook does not answer is taken as a run would make it, with a warning.
      - A right that the task itself gives to that user, by a RoleBinding or ClusterRoleBinding in an earlier wave, is taken as there, with a
        warning. What the server says to the objects that need it shows only when the binding is applied.
options:
  definitions:
    description:
      - The objects. Each is a mapping, or text with YAML documents. A C(List) stands for its members.
      - Secrets may use C(stringData); it is sent as C(data).
      - A field without a value says no more than one that is left out, but in custom resources, such as the values of a C(HelmRelease).
    type: list
    elements: raw
    default: []
  src:
    description:
      - Files with YAML or JSON documents, on the machine where the module runs (the controller, usually).
      - A folder stands for the files in it (not below it) that end in C(.yaml), C(.yml) or C(.json), in the order of their names.
    type: list
    elements: path
    default: []
  kustomize:
    description:
      - Folders with a C(kustomization.yaml), on the machine where the module runs. They are built without kustomize.
      - "Supported are C(resources) (files and folders), C(components), C(configMapGenerator), C(secretGenerator), C(generatorOptions),
        C(namespace), C(namePrefix), C(nameSuffix), C(labels), C(commonLabels), C(commonAnnotations), C(patches) (strategic merge and JSON
        patches), C(patchesStrategicMerge), C(patchesJson6902), C(images), C(replicas). Everything else is refused by its name: bases
        that are not on this machine, Helm charts, replacements, vars, plugins, C(configurations), C(crds), C(openapi)."
    type: list
    elements: path
    default: []
  urls:
    description:
      - Manifests to download, from the machine where the module runs, also in check mode. What was once downloaded is taken from
        C(~/.cache/groundwork-homelab/manifests) (or C($XDG_CACHE_HOME/groundwork-homelab/manifests)) as long as its checksum is right.
    type: list
    elements: dict
    default: []
    suboptions:
      url:
        description: Address of the manifest, C(https://) or C(http://).
        type: str
        required: true
      sha256:
        description: SHA-256 of the file, in hexadecimal digits. Required, unless O(urls[].unverified) is true.
        type: str
      unverified:
        description: Take whatever comes from there, and download it in every run.
        type: bool
        default: false
  state:
    description:
      - V(present) makes the objects as they are defined.
      - V(absent) deletes the objects that are named, and no others. Deleting a namespace deletes what is in it.
      - V(ready) applies nothing. It waits until the objects that are named exist and are ready, as O(wait) describes it; only
        C(apiVersion), C(kind) and C(metadata) of their definitions count. Check mode looks once, and warns of what is not ready.
    type: str
    choices:
      - present
      - absent
      - ready
    default: present
  namespace:
    description:
      - The namespace of objects of namespaced kinds that name none.
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
  adopt:
    description:
      - Take over fields that have the wanted values already, but that somebody else has set.
      - If V(false), an object that has all wanted values is left as it is, whoever manages them. This suits objects that others keep too,
        such as Nodes. A field that is no longer wanted is then only removed together with another change.
    type: bool
    default: true
  take_over:
    description:
      - Field managers whose whole record becomes that of O(field_manager), on the objects that are defined here. What they have set and
        the definition does not have is removed, as if it had been set here before. Their values are no conflict.
      - What was applied by C(kubectl apply) is taken over with V(kubectl-client-side-apply); the annotation with kubectl's copy of it is
        removed, so that a later C(kubectl apply) starts from what is there. By C(kubectl apply --server-side) it is V(kubectl), by
        M(kubernetes.core.k8s) V(OpenAPI-Generator), by Argo CD V(argocd-controller), by Flux V(kustomize-controller).
      - Give it with whole definitions only. C(kubectl get --show-managed-fields -o yaml) shows the managers of an object.
    type: list
    elements: str
    default: []
  downgrade:
    description:
      - What to do with a CustomResourceDefinition that is older than the one in the cluster. It is older if it lacks a version in which
        objects are stored, or the newest one, or if its release (such as C(gateway.networking.k8s.io/bundle-version)) is lower.
      - Where it names no release, it is older if it lacks fields that the one in the cluster has, and either an older C(controller-gen)
        wrote it, or it brings no field and no version of its own. What an upgrade loses is said in the note of its change.
      - V(refuse) is an error, before anything is written. V(keep) leaves the newer one as it is, with a warning.
    type: str
    choices:
      - refuse
      - keep
    default: refuse
  inventory:
    description:
      - A name under which the cluster keeps a record of what was applied, or C(namespace/name). It is the ConfigMap
        C(homelab-inventory-NAME), in V(kube-system) unless a namespace is given, which must exist, or be among the objects.
      - One inventory belongs to one set of objects. Another task that uses it, with O(prune), deletes what it does not define.
    type: str
  prune:
    description:
      - Delete what stands in O(inventory) and is defined no more, after everything else was applied (and with O(wait), is ready).
        Check mode lists it.
      - Only what was applied by O(field_manager) is deleted, never an object of the same name that somebody made anew. Namespaces,
        CustomResourceDefinitions, PersistentVolumeClaims and PersistentVolumes are kept unless O(prune_also) names them, and so are
        objects with the annotation C(groundwork.homelab/prune=false), or the one by which Helm, Argo CD or Flux would keep them.
      - What belongs to somebody else meanwhile is left to them with a warning, and leaves the inventory. That is what stands in another
        inventory, what Argo CD (C(argocd.argoproj.io/tracking-id)), Flux (the labels C(kustomize.toolkit.fluxcd.io/name) and
        C(helm.toolkit.fluxcd.io/name)) or Helm (C(meta.helm.sh/release-name)) marks as its own, and what another field manager has
        applied, too. Other inventories are looked for in all namespaces, or, without the right to list their ConfigMaps, in that of this one.
      - With O(state=absent), everything in the inventory is deleted, and no definitions are needed.
    type: bool
    default: false
  prune_also:
    description:
      - Kinds that O(prune) may delete, too.
    type: list
    elements: str
    choices:
      - Namespace
      - CustomResourceDefinition
      - PersistentVolumeClaim
      - PersistentVolume
    default: []
  wave_annotation:
    description:
      - The annotation with the number of an object's wave, 0 if it has none. Lower waves are applied first, and with O(wait), are ready
        before the next one, also those that an earlier run has applied. An empty text stands for no waves.
    type: str
    default: argocd.argoproj.io/sync-wave
  wait:
    description:
      - Wait until the objects are ready, or, with O(state=absent), gone. O(state=ready) always waits.
      - Objects are deleted in the opposite order in which they are applied. What has finalizers is gone before what comes after it is
        deleted, such as the controller that has to clear them, also if this is V(false); what is still there at the end of
        O(wait_timeout) is an error that names it and its finalizers. If this is V(true), that holds for all objects.
      - Deployments, StatefulSets and DaemonSets are ready when their current pods are, Jobs when they are complete, Pods, Services of
        type LoadBalancer, Namespaces, Nodes, APIServices and CustomResourceDefinitions by their status, and so are
        PersistentVolumeClaims, but for those that only wait for their first pod.
      - Gateways, their routes, the objects of Argo CD and Flux, certificates and sealed secrets are ready as M(groundwork.homelab.ready) says.
      - Objects of other kinds are ready when they exist, but if they have a condition C(Ready) or C(Available), that must be true.
      - What cannot become ready without help (an image that cannot be pulled, a program that ends again and again, a failed Job, an
        exceeded quota) ends the wait within seconds, with the cause.
      - A Node that has no network plugin is looked at likewise. Its cause is sought among the pods in the host's network that are in
        C(kube-system) or of the class C(system-node-critical), and among the failed Jobs of C(kube-system).
    type: bool
    default: false
  wait_timeout:
    description:
      - Seconds to wait for all of them.
    type: float
    default: 300
  planned:
    description:
      - Whether, in check mode, the cluster would be made by an earlier task. Nothing is asked then, and every object is a creation.
        With O(state=ready) nothing is waited for.
      - Without effect outside check mode.
    type: bool
    default: false
seealso:
  - name: Server-Side Apply
    description: How Kubernetes records who manages which field.
    link: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

EXAMPLES = r"""
- name: Make a namespace and a ConfigMap in it
  groundwork.homelab.manifests:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    definitions:
      - apiVersion: v1
        kind: Namespace
        metadata:
          name: media
      - apiVersion: v1
        kind: ConfigMap
        metadata:
          name: settings
          namespace: media
        data:
          timezone: Europe/Berlin

- name: Apply release manifests, and wait until everything runs
  groundwork.homelab.manifests:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    src:
      - files/crds.yaml
      - files/operator.yaml
    namespace: operators
    wait: true
    wait_timeout: 600

- name: Take over a Deployment that somebody made by hand
  groundwork.homelab.manifests:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    src:
      - files/jellyfin.yaml
    force_conflicts: true

- name: Wait until a node is Ready
  groundwork.homelab.manifests:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    state: ready
    definitions:
      - apiVersion: v1
        kind: Node
        metadata:
          name: talos-cp01

- name: Apply what a release's manifests and a kustomization hold, and delete what they held before and do not any more
  groundwork.homelab.manifests:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    urls:
      - url: https://charts.example.com/reloader/v1.4.0/reloader.yaml
        sha256: a45cc7c20cbfa83d7b2145994c864d1ae96517c8c61a7ca56a1137bc65263bfc
    kustomize:
      - files/media
    inventory: media
    prune: true
    wait: true

- name: Take over what was applied by kubectl, whole definitions at a time
  groundwork.homelab.manifests:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    src:
      - files/homepage
    take_over:
      - kubectl-client-side-apply

- name: Remove the ConfigMap
  groundwork.homelab.manifests:
    kubeconfig: "{{ lab_secrets_dir }}/kubeconfig"
    state: absent
    definitions:
      - apiVersion: v1
        kind: ConfigMap
        metadata:
          name: settings
          namespace: media
"""

RETURN = r"""
changes:
  description:
    - What was changed, or would be in check mode, in the order in which it is applied.
    - Values of Secrets are hidden.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: The object, as C(<Kind>/<namespace>/<name>) or C(<Kind>/<name>).
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
    - resource: Deployment/media/jellyfin
      action: update
      before:
        spec.template.spec.containers[jellyfin].image: jellyfin/jellyfin:10.10.0
      after:
        spec.template.spec.containers[jellyfin].image: jellyfin/jellyfin:10.11.0
objects:
  description:
    - The objects that the task is about, changed or not, in the order in which they are applied.
    - With O(state=ready), those that are ready.
  returned: success
  type: list
  elements: str
  sample:
    - Namespace/media
    - Deployment/media/jellyfin
kept:
  description: Objects of the inventory that are no longer defined, but were neither deleted nor made anew by somebody else, with the reason.
  returned: when there are any
  type: dict
  sample:
    Namespace/media: objects of the kind Namespace are only deleted when prune_also names it
error:
  description: What went wrong, in parts.
  returned: failure
  type: dict
  contains:
    kind:
      description: What kind of failure it is, such as V(NotFound) or V(TaskFailed).
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
      description: What came back.
      type: str
      returned: when something did
    hint:
      description: What to try.
      type: str
      returned: when there is something
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import HomelabError, InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import (
    client,
    collecting,
    documents,
    fetching,
    inventory,
    kinds,
    kubeconfig,
    manifests,
    readiness,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.items import Options
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import Plan
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, Task, run_as_module
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Deadline

SPEC = Spec(
    argument_spec={
        **kubeconfig.argument_spec(),
        "definitions": {"type": "list", "elements": "raw", "default": []},
        "src": {"type": "list", "elements": "path", "default": []},
        "kustomize": {"type": "list", "elements": "path", "default": []},
        "urls": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "url": {"type": "str", "required": True},
                "sha256": {"type": "str"},
                "unverified": {"type": "bool", "default": False},
            },
        },
        "state": {"type": "str", "choices": ["present", "absent", "ready"], "default": "present"},
        "namespace": {"type": "str"},
        "field_manager": {"type": "str", "default": "groundwork.homelab"},
        "force_conflicts": {"type": "bool", "default": False},
        "adopt": {"type": "bool", "default": True},
        "take_over": {"type": "list", "elements": "str", "default": []},
        "downgrade": {"type": "str", "choices": ["refuse", "keep"], "default": "refuse"},
        "inventory": {"type": "str"},
        "prune": {"type": "bool", "default": False},
        "prune_also": {"type": "list", "elements": "str", "choices": sorted(inventory.PROTECTED), "default": []},
        "wave_annotation": {"type": "str", "default": kinds.WAVE},
        "wait": {"type": "bool", "default": False},
        "wait_timeout": {"type": "float", "default": 300.0},
        "planned": {"type": "bool", "default": False},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Read, plan, and apply unless in check mode."""
    objects = _objects(task)
    _check(task.params)
    if task.check_mode and task.params["planned"]:
        return _predict(task, objects)
    cluster = client.connect(task.params, task.progress)
    task.secret(*cluster.access.secrets())
    work = manifests.Manifests(cluster, objects, _options(task, cluster.access.namespace), task.warn)
    if task.params["state"] == "absent":
        return _remove(task, work)
    if task.params["state"] == "ready":
        return _ready(task, work)
    return _apply(task, work)


def _options(task: Task, namespace: str) -> Options:
    params = task.params
    return Options(
        manager=params["field_manager"],
        force=params["force_conflicts"],
        namespace=params["namespace"] or namespace,
        predict=task.check_mode,
        adopt=params["adopt"],
        take_over=frozenset(params["take_over"]),
        keep_newer=params["downgrade"] == "keep",
        inventory=params["inventory"] or "",
        prune=params["prune"],
        prune_also=frozenset(params["prune_also"]),
        wave=params["wave_annotation"],
    )


def _objects(task: Task) -> list[dict[str, t.Any]]:
    """The objects; what their Secrets hold is kept out of everything that is said, also if they are wrong."""
    params = task.params
    task.secret(*fetching.passwords(params["urls"]))
    try:
        objects = collecting.collect(params["definitions"], params["src"], params["kustomize"], params["urls"])
    except InvalidInput:
        task.secret(*documents.given_secrets(task.params["definitions"]))
        raise
    task.secret(*documents.secret_texts(objects))
    return objects


def _check(params: dict[str, t.Any]) -> None:
    if not params["field_manager"] or len(params["field_manager"]) > 128:
        raise InvalidInput("field_manager must be a name of 1 to 128 characters")
    if params["wait_timeout"] < 0:
        raise InvalidInput(f"wait_timeout is {params['wait_timeout']:g}, it must not be negative")
    if params["prune"] and not params["inventory"]:
        raise InvalidInput(
            "prune needs an inventory", hint="It deletes what the inventory has, and is defined no more."
        )
    if params["inventory"]:
        inventory.place(params["inventory"])
    if params["field_manager"] in params["take_over"]:
        raise InvalidInput(f"take_over names {params['field_manager']}, which is the field_manager itself")


def _predict(task: Task, objects: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    if task.params["state"] != "present":
        return task.result(Plan(), objects=[])
    plan = manifests.predicted_plan(objects, _options(task, "default"))
    names = [change.resource for change in plan if change.operation is not None]
    return task.result(plan, objects=names)


def _apply(task: Task, work: manifests.Manifests) -> dict[str, t.Any]:
    plan = work.plan()
    if not task.check_mode:
        wait, deadline = task.params["wait"], Deadline(task.params["wait_timeout"])
        work.apply(plan, deadline, wait=wait)
        if wait:
            _after(plan, lambda: readiness.wait_until_ready(work.client, work.targets(), deadline))
    return _done(task, work, plan)


def _remove(task: Task, work: manifests.Manifests) -> dict[str, t.Any]:
    plan = work.plan_removal()
    if not task.check_mode:
        work.remove(plan, Deadline(task.params["wait_timeout"]), wait=task.params["wait"])
    return _done(task, work, plan)


def _done(task: Task, work: manifests.Manifests, plan: Plan) -> dict[str, t.Any]:
    kept = {entry.label: why for entry, why in sorted(work.kept.items())}
    return task.result(plan, objects=[item.label for item in work.items], **({"kept": kept} if kept else {}))


def _ready(task: Task, work: manifests.Manifests) -> dict[str, t.Any]:
    """Nothing is written. Check mode looks once: what it would wait for may be what a change before it would bring."""
    work.resolve()
    if not task.check_mode:
        readiness.wait_until_ready(work.client, work.targets(), Deadline(task.params["wait_timeout"]))
        return task.result(Plan(), objects=[item.label for item in work.items])
    ready = []
    for item in work.items:
        name = item.label
        reason = readiness.looked_at_once(work.client, item.target) if item.target else "its kind is not there"
        if reason:
            task.warn(f"{name} is not ready, a run would wait for it: {reason}.")
        else:
            ready.append(name)
    return task.result(Plan(), objects=ready)


def _after(plan: Plan, wait: t.Callable[[], None]) -> None:
    """A wait that fails tells what was changed before it."""
    try:
        wait()
    except HomelabError as error:
        error.made = plan.as_result()
        raise


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
