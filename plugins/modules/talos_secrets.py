#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_secrets
short_description: Make, take over and keep the secrets bundle of a Talos cluster
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Makes the file that holds everything of a Talos cluster that is secret and lives as long as the cluster.
    Its certificate authorities, tokens and encryption keys.
  - The format is that of C(talosctl gen secrets), so either can use the other's file.
  - A bundle is made or taken over once and never overwritten. An existing one is checked, its mode and its content.
  - The file has the mode V(0600). Directories that are missing are made with the mode V(0700).
  - With O(recipients) it is encrypted at rest, as a file that C(sops) reads too. All modules of this collection read it, with O(age_key_file).
  - The talosconfig in O(talosconfig_dest) gets a new client certificate before the old one ends. What nodes renew by themselves is left to them.
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
attributes:
  diff_mode:
    details: The content of the files is never shown.
options:
  path:
    description:
      - Path of the secrets bundle. The value of O(secrets_path) by default.
    type: path
  state:
    description:
      - The bundle is made when it is not there. This module does not delete one, for that would be the end of the cluster.
    type: str
    choices: [present]
    default: present
  import_from:
    description:
      - A file to take the bundle over from. The machine config of a control plane node, or a C(secrets.yaml) of C(talosctl), which may be
        encrypted with SOPS.
      - Where there is a bundle already, it has to be the same.
    type: path
  import_node:
    description:
      - Address of a control plane node to take the bundle over from. O(talosconfig) says who asks, and needs the role V(os:admin).
    type: str
  recipients:
    description:
      - Age recipients (C(age1…)) that the bundle is encrypted for. One of them has to be of O(age_key_file), or nobody here could read it.
      - A bundle that is there and in the clear is encrypted in place. By default one stays as it is.
      - Who was a recipient has been able to read it, and it stays the same bundle.
    type: list
    elements: str
  talosconfig_dest:
    description:
      - File for a talosconfig with an administrator's certificate.
      - A file there with several contexts is a person's own and is refused, unless it is as it should be.
    type: path
  cluster_name:
    description: Name of the context in O(talosconfig_dest).
    type: str
  endpoints:
    description: Addresses of the control plane nodes in O(talosconfig_dest).
    type: list
    elements: str
    default: []
  renew_before:
    description: The certificate in O(talosconfig_dest) is made anew when it has less than so many days left. It is made for 365.
    type: int
    default: 30
seealso:
  - module: groundwork.homelab.talos_config
  - plugin: groundwork.homelab.talos_secret
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Make the cluster's secrets once
  groundwork.homelab.talos_secrets:
    path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"

- name: Keep them encrypted, and the talosconfig's certificate valid
  groundwork.homelab.talos_secrets:
    path: "{{ inventory_dir }}/secrets/talos-secrets.sops.yaml"
    import_from: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    recipients:
      - "{{ age_recipient }}"
    age_key_file: "{{ inventory_dir }}/secrets/age.txt"
    talosconfig_dest: "{{ inventory_dir }}/secrets/talosconfig"
    cluster_name: lab
    endpoints: [192.168.30.50]
  register: talos_secrets

- name: Say when the authorities end
  ansible.builtin.debug:
    msg: "{{ talos_secrets.certificates | items2dict(key_name='name', value_name='not_after') }}"
"""

RETURN = r"""
bundle:
  description: Path of the bundle.
  returned: success
  type: str
  sample: /home/me/lab/secrets/talos-secrets.yaml
recipients:
  description: The age recipients of the bundle, none where it is in the clear.
  returned: success
  type: list
  elements: str
certificates:
  description:
    - When certificates end. Those of the bundle's authorities, and that of O(talosconfig_dest) under the name V(talosconfig).
    - In check mode only those that are there and stay.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: V(os), V(etcd), V(k8s), V(k8saggregator) or V(talosconfig).
      type: str
      sample: os
    not_after:
      description: When it ends, in UTC.
      type: str
      sample: "2036-11-18T09:30:00Z"
    days_left:
      description: Whole days until then.
      type: int
      sample: 3649
changes:
  description: The changes that were made, or in check mode would be. Secrets are hidden.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: Name of what changes.
      type: str
      sample: talos-secrets//home/me/lab/secrets/talos-secrets.yaml
    action:
      description: V(create) or V(update).
      type: str
    before:
      description: What differs, as it was.
      type: dict
    after:
      description: What differs, as it is to be.
      type: dict
    note:
      description: What the change costs or why it is made.
      type: str
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import options
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, run_as_module

SPEC = options.spec(
    options.CONNECTION,
    {
        "path": {"type": "path"},
        "state": {"type": "str", "choices": ["present"], "default": "present"},
        "import_from": {"type": "path"},
        "import_node": {"type": "str"},
        "recipients": {"type": "list", "elements": "str"},
        "talosconfig_dest": {"type": "path"},
        "cluster_name": {"type": "str"},
        "endpoints": {"type": "list", "elements": "str", "default": []},
        "renew_before": {"type": "int", "default": 30},
    },
    mutually_exclusive=[["import_from", "import_node"]],
)


def run(task: Task) -> dict[str, t.Any]:
    """Check the bundle that is there, or make one."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import secrets_task

    return secrets_task.run(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
