# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a rehearsal what its playbook does: one line of JSON for each thing that happens."""

from __future__ import annotations

import json
import os
import time

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: simlab_events
type: aggregate
short_description: events of a rehearsal
description:
  - Writes one line of JSON for each play, task, result and for the end to the file that E(SIMLAB_EVENTS) names.
  - Does nothing without it. Loaded by the C(rehearse) command only.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "simlab_events"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        path = os.environ.get("SIMLAB_EVENTS")
        self._file = open(path, "a", encoding="utf-8", buffering=1) if path else None  # noqa: SIM115  (open until the end)
        if self._file is None:
            self.disabled = True

    def _tell(self, event, **data):
        if self._file is not None:
            self._file.write(json.dumps({"event": event, "at": time.time(), **data}, default=str) + "\n")

    def v2_playbook_on_start(self, playbook):
        self._tell("start", check=bool(context.CLIARGS.get("check")))

    def v2_playbook_on_play_start(self, play):
        self._play = str(play.get_name())

    def v2_playbook_on_task_start(self, task, is_conditional):
        role = getattr(task, "_role", None)
        layer = role.get_name().rpartition(".")[2] if role else getattr(self, "_play", "")
        self._tell("task", layer=str(layer), task=str(task.get_name()))

    v2_playbook_on_handler_task_start = v2_playbook_on_cleanup_task_start = lambda self, task: (
        self.v2_playbook_on_task_start(task, False)
    )

    def _result(self, kind, result, **more):
        values = getattr(result, "_result", None) or result.result
        changes = values.get("changes") if isinstance(values, dict) else None
        # As the module says them: what is secret in them it has hidden already.
        seen = [dict(change) for change in (changes if isinstance(changes, list) else []) if isinstance(change, dict)]
        self._tell(kind, changed=bool(values.get("changed")), changes=seen, **more)

    def v2_runner_on_ok(self, result):
        self._result("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._result("failed", result, ignored=bool(ignore_errors))

    def v2_runner_on_unreachable(self, result):
        self._result("failed", result, ignored=False)

    def v2_playbook_on_stats(self, stats):
        sums = {"ok": stats.ok, "changed": stats.changed, "failures": stats.failures, "unreachable": stats.dark}
        self._tell("end", **{name: sum(counts.values()) for name, counts in sums.items()})
