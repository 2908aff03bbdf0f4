# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.groundwork.homelab.plugins.plugin_utils.in_process import InProcess


class ActionModule(InProcess, group="kubernetes"):
    """Runs M(groundwork.homelab.kubernetes_info) in the controller, and hides its result where it shows secrets."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        if boolean(self._task.args.get("show_secrets", False), strict=False):
            # As no_log on the task: what is printed is hidden, what is registered is not.
            result["_ansible_no_log"] = True
        return result
