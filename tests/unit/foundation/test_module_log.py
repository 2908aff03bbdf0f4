# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module that runs as a process of its own leaves in the machine's log."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, Task, run_as_module

SPEC = Spec(argument_spec={"definitions": {"type": "raw"}, "name": {"type": "str"}, "state": {"type": "str"}})


def run(task: Task) -> dict[str, t.Any]:
    return {"changed": False, "seen": task.params["name"]}


def test_options_are_logged_by_name_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Their values may be secret, and which are is known only when the core has run."""
    said: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda self, msg, log_args=None: said.append(f"{msg} {log_args}"))
    secret = {"kind": "Secret", "stringData": {"password": "correct horse"}}
    with patch_module_args({"definitions": secret, "name": "battery staple"}), pytest.raises(SystemExit) as ended:
        run_as_module(SPEC, run)
    assert ended.value.code == 0 and "battery staple" in capsys.readouterr().out
    assert said == ["Invoked with definitions, name None"]
