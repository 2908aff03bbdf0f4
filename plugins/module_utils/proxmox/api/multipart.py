# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A form with a file, sent piece by piece: a file may be larger than the memory."""

from __future__ import annotations

import collections.abc
import io
import os
import secrets
import typing as t


class Multipart(collections.abc.Mapping[str, str]):
    """The fields of a form, in order, and a file that comes last, as the server's parser wants it.

    Can be opened as often as a request is repeated.
    """

    def __init__(self, fields: t.Mapping[str, str], path: str, filename: str) -> None:
        self._fields = dict(fields)
        self.path = path
        self._boundary = secrets.token_hex(16)
        parts = [
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self._fields.items()
        ]
        parts.append(
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="filename"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._head = "".join(parts).encode()
        self._tail = f"\r\n--{self._boundary}--\r\n".encode()

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    def open(self) -> Body:
        return Body(self._head, self.path, self._tail)

    def __getitem__(self, name: str) -> str:
        return self._fields[name]

    def __iter__(self) -> t.Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Body:
    """What ``urllib3`` reads from: the head, the file, the tail. Its length is known, so nothing is sent in chunks."""

    def __init__(self, head: bytes, path: str, tail: bytes) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  closed by close(), after the request
        self._parts: list[t.BinaryIO] = [io.BytesIO(head), self._file, io.BytesIO(tail)]
        self._length = len(head) + os.fstat(self._file.fileno()).st_size + len(tail)

    def __len__(self) -> int:
        return self._length

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes; nothing at the end. Never the whole file at once."""
        limit = size if size >= 0 else 1 << 20
        while self._parts:
            piece = self._parts[0].read(limit)
            if piece:
                return piece
            self._parts.pop(0)
        return b""

    def close(self) -> None:
        self._file.close()
