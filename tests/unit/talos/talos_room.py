# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the Talos room share: a cluster's options, and modules run in process."""

from __future__ import annotations

import importlib
import pathlib
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute

DATA = pathlib.Path(__file__).parent / "data"
MODULES = "ansible_collections.groundwork.homelab.plugins.modules"


def options(**more: t.Any) -> dict[str, t.Any]:
    """A good cluster's options; ``cluster`` in ``more`` is merged."""
    cluster = {"name": "lab", "endpoint": "https://10.77.0.11:6443", **more.pop("cluster", {})}
    nodes = [
        {"name": "cp1", "address": "10.77.0.11", "type": "controlplane"},
        {"name": "w1", "address": "10.77.0.21", "type": "worker"},
    ]
    return {"cluster": cluster, "nodes": nodes, **more}


class Outcome(dict[str, t.Any]):
    """A module's result, with what the task said besides."""

    task: Task


def validated(module: str, params: dict[str, t.Any]) -> dict[str, t.Any]:
    """Parameters with defaults, as Ansible gives them to a module."""
    found = importlib.import_module(f"{MODULES}.{module}")
    result = ArgumentSpecValidator(**found.SPEC.keywords()).validate(params)
    if result.error_messages:
        raise ValueError("; ".join(result.error_messages))
    return t.cast("dict[str, t.Any]", result.validated_parameters)


def run(module: str, params: dict[str, t.Any], *, check: bool = False) -> Outcome:
    """Run a module as the action plugin does."""
    found = importlib.import_module(f"{MODULES}.{module}")
    try:
        given = validated(module, params)
    except ValueError as error:
        return Outcome(failed=True, changed=False, msg=str(error))
    task = Task(given, check_mode=check, diff_mode=True)
    outcome = Outcome(execute(found.run, task))
    outcome.task = task
    return outcome
