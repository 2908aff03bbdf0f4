# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: time does not judge a property test on a loaded machine, examples do; Ctrl-C ends a run cleanly."""

from __future__ import annotations

import pytest
from _pytest.tmpdir import tmppath_result_key
from hypothesis import HealthCheck, settings

settings.register_profile(
    "lab", deadline=None, database=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lab")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The end of pytest's own ``tmp_path`` looks here for what became of the test. After a Ctrl-C in a fixture there is
    nothing, and pytest ended with a KeyError instead of what it has to say."""
    item.stash.setdefault(tmppath_result_key, {})
