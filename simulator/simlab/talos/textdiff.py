# SPDX-License-Identifier: GPL-3.0-or-later
"""Unified diffs in the form that the node writes."""

from __future__ import annotations

import difflib


def unified(old: str, new: str) -> str:
    """``--- a``, ``+++ b``, hunks with three lines around; empty if the texts are equal."""
    if old == new:
        return ""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "a", "b", lineterm="", n=3)
    return "\n".join(lines) + "\n"
