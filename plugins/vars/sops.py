# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: sops
short_description: Variables of hosts and groups from files of SOPS
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Decrypts the files C(.sops.yaml), C(.sops.yml) and C(.sops.json) of C(group_vars) and C(host_vars) in process, for age identities. The program
    C(sops) is not needed.
  - A file belongs to a group or a host when it is called so (C(group_vars/all.sops.yaml)), or when it is in a directory that is called so
    (C(group_vars/all/secrets.sops.yaml)).
  - The values are data, never templates. A password may have two braces in it.
  - Each file is decrypted once a run.
notes:
  - It has to be enabled, after Ansible's own, as C(vars_plugins_enabled = host_group_vars, groundwork.homelab.sops) below C([defaults]). Ansible's own reads
    files in directories too, and what comes later counts.
options:
  age_key_file:
    description: A file with age identities that only its owner can read. A relative path is that of the directory where Ansible is started.
    type: path
    env:
      - name: SOPS_AGE_KEY_FILE
    ini:
      - section: groundwork_homelab_sops
        key: age_key_file
extends_documentation_fragment:
  - ansible.builtin.vars_plugin_staging
seealso:
  - plugin: groundwork.homelab.sops
    plugin_type: lookup
  - module: groundwork.homelab.sops_file
"""

import pathlib
import typing as t

from ansible.errors import AnsibleParserError
from ansible.inventory.host import Host
from ansible.plugins.vars import BaseVarsPlugin
from ansible.utils.vars import combine_vars

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import HomelabError
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age, age_keys, sops
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task

ENDINGS = (".sops.yaml", ".sops.yml", ".sops.json")

#: File, and when it was written -> its values. Ansible asks for each group of each host, and in each of its processes.
_opened: dict[tuple[str, int], dict[str, t.Any]] = {}


class VarsModule(BaseVarsPlugin):
    """Reads, and keeps nothing outside its process."""

    def get_vars(self, loader: t.Any, path: str, entities: t.Any, cache: bool = True) -> dict[str, t.Any]:
        super().get_vars(loader, path, entities)
        data: dict[str, t.Any] = {}
        for entity in entities if isinstance(entities, list) else [entities]:
            folder = "host_vars" if isinstance(entity, Host) else "group_vars"
            for file in files(pathlib.Path(self._basedir) / folder, str(entity.name)):
                data = combine_vars(data, self._values(file))
        return data

    def _values(self, file: pathlib.Path) -> dict[str, t.Any]:
        key = (str(file), file.stat().st_mtime_ns)
        if key not in _opened:
            try:
                opened = sops.read(file, sops.format_of(file), self._identities())
                _opened[key] = sops.single(opened, file)
            except HomelabError as error:
                named = "" if str(file) in error.message else f"{file}: "
                raise AnsibleParserError(f"{named}{error.message}") from None
        return _opened[key]

    def _identities(self) -> list[age.Identity]:
        given = self.get_option("age_key_file")
        found: list[age.Identity] = age_keys.age_identities(Task({age_keys.AGE_KEY_FILE: given}))
        return found


def files(folder: pathlib.Path, name: str) -> list[pathlib.Path]:
    """Those of a group or host: beside each other, and those in its directory and below it, by name, but for hidden ones."""
    if not name or "/" in name:
        return []
    beside = [folder / f"{name}{ending}" for ending in ENDINGS]
    below = folder / name
    found = sorted(below.rglob("*")) if below.is_dir() else []
    shown = (path for path in found if not any(part.startswith(".") for part in path.relative_to(below).parts))
    inside = [path for path in shown if path.name.endswith(ENDINGS)]
    return [path for path in (*beside, *inside) if path.is_file()]
