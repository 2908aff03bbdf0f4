# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of storage as data: what each must have, may have, and cannot change.

From the API's description of 9.1: an option that PUT does not know is fixed, and so are the server and the pool where the type's
plugin says so. Contents and defaults as recorded.
"""

from __future__ import annotations

import base64
import dataclasses
import typing as t

from ..api import propertystring as ps
from ..api import rights
from ..api.names import STORAGE
from .records import FLAG, NUMBER, PROPERTIES, SECRET, SET, Field, Form, Kind, Operation

_MOUNTED = {"1": "yes", "0": "no"}

#: ``yes``, ``no``, or the path that must be a mount point.
MOUNTPOINT = Form(lambda raw: _MOUNTED.get(ps.flag(str(raw)), str(raw)))
#: Hexadecimal, in any case.
FINGERPRINT = Form(lambda raw: str(raw).strip().lower())


def _encoded(pem: str) -> str:
    """In base64, as the server decodes whatever comes; what is no PEM text is that already."""
    return base64.b64encode(pem.encode()).decode() if "-----BEGIN" in pem else pem


MASTER_KEY = Form(SECRET.clean, _encoded)

#: Every option, by the API's name.
FIELDS: dict[str, Field] = {
    field.name: dataclasses.replace(field, option=field.option or field.name.replace("-", "_"))
    for field in (
        Field("content", SET),
        Field("nodes", SET),
        Field("disable", FLAG, default=False),
        Field("shared", FLAG, default=False),
        Field("path", fixed=True),
        Field("is_mountpoint", MOUNTPOINT, default="no"),
        Field("create-base-path", FLAG, default=True),
        Field("create-subdirs", FLAG, default=True),
        Field("content-dirs", PROPERTIES),
        Field("format"),
        Field("preallocation", default="metadata"),
        Field("snapshot-as-volume-chain", FLAG, default=False),
        Field("nocow", FLAG, default=False),
        Field("prune-backups", PROPERTIES, option="retention"),
        Field("max-protected-backups", NUMBER),
        Field("bwlimit", PROPERTIES, option="bandwidth_limits"),
        Field("server", fixed=True),
        Field("export", fixed=True),
        Field("share", fixed=True),
        Field("subdir"),
        Field("options", option="mount_options"),
        Field("username"),
        Field("password", SECRET, secret=True),
        Field("domain"),
        Field("smbversion", default="default"),
        Field("vgname", fixed=True),
        Field("thinpool", fixed=True),
        Field("base", fixed=True),
        Field("saferemove", FLAG, default=False),
        Field("saferemove_throughput"),
        Field("tagged_only", FLAG, default=False),
        Field("pool"),
        Field("blocksize"),
        Field("sparse", FLAG, default=False),
        Field("mountpoint", fixed=True),
        Field("datastore", fixed=True),
        Field("namespace"),
        Field("port", NUMBER),
        Field("fingerprint", FINGERPRINT),
        Field("encryption-key", SECRET, secret=True),
        Field("master-pubkey", MASTER_KEY, secret=True),
        Field("skip-cert-verification", FLAG, default=False),
        Field("monhost", SET),
        Field("data-pool"),
        Field("krbd", FLAG, default=False),
        Field("keyring", SECRET, secret=True),
        Field("fs-name"),
        Field("fuse", FLAG, default=False),
    )
}


def option_of(name: str) -> str:
    """What the module calls an option of the API."""
    return FIELDS[name].called


@dataclasses.dataclass(frozen=True)
class StorageType:
    """``required`` to create one; ``content`` is what it holds by default, ``contents`` what it can hold."""

    name: str
    required: tuple[str, ...]
    content: tuple[str, ...]
    contents: frozenset[str]
    kind: Kind


_DIRECTORY = (
    "create-base-path create-subdirs content-dirs format preallocation snapshot-as-volume-chain prune-backups "
    "max-protected-backups bwlimit"
)
_FILES = "images rootdir vztmpl iso backup snippets import"

#: Type -> required, optional, fixed besides those that always are, default content, possible content.
_TYPES: dict[str, tuple[str, str, str, str, str]] = {
    "dir": ("path", f"{_DIRECTORY} is_mountpoint shared", "snapshot-as-volume-chain", "images rootdir", _FILES),
    "btrfs": ("path", f"{_DIRECTORY} is_mountpoint shared nocow", "", "images rootdir", _FILES),
    "nfs": ("server export", f"{_DIRECTORY} path options", "snapshot-as-volume-chain", "images rootdir", _FILES),
    "cifs": (
        "server share",
        f"{_DIRECTORY} path subdir username password domain smbversion options",
        "snapshot-as-volume-chain",
        "images",
        _FILES,
    ),
    "cephfs": (
        "",
        f"{_DIRECTORY} path subdir username monhost fuse keyring fs-name options",
        "",
        "backup",
        "backup iso vztmpl snippets import",
    ),
    "lvm": (
        "vgname",
        "shared base saferemove saferemove_throughput tagged_only bwlimit snapshot-as-volume-chain",
        "",
        "images",
        "images rootdir",
    ),
    "lvmthin": ("vgname thinpool", "bwlimit", "", "images rootdir", "images rootdir"),
    "zfspool": ("pool", "blocksize sparse mountpoint bwlimit", "pool", "images rootdir", "images rootdir"),
    "rbd": ("", "monhost pool data-pool namespace username krbd keyring bwlimit", "", "images", "images rootdir"),
    "pbs": (
        "server datastore",
        "namespace port username password encryption-key master-pubkey fingerprint skip-cert-verification "
        "prune-backups max-protected-backups",
        "",
        "backup",
        "backup",
    ),
}

_HINTS = (
    (r"is not online", "Does the server answer the node, and does it offer this export or share? With disable it is defined unasked."),
    (r"error fetching datastores", "Are server, port, datastore, username, password and fingerprint right? With disable it is defined unasked."),
    (r"no such logical volume|volume group", "Make the volume group and the thin pool on the node first, or name those that are there."),
    (r"zfs error", "Make the ZFS pool on the node first, or name one that is there, and name its nodes."),
    (r"does not exist or is unreachable", "Make the directory on the node first, or leave create_base_path at true."),
    (r"already in use|already used", "Another storage has the same place."),
)  # fmt: skip


def _needs(operation: Operation) -> list[rights.Need]:
    found = [rights.Need(("/storage",), ("Datastore.Allocate",), str(operation))]
    if operation.verb == "create":
        see = ("Datastore.Audit", "Datastore.AllocateSpace")
        found.append(rights.Need((f"/storage/{operation.name}",), see, f"see the storage {operation.name}"))
    return found


def _kind(name: str, fields: t.Iterable[Field]) -> Kind:
    given = {"type": name} if name else {}
    return Kind("storage", "/storage", "storage", tuple(fields), given=given, needs=_needs, hints=_HINTS)


def _type(name: str) -> StorageType:
    required, optional, fixed, content, contents = (tuple(words.split()) for words in _TYPES[name])
    fields = [FIELDS[one] for one in ("content", "nodes", "disable", *required, *optional)]
    special: dict[str, dict[str, t.Any]] = {
        "content": {"default": sorted(content)},
        **{one: {"fixed": True} for one in fixed},
    }
    changed = [dataclasses.replace(field, **special.get(field.name, {})) for field in fields]
    return StorageType(name, required, content, frozenset(contents), _kind(name, changed))


TYPES: dict[str, StorageType] = {name: _type(name) for name in _TYPES}

#: For storages that are to be absent, of whatever type they are.
ANY = _kind("", FIELDS.values())

#: What the server takes as a name.
NAME = STORAGE
