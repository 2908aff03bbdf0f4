# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that hold secrets: mode 0600, written beside and renamed, in a directory of mode 0700.

What is written beside is named after its process (``.<name>.<pid>-<random>``), so that the next writer can clear away
what a killed one left.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import stat
import tempfile
import typing as t

from .errors import HomelabError, InvalidInput

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def mode_of(path: pathlib.Path) -> str:
    """A file's permission bits as people write them: ``0600``."""
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def refuse_open(path: pathlib.Path) -> None:
    """Raise when others than the owner may read or write a file that holds secrets."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise InvalidInput(
            f"{path} holds secrets and has the mode {mode_of(path)}: others than its owner can get at it",
            hint=f"If nobody has read it, run: chmod 600 {path}",
        )


def read(path: pathlib.Path, what: str) -> str:
    """The text of a file of ours. Raises :class:`errors.InvalidInput` with what it should have been."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InvalidInput(f"There is no {what} at {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The {what} at {path} cannot be read: {_reason(error)}") from error


def read_bytes(path: pathlib.Path, what: str) -> bytes:
    """As :func:`read`, for a file that may be something else than text."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InvalidInput(f"There is no {what} at {path}") from error
    except OSError as error:
        raise InvalidInput(f"The {what} at {path} cannot be read: {_reason(error)}") from error


def current(path: pathlib.Path, what: str) -> str | None:
    """The text of a file that is to be written, None when it is not there; what is no text in it is replaced."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInput(
            f"The {what} at {path} cannot be read: {_reason(error)}", hint="Give the path of a file of your own."
        ) from error


def write_new(path: pathlib.Path, text: str) -> bool:
    """Write a file that must not be there yet; False when somebody else was first. Nothing is overwritten."""
    temporary = _written_beside(path, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        temporary.unlink()
    _sync_directory(path.parent)
    return True


def replace(path: pathlib.Path, text: str, *, synced: bool = True) -> None:
    """Write a file or a new version of it: readers see the old or the new one, never a part. What is ``synced`` is on the
    disk at the end, so that a power cut cannot take it; what can be made again need not be."""
    temporary = _written_beside(path, text, synced=synced)
    try:
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _failed(path, error) from error
    if synced:
        _sync_directory(path.parent)


@contextlib.contextmanager
def streamed(path: pathlib.Path) -> t.Iterator[t.BinaryIO]:
    """A file or a new version of it that is written piece by piece. It appears when all is written; an error of the
    writer leaves the old one, and nothing beside it."""
    try:
        _make_directory(path.parent)
        clear_away(path)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}-")
    except OSError as error:
        raise _failed(path, error) from error
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        pathlib.Path(name).unlink(missing_ok=True)
    _sync_directory(path.parent)


def _written_beside(path: pathlib.Path, text: str, *, synced: bool = True) -> pathlib.Path:
    name = ""
    try:
        _make_directory(path.parent)
        clear_away(path)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}-")
        with open(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            file.write(text)
            if synced:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        if name:  # half of a file with secrets helps nobody
            pathlib.Path(name).unlink(missing_ok=True)
        raise _failed(path, error) from error
    return pathlib.Path(name)


def clear_away(path: pathlib.Path) -> None:
    """What a writer left that was killed between writing and renaming: it holds the same secrets."""
    begins = f".{path.name}."
    for left in [name for name in os.listdir(path.parent) if name.startswith(begins)]:
        owner = re.fullmatch(r"(\d+)-\w+", left.removeprefix(begins))
        if owner and not _lives(int(owner[1])):
            with contextlib.suppress(OSError):
                path.with_name(left).unlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _make_directory(directory: pathlib.Path) -> None:
    missing = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for part in reversed(missing):
        part.mkdir(mode=DIRECTORY_MODE, exist_ok=True)


def _sync_directory(directory: pathlib.Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot: the file itself is on disk
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _failed(path: pathlib.Path, error: OSError) -> HomelabError:
    return HomelabError(f"write {path}", of="the machine that runs this task", answer=_reason(error))


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
