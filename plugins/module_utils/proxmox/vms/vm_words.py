# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of things as Proxmox VE spells them, and what is said of a name that it does not take."""

from __future__ import annotations

import re
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps

Params = t.Mapping[str, t.Any]

#: Buses and how many disks PVE allows on each.
BUSES = {"scsi": 31, "virtio": 16, "sata": 6, "ide": 4}

#: Buses that a drive with a removable medium may sit on.
CD_BUSES = {"ide": 4, "sata": 6, "scsi": 31}

STORAGE = re.compile(r"[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]")
NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
MAPPING = re.compile(r"[A-Za-z][A-Za-z0-9\-_]+")


def check_slot(slot: str, buses: t.Mapping[str, int], what: str) -> None:
    bus = slot.rstrip("0123456789")
    number = slot[len(bus) :]
    if bus not in buses or not number or int(number) >= buses[bus] or str(int(number)) != number:
        known = ", ".join(f"{bus}0 to {bus}{count - 1}" for bus, count in buses.items())
        raise InvalidInput(f"{slot!r} is no {what}", hint=f"Known: {known}.")


def check_volume(text: str, option: str, example: str) -> None:
    if text.startswith("/"):
        raise InvalidInput(f"{option} is the path {text}", hint="Only root@pam may use paths; name a volume.")
    if not ps.storage_of(text) or not text.partition(":")[2]:
        raise InvalidInput(f"{option} {text!r} is no volume", hint=f"Write for example {example}.")


def matched(pattern: re.Pattern[str], text: str, option: str, hint: str) -> str:
    """The text, when all of it matches."""
    if not pattern.fullmatch(text):
        raise InvalidInput(f"{option} {text!r} is not valid", hint=hint)
    return text
