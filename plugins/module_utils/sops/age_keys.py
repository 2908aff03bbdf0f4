# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reads what is encrypted: the option that all modules with files of sops share."""

from __future__ import annotations

import pathlib

from .. import private_files
from ..errors import InvalidInput
from ..task import Task
from . import age

AGE_KEY_FILE = "age_key_file"


def argument_spec() -> dict[str, dict[str, object]]:
    from ansible.module_utils.common.parameters import env_fallback

    return {AGE_KEY_FILE: {"type": "path", "fallback": (env_fallback, ["SOPS_AGE_KEY_FILE"])}}


def age_identities(task: Task) -> list[age.Identity]:
    """Those of ``age_key_file``; none without it. Raises InvalidInput, also when others can read the file."""
    given = task.params.get(AGE_KEY_FILE)
    if not given:
        return []
    path = pathlib.Path(given).expanduser().absolute()
    text = private_files.read(path, "age key file")
    private_files.refuse_open(path)
    found = age.identities(text)
    if not found:
        raise InvalidInput(f"The age key file {path} holds no identity", hint="age-keygen makes one.")
    task.secret(*(identity.text for identity in found))
    return found
