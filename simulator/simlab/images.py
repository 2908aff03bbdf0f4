# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot images of the simulated lab: real headers, and an identity where the content would be.

A disk image is a valid, empty qcow2 file, an ISO a valid primary volume descriptor; behind it stands one line
of JSON that says what would boot from it. So file checks (magic, virtual size, checksum) work as on real images,
and a copy of the file is a copy of the identity.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import struct

from .contracts import BootImage

_MARK = b"\nsimlab-image "
_GIB = 1 << 30
#: Enough for the headers and the identity of every image that is made here.
_HEAD = 128 * 1024
#: Behind a qcow2's header and its (empty) extensions.
_TRAILER_AT = 4096


def disk_image(identity: BootImage, virtual_size: int = 4 * _GIB) -> bytes:
    """An empty qcow2 (version 3, 64 KiB clusters) of ``virtual_size`` bytes, as ``qemu-img create`` makes one: header,
    refcount table, refcount block, L1 table. The identity stands behind the header. Deterministic."""
    bits, header = 16, 112
    cluster = 1 << bits
    l1_entries = max(1, -(-virtual_size // (1 << (2 * bits - 3))))
    head = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        b"QFI\xfb", 3, 0, 0, bits, virtual_size, 0, l1_entries,
        3 * cluster, cluster, 1, 0, 0, 0, 0, 0, 4, header,
    )  # fmt: skip
    first = head.ljust(_TRAILER_AT, b"\0") + _trailer(identity)
    refcounts = struct.pack(">4H", 1, 1, 1, 1)
    parts = (first, struct.pack(">Q", 2 * cluster), refcounts)
    return b"".join(part.ljust(cluster, b"\0") for part in parts) + bytes(8 * l1_entries)


def iso_image(identity: BootImage) -> bytes:
    """The 16 empty sectors and the primary volume descriptor of ISO 9660. Deterministic."""
    descriptor = b"\x01CD001\x01\x00" + b"LINUX".ljust(32) + b"TALOS".ljust(32)
    return b"\0" * 32768 + descriptor.ljust(2048, b"\0") + _trailer(identity)


def raw_image(identity: BootImage) -> bytes:
    """A disk with an empty partition table (512 bytes, boot signature). Deterministic."""
    return b"\0" * 510 + b"\x55\xaa" + b"\0" * 1024 + _trailer(identity)


def identity_of(path: pathlib.Path) -> BootImage | None:
    """What would boot from this file, None if nothing would."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    _, found, rest = head.partition(_MARK)
    if not found:
        return None
    return BootImage(**json.loads(rest.partition(b"\n")[0]))


def virtual_size_of(path: pathlib.Path) -> int:
    """Bytes that a guest would see: from the qcow2 header, else the file's own size."""
    with path.open("rb") as file:
        head = file.read(32)
    if head[:4] == b"QFI\xfb":
        return int(struct.unpack(">Q", head[24:32])[0])
    return path.stat().st_size


def _trailer(identity: BootImage) -> bytes:
    text = json.dumps(dataclasses.asdict(identity), sort_keys=True, separators=(",", ":"))
    return _MARK + text.encode() + b"\n"
