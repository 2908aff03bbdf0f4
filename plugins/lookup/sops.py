# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: sops
short_description: Values of a file of SOPS, for age identities
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Decrypts a file that the program C(sops) or M(groundwork.homelab.sops_file) wrote, on the controller and in process, and gives what it holds.
  - What it gives is secret. Use C(no_log) where a task would show it.
options:
  _terms:
    description: Paths of the files.
    type: list
    elements: path
    required: true
  key:
    description:
      - The keys that lead to the wanted value. The whole content if left out.
      - In a YAML file of several documents the first one is the number of the document, that of the first is V(0).
    type: list
    elements: str
    default: []
  format:
    description: Format of the files, if their ending does not tell it.
    type: str
    choices: [yaml, json, dotenv, ini, binary]
  age_key_file:
    description: A file with age identities that only its owner can read. A relative path is that of the playbook.
    type: str
    required: true
    env:
      - name: SOPS_AGE_KEY_FILE
"""

EXAMPLES = r"""
- name: Use a value
  ansible.builtin.set_fact:
    database_password: "{{ lookup('groundwork.homelab.sops', 'secrets.sops.yaml', key=['database', 'password'], age_key_file='age.txt') }}"
  no_log: true
"""

RETURN = r"""
_raw:
  description: For each file its content, or the wanted value. That of several YAML documents is a list.
  type: list
  elements: raw
"""

import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import HomelabError, InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import files
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age_keys, sops
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task
from ansible_collections.groundwork.homelab.plugins.plugin_utils import lookup_options


class LookupModule(LookupBase):  # type: ignore[misc]
    """Reads, and keeps nothing."""

    def run(self, terms: list[str], variables: dict[str, t.Any] | None = None, **keywords: t.Any) -> list[t.Any]:
        self.set_options(var_options=variables, direct=keywords)
        try:
            lookup_options.refuse_unknown(self.option_definitions, keywords)
            return [self._value(str(term)) for term in terms]
        except HomelabError as error:
            raise AnsibleError(error.message) from None

    def _value(self, term: str) -> t.Any:
        path = files.absolute(self._loader.path_dwim(term))
        key_file = self._loader.path_dwim(self.get_option("age_key_file"))
        identities = age_keys.age_identities(Task({age_keys.AGE_KEY_FILE: key_file}))
        file = sops.read(path, sops.format_of(path, self.get_option("format")), identities)
        value: t.Any = file.values
        if isinstance(value, list):
            value = {str(number): document for number, document in enumerate(value)}
        for name in self.get_option("key"):
            if not isinstance(value, dict) or name not in value:
                raise InvalidInput(f"{path} has no {'.'.join(self.get_option('key'))}")
            value = value[name]
        return value if self.get_option("key") else file.values
