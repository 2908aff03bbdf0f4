# SPDX-License-Identifier: GPL-3.0-or-later
"""The RPCs, by what they are about. Importing a module here puts its handlers into the table of ``calls.py``."""

from __future__ import annotations


def load() -> None:
    """Fill the table; importing again costs nothing."""
    from . import (
        configuration,
        etcd,
        health,
        images,
        information,
        lifecycle,
        logs,
        resources,
        services,
    )  # noqa: F401
