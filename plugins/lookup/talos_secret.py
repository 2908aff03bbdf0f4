# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: talos_secret
short_description: One value of a Talos secrets bundle
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Reads values of the secrets bundle that M(groundwork.homelab.talos_secrets) keeps, each by its path.
  - What it gives is secret, but for C(cluster.id) and the certificates. Set C(no_log) on a task that would show it. Ansible has no way in
    which a lookup could do so.
  - A path that leads to more than one value is refused, so that no bundle, nor a certificate together with its key, is shown by mistake.
options:
  _terms:
    description: Paths of values, such as V(trustdinfo.token) or V(certs.os.crt).
    type: list
    elements: str
    required: true
  secrets_path:
    description: Path of the bundle.
    type: path
    env:
      - name: TALOS_SECRETS
  age_key_file:
    description: A file with age identities that only its owner can read, for a bundle that is encrypted. A relative path is that of the playbook.
    type: str
    env:
      - name: SOPS_AGE_KEY_FILE
  decode:
    description: Whether to decode the base64 that certificates and keys stand in, and give their PEM.
    type: bool
    default: false
requirements:
  - cryptography
  - PyYAML
"""

EXAMPLES = r"""
- name: The authority of the nodes' certificates, which is no secret
  ansible.builtin.copy:
    content: "{{ lookup('groundwork.homelab.talos_secret', 'certs.os.crt', decode=true, secrets_path=bundle) }}"
    dest: "{{ inventory_dir }}/talos-ca.pem"
    mode: "0644"
  vars:
    bundle: "{{ inventory_dir }}/secrets/talos-secrets.yaml"

- name: The token of nodes that join
  ansible.builtin.set_fact:
    join_token: "{{ lookup('groundwork.homelab.talos_secret', 'trustdinfo.token', secrets_path=bundle) }}"
  vars:
    bundle: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
  no_log: true
"""

RETURN = r"""
_raw:
  description: For each path its value.
  type: list
  elements: str
"""

import pathlib
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import HomelabError
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age, age_keys
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import credentials, secrets_bundle
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task
from ansible_collections.groundwork.homelab.plugins.plugin_utils import lookup_options


class LookupModule(LookupBase):
    """Reads, and keeps nothing."""

    def run(self, terms: list[str], variables: dict[str, t.Any] | None = None, **keywords: t.Any) -> list[t.Any]:
        self.set_options(var_options=variables, direct=keywords)
        try:
            lookup_options.refuse_unknown(self.option_definitions, keywords)
            given = credentials.required_bundle_path({"secrets_path": self.get_option("secrets_path")})
            bundle = secrets_bundle.load(pathlib.Path(self._loader.path_dwim(str(given))), self._identities)
            return [secrets_bundle.value(bundle, term, decode=self.get_option("decode")) for term in terms]
        except HomelabError as error:
            raise AnsibleError(f"talos_secret: {error.message}") from None

    def _identities(self) -> list[age.Identity]:
        given = self.get_option("age_key_file")
        return age_keys.age_identities(Task({age_keys.AGE_KEY_FILE: self._loader.path_dwim(given) if given else None}))
