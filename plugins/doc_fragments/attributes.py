# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attributes that every module of the collection states, and its action group."""

from __future__ import annotations


class ModuleDocFragment:
    """``groundwork.homelab.attributes`` for all, ``….actiongroup_<group>`` for the connection's group."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    support: full
    description:
      - Can run in C(check_mode). The changes that it lists are the changes that the same task makes without C(check_mode).
  diff_mode:
    support: full
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    support: full
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change and writes nothing.
"""

    #: For modules that only read.
    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    support: full
    description:
      - This action does not modify state, so it does the same in C(check_mode).
  diff_mode:
    support: N/A
    description:
      - This action does not modify state.
  idempotent:
    support: N/A
    description:
      - This action does not modify state.
"""

    ACTIONGROUP_PROXMOX = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/groundwork.homelab.proxmox) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - groundwork.homelab.proxmox
"""

    ACTIONGROUP_TALOS = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/groundwork.homelab.talos) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - groundwork.homelab.talos
"""

    ACTIONGROUP_KUBERNETES = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/groundwork.homelab.kubernetes) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - groundwork.homelab.kubernetes
"""

    ACTIONGROUP_SECRETS = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/groundwork.homelab.secrets) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - groundwork.homelab.secrets
"""
