# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the secrets room reads and writes: sealing keys, and files that may be public."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import os
import pathlib

from .. import private_files
from ..errors import Conflict, HomelabError, InvalidInput
from ..task import Task

_SEALING_KEY = 32


def absolute(path: str) -> pathlib.Path:
    return pathlib.Path(path).expanduser().absolute()


def sealing_key(path: pathlib.Path, task: Task) -> bytes | None:
    """The key that is there, None when there is none yet. Raises InvalidInput for what is no such key."""
    if not path.exists():
        return None
    text = private_files.read(path, "sealing key").strip()
    private_files.refuse_open(path)
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _SEALING_KEY:
        raise InvalidInput(
            f"{path} is not a sealing key, which is {_SEALING_KEY} bytes in base64",
            hint="Give the path of another file; it is made when it is not there.",
        )
    task.secret(text)
    return key


@dataclasses.dataclass(frozen=True)
class NewSealingKey:
    """A sealing key that is not written yet."""

    path: pathlib.Path
    key: bytes = dataclasses.field(repr=False)

    @classmethod
    def draw(cls, path: pathlib.Path) -> NewSealingKey:
        return cls(path, os.urandom(_SEALING_KEY))

    def write(self) -> None:
        """Raises Conflict when somebody else was first: what was sealed with this one is thrown away."""
        if not private_files.write_new(self.path, base64.b64encode(self.key).decode() + "\n"):
            raise Conflict(f"write {self.path}", answer="somebody else has just made one", hint="Run the task again.")


def current(path: pathlib.Path, what: str) -> str | None:
    """The text of a file, None when it is not there. Raises InvalidInput when it is no text."""
    return private_files.read(path, what) if path.exists() else None


def write_public(path: pathlib.Path, text: str, *, synced: bool = True) -> None:
    """A file that holds nothing secret: of its old mode, or of the mode that the umask leaves. A link to it stays one."""
    try:
        path = path.resolve() if path.is_symlink() else path
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        private_files.replace(path, text, synced=synced)
        path.chmod(mode)
    except OSError as error:
        answer = error.strerror or str(error)
        raise HomelabError(f"write {path}", of="the machine that runs this task", answer=answer) from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
