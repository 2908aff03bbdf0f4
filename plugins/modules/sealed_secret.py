#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sealed_secret
short_description: Seal Secrets for the sealed-secrets controller, without a cluster
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Seals the values of Kubernetes Secrets with the certificate of a sealed-secrets controller, as C(kubeseal) does, in process and
    without asking the cluster, unless O(fetch_certificate) says so. Writes the files that a GitOps repository wants, or returns objects for
    M(groundwork.homelab.manifests).
  - An unchanged value is not sealed anew. How this is known is up to O(sealing_key_file) or O(private_keys), one of which is needed.
    Nothing about it is kept in the SealedSecret or anywhere else.
  - Also seals existing files for a new certificate, and checks offline that files open.
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_secrets
  - groundwork.homelab.secrets
  - groundwork.homelab.kubernetes
attributes:
  diff_mode:
    details: Values are hidden, also sealed ones.
options:
  state:
    description:
      - V(present) seals O(secrets).
      - V(resealed) seals the values in O(files) for the certificate, if they are sealed for another one. Needs O(private_keys).
      - V(valid) changes nothing, and fails if a value in O(files) does not open with O(private_keys).
    type: str
    choices: [present, resealed, valid]
    default: present
  certificate_file:
    description:
      - The controller's certificate in PEM, such as M(groundwork.homelab.sealed_secrets_key) writes. Of several the first counts.
      - An expired one is refused, one that expires within 14 days is warned of.
    type: path
  certificate:
    description:
      - The text of the certificate, instead of O(certificate_file).
    type: str
  fetch_certificate:
    description:
      - Get the certificate from the controller, by way of the API server, as C(kubeseal) does without C(--cert).
      - When the controller makes a new key, what derives from O(sealing_key_file) is then sealed for it in the next run.
    type: bool
    default: false
  controller_name:
    description: Name of the controller's Service, for O(fetch_certificate).
    type: str
    default: sealed-secrets-controller
  controller_namespace:
    description: Namespace of the controller, for O(fetch_certificate).
    type: str
    default: kube-system
  sealing_key_file:
    description:
      - A file with 32 random bytes in base64, best in the lab's directory of secrets. It is made, with the mode V(0600), when it is not there.
      - What is random in a sealed value is then derived (by HMAC-SHA256) from this key, the value, its name, namespace, scope and the certificate.
        So an unchanged value has an unchanged text, on every machine that has the key. Without the key nobody can tell anything from the text.
      - Whoever has the key can try whether a sealed value is a certain one. Keep it as the values themselves. If it is lost, everything is sealed anew once.
    type: path
  private_keys:
    description:
      - Files with the controller's private keys. PEM, the Secrets that the controller keeps them in, or either encrypted with age (see O(age_key_file)).
      - With O(state=present), an existing text is kept if it opens to the same value with the key of the certificate.
      - With O(state=resealed), include the key of the new certificate, by which it is known what is sealed for it already.
    type: list
    elements: path
    default: []
  files:
    description:
      - Files with SealedSecrets, for O(state=resealed) and O(state=valid).
    type: list
    elements: path
    default: []
  secrets:
    description:
      - The Secrets to seal, for O(state=present).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the Secret. Needed without O(secrets[].definition).
        type: str
      namespace:
        description: Its namespace. Needed, unless the scope is V(cluster-wide).
        type: str
      contents:
        description:
          - The values by their names, as text. They win over those of O(secrets[].definition).
          - Values that a SealedSecret has and the task does not name are taken out of it.
        type: dict
      definition:
        description:
          - A whole Secret, as a mapping or as YAML. Its type, labels, annotations and whether it is immutable stand in the clear.
          - What kubectl noted about it when it was applied is left out, for it holds the values.
        type: raw
      scope:
        description:
          - Where the values open. V(strict) means only under this name and namespace, V(namespace-wide) under any name of the namespace.
          - By default what the annotations of O(secrets[].definition) say, or else V(strict).
        type: str
        choices: [strict, namespace-wide, cluster-wide]
      type:
        description: Type of the Secret, such as V(kubernetes.io/tls). What Kubernetes demands of its types is checked.
        type: str
      immutable:
        description: Whether the Secret is immutable.
        type: bool
      labels:
        description: Labels of the Secret.
        type: dict
      annotations:
        description: Annotations of the Secret.
        type: dict
      path:
        description:
          - The file to write, which then holds all SealedSecrets of this task with the same path, and nothing else.
          - If left out, the object is in RV(definitions) only.
        type: path
seealso:
  - module: groundwork.homelab.sealed_secrets_key
  - module: groundwork.homelab.manifests
  - name: Sealed Secrets
    description: The controller.
    link: https://github.com/bitnami-labs/sealed-secrets
"""

EXAMPLES = r"""
- name: Seal the passwords of two applications into the GitOps repository
  groundwork.homelab.sealed_secret:
    certificate_file: "{{ lab_secrets_dir }}/sealed-secrets.crt"
    sealing_key_file: "{{ lab_secrets_dir }}/sealing.key"
    secrets:
      - name: database
        namespace: media
        contents:
          username: jellyfin
          password: "{{ database_password }}"
        path: apps/media/database.sealed.yaml
      - name: smtp
        namespace: monitoring
        scope: namespace-wide
        contents:
          password: "{{ smtp_password }}"
        path: apps/monitoring/smtp.sealed.yaml

- name: Seal a Secret that is there as YAML, for whoever applies it
  groundwork.homelab.sealed_secret:
    certificate_file: "{{ lab_secrets_dir }}/sealed-secrets.crt"
    sealing_key_file: "{{ lab_secrets_dir }}/sealing.key"
    secrets:
      - definition:
          apiVersion: v1
          kind: Secret
          metadata:
            name: registry
            namespace: media
          stringData:
            token: "{{ registry_token }}"
  register: sealed

- name: Seal everything for the newest certificate
  groundwork.homelab.sealed_secret:
    state: resealed
    certificate_file: "{{ lab_secrets_dir }}/sealed-secrets.crt"
    private_keys:
      - "{{ lab_secrets_dir }}/sealed-secrets-keys.yaml"
    files:
      - apps/media/database.sealed.yaml
      - apps/monitoring/smtp.sealed.yaml

- name: Check that everything opens, before the old cluster is thrown away
  groundwork.homelab.sealed_secret:
    state: valid
    private_keys:
      - "{{ lab_secrets_dir }}/sealed-secrets-keys.yaml"
    files:
      - apps/media/database.sealed.yaml
"""

RETURN = r"""
changes:
  description:
    - What was changed, or would be in check mode. Secret values are hidden.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: What changes, such as C(SealedSecret/<namespace>/<name>).
      type: str
      returned: always
    action:
      description: V(create) or V(update).
      type: str
      returned: always
    before:
      description: What differs, as it was.
      type: dict
      returned: when there was anything
    after:
      description: What differs, as it becomes.
      type: dict
      returned: when there is anything
    note:
      description: What else is to be known about it.
      type: str
      returned: when there is something
definitions:
  description: The SealedSecrets that have no path, ready for M(groundwork.homelab.manifests).
  returned: success, with O(state=present)
  type: list
  elements: dict
  sample: []
sealed_secrets:
  description: What the task is about, changed or not.
  returned: success
  type: list
  elements: dict
  contains:
    resource:
      description: The object, as C(SealedSecret/<namespace>/<name>).
      type: str
      returned: always
    path:
      description: Its file.
      type: str
      returned: when it has one
    scope:
      description: Where its values open.
      type: str
      returned: always
    names:
      description: Names of its values.
      type: list
      elements: str
      returned: always
certificate_expires:
  description: Until when the certificate is valid, in UTC.
  returned: success, with a certificate
  type: str
  sample: "2036-11-18T10:00:00Z"
error:
  description: What went wrong, in parts.
  returned: failure
  type: dict
  contains:
    kind:
      description: What kind of failure it is, such as V(InvalidInput).
      type: str
      returned: always
    asked:
      description: What was asked.
      type: str
      returned: always
    answer:
      description: What is wrong.
      type: str
      returned: when something is known
    hint:
      description: What to try.
      type: str
      returned: when there is something
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import kubeconfig, sealing_certificate
from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import seal_task
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age_keys
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, Task, run_as_module

SPEC = Spec(
    argument_spec={
        **age_keys.argument_spec(),
        **kubeconfig.argument_spec(),
        "state": {"type": "str", "choices": ["present", "resealed", "valid"], "default": "present"},
        "certificate_file": {"type": "path"},
        "certificate": {"type": "str"},
        "fetch_certificate": {"type": "bool", "default": False},
        "controller_name": {"type": "str", "default": "sealed-secrets-controller"},
        "controller_namespace": {"type": "str", "default": "kube-system"},
        "sealing_key_file": {"type": "path", "no_log": False},
        "private_keys": {"type": "list", "elements": "path", "default": [], "no_log": False},
        "files": {"type": "list", "elements": "path", "default": []},
        "secrets": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "no_log": False,
            "options": {
                "name": {"type": "str"},
                "namespace": {"type": "str"},
                "contents": {"type": "dict", "no_log": True},
                "definition": {"type": "raw"},
                "scope": {"type": "str", "choices": ["strict", "namespace-wide", "cluster-wide"]},
                "type": {"type": "str"},
                "immutable": {"type": "bool"},
                "labels": {"type": "dict"},
                "annotations": {"type": "dict"},
                "path": {"type": "path"},
            },
        },
    },
    mutually_exclusive=[["certificate_file", "certificate"]],
)


def run(task: Task) -> dict[str, t.Any]:
    """Seal, seal anew, or check. This room does not know the cluster: it is given what the other one reads there."""
    certificate = None
    if task.params["fetch_certificate"]:
        seal_task.check_fetching(task.params)
        text = sealing_certificate.fetch(task.params, task.progress)
        certificate = seal_task.Given(text, f"the controller {task.params['controller_name']}")
    return seal_task.STATES[task.params["state"]](task, certificate)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
