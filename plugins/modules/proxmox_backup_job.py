#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_backup_job
short_description: Keep the scheduled backup jobs of Proxmox VE as they are described
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Makes backup jobs, changes what differs, and removes jobs that are to be absent. Takes all jobs at once and reads once.
  - An option that is left out is left alone. An empty one (V(""), V([]), V({})) is taken away, so that it has its default again.
  - Jobs that are not named are left alone.
  - The server takes storages and guests that do not exist; the module warns of them.
options:
  jobs:
    description: The jobs.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: Id of the job, two or more letters, digits, C(-) and C(_), a letter first.
        type: str
        required: true
      state:
        description: V(absent) removes the job; the backups that it made stay.
        type: str
        choices: [present, absent]
        default: present
      schedule:
        description: When it runs, as a calendar event, such as V(02:30), V(sat 03:00) or V(mon..fri 22:00). Required for a new job.
        type: str
      storage:
        description: Storage that takes the backups. Required for a new job.
        type: str
      vmids:
        description: Guests that are backed up. A new job takes one of O(jobs[].vmids), O(jobs[].pool) and O(jobs[].all).
        type: list
        elements: int
      pool:
        description: Pool whose guests are backed up.
        type: str
      all:
        description: Whether all guests are backed up.
        type: bool
      exclude:
        description: Guests that are not, with O(jobs[].all).
        type: list
        elements: int
      node:
        description: Only guests on this node.
        type: str
      mode:
        description: Whether running guests go on (V(snapshot)), are suspended for a moment (V(suspend)) or shut down for it (V(stop)).
        type: str
        choices: [snapshot, suspend, stop]
      compress:
        description: Compression.
        type: str
        choices: [none, lzo, gzip, zstd]
      retention:
        description: Which backups stay when the job has made new ones. V({}) leaves it to the storage's settings.
        type: dict
        suboptions:
          keep_all:
            description: Keep all of them. Not together with the others.
            type: bool
          keep_last:
            description: How many of the latest.
            type: int
          keep_hourly:
            description: For how many hours the last of the hour.
            type: int
          keep_daily:
            description: For how many days the last of the day.
            type: int
          keep_weekly:
            description: For how many weeks the last of the week.
            type: int
          keep_monthly:
            description: For how many months the last of the month.
            type: int
          keep_yearly:
            description: For how many years the last of the year.
            type: int
      enabled:
        description: Whether the job runs. A new one does.
        type: bool
      notes_template:
        description: Notes of the backups. Proxmox VE puts in C(guestname), C(vmid), C(node) and C(cluster) where they stand in double braces; write it
          with C(!unsafe), or Ansible does.
        type: str
      comment:
        description: What the job is for.
        type: str
      protected:
        description: Whether the backups are protected. They are never pruned then.
        type: bool
      fleecing:
        description: Storage for the image in which a running VM's old data are kept while it is backed up.
        type: str
      bandwidth_limit:
        description: Limit in KiB/s; V(0) is none.
        type: int
      repeat_missed:
        description: Whether a run that was missed while the node was off is made up for.
        type: bool
      notification_mode:
        description: How people are told of it.
        type: str
        choices: [auto, legacy-sendmail, notification-system]
      mailto:
        description: Who is told of it by mail.
        type: list
        elements: str
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed - Sys.Audit and Sys.Modify on C(/), and Datastore.Allocate on the storage; they are in the role C(AnsibleSystem) of
    M(groundwork.homelab.proxmox_access). A token needs them as well as its user.
seealso:
  - module: groundwork.homelab.proxmox_backup
  - module: groundwork.homelab.proxmox_backup_info
"""

EXAMPLES = r"""
- name: All guests each night but one, and the cluster's own at noon as well
  groundwork.homelab.proxmox_backup_job:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    jobs:
      - id: nightly
        schedule: "02:30"
        storage: nas
        all: true
        exclude: [201]
        compress: zstd
        retention:
          keep_daily: 7
          keep_weekly: 4
        repeat_missed: true
      - id: noon
        schedule: mon..fri 12:00
        storage: nas
        vmids: [200, 310]
        comment: before the afternoon

- name: Not on holidays
  groundwork.homelab.proxmox_backup_job:
    jobs:
      - id: noon
        enabled: false

- name: It is not needed any more
  groundwork.homelab.proxmox_backup_job:
    jobs:
      - id: noon
        state: absent
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode, in order.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: The job, as V(backup-job/<id>).
      type: str
      sample: backup-job/nightly
    action:
      description: V(create), V(update) or V(delete).
      type: str
    before:
      description: Options that differ, as they were, by the API's names.
      type: dict
    after:
      description: Options that differ, as they are now, by the API's names.
      type: dict
jobs:
  description: The jobs, in the order of the input; also in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the job.
      type: str
      sample: nightly
    state:
      description: V(present) or V(absent).
      type: str
    changed:
      description: Whether it was changed.
      type: bool
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups import backup_jobs
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_KEEP = {f"keep_{what}": {"type": "int"} for what in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
_JOB: dict[str, t.Any] = {
    "id": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "schedule": {"type": "str"},
    "storage": {"type": "str"},
    "vmids": {"type": "list", "elements": "int"},
    "pool": {"type": "str"},
    "all": {"type": "bool"},
    "exclude": {"type": "list", "elements": "int"},
    "node": {"type": "str"},
    "mode": {"type": "str", "choices": ["snapshot", "suspend", "stop"]},
    "compress": {"type": "str", "choices": ["none", "lzo", "gzip", "zstd"]},
    "retention": {"type": "dict", "options": {"keep_all": {"type": "bool"}, **_KEEP}},
    "enabled": {"type": "bool"},
    "notes_template": {"type": "str"},
    "comment": {"type": "str"},
    "protected": {"type": "bool"},
    "fleecing": {"type": "str"},
    "bandwidth_limit": {"type": "int"},
    "repeat_missed": {"type": "bool"},
    "notification_mode": {"type": "str", "choices": ["auto", "legacy-sendmail", "notification-system"]},
    "mailto": {"type": "list", "elements": "str"},
}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "jobs": {"type": "list", "elements": "dict", "required": True, "options": _JOB},
    }
)


def run(task: Task) -> Result:
    return backup_jobs.converge(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
