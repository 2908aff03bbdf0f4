# SPDX-License-Identifier: GPL-3.0-or-later
"""A package that is not installed is named by the task that needs it, and by nobody before."""

from __future__ import annotations

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import Absent, MissingDependency


def test_an_absent_package_is_named_when_it_is_used() -> None:
    package = Absent("h2", ImportError("No module named 'h2'"))
    with pytest.raises(
        MissingDependency, match=r"Could not import the Python package h2 .*No module named 'h2'.*pip install h2"
    ):
        package.connection.H2Connection()
