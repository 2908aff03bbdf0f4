# SPDX-License-Identifier: GPL-3.0-or-later
"""Unified diffs in the form that the node writes."""

from __future__ import annotations

import difflib
import re

_RANGE = re.compile(r"([-+])(\d+)(?= )")


def unified(old: str, new: str) -> str:
    """``--- a``, ``+++ b``, hunks with three lines around; empty if the texts are equal.

    The node chooses another order of removed and added lines in some hunks that change several lines.
    """
    if old == new:
        return ""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "a", "b", lineterm="", n=3)
    return "".join(_line(line) + "\n" for line in lines)


def _line(line: str) -> str:
    """Both numbers stand in every header, also when one line is meant."""
    return _RANGE.sub(r"\1\2,1", line) if line.startswith("@@ ") else line
