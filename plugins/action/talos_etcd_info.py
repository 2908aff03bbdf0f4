# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.groundwork.homelab.plugins.plugin_utils.in_process import InProcess


class ActionModule(InProcess, group="talos", imports=("talos.asking", "talos.etcd")):
    """Runs M(groundwork.homelab.talos_etcd_info) in the controller."""
