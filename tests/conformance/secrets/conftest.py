# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of the secrets room: the real programs' own libraries."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from oracle import Oracle

from simlab.binaries import Program

ORACLE = Program("secrets-oracle", HERE / "oracle", packages=1170)


@pytest.fixture(scope="session")
def oracle() -> t.Iterator[Oracle]:
    with Oracle(ORACLE) as running:
        yield running
