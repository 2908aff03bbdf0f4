# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: lab
type: stdout
short_description: A lab's run in layers, with the changes as they happen
version_added: 0.1.0
author:
  - groundwork.homelab authors (@groundwork)
description:
  - Shows each role as a layer with its time, each change in one line when it is made (or, in check mode, would be made), what is being
    waited for, failures with their cause and what to try, and a summary that says how to go on.
  - Tasks that change nothing are not shown unless C(-v) is given.
  - Works with any playbook and any module. Changes of other collections' modules are shown by the task's name.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set as C(stdout_callback) in C(ansible.cfg), or E(ANSIBLE_STDOUT_CALLBACK=groundwork.homelab.lab).
"""

import os
import time
import typing as t

from ansible import constants, context
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as Default

from ansible_collections.groundwork.homelab.plugins.plugin_utils import lab_lines

INDENT = "    "


class CallbackModule(Default):
    """Lines as they happen, on top of Ansible's own callback, which shows what is not shown here."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "groundwork.homelab.lab"

    def __init__(self) -> None:
        super().__init__()
        self._layers: list[lab_lines.Layer] = []
        self._failures: list[str] = []
        self._play_name = ""
        self._names: dict[str, str] = {}
        self._last_task_banner: str | None = None
        self._began = time.monotonic()

    # -- layers ------------------------------------------------------------------------------------------------------

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        name = os.path.basename(getattr(playbook, "_file_name", "") or "")
        mode = " (check mode: nothing is written)" if self._check else ""
        self._say(f"{name}{mode}", constants.COLOR_HIGHLIGHT)

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        self._play = play
        self._play_name = play.get_name().strip() or "play"

    def _task_start(self, task: t.Any, prefix: str | None = None) -> None:
        name = self._layer_of(task)
        if not self._layers or self._layers[-1].name != name:
            self._end_layer()
            self._layers.append(lab_lines.Layer(name, time.monotonic()))
            self._say(f"\n-- {name} " + "-" * max(4, 60 - len(name)), constants.COLOR_HIGHLIGHT)
        # Unlike the default callback, no banner yet: a task that has nothing to show is not shown.
        self._names[task._uuid] = task.get_name().strip()

    def _layer_of(self, task: t.Any) -> str:
        role = getattr(task, "_role", None)
        return str(role.get_name()).rpartition(".")[2] if role else self._play_name

    def _end_layer(self) -> None:
        if self._layers:
            layer = self._layers[-1]
            layer.duration = time.monotonic() - layer.began
            counted = layer.counted()
            self._say(f"   {layer.name}: {lab_lines.seconds(layer.duration)}{', ' + counted if counted else ''}", None)

    def _print_task_banner(self, task: t.Any) -> None:
        """A task's name, when it has something to show."""
        if self._last_task_banner == task._uuid:
            return
        self._last_task_banner = task._uuid
        self._say(f"  {self._name(task)}")
        if self._display.verbosity >= 2:
            self._print_task_path(task)

    # -- results -----------------------------------------------------------------------------------------------------

    def v2_runner_on_ok(self, result: t.Any) -> None:
        if isinstance(result.task, TaskInclude):
            return
        if result.task.loop and "results" in result.result:
            # Its items have been shown, each when it was done.
            self._handle_warnings(result.result)
            return
        self._done(result)

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        if not isinstance(result.task, TaskInclude):
            self._done(result, f" ({self._get_item_label(result.result)})")

    def _done(self, result: t.Any, label: str = "") -> None:
        found = result.result
        if not found.get("changed"):
            if self._display.verbosity >= 1:
                self._print_task_banner(result.task)
                shown = (
                    f" => {self._dump(result)}" if self._run_is_verbose(result) and not self._is_debug(result) else ""
                )
                self._say(f"{INDENT}ok{self._host(result)}{label}{shown}", constants.COLOR_OK)
            elif self._has_words(found):
                self._print_task_banner(result.task)
            self._handle_warnings(found)
            if self._is_debug(result):
                self._message(result)
            return
        self._print_task_banner(result.task)
        self._changes(result, label)
        self._handle_warnings(found)
        if self._is_debug(result):
            self._message(result)
        elif self._run_is_verbose(result):
            self._say(f"{INDENT}=> {self._dump(result)}", constants.COLOR_CHANGED)

    def _changes(self, result: t.Any, label: str = "") -> None:
        """One line for each change of a result; the task itself where a module lists none."""
        listed = result.result.get("changes")
        ours = isinstance(listed, list) and all(isinstance(one, dict) and "resource" in one for one in listed)
        name = self._name(result.task)
        changes = listed if ours and listed else [{"action": "change", "resource": f"{name}{label}"}]
        would = bool(result.task.check_mode)
        self._layers[-1].add(changes, would=would)
        for change in changes:
            line = lab_lines.change_line(change, would=would)
            self._say(f"{INDENT}{self._host(result).strip()}{line}", constants.COLOR_CHANGED)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        if result.task.loop and "results" in result.result:
            self._handle_warnings(result.result)
            return
        self._failed(result, "failed", ignore_errors)

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        label = f" ({self._get_item_label(result.result)})"
        self._failed(result, "failed", bool(result.task.ignore_errors), label)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._failed(result, "unreachable", bool(result.task.ignore_unreachable))

    def _failed(self, result: t.Any, word: str, ignored: bool, label: str = "") -> None:
        self._print_task_banner(result.task)
        found = result.result
        if isinstance(found.get("changes"), list) and found["changes"]:
            self._changes(result)
        color = constants.COLOR_SKIP if ignored else constants.COLOR_ERROR
        stderr = bool(self.get_option("display_failed_stderr"))
        self._say(f"{INDENT}{word}{self._host(result)}{label}{' (ignored)' if ignored else ''}", color, stderr)
        for line in lab_lines.failure_lines(found):
            self._say(f"{INDENT}  {line}", color, stderr)
        self._handle_warnings(found)
        if self._display.verbosity >= 1:
            self._say(f"{INDENT}=> {self._dump(result)}", color, stderr)
        if not ignored:
            self._layers[-1].failed = True
            name = self._name(result.task)
            self._failures.append(f"{self._layers[-1].name}: {name}{label}{self._host(result)}")

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        if self._display.verbosity >= 1 and self.get_option("display_skipped_hosts"):
            self._print_task_banner(result.task)
            self._say(f"{INDENT}skipped{self._host(result)}", constants.COLOR_SKIP)

    def v2_runner_item_on_skipped(self, result: t.Any) -> None:
        """Not worth a line."""

    def v2_playbook_on_include(self, included_file: t.Any) -> None:
        """Not worth a line."""

    def v2_runner_retry(self, result: t.Any) -> None:
        left = result.result["retries"] - result.result["attempts"]
        reason = lab_lines.short(result.result.get("msg") or "not there yet")
        name = self._name(result.task)
        self._print_task_banner(result.task)
        self._say(f"{INDENT}… {name}: {reason}; {left} more tries{self._host(result)}", constants.COLOR_VERBOSE)

    # -- the end -----------------------------------------------------------------------------------------------------

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._end_layer()
        super().v2_playbook_on_stats(stats)
        layers = lab_lines.merged(self._layers)
        width = max([len(layer.name) for layer in layers], default=0)
        for layer in layers:
            self._say(f"  {layer.line(width)}", constants.COLOR_ERROR if layer.failed else None)
        self._say(f"  {'total':<{width}}  {lab_lines.seconds(time.monotonic() - self._began):>12}\n")
        hosts = [stats.summarize(host) for host in stats.processed]
        broken = any(host["failures"] or host["unreachable"] for host in hosts)
        color = constants.COLOR_ERROR if broken else constants.COLOR_OK
        # What a rescue has mended is no failure of the run.
        for line in lab_lines.verdict(layers, self._failures if broken else [], check=self._check):
            self._say(line, color)

    # -- helpers -----------------------------------------------------------------------------------------------------

    @property
    def _check(self) -> bool:
        return bool(context.CLIARGS.get("check"))

    def _host(self, result: t.Any) -> str:
        """Which host, unless it is the controller alone."""
        label = str(self.host_label(result))
        return "" if label == "localhost" else f" [{label}]"

    def _name(self, task: t.Any) -> str:
        """A task's name as it was when the task began, when all its variables were there; without its role."""
        return str(self._names.get(task._uuid) or task.get_name()).strip().rpartition(" : ")[2]

    def _has_words(self, found: t.Mapping[str, t.Any]) -> bool:
        return bool(found.get("warnings") or found.get("deprecations"))

    def _is_debug(self, result: t.Any) -> bool:
        return bool(result.task.action.rpartition(".")[2] == "debug")

    def _message(self, result: t.Any) -> None:
        """What ``debug`` says is the point of it."""
        self._print_task_banner(result.task)
        text = result.result.get("msg")
        lines = text if isinstance(text, list) else str(self._dump(result) if text is None else text).splitlines()
        for line in lines:
            self._say(f"{INDENT}{line}")

    def _dump(self, result: t.Any) -> str:
        self._clean_results(result.result, result.task.action)
        return str(self._dump_results(result.result))

    def _say(self, text: str, color: str | None = None, stderr: bool = False) -> None:
        self._display.display(text, color=color, stderr=stderr)
