# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module's core in the worker that Ansible has forked anyway, instead of in one more Python process.

Each module has an action plugin of its own name, which is this class under that name. One plugin that
``plugin_routing`` redirects all module names to would do the same work, but Ansible files ``module_defaults`` and
action groups under the name at the end of the redirect, so that each module would get the defaults of all others.

Ansible's strategies load an action plugin in the parent process, just before they fork the first worker that needs
it. So what is imported here when a plugin is loaded is paid for once a run, and only by runs that use the module.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import traceback
import types
import typing as t

from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ModuleArgumentSpecValidator
from ansible.module_utils.common.warnings import warn
from ansible.module_utils.errors import UnsupportedError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import MissingDependency
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Run, Spec, Task, execute, unexpected
from ansible_collections.groundwork.homelab.plugins.plugin_utils.masking import masked

COLLECTION = "groundwork.homelab"

#: A task variable: false runs the ordinary module, for example to compare the two ways.
SWITCH = "groundwork_in_process"

#: What the rooms import at their first call, and what takes long to import.
HEAVY = {
    "proxmox": ("urllib3",),
    "talos": ("h2.connection", "google.protobuf.message_factory", "cryptography.x509"),
    "kubernetes": ("yaml", "urllib3"),
    "secrets": ("yaml", "cryptography.x509"),
}

display = Display()


def preload(*names: str) -> None:
    """Import these if they are there. What is missing is reported by the task that needs it."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def plain(value: t.Any) -> t.Any:
    """The same data in Python's own types, as a module gets it: no tags, no lazy containers, no vault objects."""
    if isinstance(value, t.Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    # Text and text from a vault; str() keeps no tag.
    return str(value)


class InProcess(ActionBase):
    """The action plugin of one module of the collection; ``group`` is the action group of its connection."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = True

    #: The module's short name.
    module_name: t.ClassVar[str] = ""
    imports: t.ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, group: str = "", imports: t.Sequence[str] = (), **keywords: t.Any) -> None:
        """``imports``: what the module imports of ``module_utils`` when it runs. Ansible compiles a collection's files at
        each import and keeps nothing of it, so every worker would compile for itself what it imports itself."""
        super().__init_subclass__(**keywords)
        cls.module_name = cls.__module__.rpartition(".")[2]
        cls.imports = tuple(f"ansible_collections.{COLLECTION}.plugins.module_utils.{name}" for name in imports)
        preload(*HEAVY.get(group, ()), cls.module_path(), *cls.imports)

    @classmethod
    def module_path(cls) -> str:
        return f"ansible_collections.{COLLECTION}.plugins.modules.{cls.module_name}"

    @property
    def fqcn(self) -> str:
        return f"{COLLECTION}.{self.module_name}"

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        if self._runs_here(variables):
            result.update(self._run_here(variables))
        else:
            result.update(self._run_module(variables))
        return result

    # -- which way ---------------------------------------------------------------------------------------------

    def _runs_here(self, variables: dict[str, t.Any]) -> bool:
        wanted = self._templar.template(variables.get(SWITCH, True))
        return (
            boolean(wanted, strict=False)
            and self._connection.transport == "local"
            and not self._task.async_val
            and not self._connection.become
        )

    def _run_module(self, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        """The ordinary way, as Ansible's own action plugin ``normal`` goes it."""
        wrap_async = bool(self._task.async_val)
        result = self._execute_module(module_name=self.fqcn, task_vars=variables, wrap_async=wrap_async)
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return t.cast("dict[str, t.Any]", result)

    # -- here ----------------------------------------------------------------------------------------------------

    def _run_here(self, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        with self._surroundings():
            try:
                module = importlib.import_module(self.module_path())
            except ModuleNotFoundError as error:
                missing = MissingDependency(error.name or self.module_name, reason=str(error))
                return {"failed": True, "msg": missing.message, "error": missing.as_result()}
            return Call(self, module, variables).result()

    @contextlib.contextmanager
    def _surroundings(self) -> t.Iterator[None]:
        """The task's environment and the playbook's directory, which a module's process would have."""
        wanted: dict[str, t.Any] = {}
        self._compute_environment_string(wanted)
        before = dict(os.environ)
        try:
            os.environ.update({str(name): str(value) for name, value in wanted.items()})
            with contextlib.chdir(self._loader.get_basedir() or "."):
                yield
        finally:
            os.environ.clear()
            os.environ.update(before)


class Call:
    """One run of one module's core, with what ``AnsibleModule`` does around it."""

    def __init__(self, action: InProcess, module: types.ModuleType, variables: dict[str, t.Any]) -> None:
        self.action = action
        self.variables = variables
        self.spec: Spec = module.SPEC
        self.core: Run = module.run
        self.params: dict[str, t.Any] = plain(action._task.args)
        self.secrets: set[str] = set()
        self.warnings: list[str] = []
        self.said = ""
        self.playbook = os.getppid()

    def result(self) -> dict[str, t.Any]:
        problem = self._validate()
        if problem:
            result = {"failed": True, "msg": problem}
        else:
            result = self._execute()
        for warning in self.warnings:
            warn(str(self._masked(warning)))
        if self._shows_invocation():
            result["invocation"] = {"module_args": self.params}
        # As AnsibleModule: what is true, false or nothing at the top hides no secret and means something.
        preserved = {key: value for key, value in result.items() if value is None or isinstance(value, bool)}
        return {**self._masked(result), **preserved}

    def _validate(self) -> str:
        """Fill in and check the parameters. What is wrong with them, or nothing."""
        checked = ModuleArgumentSpecValidator(**self.spec.keywords()).validate(self.params)
        self.params = checked.validated_parameters
        self.secrets.update(checked._no_log_values)
        if not checked.error_messages:
            return ""
        problem = str(checked.errors.msg)
        if isinstance(checked.errors[0], UnsupportedError):
            return f"Unsupported parameters for ({self.action.fqcn}) module: {problem}"
        return problem

    def _execute(self) -> dict[str, t.Any]:
        task = Task(
            params=self.params,
            check_mode=bool(self.action._task.check_mode),
            diff_mode=bool(self.action._task.diff),
            warn=self.warnings.append,
            progress=self._progress,
            secrets=self.secrets,
        )
        try:
            return execute(self.core, task)
        except Exception as error:
            return self._unexpected(error)

    def _unexpected(self, error: Exception) -> dict[str, t.Any]:
        """A bug of ours: a failed task that names it, with the traceback where the user asked for tracebacks."""
        result = {"failed": True, "msg": unexpected(error)}
        if _shows_tracebacks():
            result["exception"] = "".join(traceback.format_exception(error))
        return result

    def _progress(self, text: str) -> None:
        if os.getppid() != self.playbook:
            # ansible-playbook was killed: nobody reads the result, and the queue of its display would block for ever.
            os._exit(1)
        if self.action._task.no_log or text == self.said:
            return
        self.said = text
        display.display(f"    {self._host()}… {self._masked(text)}", color=constants.COLOR_VERBOSE)

    def _host(self) -> str:
        """Who speaks, where several hosts may speak at the same time."""
        name = str(self.variables.get("inventory_hostname", "localhost"))
        return "" if name == "localhost" else f"[{name}] "

    def _masked(self, value: t.Any) -> t.Any:
        return masked(value, self.secrets)

    def _shows_invocation(self) -> bool:
        try:
            return bool(constants.config.get_config_value("INJECT_INVOCATION", variables=self.variables))
        except (AnsibleError, KeyError):
            # Before ansible-core 2.21 there is no such setting: always.
            return True


def _shows_tracebacks() -> bool:
    wanted = set(constants.config.get_config_value("DISPLAY_TRACEBACK"))
    return "never" not in wanted and bool({"always", "error"} & wanted)
