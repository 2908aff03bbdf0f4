# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection options of the action group ``talos``."""

from __future__ import annotations


class ModuleDocFragment:
    """``groundwork.homelab.talos``; the spec is ``module_utils/talos/options.py``."""

    DOCUMENTATION = r"""
options:
  secrets_path:
    description:
      - Path of the cluster's secrets bundle. A client certificate with the role V(os:admin) is made from it in memory for each task.
      - If the value is not specified in the task, the value of environment variable E(TALOS_SECRETS) will be used instead.
    type: path
  age_key_file:
    description:
      - A file with age identities (C(AGE-SECRET-KEY-1…), one a line), for a secrets bundle that is encrypted. Others than its owner must not be
        able to read it.
      - If the value is not specified in the task, the value of environment variable E(SOPS_AGE_KEY_FILE) will be used instead.
    type: path
  talosconfig:
    description:
      - Path of a talosconfig that says who asks. Used when O(secrets_path) is not set.
      - If the value is not specified in the task, the value of environment variable E(TALOSCONFIG) will be used instead.
    type: path
  context:
    description:
      - Name of the context in O(talosconfig). The file's current context by default.
    type: str
  timeout:
    description:
      - Seconds that one call to a node may take.
    type: int
    default: 30
requirements:
  - h2
  - protobuf >= 3.20
  - cryptography
  - PyYAML
notes:
  - Runs on the controller, or on any machine that reaches port 50000 of the nodes.
"""
