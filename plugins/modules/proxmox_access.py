#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_access
short_description: Keep users, groups, roles, API tokens and ACLs of Proxmox VE as they are described
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Says who may do what. Takes all of it at once, reads each list once, and writes only what differs. What others need is made before
    them, and what is to be absent goes last.
  - An option that is left out is left alone; an empty one is taken away. Only what is named is ever deleted, and what
    O(exclusive_acl_paths) names.
  - The user or token that asks is never deleted, disabled or ended, nor is a group deleted that gives it rights; the task fails instead.
  - The roles that the collection needs are known by their names, with the privileges that were found to be the least that is enough -
    V(AnsibleGuests) for guests, images, snapshots, backups and the inventory; V(AnsibleSystem) for storage definitions, mappings, backup
    jobs, the datacenter's firewall, HA, and the startup order of VMs; V(AnsiblePools) for pools; V(AnsibleAccess) for this module;
    V(CSI) for the Proxmox CSI plugin of Kubernetes. An ACL that names one of them makes the role when it is missing.
  - Of the ACLs of one user or token only those on the deepest path count, and those of the user before those of the groups. A token with
    O(tokens[].privsep) has only rights that its user has, too, so both need ACLs; there is a warning when the user lacks what an ACL gives
    the token.
  - The secret of a token is told once, when it is made. It is written to O(tokens[].secret_file), and is nowhere else, not even in the
    result.
options:
  groups:
    description: Groups of users.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the group.
        type: str
        required: true
      comment:
        description: Comment.
        type: str
      state:
        description: V(absent) deletes the group and its ACLs, not its members.
        type: str
        choices: [present, absent]
        default: present
  users:
    description: Users.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name with the realm, such as V(ansible@pve).
        type: str
        required: true
      groups:
        description: All groups of the user.
        type: list
        elements: str
      enable:
        description: Whether the user can log in.
        type: bool
      expire:
        description: When the account ends, as a date such as V(2030-12-31) (its beginning, UTC), seconds since 1970, or V(never).
        type: str
      email:
        description: Email address.
        type: str
      comment:
        description: Comment.
        type: str
      firstname:
        description: First name.
        type: str
      lastname:
        description: Last name.
        type: str
      password:
        description: Password, 8 to 64 characters, for users of the realm C(pve) only. See O(update_password).
        type: str
      state:
        description: V(absent) deletes the user with its tokens and ACLs.
        type: str
        choices: [present, absent]
        default: present
  update_password:
    description:
      - With V(on_create) O(users[].password) is set when the user is created, and then no more.
      - With V(always) it is compared by logging in with it, and set when that fails. Passwords cannot be changed with an API token, which
        is said before anything is written. The password of a user that is disabled or has expired is left alone, with a warning.
    type: str
    choices: [on_create, always]
    default: on_create
  roles:
    description: Roles, which are sets of privileges.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the role. Those of Proxmox VE itself cannot be changed.
        type: str
        required: true
      privileges:
        description: The privileges. May be left out for the roles that the collection knows.
        type: list
        elements: str
      append:
        description: Whether privileges that the role has besides stay.
        type: bool
        default: false
      state:
        description: V(absent) deletes the role and the ACLs that give it.
        type: str
        choices: [present, absent]
        default: present
  tokens:
    description: API tokens.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the token, either alone or with its user, as in V(ansible@pve!groundwork).
        type: str
        required: true
      user:
        description: User of the token. Required unless O(tokens[].name) has it.
        type: str
      privsep:
        description: Whether the token has only rights of its own ACLs, and of these only what its user has, too. A new one has by default.
        type: bool
      expire:
        description: When the token ends, as O(users[].expire).
        type: str
      comment:
        description: Comment.
        type: str
      secret_file:
        description:
          - File on the machine that runs the task to which the secret is written, with the mode 0600. It holds the secret and a newline.
            Required to create a token.
          - When the token exists and the file does not, the task fails, as the secret cannot be read again, unless an earlier run was cut
            off while it made the token, or O(tokens[].replace_lost) is set.
        type: path
      replace_lost:
        description:
          - Whether a token whose O(tokens[].secret_file) is not there is deleted and made again with another secret. Its ACLs are given again.
        type: bool
        default: false
      state:
        description: V(absent) deletes the token and its ACLs, and leaves the file.
        type: str
        choices: [present, absent]
        default: present
  acls:
    description: Who has which role on which path.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path, such as V(/), V(/vms), V(/pool/lab), V(/storage/nas), V(/nodes/pve1), V(/sdn/zones/localnetwork).
        type: str
        required: true
      role:
        description: Name of the role.
        type: str
        required: true
      user:
        description: The user. Exactly one of user, group and token must be named.
        type: str
      group:
        description: The group.
        type: str
      token:
        description: The token, with its user.
        type: str
      propagate:
        description: Whether it goes on to what is below the path.
        type: bool
        default: true
      state:
        description: V(absent) takes the role away there.
        type: str
        choices: [present, absent]
        default: present
  exclusive_acl_paths:
    description:
      - Paths on which there are only the ACLs that O(acls) lists; others are removed. Paths below them are not touched.
      - ACLs of the user or token that asks, and of the user's groups, are never removed by this; the task fails instead.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed - User.Modify and Group.Allocate on C(/access/groups), Realm.AllocateUser on C(/access/realm/<realm>), Sys.Modify
    on C(/access) for roles, and Permissions.Modify on the path of each ACL. They are in the role C(AnsibleAccess). Whoever may change ACLs
    on a path can give anybody any right there.
  - C(root@pam) with a password can do the first run, when there is no other user yet.
seealso:
  - module: groundwork.homelab.proxmox_pool
  - name: User management in the Proxmox VE documentation
    description: Roles, privileges, paths, and how they add up.
    link: https://pve.proxmox.com/pve-docs/chapter-pveum.html
"""

EXAMPLES = r"""
- name: The user and token that the collection works with
  groundwork.homelab.proxmox_access:
    api_host: 192.168.30.10
    api_user: root@pam
    api_password: "{{ proxmox_root_password }}"
    users:
      - name: automation@pve
        comment: Used by Ansible
    tokens:
      - name: automation@pve!groundwork
        secret_file: "{{ lab_secrets_dir }}/proxmox-token"
    acls:
      - {path: /vms, role: AnsibleGuests, user: automation@pve}
      - {path: /vms, role: AnsibleGuests, token: automation@pve!groundwork}
      - {path: /storage, role: AnsibleGuests, user: automation@pve}
      - {path: /storage, role: AnsibleGuests, token: automation@pve!groundwork}

- name: What the Proxmox CSI plugin of a cluster needs
  groundwork.homelab.proxmox_access:
    api_user: root@pam
    api_password: "{{ proxmox_root_password }}"
    users:
      - name: kubernetes-csi@pve
    tokens:
      - user: kubernetes-csi@pve
        name: csi
        privsep: false
        secret_file: "{{ lab_secrets_dir }}/proxmox-csi-token"
    acls:
      - path: /
        role: CSI
        user: kubernetes-csi@pve

- name: People who may look and restart, and nobody else on this path
  groundwork.homelab.proxmox_access:
    api_user: root@pam
    api_password: "{{ proxmox_root_password }}"
    groups:
      - name: friends
        comment: They may look and restart
    roles:
      - name: Restart
        privileges: [VM.Audit, VM.PowerMgmt]
    users:
      - name: ann@pve
        groups: [friends]
        expire: "2035-01-01"
    acls:
      - path: /pool/media
        role: Restart
        group: friends
    exclusive_acl_paths: [/pool/media]
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode, in order.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: V(user/<name>), V(group/<name>), V(role/<name>), V(token/<user>!<name>) or V(acl<path>:<who>:<role>), groups with C(@).
      type: str
      sample: acl/vms:ansible@pve:AnsibleGuests
    action:
      description: V(create), V(update) or V(delete).
      type: str
    before:
      description: What differs, as it was.
      type: dict
    after:
      description: What differs, as it is now. Passwords and secrets are hidden.
      type: dict
    note:
      description: Why, when a secret is made anew or an ACL is given again.
      type: str
tokens:
  description: The tokens, in the order of the input; also in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: User and name, as O(groundwork.homelab.proxmox_vm#module:api_token_id) takes it.
      type: str
      sample: ansible@pve!groundwork
    state:
      description: V(present) or V(absent).
      type: str
    secret_file:
      description: File that holds the secret.
      type: str
    changed:
      description: Whether it was changed.
      type: bool
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.access import access
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_NAME: dict[str, t.Any] = {"type": "str", "required": True}
_STATE: dict[str, t.Any] = {"type": "str", "choices": ["present", "absent"], "default": "present"}
_GROUP: dict[str, t.Any] = {"name": _NAME, "comment": {"type": "str"}, "state": _STATE}
_USER: dict[str, t.Any] = {
    "name": _NAME,
    "groups": {"type": "list", "elements": "str"},
    "enable": {"type": "bool"},
    "expire": {"type": "str"},
    "email": {"type": "str"},
    "comment": {"type": "str"},
    "firstname": {"type": "str"},
    "lastname": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "state": _STATE,
}
_ROLE: dict[str, t.Any] = {
    "name": _NAME,
    "privileges": {"type": "list", "elements": "str"},
    "append": {"type": "bool", "default": False},
    "state": _STATE,
}
_TOKEN: dict[str, t.Any] = {
    "name": _NAME,
    "user": {"type": "str"},
    "privsep": {"type": "bool"},
    "expire": {"type": "str"},
    "comment": {"type": "str"},
    "secret_file": {"type": "path", "no_log": False},
    "replace_lost": {"type": "bool", "default": False},
    "state": _STATE,
}
_ACL: dict[str, t.Any] = {
    "path": {"type": "str", "required": True},
    "role": {"type": "str", "required": True},
    "user": {"type": "str"},
    "group": {"type": "str"},
    "token": {"type": "str", "no_log": False},
    "propagate": {"type": "bool", "default": True},
    "state": _STATE,
}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "groups": {"type": "list", "elements": "dict", "default": [], "options": _GROUP},
        "users": {"type": "list", "elements": "dict", "default": [], "options": _USER},
        "update_password": {
            "type": "str",
            "choices": ["on_create", "always"],
            "default": "on_create",
            "no_log": False,
        },
        "roles": {"type": "list", "elements": "dict", "default": [], "options": _ROLE},
        "tokens": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": _TOKEN},
        "acls": {"type": "list", "elements": "dict", "default": [], "options": _ACL},
        "exclusive_acl_paths": {"type": "list", "elements": "str", "default": []},
    }
)


def run(task: Task) -> Result:
    return access.converge(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
