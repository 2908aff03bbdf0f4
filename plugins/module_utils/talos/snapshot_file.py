# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot of etcd as a file: whether it is one, and whole. Format: a bbolt database, and its SHA-256 behind it."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import typing as t

from ..errors import InvalidInput

#: Bytes of one message to the node.
PART = 1024 * 1024
#: bbolt's first page: a header of 16 bytes, then this number, in the machine's byte order (little endian here).
MAGIC, MAGIC_AT = bytes.fromhex("edda0ced"), 16
#: The database is a whole number of these; what is more is the checksum.
PAGE, SUM = 512, 32


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A file that holds etcd's data. ``size`` in bytes; ``checked``: it has a checksum, which is right."""

    path: pathlib.Path
    size: int
    checked: bool

    def parts(self) -> t.Iterator[bytes]:
        """The file's content, in pieces that fit into a message."""
        with self.path.open("rb") as file:
            while part := file.read(PART):
                yield part


def read(path: pathlib.Path, what: str) -> Snapshot:
    """Raises :class:`errors.InvalidInput` when the file is not there, no etcd database, or damaged. ``what`` names the option.

    A copy of a member's database (``/var/lib/etcd/member/snap/db``) has no checksum: it is not ``checked``.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(MAGIC_AT + len(MAGIC))
            if head[MAGIC_AT:] != MAGIC:
                raise InvalidInput(
                    f"{what} is {path}, which is no snapshot of etcd", hint="talos_etcd_snapshot makes one."
                )
            checked = size % PAGE == SUM
            if not checked and size % PAGE:
                raise InvalidInput(f"{what} is {path}, which is cut off: {size} bytes are no whole snapshot")
            file.seek(0)
            if checked and not _sum_is_right(file, size):
                raise InvalidInput(f"{what} is {path}, which is damaged: its checksum is that of other content")
    except OSError as error:
        raise InvalidInput(f"{what} is {path}, which cannot be read: {error.strerror or error}") from error
    return Snapshot(path, size, checked)


def _sum_is_right(file: t.BinaryIO, size: int) -> bool:
    digest, left = hashlib.sha256(), size - SUM
    while left and (part := file.read(min(PART, left))):
        digest.update(part)
        left -= len(part)
    return digest.digest() == file.read(SUM)
