#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sops_file
short_description: Write, edit and decrypt files of SOPS, for age recipients
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Writes files that the program C(sops) reads and reads those that it writes, in process. No program is needed.
  - Unchanged values keep their encrypted text, and an unchanged file is not written. An edited YAML, INI or dotenv file keeps its comments, order and
    layout wherever nothing changed.
  - YAML, JSON, dotenv, INI and whole files, with age recipients of the kind X25519 (C(age1…)). A file that has other keys
    as well can be edited when an age identity opens it, and their entries stay. Shamir's shares and rules by comments are refused.
  - A YAML file can have several documents, which share one MAC. Anchors that somebody wrote into a file stay as long as nothing of them
    changes. Merge keys (C(<<)) are keys like others here, as for C(sops); who reads values gets them merged.
  - The MAC over all values is checked whenever a file is read.
  - Where values are wanted in a playbook, the lookup P(groundwork.homelab.sops#lookup) gives them, and the vars plugin
    P(groundwork.homelab.sops#vars) those of hosts and groups.
extends_documentation_fragment:
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_secrets
  - groundwork.homelab.secrets
attributes:
  diff_mode:
    details: Only the names of values are shown.
options:
  path:
    description:
      - The encrypted file.
    type: path
    required: true
  state:
    description:
      - V(present) makes or edits the file.
      - V(decrypted) writes what it holds to O(dest), in the clear.
    type: str
    choices: [present, decrypted]
    default: present
  content:
    description:
      - The values. In a file that is there, mappings are merged with those of the file, and everything else is replaced, lists as a whole.
    type: dict
  documents:
    description:
      - The values of a YAML file with several documents, instead of O(content). Each is merged with the document in its place; V({}) leaves that as it is.
      - What is more than the file has is added at its end. Documents that are not named stay, unless O(exact=true).
    type: list
    elements: dict
  exact:
    description: Whether values, and documents, that O(content) or O(documents) does not name are removed.
    type: bool
    default: false
  remove:
    description:
      - Values to remove, each as the list of the keys that lead to it.
      - In a file of several documents the list begins with the number of the document, that of the first is V(0).
    type: list
    elements: raw
    default: []
  recipients:
    description:
      - The age recipients of the file. By default those that it has.
      - For a new file, by default those of the first creation rule that fits its path, in O(config_file).
      - The data key stays the same when recipients change, as with C(sops updatekeys), unless O(rotate) says something else.
    type: list
    elements: str
  rotate:
    description:
      - When a file that is there gets a new data key, with which all its values are encrypted anew, as C(sops rotate) does it.
      - V(removal) is whenever O(recipients) leaves out somebody who has been one. Who was one has been able to read the values that the file had then,
        and those that are in a repository's history. Change these too.
      - V(always) is in each run, so it is for a task that is not always run.
    type: str
    choices: [never, removal, always]
    default: never
  config_file:
    description:
      - The configuration with the creation rules. By default the nearest C(.sops.yaml) in the directory of the file or above it.
      - Also with O(recipients), the rule that fits says what of a new file is encrypted, unless one of the options for that is given. A file of the format
        V(binary) is always encrypted as a whole.
    type: path
  format:
    description:
      - Format of the file, if the end of its name does not tell it. C(.yaml), C(.yml), C(.json), C(.env) and C(.ini) do; all others are V(binary), as
        with C(sops), also C(.env.local).
      - V(binary) is any file as a whole, from O(src) or from the text V(data) of O(content).
    type: str
    choices: [yaml, json, dotenv, ini, binary]
  src:
    description: A file in the clear that is encrypted as a whole, for O(format=binary).
    type: path
  unencrypted_suffix:
    description:
      - In a new file, what is below a key that ends so stays in the clear. V(_unencrypted) if no other rule is given, here or by the first creation rule
        that fits the file's path, in O(config_file).
      - Of this and the next three only one can be given. In a file that is there they cannot be changed.
    type: str
  encrypted_suffix:
    description: In a new file, only what is below a key that ends so is encrypted.
    type: str
  unencrypted_regex:
    description: In a new file, what is below a key that this matches stays in the clear.
    type: str
  encrypted_regex:
    description: In a new file, only what is below a key that this matches is encrypted, such as V(^(data|stringData\)$) for Secrets.
    type: str
  mac_only_encrypted:
    description: In a new file, whether the MAC is over the encrypted values only.
    type: bool
  dest:
    description: Where O(state=decrypted) writes. The file has the mode V(0600).
    type: path
seealso:
  - plugin: groundwork.homelab.sops
    plugin_type: lookup
  - name: SOPS
    description: The program, and its documentation.
    link: https://getsops.io/
"""

EXAMPLES = r"""
- name: Make a Secret for Flux, of which only the values are encrypted
  groundwork.homelab.sops_file:
    path: clusters/home/database.sops.yaml
    recipients:
      - "{{ age_recipient }}"
    encrypted_regex: ^(data|stringData)$
    age_key_file: "{{ lab_secrets_dir }}/age.txt"
    content:
      apiVersion: v1
      kind: Secret
      metadata:
        name: database
        namespace: media
      stringData:
        password: "{{ database_password }}"

- name: Change one value, and leave the rest of the file as it is
  groundwork.homelab.sops_file:
    path: clusters/home/database.sops.yaml
    age_key_file: "{{ lab_secrets_dir }}/age.txt"
    content:
      stringData:
        password: "{{ new_database_password }}"

- name: Remove a value
  groundwork.homelab.sops_file:
    path: clusters/home/database.sops.yaml
    age_key_file: "{{ lab_secrets_dir }}/age.txt"
    remove:
      - [stringData, username]

- name: Keep two Secrets in one file
  groundwork.homelab.sops_file:
    path: clusters/home/media.sops.yaml
    recipients:
      - "{{ age_recipient }}"
    encrypted_regex: ^(data|stringData)$
    age_key_file: "{{ lab_secrets_dir }}/age.txt"
    documents:
      - apiVersion: v1
        kind: Secret
        metadata: {name: database, namespace: media}
        stringData:
          password: "{{ database_password }}"
      - apiVersion: v1
        kind: Secret
        metadata: {name: smtp, namespace: media}
        stringData:
          password: "{{ smtp_password }}"

- name: Leave the owner as the only one who can read it, with a new data key if there was somebody else
  groundwork.homelab.sops_file:
    path: clusters/home/media.sops.yaml
    recipients:
      - "{{ age_recipient }}"
    rotate: removal
    age_key_file: "{{ lab_secrets_dir }}/age.txt"

- name: Decrypt it for a program that needs a file
  groundwork.homelab.sops_file:
    path: clusters/home/database.sops.yaml
    state: decrypted
    dest: "{{ lab_secrets_dir }}/database.yaml"
    age_key_file: "{{ lab_secrets_dir }}/age.txt"
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
  description: The encrypted file.
  returned: success
  type: str
  sample: /home/me/lab/clusters/home/database.sops.yaml
recipients:
  description: Its age recipients.
  returned: success
  type: list
  elements: str
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

from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import sops_task
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age_keys
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, run_as_module

SPEC = Spec(
    argument_spec={
        **age_keys.argument_spec(),
        "path": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["present", "decrypted"], "default": "present"},
        "content": {"type": "dict", "no_log": True},
        "documents": {"type": "list", "elements": "dict", "no_log": True},
        "exact": {"type": "bool", "default": False},
        "remove": {"type": "list", "elements": "raw", "default": []},
        "recipients": {"type": "list", "elements": "str"},
        "rotate": {"type": "str", "choices": ["never", "removal", "always"], "default": "never"},
        "config_file": {"type": "path"},
        "format": {"type": "str", "choices": ["yaml", "json", "dotenv", "ini", "binary"]},
        "unencrypted_suffix": {"type": "str"},
        "encrypted_suffix": {"type": "str"},
        "unencrypted_regex": {"type": "str"},
        "encrypted_regex": {"type": "str"},
        "mac_only_encrypted": {"type": "bool"},
        "src": {"type": "path"},
        "dest": {"type": "path"},
    },
    mutually_exclusive=[["content", "documents"]],
)

run = sops_task.run


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
