# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of every module's documentation run somewhere: a module whose ``EXAMPLES`` no test plays fails here."""

from __future__ import annotations

import ast
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml

from ansible_collections.groundwork.homelab.plugins.modules import preflight

ROOT = pathlib.Path(__file__).parents[3]
TESTS = ROOT / "tests"
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("[a-z]*.py"))
PLAYERS = ("play", "run_playbook")


def played(source: str) -> set[str]:
    """The modules whose ``EXAMPLES`` a test file hands to ``ansible-playbook`` (which it calls through ``play``)."""
    tree = ast.parse(source)
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    if not calls & set(PLAYERS):
        return set()
    lists = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "EXAMPLES":
            found |= _meant(node.value, tree, lists)
    return found


def _meant(value: ast.expr, tree: ast.Module, lists: t.Mapping[str, ast.expr]) -> set[str]:
    """``module``, ``MODULES[name]``, each of ``for module in ALL``, ``import_module(f"….talos_{name}")`` of ``NAMES``."""
    if isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name):
        return _names(lists.get(value.value.id))
    if isinstance(value, ast.Call):
        starts = [part.value.rpartition(".")[2] for part in ast.walk(value) if isinstance(part, ast.Constant)]
        return {f"{start}{name}" for start in starts for name in _strings(lists.get("NAMES"))}
    if not isinstance(value, ast.Name):
        return set()
    of = {
        loop.iter.id
        for loop in ast.walk(tree)
        if isinstance(loop, (ast.comprehension, ast.For))
        and isinstance(loop.target, ast.Name)
        and loop.target.id == value.id
        and isinstance(loop.iter, ast.Name)
    }
    return {value.id}.union(*(_names(lists.get(name)) for name in of))


def _names(value: ast.expr | None) -> set[str]:
    return {node.id for node in ast.walk(value) if isinstance(node, ast.Name)} if value else set()


def _strings(value: ast.expr | None) -> set[str]:
    return {node.value for node in ast.walk(value) if isinstance(node, ast.Constant)} if value else set()


def test_the_examples_of_every_module_run_in_a_test() -> None:
    files = [path for path in TESTS.rglob("test_*.py") if "EXAMPLES" in path.read_text(encoding="utf-8")]
    everywhere: set[str] = set().union(*(played(path.read_text(encoding="utf-8")) for path in files))
    assert sorted(set(MODULES) - everywhere) == []


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("play(lab, tasks_of(lab, proxmox_vm.EXAMPLES))", {"proxmox_vm"}),
        ("ALL = (a, b)\nfor one in ALL:\n    play(one.EXAMPLES)", {"one", "a", "b"}),
        ("M = {'x': a, 'y': b}\nplay(M[name].EXAMPLES)", {"a", "b"}),
        ("NAMES = ('x',)\nplay(import_module(f'{M}.talos_{name}').EXAMPLES)", {"talos_x"}),
        ("print(proxmox_vm.EXAMPLES)", set()),
    ],
)
def test_what_is_found_in_a_test(source: str, modules: set[str]) -> None:
    assert played(source) == modules


def play(folder: pathlib.Path, examples: str) -> subprocess.CompletedProcess[str]:
    """On the inventory that the demonstration uses."""
    playbook, config = folder / "play.yml", folder / "ansible.cfg"
    page = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": yaml.safe_load(examples)}
    playbook.write_text(yaml.safe_dump([page]))
    config.write_text("[defaults]\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {
        "ANSIBLE_COLLECTIONS_PATH": str(pathlib.Path(preflight.__file__).parents[5]),
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    command = [sys.executable, "-m", "ansible.cli.playbook", "-i", str(ROOT / "inventories/solo"), str(playbook)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_the_example_of_preflight_runs(tmp_path: pathlib.Path) -> None:
    done = play(tmp_path, preflight.EXAMPLES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout
