# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes as Proxmox writes and reads them."""

from __future__ import annotations

import re

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")


def parse_size(text: str) -> int | None:
    """Bytes of ``32G``, ``1.5T``, ``4096``; None for anything else."""
    match = _SIZE.fullmatch(text)
    return int(float(match[1]) * _UNITS[match[2]]) if match else None


def format_size(size: int) -> str:
    """The largest unit that divides ``size``; 0 is ``0T`` in the real one too."""
    value, text = size, ""
    for unit in ("K", "M", "G", "T"):
        if value % 1024:
            break
        value, text = value // 1024, unit
    return f"{value}{text}"
