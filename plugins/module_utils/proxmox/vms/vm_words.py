# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of things as Proxmox VE spells them, and what is said of a name that it does not take."""

from __future__ import annotations

import re

from ...errors import InvalidInput
from ..api import propertystring as ps

#: Buses and how many disks PVE allows on each.
BUSES = {"scsi": 31, "virtio": 16, "sata": 6, "ide": 4}

#: Buses that a drive with a removable medium may sit on.
CD_BUSES = {"ide": 4, "sata": 6, "scsi": 31}

MAPPING = re.compile(r"[A-Za-z][A-Za-z0-9\-_]+")


#: A disk in an OVA archive: ``import/appliance.ova/disk-1.vmdk``.
_IN_ARCHIVE = re.compile(r"(.+:import/[^/]+\.ova)/[^/]+")


def archive_of(volume: str) -> str:
    """The archive that a source of a disk lies in; empty for other sources."""
    found = _IN_ARCHIVE.fullmatch(volume)
    return found[1] if found else ""


def check_volume(text: str, option: str, example: str) -> None:
    if text.startswith("/"):
        raise InvalidInput(f"{option} is the path {text}", hint="Only root@pam may use paths; name a volume.")
    if not ps.storage_of(text) or not text.partition(":")[2]:
        raise InvalidInput(f"{option} {text!r} is no volume", hint=f"Write for example {example}.")
