# SPDX-License-Identifier: GPL-3.0-or-later
"""The judges of the secrets room: the real programs' own libraries."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parent)]

import judges
from oracle import Oracle


@pytest.fixture(scope="session")
def age_oracle() -> t.Iterator[Oracle]:
    with Oracle(judges.AGE_ORACLE) as running:
        yield running


@pytest.fixture(scope="session")
def sealed_oracle() -> t.Iterator[Oracle]:
    with Oracle(judges.SEALED_ORACLE) as running:
        yield running


@pytest.fixture(scope="session")
def sops_oracle() -> t.Iterator[Oracle]:
    with Oracle(judges.sops_oracle()) as running:
        yield running
