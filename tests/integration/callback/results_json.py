# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's results as one JSON document: ``{"plays": [{"tasks": [{"task": …, "hosts": {…: result}}]}]}``.

ansible.posix has such a callback, and ansible-core alone, which the oldest versions are tested with, has none.
"""

from __future__ import annotations

import json
import typing as t

from ansible.parsing.ajson import AnsibleJSONEncoder
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: results_json
type: stdout
short_description: Results as JSON
description: Results as JSON.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "results_json"

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        self.tasks: list[dict[str, t.Any]] = []

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self.tasks.append({"task": task.get_name().strip(), "hosts": {}})

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self.keep(result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self.keep(result, skipped=True)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self.keep(result, failed=True)

    v2_runner_on_unreachable = v2_runner_on_failed

    def keep(self, result: t.Any, **more: bool) -> None:
        # ansible-core 2.19 has both names, later ones will have the first only.
        found = result.result if hasattr(result, "result") else result._result
        host = result.host if hasattr(result, "host") else result._host
        self.tasks[-1]["hosts"][host.get_name()] = {**more, **found}

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._display.display(json.dumps({"plays": [{"tasks": self.tasks}]}, cls=AnsibleJSONEncoder))
