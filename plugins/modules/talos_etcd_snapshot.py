#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_etcd_snapshot
short_description: Keep snapshots of a Talos cluster's etcd
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Takes a snapshot from the first control plane node that can give one, into a file with the mode V(0600). It holds every Secret of the
    cluster.
  - What arrives is written to a file beside, and checked. Its size, its kind, and the SHA-256 that etcd puts at its end must be right. Only
    then it gets its name. When the node stops in the middle, the next one is asked, and what was there before stays as it was. So it is when
    a node is away, is in maintenance mode or has another cluster's config.
  - A client certificate with the role V(os:etcd:backup) is enough.
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_talos
  - groundwork.homelab.talos
attributes:
  diff_mode:
    details: The content of the file is never shown.
  idempotent:
    support: partial
    details: With O(max_age). Without it a snapshot is taken each time.
options:
  nodes:
    description:
      - Control plane nodes, in the order in which they are asked. Each is an address, or a mapping with C(address) and C(name).
      - The endpoints of the O(talosconfig) by default.
    type: list
    elements: raw
    default: []
  dest:
    description:
      - Path of the file. C({time}) in its name becomes the time in UTC, such as V(20261121T151500Z), so that there can be several.
      - Missing directories are made, with the mode V(0700).
    type: path
    required: true
  max_age:
    description:
      - How old the newest snapshot may be before a new one is taken, such as V(24h), V(90m), V(7d), or a number of seconds.
      - Its age is told by its name, or by its time of change when O(dest) has no C({time}). One that cannot be restored does not count.
    type: str
  keep:
    description:
      - How many snapshots to keep. Older ones are deleted, after the new one is there. All are kept by default.
      - Needs C({time}) in O(dest). Only files with names of O(dest) that can be restored are counted, and deleted.
    type: int
  wait_timeout:
    description:
      - Seconds that taking the snapshot may take.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: One snapshot a day, and those of the last two weeks
  groundwork.homelab.talos_etcd_snapshot:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    nodes: [192.168.30.50]
    dest: "{{ inventory_dir }}/backups/etcd-{time}.db"
    max_age: 24h
    keep: 14

- name: One before an upgrade
  groundwork.homelab.talos_etcd_snapshot:
    secrets_path: "{{ inventory_dir }}/secrets/talos-secrets.yaml"
    nodes:
      - name: talos-cp01
        address: 192.168.30.50
    dest: "{{ inventory_dir }}/backups/before-upgrade.db"
    max_age: 1h
"""

RETURN = r"""
path:
  description: Path of the newest snapshot. In check mode, O(dest) when one would be taken.
  returned: success
  type: str
  sample: /home/me/lab/backups/etcd-20261121T151500Z.db
taken:
  description: Whether a snapshot was taken, or in check mode would be.
  returned: success
  type: bool
node:
  description: Name of the node that gave it.
  returned: when one was taken
  type: str
  sample: talos-cp01
size:
  description: Size of the file in bytes.
  returned: when one was taken
  type: int
  sample: 487456
sha256:
  description: SHA-256 of the database, as it stands at the end of the file.
  returned: when one was taken
  type: str
changes:
  description: The changes that were made, or in check mode would be.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: Name of what changes.
      type: str
      sample: etcd-snapshot//home/me/lab/backups/etcd-{time}.db
    action:
      description: V(create), V(update) or V(delete).
      type: str
    before:
      description: What differs, as it was.
      type: dict
    after:
      description: What differs, as it is to be.
      type: dict
    note:
      description: Why the change is made.
      type: str
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import options
from ansible_collections.groundwork.homelab.plugins.module_utils.task import (
    Task,
    run_as_module,
)

SPEC = options.spec(
    options.CONNECTION,
    {
        "nodes": {"type": "list", "elements": "raw", "default": []},
        "dest": {"type": "path", "required": True},
        "max_age": {"type": "str"},
        "keep": {"type": "int"},
        "wait_timeout": {"type": "int", "default": 300},
    },
)


def run(task: Task) -> dict[str, t.Any]:
    """Look at the files; ask the nodes only when a snapshot is due."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import etcd_snapshot

    return etcd_snapshot.run(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
