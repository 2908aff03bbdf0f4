# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module's core meets Ansible, whichever of the two ways it is run.

A module file has two names that both ways use: ``SPEC`` (a :class:`Spec`) and ``run``, a function
that takes a :class:`Task` and returns the result. ``main`` hands them to :func:`run_as_module`; the
action plugin ``in_process`` hands them to :func:`execute` in the controller's own worker.
"""

from __future__ import annotations

import dataclasses
import math
import typing as t

from .errors import HomelabError, InvalidInput
from .plan import Plan

Result = dict[str, t.Any]


def _nothing(_text: str) -> None:
    """Progress and warnings that nobody wants to hear."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """A module's options, in the words of ``AnsibleModule``."""

    argument_spec: dict[str, dict[str, t.Any]]
    mutually_exclusive: list[list[str]] = dataclasses.field(default_factory=list)
    required_together: list[list[str]] = dataclasses.field(default_factory=list)
    required_one_of: list[list[str]] = dataclasses.field(default_factory=list)
    required_if: list[t.Any] = dataclasses.field(default_factory=list)
    required_by: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def keywords(self) -> dict[str, t.Any]:
        """Keyword arguments for ``AnsibleModule`` and ``ArgumentSpecValidator`` alike."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


@dataclasses.dataclass
class Task:
    """What a core is given: validated parameters, the modes, and ways to speak.

    ``progress`` says what is being waited for and why; it is heard at once in process and not at all
    from a module, which cannot stream. ``secrets`` collects values that came up at run time and must
    never be shown; every result is searched for them.
    """

    params: dict[str, t.Any]
    check_mode: bool = False
    diff_mode: bool = False
    warn: t.Callable[[str], None] = _nothing
    progress: t.Callable[[str], None] = _nothing
    secrets: set[str] = dataclasses.field(default_factory=set)

    def secret(self, *values: str | None) -> None:
        """Keep these values out of everything this task says."""
        self.secrets.update(value for value in values if value)

    def result(self, plan: Plan, **more: t.Any) -> Result:
        """The result of a module that planned: ``changed``, ``changes``, ``diff``, and what is given."""
        outcome: Result = {"changed": bool(plan), "changes": plan.as_result(), **more}
        if self.diff_mode and plan:
            outcome["diff"] = plan.diff()
        return outcome


Run = t.Callable[[Task], Result]


def execute(run: Run, task: Task) -> Result:
    """Run a core; an error of ours becomes a failed result, anything else is a bug and passes through."""
    try:
        _check_numbers(task.params)
        return run(task)
    except HomelabError as error:
        return {
            "failed": True,
            "changed": bool(error.made),
            "changes": error.made,
            "msg": error.message,
            "error": error.as_result(),
        }


def _check_numbers(params: t.Mapping[str, t.Any]) -> None:
    """Options, also those of lists of options, are numbers that one can count to: "nan" seconds would never be over."""
    for name, value in params.items():
        members = value if isinstance(value, list) else [value]
        below = [(name, one) for one in members] + [
            pair for one in members if isinstance(one, dict) for pair in one.items()
        ]
        for option, one in below:
            if isinstance(one, float) and not math.isfinite(one):
                raise InvalidInput(f"{option} is {one}, it must be a number")


def run_as_module(spec: Spec, run: Run) -> None:
    """The ordinary way: in a process of its own, with everything that ``AnsibleModule`` does."""
    from ansible.module_utils.basic import AnsibleModule
    from ansible.module_utils.common.parameters import remove_values

    class Module(AnsibleModule):
        """Before a core has run, nobody knows what in its options is secret: a manifest may be a Secret's."""

        def _log_invocation(self) -> None:
            given = sorted(name for name, value in self.params.items() if value is not None)
            self.log(f"Invoked with {', '.join(given)}")

    module = Module(supports_check_mode=True, **spec.keywords())
    warnings: list[str] = []
    task = Task(
        params=module.params,
        check_mode=module.check_mode,
        diff_mode=module._diff,
        warn=warnings.append,
        secrets=module.no_log_values,
    )
    try:
        result = execute(run, task)
    except Exception as error:
        # Uncaught, its text and traceback would be shown with the secrets that they may hold.
        result = {"failed": True, "msg": unexpected(error)}
    for warning in warnings:
        # AnsibleModule masks what a result says, but not its warnings.
        module.warn(remove_values(warning, module.no_log_values))
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


def unexpected(error: Exception) -> str:
    """What a task says that failed by a bug of ours."""
    return f"Module failed: {type(error).__name__}: {error}"
