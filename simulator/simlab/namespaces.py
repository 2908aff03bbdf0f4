# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux namespaces and mounts by their system calls, as ``unshare`` and ``nsenter`` would do it.

``os.unshare`` and ``os.setns`` came with Python 3.12; this package runs on 3.11.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import typing as t

NEWNS, NEWUTS, NEWUSER, NEWPID, NEWNET = 0x00020000, 0x04000000, 0x10000000, 0x20000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """Raises OSError."""
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(descriptor: int, kind: int = 0) -> None:
    """Move the calling thread (mount, network, user) or its next children (process) into a namespace."""
    _checked(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), "setns")


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel for this signal when the parent process ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), 0, 0, 0), "prctl")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _checked(_libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount on {target}")


def make_mounts_private() -> None:
    """Mounts made from here on are seen in this mount namespace only."""
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)


def mount_tmpfs(target: str, mode: str = "0755") -> None:
    _mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode={mode}")


def mount_proc() -> None:
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def bind_mount(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    _mount(os.fspath(source), os.fspath(target), None, _MS_BIND)


def bind_tree(source: str, target: str) -> None:
    """With what is mounted below it: a user namespace does not let one look under others' mounts."""
    _mount(source, target, None, _MS_BIND | _MS_REC)


def map_users_of(pid: int | str, uid: int, gid: int) -> None:
    """Root in the user namespace of process ``pid`` is this user, and there is nobody else."""
    process = pathlib.Path("/proc", str(pid))
    with contextlib.suppress(FileNotFoundError):
        (process / "setgroups").write_text("deny")
    (process / "uid_map").write_text(f"0 {uid} 1")
    (process / "gid_map").write_text(f"0 {gid} 1")


def map_all_users_of(pid: int) -> None:
    """Every user of this user namespace keeps its number in that of process ``pid``. Needs root."""
    for name in ("uid_map", "gid_map"):
        extents = [line.split() for line in pathlib.Path("/proc/self", name).read_text().splitlines()]
        text = "".join(f"{first} {first} {count}\n" for first, _, count in extents)
        pathlib.Path(f"/proc/{pid}/{name}").write_text(text)


@contextlib.contextmanager
def in_network_of(descriptor: int, home: int) -> t.Iterator[None]:
    """Run a few lines (without ``await``) in another network namespace, then come ``home``. Descriptors are of
    ``/proc/…/ns/net`` files. Only the calling thread moves."""
    setns(descriptor, NEWNET)
    try:
        yield
    finally:
        setns(home, NEWNET)
