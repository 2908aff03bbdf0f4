# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine: configuration with its pending part and snapshots, and what it runs with."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
import typing as t
import urllib.parse

from ..errors import Failure
from . import drives, options

Options = dict[str, str]


@dataclasses.dataclass
class Snapshot:
    options: Options
    time: int
    description: str = ""
    parent: str | None = None
    with_memory: bool = False


@dataclasses.dataclass
class Running:
    """A VM with power. ``options`` are those that it was started with."""

    pid: int
    since: float
    status: str = "running"
    qmp_status: str = "running"
    options: Options = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Vm:
    vmid: int
    node: str
    options: Options = dataclasses.field(default_factory=dict)
    pending: Options = dataclasses.field(default_factory=dict)
    #: Options to be deleted at the next stop; True: with the volume.
    deleting: dict[str, bool] = dataclasses.field(default_factory=dict)
    snapshots: dict[str, Snapshot] = dataclasses.field(default_factory=dict)
    parent: str | None = None
    running: Running | None = None
    #: Cloud-init values that the drive was last written with.
    cloud_init: Options | None = None
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    changed: float = dataclasses.field(default_factory=time.monotonic)
    kind: t.ClassVar[str] = "qemu"

    @property
    def name(self) -> str:
        return self.options.get("name") or f"VM {self.vmid}"

    @property
    def template(self) -> bool:
        return self.options.get("template") == "1"

    def digest(self) -> str:
        """SHA-1 of the configuration file."""
        return hashlib.sha1(self.file().encode(), usedforsecurity=False).hexdigest()

    def file(self) -> str:
        """The configuration as Proxmox's file."""
        text = _section(self.options, self.parent)
        pending = {**self.pending}
        if self.deleting:
            pending["delete"] = ",".join(("!" if force else "") + name for name, force in sorted(self.deleting.items()))
        if pending:
            text += "\n[PENDING]\n" + _section(pending)
        for name, snapshot in sorted(self.snapshots.items()):
            extra = {"snaptime": str(snapshot.time)}
            text += f"\n[{name}]\n" + _section({**snapshot.options, **extra}, snapshot.parent, snapshot.description)
        return text

    # -- changes ------------------------------------------------------------------------------------------

    def check_lock(self) -> None:
        if "lock" in self.options:
            raise Failure(f"VM is locked ({self.options['lock']})")

    def check_protection(self, text: str) -> None:
        if self.options.get("protection") == "1":
            raise Failure(f"{text} - protection mode enabled")

    def merged(self) -> Options:
        """The options as they will be after a stop."""
        kept = {name: value for name, value in self.options.items() if name not in self.deleting}
        return {**kept, **self.pending}

    def tidy(self) -> None:
        """What every write of the configuration does: drop what is neither pending nor unused any more."""
        for name in [name for name, value in self.pending.items() if self.options.get(name) == value]:
            del self.pending[name]
        for name in [name for name in self.deleting if name not in self.options]:
            del self.deleting[name]
        used = {
            drives.parse(name, value)["file"]
            for part in (self.options, self.pending)
            for name, value in part.items()
            if drives.is_drive(name)
        }
        for name in [name for name, value in self.options.items() if name.startswith("unused") and value in used]:
            del self.options[name]

    def add_unused(self, volid: str) -> None:
        """Remember a detached volume under the first free ``unusedN``."""
        if any(name.startswith("unused") and value == volid for name, value in self.options.items()):
            return
        free = next((f"unused{n}" for n in range(256) if f"unused{n}" not in self.options), None)
        if free is None:
            raise Failure("Too many unused volumes - please delete them first.")
        self.options[free] = volid

    def volumes(self, section: Options | None = None) -> t.Iterator[tuple[str, drives.Drive]]:
        """Drives of the configuration (or of a snapshot), in the order of their names."""
        chosen = self.options if section is None else section
        for name in sorted(chosen):
            if drives.is_drive(name):
                yield name, drives.parse(name, chosen[name])

    def uses(self, volid: str) -> bool:
        """Whether a snapshot, the pending part or another drive names the volume."""
        sections = [self.pending, *(snapshot.options for snapshot in self.snapshots.values())]
        return any(drive["file"] == volid for section in sections for _, drive in self.volumes(section))


def _section(values: Options, parent: str | None = None, description: str = "") -> str:
    lines = [
        f"#{urllib.parse.quote(line)}\n" for line in (values.get("description") or description).split("\n") if line
    ]
    rest = {name: value for name, value in values.items() if name != "description"}
    if parent:
        rest["parent"] = parent
    return "".join(lines) + "".join(f"{name}: {value}\n" for name, value in sorted(rest.items()))


def shown(values: Options) -> dict[str, t.Any]:
    """Options as the API shows them."""
    return {name: options.shown(name, value) for name, value in values.items()}
