# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine."""

from __future__ import annotations

import dataclasses
import typing as t

from ..guest import GuestConfig, Options, Running, Snapshot
from . import drives, options

__all__ = ["Options", "Running", "Snapshot", "Vm", "shown"]


@dataclasses.dataclass
class Vm(GuestConfig):
    #: Cloud-init values that the drive was last written with.
    cloud_init: Options | None = None
    #: What has changed since the drive was written, of cards and the name too: what was there, and what was not.
    drive_old: Options = dataclasses.field(default_factory=dict)
    drive_added: set[str] = dataclasses.field(default_factory=set)
    kind: t.ClassVar[str] = "qemu"
    word: t.ClassVar[str] = "VM"
    lock_file: t.ClassVar[str] = "/var/lock/qemu-server/lock-{vmid}.conf"

    @property
    def name(self) -> str:
        return self.options.get("name") or f"VM {self.vmid}"

    def file(self) -> str:
        """With the section of what the cloud-init drive does not know yet."""
        added = {"added": ",".join(sorted(self.drive_added))} if self.drive_added else {}
        lines = [f"{name}: {value}\n" for name, value in sorted({**self.drive_old, **added}.items())]
        return super().file() + ("\n[special:cloudinit]\n" + "".join(lines) if lines else "")

    def volumes(self, section: Options | None = None) -> t.Iterator[tuple[str, drives.Drive]]:
        """Drives of the configuration (or of a section of it), in the order of their names."""
        chosen = self.options if section is None else section
        for name in sorted(chosen):
            if drives.is_drive(name):
                yield name, drives.parse(name, chosen[name])

    def volume_ids(self, section: Options | None = None) -> t.Iterator[tuple[str, str]]:
        for name, drive in self.volumes(section):
            yield name, drive["file"]

    def archived(self) -> list[tuple[str, str]]:
        found = [(slot, drive) for slot, drive in self.volumes() if not drives.is_cdrom(drive)]
        return [(slot, drive["file"]) for slot, drive in found if drive.get("backup") != "0"]

    def summary(self) -> dict[str, t.Any]:
        from .reading import summary

        return summary(self)


def shown(values: Options) -> dict[str, t.Any]:
    """Options as the API shows them."""
    return {name: options.shown(name, value) for name, value in values.items()}
