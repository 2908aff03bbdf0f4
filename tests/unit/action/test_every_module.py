# SPDX-License-Identifier: GPL-3.0-or-later
"""Each module of the collection can run in the controller."""

from __future__ import annotations

import ast
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("[a-z]*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_an_action_plugin_of_its_name_and_the_two_names_that_it_needs(name: str) -> None:
    action = importlib.import_module(f"ansible_collections.groundwork.homelab.plugins.action.{name}")
    module = importlib.import_module(action.ActionModule.module_path())
    assert action.ActionModule.module_name == name
    assert callable(module.run)
    assert module.SPEC.keywords()["argument_spec"]


def test_no_action_plugin_is_left_without_a_module() -> None:
    actions = sorted(path.stem for path in (ROOT / "plugins/action").glob("[a-z]*.py"))
    assert actions == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_imports_when_it_runs_is_there_before_the_workers_are_forked(name: str) -> None:
    """Else each of them compiles it once more, as Ansible keeps no compiled files of collections."""
    tree = ast.parse((ROOT / f"plugins/modules/{name}.py").read_text())
    late = {
        f"{node.module}.{imported.name}"
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom)
        for imported in node.names
    }
    action = importlib.import_module(f"ansible_collections.groundwork.homelab.plugins.action.{name}")
    assert set(action.ActionModule.imports) == late
