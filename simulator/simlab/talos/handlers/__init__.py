# SPDX-License-Identifier: GPL-3.0-or-later
"""The RPCs, by what they are about. Importing a module here puts its handlers into the table of ``calls.py``."""

from __future__ import annotations

import importlib

_MODULES = (
    "configuration",
    "etcd",
    "files",
    "health",
    "images",
    "information",
    "lifecycle",
    "logs",
    "meta",
    "resources",
    "services",
    "statistics",
)


def load() -> None:
    """Fill the table; importing again costs nothing."""
    for name in _MODULES:
        importlib.import_module(f"{__name__}.{name}")
