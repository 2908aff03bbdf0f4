# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of Talos's configs: its own machinery."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from oracle import Oracle

from simlab.binaries import Program

ORACLE = Program("talos-oracle", HERE / "oracle", packages=700)


@pytest.fixture(scope="session")
def machinery() -> t.Iterator[Oracle]:
    with Oracle(ORACLE) as running:
        yield running
