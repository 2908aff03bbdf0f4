# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of a lab's values. The work is done in ``module_utils/lab``."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.lab import addresses
from ansible_collections.groundwork.homelab.plugins.plugin_utils.template_errors import speaking


class TestModule:
    """The tests of this file; each has its documentation beside it."""

    def tests(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"in_network": speaking(addresses.in_network)}
