# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node keeps on its system disk: STATE (the machine config), EPHEMERAL (etcd's data), what is installed."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import pathlib
import shutil

from ..contracts import BootImage, Disk

#: Tells the lab what boots from the disk.
_BOOT = "boot.json"
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def installed_image(disk: Disk) -> BootImage | None:
    """What boots from a disk on which Talos was installed from another medium, None if nothing was."""
    path = disk.path / "data" / _BOOT
    return BootImage(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


class Storage:
    """The partitions of one disk, as folders of ``disk.path/data``. Wiping one is deleting its folder."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.root = disk.path / "data"
        self.state = self.root / "state"
        self.ephemeral = self.root / "ephemeral"

    @property
    def installed(self) -> bool:
        """Whether the disk boots Talos: a disk image, or the installer ran."""
        medium = self.disk.image
        return (medium is not None and medium.medium == "disk") or (self.root / _BOOT).exists()

    def install(self, image: BootImage) -> None:
        """What the installer leaves: the disk boots from now on."""
        self.root.mkdir(parents=True, exist_ok=True)
        identity = dataclasses.asdict(dataclasses.replace(image, medium="disk"))
        (self.root / _BOOT).write_text(json.dumps(identity), encoding="utf-8")

    def read_config(self) -> bytes | None:
        path = self.state / "config.yaml"
        return path.read_bytes() if path.exists() else None

    def write_config(self, text: bytes) -> None:
        """By rename: a cut-off leaves the old or the new one."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.state / "config.yaml.new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
        new.replace(self.state / "config.yaml")

    def read_meta(self) -> dict[int, str]:
        """The values of the META partition, by their numbers."""
        path = self.root / "meta.json"
        return {int(key): value for key, value in json.loads(path.read_text("utf-8")).items()} if path.exists() else {}

    def write_meta(self, values: dict[int, str]) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "meta.json").write_text(json.dumps(values), encoding="utf-8")

    def node_id(self) -> str:
        """The node's discovery identity; made once, lost with STATE."""
        path = self.state / "node-identity.yaml"
        if not path.exists():
            self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(f"nodeId: {_base62(os.urandom(32))}\n", encoding="utf-8")
        return path.read_text(encoding="utf-8").split()[-1]

    @property
    def snapshot(self) -> pathlib.Path:
        """Where EtcdRecover puts what was uploaded (``/var/lib/etcd.snapshot``)."""
        return self.ephemeral / "lib" / "etcd.snapshot"

    def wipe(self, label: str) -> bool:
        """Empty one partition; False when there is none of this name."""
        folder = {"STATE": self.state, "EPHEMERAL": self.ephemeral}.get(label)
        if folder is None:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True

    def wipe_all(self) -> None:
        """The whole system disk, boot loader included."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "wiped").write_text("", encoding="utf-8")

    @property
    def wiped(self) -> bool:
        """Nothing boots from the disk any more, whatever image it was made of."""
        return (self.root / "wiped").exists() and not (self.root / _BOOT).exists()


def encode_salt() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def _base62(data: bytes) -> str:
    number, out = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 62)
        out = _BASE62[digit] + out
    return out
