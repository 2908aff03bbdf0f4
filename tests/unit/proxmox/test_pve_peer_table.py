# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of the peer's failures (``tests/integration/proxmox/peer_failures.md``) names tests that exist."""

from __future__ import annotations

import ast
import functools
import pathlib

TESTS = pathlib.Path(__file__).parents[2]
TABLE = TESTS / "integration" / "proxmox" / "peer_failures.md"
FOLDERS = (TESTS / "integration" / "proxmox", TESTS / "unit" / "proxmox")


def rows() -> list[list[str]]:
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@functools.cache
def functions_of(name: str) -> frozenset[str]:
    """A name that is in both folders has the tests of both."""
    files = [folder / name for folder in FOLDERS if (folder / name).exists()]
    trees = [ast.parse(file.read_text()) for file in files]
    found = (node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef))
    return frozenset(one for one in found if one.startswith("test_"))


def test_every_failure_has_a_test_that_exists() -> None:
    assert len(rows()) > 30
    for failure, reported, tests in rows():
        assert failure, tests
        assert reported, failure
        assert tests, failure
        for test in tests.split():
            name, _, function = test.partition("::")
            assert function in functions_of(name), test
