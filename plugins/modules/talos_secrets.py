#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_secrets
short_description: Make the secrets bundle of a Talos cluster
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Makes the file that holds everything of a Talos cluster that is secret and lives as long as the cluster.
    Its certificate authorities, tokens and encryption keys.
  - The format is that of C(talosctl gen secrets), so either can use the other's file.
  - A bundle is made once and never overwritten. An existing one is checked, its mode and its content.
  - The file has the mode V(0600). Directories that are missing are made with the mode V(0700).
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
attributes:
  diff_mode:
    details: The content of the file is never shown.
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
"""

EXAMPLES = r"""
- name: Make the cluster's secrets once
  groundwork.homelab.talos_secrets:
    path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
"""

RETURN = r"""
bundle:
  description: Path of the bundle.
  returned: success
  type: str
  sample: /home/me/lab/secrets/talos-secrets.yaml
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

from ansible_collections.groundwork.homelab.plugins.module_utils.plan import (
    HIDDEN,
    Change,
    Plan,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import options
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, run_as_module

SPEC = options.spec(
    options.CONNECTION,
    {
        "path": {"type": "path"},
        "state": {"type": "str", "choices": ["present"], "default": "present"},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Check the bundle that is there, or make one."""
    import pathlib

    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
        credentials,
        secrets_bundle,
    )

    given = task.params["path"] or credentials.required_bundle_path(task.params)
    path = pathlib.Path(given).absolute()
    plan = Plan()
    if path.exists():
        credentials.load_bundle(path, task)
    else:
        plan = Plan.of([Change(f"talos-secrets/{path}", "create", after={"mode": "0600", "secrets": HIDDEN})])
    if plan and not task.check_mode:
        secrets_bundle.create(path, secrets_bundle.generate())
    return task.result(plan, bundle=str(path))


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
