# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for decoded configurations, with the node's texts."""

from __future__ import annotations

from .machineconfig import MachineConfig
from .versions import Version


class Invalid(Exception):
    """The configuration is refused; the text lists every problem."""


def validate(config: MachineConfig, version: Version, mode: str) -> tuple[str, ...]:
    """Warnings. Raises :class:`Invalid`."""
    return ()
