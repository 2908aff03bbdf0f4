#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module for the tests of the two ways: it can do everything that a module may do to its caller."""

from __future__ import annotations

import os
import sys
import typing as t

from ansible.module_utils.basic import env_fallback

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import Change, Plan
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Spec, Task, run_as_module

SPEC = Spec(
    argument_spec={
        "name": {"type": "str", "required": True, "aliases": ["title"]},
        "size": {"type": "int", "default": 3},
        "colour": {"type": "str", "choices": ["red", "blue"]},
        "endpoint": {"type": "str", "fallback": (env_fallback, ["PROBE_ENDPOINT"])},
        "password": {"type": "str", "no_log": True},
        "old": {"type": "bool", "removed_in_version": "9.9.9", "removed_from_collection": "groundwork.homelab"},
        "path": {"type": "path"},
        "when": {"type": "raw"},
        "nested": {
            "type": "list",
            "elements": "dict",
            "options": {"key": {"type": "str", "no_log": True}, "count": {"type": "int", "default": 1}},
        },
        "behave": {
            "type": "str",
            "default": "well",
            "choices": ["well", "fail", "crash", "warn", "echo", "missing", "late_secret", "wait", "made", "where"],
        },
    },
    mutually_exclusive=[["colour", "path"]],
    required_if=[["behave", "fail", ["colour"]]],
    required_by={"endpoint": ["colour"]},
)


def run(task: Task) -> dict[str, t.Any]:
    plan = Plan.of([Change(f"probe/{task.params['name']}", "update", {"size": 1}, {"size": task.params["size"]})])
    return BEHAVIOUR[task.params["behave"]](task, plan)


def well(task: Task, plan: Plan) -> dict[str, t.Any]:
    return task.result(plan, params=dict(task.params), where=os.path.realpath("."), seen=os.environ.get("PROBE_SEEN"))


def fail(task: Task, plan: Plan) -> dict[str, t.Any]:
    raise errors.Refused(
        "paint it", of="the painter", answer=f"no {task.params['password']} here", hint="Ask again.", status=422
    )


def made(task: Task, plan: Plan) -> dict[str, t.Any]:
    error = errors.TaskFailed("finish", answer="stopped half way")
    error.made = plan.as_result()
    raise error


def crash(task: Task, plan: Plan) -> dict[str, t.Any]:
    raise RuntimeError(f"boom {task.params['password']}")


def warn(task: Task, plan: Plan) -> dict[str, t.Any]:
    task.warn(f"mind the {task.params['password']} gap")
    return task.result(Plan())


def echo(task: Task, plan: Plan) -> dict[str, t.Any]:
    return task.result(plan, said=[f"<{task.params['password']}>"], deep={"keys": task.params["nested"]})


def where(task: Task, plan: Plan) -> dict[str, t.Any]:
    plugin = sys.modules.get("ansible_collections.groundwork.homelab.plugins.action.probe")
    return {
        "changed": False,
        "in_controller": "ansible.executor.task_executor" in sys.modules,
        "loaded_before_the_fork": getattr(plugin, "LOADED_IN", os.getpid()) != os.getpid(),
        "heavy": "urllib3" in sys.modules,
    }


def missing(task: Task, plan: Plan) -> dict[str, t.Any]:
    raise errors.MissingDependency("h2", reason="No module named 'h2'")


def late_secret(task: Task, plan: Plan) -> dict[str, t.Any]:
    task.secret("found-at-run-time")
    return task.result(plan, text="it is found-at-run-time.", exact="found-at-run-time")


def wait(task: Task, plan: Plan) -> dict[str, t.Any]:
    task.secret("found-at-run-time")
    for _again in range(3):
        task.progress("waiting for the kettle: found-at-run-time is cold")
    task.progress(f"waiting for the kettle: {task.params['password']} is warm")
    return task.result(Plan())


BEHAVIOUR: dict[str, t.Callable[[Task, Plan], dict[str, t.Any]]] = {
    "well": well,
    "fail": fail,
    "made": made,
    "where": where,
    "crash": crash,
    "warn": warn,
    "echo": echo,
    "missing": missing,
    "late_secret": late_secret,
    "wait": wait,
}


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
