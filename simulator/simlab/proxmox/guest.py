# SPDX-License-Identifier: GPL-3.0-or-later
"""What virtual machines and containers have in common: a configuration with a pending part and snapshots."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import typing as t
import urllib.parse

from .errors import Failure

Options = dict[str, str]


@dataclasses.dataclass
class Snapshot:
    options: Options
    time: int
    description: str = ""
    parent: str | None = None

    @property
    def with_memory(self) -> bool:
        return "vmstate" in self.options


@dataclasses.dataclass
class Running:
    """A guest with power. ``options`` are those that it was started with."""

    pid: int
    since: float
    qmp_status: str = "running"
    options: Options = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class GuestConfig:
    """The base of :class:`qemu.vm.Vm` and :class:`lxc.ct.Container`."""

    vmid: int
    node: str
    options: Options = dataclasses.field(default_factory=dict)
    pending: Options = dataclasses.field(default_factory=dict)
    #: Options to be deleted at the next stop; True: with the volume.
    deleting: dict[str, bool] = dataclasses.field(default_factory=dict)
    snapshots: dict[str, Snapshot] = dataclasses.field(default_factory=dict)
    parent: str | None = None
    running: Running | None = None
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    #: Until when (of the event loop) the holder of the lock waits for the guest.
    busy_until: float = 0.0
    kind: t.ClassVar[str]  # "qemu" or "lxc"
    word: t.ClassVar[str]  # "VM" or "CT"
    #: How the lock file is called.
    lock_file: t.ClassVar[str]

    @property
    def name(self) -> str:
        raise NotImplementedError

    @property
    def template(self) -> bool:
        return self.options.get("template") == "1"

    def volume_ids(self, section: Options | None = None) -> t.Iterator[tuple[str, str]]:
        """Slots and volumes of a section of the configuration."""
        raise NotImplementedError

    def archived(self) -> list[tuple[str, str]]:
        """Slots and volumes that a backup takes."""
        raise NotImplementedError

    def summary(self) -> dict[str, t.Any]:
        """What lists show."""
        raise NotImplementedError

    # -- the file -----------------------------------------------------------------------------------------

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

    # -- checks and changes -------------------------------------------------------------------------------

    def check_lock(self) -> None:
        if "lock" in self.options:
            raise Failure(f"{self.word} is locked ({self.options['lock']})")

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
        used = {volid for part in (self.options, self.pending) for _, volid in self.volume_ids(part)}
        for name in [name for name, value in self.options.items() if name.startswith("unused") and value in used]:
            del self.options[name]

    def add_unused(self, volid: str) -> str:
        """Remember a detached volume under the first free ``unusedN``, which is answered."""
        known = (name for name, value in self.options.items() if name.startswith("unused") and value == volid)
        if (name := next(known, None)) is not None:
            return name
        free = next((f"unused{n}" for n in range(256) if f"unused{n}" not in self.options), None)
        if free is None:
            raise Failure("Too many unused volumes - please delete them first.")
        self.options[free] = volid
        return free

    def uses(self, volid: str) -> bool:
        """Whether a snapshot or the pending part names the volume."""
        sections = [self.pending, *(snapshot.options for snapshot in self.snapshots.values())]
        return any(found == volid for section in sections for _, found in self.volume_ids(section))


def _section(values: Options, parent: str | None = None, description: str = "") -> str:
    notes = (values.get("description") or description).split("\n")
    rest = {name: value for name, value in values.items() if name != "description"}
    if parent:
        rest["parent"] = parent
    lines = [f"#{urllib.parse.quote(line)}\n" for line in notes if line]
    return "".join(lines) + "".join(f"{name}: {value}\n" for name, value in sorted(rest.items()))
