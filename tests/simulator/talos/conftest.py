# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import typing as t

import pytest
from talos_support import FakeKubernetes, Lab, bundle

from simlab.talos import Registry, Settings


@pytest.fixture(scope="session")
def secrets() -> dict[str, t.Any]:
    return bundle()


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> Lab:
    settings = Settings(registry=Registry(), runtime=tmp_path / "run", kubernetes=FakeKubernetes)
    return Lab(tmp_path, settings)
