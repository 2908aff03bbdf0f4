# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshots of a guest, as facts and inventory tell them."""

from __future__ import annotations

import typing as t


def snapshots(found: t.Iterable[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Oldest first; ``current`` is no snapshot."""
    real = [entry for entry in found if entry.get("name") != "current"]
    return [
        {
            "name": str(entry["name"]),
            "description": str(entry.get("description") or "").rstrip("\n"),
            "time": int(entry.get("snaptime") or 0),
            "parent": str(entry.get("parent") or ""),
            "memory": bool(int(entry.get("vmstate") or 0)),
        }
        for entry in sorted(real, key=lambda entry: (int(entry.get("snaptime") or 0), str(entry["name"])))
    ]
