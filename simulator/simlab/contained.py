# SPDX-License-Identifier: GPL-3.0-or-later
"""Become a container: ``python -m simlab.contained SPEC`` in the pod's network namespace.

SPEC is a JSON file that is deleted once it is read: ``root`` (an empty directory), ``directories`` to make, ``binds`` and
``links`` (pairs: what, absolute path in the container), ``files`` and ``scripts`` (path: text), ``hostname``, ``argv``, ``env``, ``cwd``. A mount
namespace of its own makes ``root`` the container's file system: the machine's programs and libraries, and what the
image and the pod's volumes put there.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import sys
import typing as t

from . import namespaces

#: Of the machine: programs and libraries, devices, processes.
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def main(path: str) -> t.NoReturn:
    file = pathlib.Path(path)
    spec = json.loads(file.read_text())
    file.unlink()
    namespaces.unshare(namespaces.NEWNS | namespaces.NEWUTS)
    socket.sethostname(spec["hostname"])
    namespaces.make_mounts_private()
    root = pathlib.Path(spec["root"])
    namespaces.mount_tmpfs(str(root))
    _system(root)
    for name in spec["directories"]:
        _inside(root, name).mkdir(parents=True, exist_ok=True)
    for name, text in [*spec["files"].items(), *spec["scripts"].items()]:
        target = _inside(root, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755 if name in spec["scripts"] else 0o644)
    for source, name in sorted(spec["binds"], key=lambda pair: len(pathlib.PurePath(pair[1]).parts)):
        _bind(source, _inside(root, name))
    for source, name in spec["links"]:
        _inside(root, name).symlink_to(source)
    os.chroot(root)
    os.chdir(spec["cwd"])
    try:
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except OSError as error:
        print(f'exec: "{spec["argv"][0]}": {error.strerror}', file=sys.stderr)
        raise SystemExit(127) from None


def _inside(root: pathlib.Path, name: str) -> pathlib.Path:
    return root / name.lstrip("/")


def _system(root: pathlib.Path) -> None:
    for name in _SYSTEM:
        _same(pathlib.Path("/", name), root / name)
    for path in sorted(pathlib.Path("/usr").iterdir()):
        if path.name != "local":
            _same(path, root / "usr" / path.name)
    for name in ("dev", "proc"):
        _bind(f"/{name}", root / name)
    for name in ("usr/local/bin", "tmp", "root", "etc", "run", "var/tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "var/run").symlink_to("../run")  # not to the /run of the machine


def _same(path: pathlib.Path, target: pathlib.Path) -> None:
    """The machine's directory, or a link as it is there (``/bin`` to ``usr/bin``)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        target.symlink_to(os.readlink(path))
    elif path.is_dir():
        _bind(str(path), target)


def _bind(source: str, target: pathlib.Path) -> None:
    if pathlib.Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    namespaces.bind_tree(source, str(target))


if __name__ == "__main__":
    main(sys.argv[1])
