# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For the Talos part of a lab. The work is done in ``module_utils/talos/releases.py``."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import releases
from ansible_collections.groundwork.homelab.plugins.plugin_utils.template_errors import speaking

_FILTERS = (releases.talos_version,)


class FilterModule:
    """The filters of this file; each has its documentation beside it."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {function.__name__: speaking(function) for function in _FILTERS}
