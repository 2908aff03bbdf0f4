# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: time does not judge a property test on a loaded machine, examples do."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "lab", deadline=None, database=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lab")
