# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot order."""

from __future__ import annotations

import typing as t

from .. import formats, named_formats
from . import drives

_FORMAT = named_formats.PROPERTY_STRINGS["pve-qm-boot"]
_BOOTABLE = tuple(name for name in drives.DRIVE_NAMES if name not in ("efidisk0", "tpmstate0"))


def default_order(options: t.Mapping[str, str]) -> list[str]:
    """The first disk, the first CD-ROM drive, the first network card."""
    found = {name: drives.parse(name, options[name]) for name in _BOOTABLE if name in options}
    disks = [name for name, drive in found.items() if not drives.is_cdrom(drive)]
    cdroms = [name for name, drive in found.items() if drives.is_cdrom(drive)]
    cards = [f"net{n}" for n in range(32) if f"net{n}" in options]
    return [*disks[:1], *cdroms[:1], *cards[:1]]


def parse(value: str | None) -> list[str]:
    """The devices of ``order=...``; none for the old letters."""
    if not value or not value.strip():
        return []
    return [item for item in formats.parse(_FORMAT, value, "boot").get("order", "").split(";") if item]


def disks(options: t.Mapping[str, str]) -> list[str]:
    """The disks that a VM boots from, as it runs."""
    value = options.get("boot", "").strip()
    if not value or "order" not in formats.parse(_FORMAT, value, "boot"):
        return [options["bootdisk"]] if "bootdisk" in options else []
    return [name for name in parse(value) if drives.is_drive(name)]


def render(order: t.Sequence[str]) -> str:
    return f"order={';'.join(order)}" if order else ""
