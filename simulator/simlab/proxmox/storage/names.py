# SPDX-License-Identifier: GPL-3.0-or-later
"""Volume ids and names, by type of storage."""

from __future__ import annotations

import dataclasses
import re

from ..errors import Failure

_STORAGE_ID = r"[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]"
_VOLUME_ID = re.compile(rf"({_STORAGE_ID}):(\S.*)")
_FILES = {
    "iso": re.compile(r"iso/([^/]+\.(?:iso|img))", re.I),
    "vztmpl": re.compile(r"vztmpl/([^/]+\.tar\.(?:gz|xz|zst|bz2))"),
    "backup": re.compile(r"backup/([^/]+(?:\.tgz|\.(?:tar|vma)(?:\.(?:gz|lzo|zst))?))"),
    "snippets": re.compile(r"snippets/([^/]+)"),
    "import": re.compile(r"import/([^/]+\.(?:ova|ovf|qcow2|raw|vmdk))"),
}
#: A disk in an archive.
_PACKED = re.compile(r"import/([^/]+\.ova/[^/]+\.(qcow2|raw|vmdk))")
_IMAGE_FILE = re.compile(r"((base-)?[^/\s]+\.(raw|qcow2|vmdk|subvol))")
_FLAT = re.compile(r"(?:((?:base|basevol|vm)-\d+-\S+?)/)?((vm|base|subvol|basevol)-(\d+)-\S+)")

#: Types of storage whose volumes are files in ``images/<vmid>/``; the others have names without folders.
DIRECTORY_TYPES = frozenset(("dir", "nfs", "cifs", "btrfs", "cephfs"))
_KIND_NAMES = {"lvm": "lvm", "lvmthin": "lvm", "zfspool": "zfs", "zfs": "zfs", "rbd": "rbd"}


@dataclasses.dataclass(frozen=True)
class VolumeName:
    """What a volume's name says. ``content`` is the storage's content type, ``owner`` a VM."""

    content: str
    name: str
    owner: int | None = None
    base: str | None = None  # the name (with its folder) that this one is a linked clone of
    is_base: bool = False
    format: str = "raw"


def split(volid: str) -> tuple[str, str]:
    """Storage and volume name; raises Failure."""
    match = _VOLUME_ID.fullmatch(volid)
    if match is None:
        raise Failure(f"unable to parse volume ID '{volid}'")
    return match[1], match[2]


def is_volume_id(text: str) -> bool:
    return _VOLUME_ID.fullmatch(text) is not None


def parse(kind: str, volume: str) -> VolumeName:
    """The parts of a volume name on a storage of type ``kind``; raises Failure."""
    packed = _PACKED.fullmatch(volume) if kind in DIRECTORY_TYPES else None
    if packed:
        return VolumeName("import", packed[1], format=f"ova+{packed[2]}")
    for content, pattern in _FILES.items() if kind in DIRECTORY_TYPES else ():
        match = pattern.fullmatch(volume)
        if match:
            return VolumeName(content, match[1], format=_file_format(content, match[1]), owner=_backup_owner(match[1]))
    return _parse_directory(volume) if kind in DIRECTORY_TYPES else _parse_flat(kind, volume)


def _parse_directory(volume: str) -> VolumeName:
    linked = re.fullmatch(r"(\d+)/(\S+)/(\d+)/(\S+)", volume)
    plain = re.fullmatch(r"(\d+)/(\S+)", volume)
    match = linked or plain
    if match is None:
        raise Failure(f"unable to parse directory volume name '{volume}'")
    owner, file = (match[3], match[4]) if linked else (match[1], match[2])
    image = _IMAGE_FILE.fullmatch(file)
    if image is None:
        raise Failure(f"unable to parse volume filename '{file}'")
    base = f"{match[1]}/{match[2]}" if linked else None
    return VolumeName("images", image[1], int(owner), base, bool(image[2]), image[3])


def _parse_flat(kind: str, volume: str) -> VolumeName:
    match = _FLAT.fullmatch(volume)
    if match is None:
        raise Failure(f"unable to parse {_KIND_NAMES.get(kind, kind)} volume name '{volume}'")
    format_ = "subvol" if match[3] in ("subvol", "basevol") else "raw"
    return VolumeName("images", match[2], int(match[4]), match[1], match[3].startswith("base"), format_)


def _file_format(content: str, name: str) -> str:
    if content == "vztmpl":
        return {"gz": "tgz", "xz": "txz", "zst": "tzst", "bz2": "tbz2"}[name.rpartition(".")[2]]
    if content in ("import", "backup"):
        return name.split(".", 1)[1] if content == "backup" else name.rpartition(".")[2]
    return {"iso": "iso", "snippets": "snippet"}.get(content, "raw")


def _backup_owner(name: str) -> int | None:
    match = re.match(r"vzdump-(?:qemu|lxc|openvz)-(\d+)-", name)
    return int(match[1]) if match else None
