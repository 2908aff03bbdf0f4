#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sealed_secrets_key
short_description: Make, rotate, back up and restore the keys of a sealed-secrets controller
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Keeps one file with the key pairs of a sealed-secrets controller, as the Secrets that the controller finds when it starts. So a key can be
    there before the controller, and SealedSecrets can be in a repository before there is a cluster.
  - The file is brought together from what it holds already, from O(src), and from a new key where one is due. No key ever leaves it.
  - It works on files only. M(groundwork.homelab.manifests) applies the file to a cluster. C(kubectl get secret -o yaml) with the label
    C(sealedsecrets.bitnami.com/sealed-secrets-key), written to a file of the mode V(0600), is a O(src) for the keys that a controller made itself.
  - A controller that runs already reads keys that were added only when it starts again.
  - A key whose label says something else than C(active), such as C(compromised), is not used by the controller. It stays so in the file, and nothing
    is sealed for it.
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_secrets
  - groundwork.homelab.secrets
attributes:
  diff_mode:
    details: Private keys are hidden.
options:
  path:
    description:
      - The file with the keys. It has the mode V(0600), and is plain YAML, or with O(recipients) encrypted with age.
    type: path
    required: true
  src:
    description:
      - Files with keys that are to be in the file too. Secrets as YAML or JSON, or a private key and its certificate in PEM, plain or encrypted with age.
      - To back up, O(src) is the plain file and O(path) the encrypted one; to restore, the other way round.
    type: list
    elements: path
    default: []
  recipients:
    description:
      - The age recipients (C(age1…)) to encrypt the file for. Plain if there are none.
      - Which recipients a file is encrypted for cannot be seen in it. Remove it to have it written for others.
    type: list
    elements: str
    default: []
  certificate_file:
    description:
      - Where the certificates are written, the newest first, for M(groundwork.homelab.sealed_secret) and C(kubeseal --cert). They are public.
        A line before one says so if its key is not active.
      - For an encrypted O(path) without O(age_key_file), this file is also how it is known which keys O(path) holds, and which of them are active.
    type: path
  namespace:
    description: Namespace of the controller, for keys that name none.
    type: str
    default: kube-system
  generate:
    description: Whether to make a key when there is none, when the newest has expired, or when O(rotate_after) says so.
    type: bool
    default: true
  rotate_after:
    description:
      - Make a new key when the newest is older than this many days. Older keys are kept, for what was sealed for them.
      - By default no key is made while the newest is valid.
    type: int
  key_size:
    description: Bits of a new key.
    type: int
    default: 4096
  valid_days:
    description: For how many days the certificate of a new key is valid.
    type: int
    default: 3650
seealso:
  - module: groundwork.homelab.sealed_secret
  - module: groundwork.homelab.manifests
"""

EXAMPLES = r"""
- name: Make the controller's key before there is a controller, and a new one each quarter
  groundwork.homelab.sealed_secrets_key:
    path: "{{ lab_secrets_dir }}/sealed-secrets-keys.yaml"
    certificate_file: "{{ lab_secrets_dir }}/sealed-secrets.crt"
    rotate_after: 90

- name: Back the keys up into the repository, for the owner's age key
  groundwork.homelab.sealed_secrets_key:
    path: backup/sealed-secrets-keys.age
    certificate_file: backup/sealed-secrets.crt
    src:
      - "{{ lab_secrets_dir }}/sealed-secrets-keys.yaml"
    recipients:
      - "{{ age_recipient }}"
    generate: false

- name: Restore them on another machine
  groundwork.homelab.sealed_secrets_key:
    path: "{{ lab_secrets_dir }}/restored-keys.yaml"
    src:
      - backup/sealed-secrets-keys.age
    age_key_file: "{{ lab_secrets_dir }}/age.txt"
    generate: false
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
path:
  description: The file with the keys.
  returned: success
  type: str
  sample: /home/me/lab/secrets/sealed-secrets-keys.yaml
names:
  description: Names of the Secrets in it.
  returned: success
  type: list
  elements: str
  sample:
    - sealed-secrets-key-1
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

from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import key_task
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age_keys
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, run_as_module

SPEC = Spec(
    argument_spec={
        **age_keys.argument_spec(),
        "path": {"type": "path", "required": True},
        "src": {"type": "list", "elements": "path", "default": []},
        "recipients": {"type": "list", "elements": "str", "default": []},
        "certificate_file": {"type": "path"},
        "namespace": {"type": "str", "default": "kube-system"},
        "generate": {"type": "bool", "default": True},
        "rotate_after": {"type": "int"},
        "key_size": {"type": "int", "default": 4096, "no_log": False},
        "valid_days": {"type": "int", "default": 3650},
    },
)

run = key_task.run


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
