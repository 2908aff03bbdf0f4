# SPDX-License-Identifier: GPL-3.0-or-later
"""One storage: its definition, its volumes (directories) and its files."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import time
import typing as t

from ... import images
from ...contracts import BootImage
from ..errors import Failure
from . import names

#: Folders below a storage's path by content type.
FOLDERS = {
    "iso": "template/iso", "vztmpl": "template/cache", "backup": "dump", "snippets": "snippets", "import": "import",
    "images": "images", "rootdir": "private",
}  # fmt: skip
_FILE_CONTENT = ("iso", "vztmpl", "backup", "snippets", "import")
_EXTENT = 4 << 20


@dataclasses.dataclass
class Volume:
    """A disk. ``size`` is what the guest sees, in bytes."""

    volid: str
    size: int
    format: str
    owner: int
    content: str = "images"
    base: str | None = None
    ctime: int = dataclasses.field(default_factory=lambda: int(time.time()))
    image: BootImage | None = None
    snapshots: list[str] = dataclasses.field(default_factory=list)
    #: What ``size`` was at each of them.
    snapshot_sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    notes: str | None = None
    protected: bool = False
    used: int | None = None


class Store:
    """``root`` is the directory of this machine that stands for ``path`` on the node."""

    def __init__(self, name: str, options: dict[str, t.Any], root: pathlib.Path, capacity: int, used: int) -> None:
        self.name = name
        self.options = options
        self.root = root
        self.capacity = capacity
        self._used = used
        self.volumes: dict[str, Volume] = {}

    # -- definition ---------------------------------------------------------------------------------------

    @property
    def type(self) -> str:
        return str(self.options["type"])

    @property
    def content(self) -> set[str]:
        return {item for item in str(self.options.get("content", "")).split(",") if item and item != "none"}

    @property
    def path(self) -> str:
        return str(self.options.get("path") or f"/mnt/pve/{self.name}")

    @property
    def flat(self) -> bool:
        return self.type not in names.DIRECTORY_TYPES

    @property
    def shared(self) -> bool:
        return str(self.options.get("shared", 0)) == "1" or self.type in ("nfs", "cifs", "pbs", "cephfs", "rbd")

    @property
    def enabled(self) -> bool:
        return str(self.options.get("disable", 0)) != "1"

    def on_node(self, node: str) -> bool:
        wanted = str(self.options.get("nodes") or "")
        return not wanted or node in wanted.split(",")

    def used(self) -> int:
        """Bytes: what was there at the start, and files. (Disks are thin.)"""
        files = sum(path.stat().st_size for content in _FILE_CONTENT for path in self.files(content))
        return min(self._used + files, self.capacity)

    # -- names --------------------------------------------------------------------------------------------

    def parse(self, volume: str) -> names.VolumeName:
        return names.parse(self.type, volume)

    def node_path(self, volume: str) -> str:
        """The path on the node, as the API shows it."""
        parsed = self.parse(volume)
        if parsed.content != "images":
            return f"{self.path}/{FOLDERS[parsed.content]}/{parsed.name}"
        if self.flat:
            group = self.options.get("vgname") or self.options.get("pool") or self.name
            return f"/dev/{'zvol/' if self.type == 'zfspool' else ''}{group}/{parsed.name}"
        return f"{self.path}/images/{parsed.owner}/{parsed.name}"

    def file(self, volume: str) -> pathlib.Path:
        """The real file of an ISO, template, backup, snippet or import."""
        parsed = self.parse(volume)
        return self.root / FOLDERS[parsed.content] / parsed.name

    def directory(self, volid: str) -> pathlib.Path:
        """The directory of a disk (``volume.json``, ``data/``)."""
        parsed = self.parse(volid.partition(":")[2])
        return self.root / "images" / str(parsed.owner) / parsed.name

    def has(self, volume: str) -> bool:
        parsed = self.parse(volume)
        return f"{self.name}:{volume}" in self.volumes if parsed.content == "images" else self.file(volume).is_file()

    # -- disks --------------------------------------------------------------------------------------------

    def next_name(self, owner: int, format_: str, kind: str = "disk", prefix: str = "vm") -> str:
        """A free volume name, with its folder where there are folders."""
        taken = {volid.rpartition("/")[2].rpartition(":")[2].partition(".")[0] for volid in self.volumes}
        stem = f"{prefix}-{owner}-cloudinit"
        if kind == "disk":
            numbers = (number for number in range(10000) if not self._taken(taken, owner, number))
            stem = f"{prefix}-{owner}-disk-{next(numbers)}"
        return stem if self.flat else f"{owner}/{stem}.{format_}"

    @staticmethod
    def _taken(taken: set[str], owner: int, number: int) -> bool:
        return any(f"{prefix}-{owner}-disk-{number}" in taken for prefix in ("vm", "base", "subvol", "basevol"))

    def allocate(self, volume: str, size: int, image: BootImage | None = None) -> Volume:
        """A new disk; raises Failure when it is there or nothing fits any more.

        What it is a linked clone of is what its name says. On LVM-thin it says nothing: such a clone does not need its
        base, which may go before it.
        """
        parsed = self.parse(volume)
        volid = f"{self.name}:{volume}"
        if volid in self.volumes:
            raise Failure(f"disk image '{self.node_path(volume)}' already exists")
        rounded = -(-size // _EXTENT) * _EXTENT if self.flat and size else size
        made = Volume(volid, rounded, parsed.format, parsed.owner or 0, image=image, base=parsed.base)
        self.volumes[volid] = made
        (self.directory(volid) / "data").mkdir(parents=True, exist_ok=True)
        self.save(made)
        return made

    def save(self, volume: Volume) -> None:
        path = self.directory(volume.volid) / "volume.json"
        path.write_text(json.dumps(dataclasses.asdict(volume), sort_keys=True), "utf-8")

    def free(self, volid: str) -> None:
        """Remove a disk; raises Failure when a linked clone needs it."""
        volume = volid.partition(":")[2]
        users = [other for other in self.volumes.values() if other.base == volume]
        if users:
            raise Failure(f"base volume '{volume}' is still in use by linked clones")
        if self.volumes.pop(volid, None) is not None:
            shutil.rmtree(self.directory(volid), ignore_errors=True)

    def rename(self, volid: str, volume: str, base: str | None = None) -> Volume:
        """Move a disk to another name of this storage."""
        made = self.volumes.pop(volid)
        source = self.directory(volid)
        made.volid = f"{self.name}:{volume}"
        parsed = self.parse(volume)
        made.owner, made.base = parsed.owner or 0, base or made.base
        self.volumes[made.volid] = made
        target = self.directory(made.volid)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        self.save(made)
        return made

    # -- files --------------------------------------------------------------------------------------------

    def files(self, content: str) -> list[pathlib.Path]:
        folder = self.root / FOLDERS[content]
        return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def copy_data(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy what lies on a disk to another disk's directory."""
    shutil.rmtree(target / "data", ignore_errors=True)
    shutil.copytree(source / "data", target / "data")


def image_size(path: pathlib.Path) -> int:
    """The virtual size of an image file, in bytes (of sectors: qemu-img knows nothing smaller)."""
    return -(-images.virtual_size_of(path) // 512) * 512
