# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the action group ``secrets``."""

from __future__ import annotations


class ModuleDocFragment:
    """``groundwork.homelab.secrets``; the spec is ``module_utils/sops/age_keys.py``."""

    DOCUMENTATION = r"""
options:
  age_key_file:
    description:
      - A file with age identities (C(AGE-SECRET-KEY-1…), one a line), as C(age-keygen) writes it. With it, files that are encrypted for
        them are read. Others than its owner must not be able to read it.
      - If the value is not specified in the task, the value of environment variable E(SOPS_AGE_KEY_FILE) will be used instead.
    type: path
requirements:
  - cryptography >= 42
"""
