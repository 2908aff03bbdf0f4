# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories below /var: the only ones that are files of the lab."""

from __future__ import annotations

import collections.abc as c
import pathlib
import posixpath
import typing as t

from .. import refusals
from ..calls import Call, Reply, machine, streams

if t.TYPE_CHECKING:
    from ..node import TalosNode

_VAR = "/var"
#: Go's bit of a file mode that says directory.
_DIRECTORY = 1 << 31
#: Types that a request may be limited to.
_REGULAR, _IS_DIRECTORY, _SYMLINK = 0, 1, 2


@streams(*machine("List"))
async def list_directory(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    """The directory itself as ``.``, then what is in it; all the way down, or to a depth, if that is asked for."""
    request = call.request
    root = posixpath.normpath(request.root or "/")
    if root != _VAR and not root.startswith(f"{_VAR}/"):
        raise refusals.not_simulated("List" if root == "/" else f"listing {root}")
    top = node.storage.ephemeral / root[len(_VAR) + 1 :]
    if not top.exists() and not top.is_symlink() and root != _VAR:
        raise refusals.unknown(f"lstat {root}: no such file or directory")
    depth = (request.recursion_depth or -1) if request.recurse else 1
    wanted = set(request.types)
    for path, relative in _walk(top, "", depth):
        entry = _entry(path, root, relative)
        if not wanted or _type_of(path) in wanted:
            yield entry


@streams(*machine("DiskUsage"))
async def disk_usage(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    """What directories hold, each after those in it; files too if that is asked for."""
    request = call.request
    for root in request.paths:
        root = posixpath.normpath(f"/{root}").replace("//", "/")
        if root != _VAR and not root.startswith(f"{_VAR}/"):
            raise refusals.not_simulated(f"the usage of {root}")
        top = node.storage.ephemeral / root[len(_VAR) + 1 :]
        if not top.exists() and root != _VAR:
            text = f"lstat {root}: no such file or directory"
            yield {"name": root, "relative_name": root, "error": text}
            continue
        for path, relative, size, depth in _measured(top, "", 0):
            large = size >= request.threshold if request.threshold > 0 else size <= -request.threshold
            shown = (path.is_dir() or request.all) and (large or not request.threshold)
            if shown and not (request.recursion_depth and depth >= request.recursion_depth):
                name = posixpath.join(root, relative) if relative else root
                yield {"name": name, "relative_name": relative or ".", "size": size}


def _measured(path: pathlib.Path, relative: str, depth: int) -> list[tuple[pathlib.Path, str, int, int]]:
    """Everything below a path with its size, the path itself last."""
    found: list[tuple[pathlib.Path, str, int, int]] = []
    try:
        size = path.lstat().st_size
        children = sorted(path.iterdir()) if path.is_dir() and not path.is_symlink() else []
    except OSError:  # gone meanwhile; or /var, before anything was kept there
        return [(path, relative, 0, depth)]
    for child in children:
        below = _measured(child, posixpath.join(relative, child.name), depth + 1)
        size += below[-1][2]
        found += below
    return [*found, (path, relative, size, depth)]


def _walk(path: pathlib.Path, relative: str, depth: int) -> c.Iterator[tuple[pathlib.Path, str]]:
    """In the order of names; ``depth`` levels, all of them when it is negative."""
    yield path, relative
    if depth and path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            yield from _walk(child, posixpath.join(relative, child.name), depth - 1)


def _entry(path: pathlib.Path, root: str, relative: str) -> Reply:
    name = posixpath.join(root, relative) if relative else root
    try:
        found = path.lstat()
    except OSError as error:  # gone meanwhile; or /var, before anything was kept there
        there = not relative and root == _VAR
        return {"name": name, "relative_name": ".", "is_dir": True, "mode": _DIRECTORY | 0o755} if there else {
            "name": name, "relative_name": relative, "error": f"lstat {name}: {(error.strerror or '').lower()}"
        }  # fmt: skip
    directory = path.is_dir() and not path.is_symlink()
    return {
        "name": name,
        "relative_name": relative or ".",
        "size": found.st_size,
        "mode": found.st_mode & 0o777 | (_DIRECTORY if directory else 0),
        "modified": int(found.st_mtime),
        "is_dir": directory,
        "link": str(path.readlink()) if path.is_symlink() else "",
        "uid": 0,
        "gid": 0,
    }


def _type_of(path: pathlib.Path) -> int:
    if path.is_symlink():
        return _SYMLINK
    return _IS_DIRECTORY if path.is_dir() else _REGULAR
