# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of storage: what their definitions must and may have."""

from __future__ import annotations

import dataclasses

_DIRECTORY = """nodes shared disable prune-backups max-protected-backups content content-dirs format mkdir create-base-path
    create-subdirs bwlimit preallocation snapshot-as-volume-chain maxfiles"""


@dataclasses.dataclass(frozen=True)
class StorageType:
    """``required`` in the order in which they are missed; ``default`` and ``contents`` are content types."""

    required: tuple[str, ...]
    optional: frozenset[str]
    default: str
    contents: frozenset[str]
    shared: bool = False
    mounted: bool = False


def _type(
    required: str, optional: str, default: str, contents: str = "", shared: bool = False, mounted: bool = False
) -> StorageType:
    allowed = frozenset((contents or default).replace(",", " ").split())
    return StorageType(tuple(required.split()), frozenset(optional.split()), default, allowed, shared, mounted)


_FILES = "images rootdir vztmpl iso backup snippets import"
TYPES = {
    "dir": _type("path", f"{_DIRECTORY} is_mountpoint", "images,rootdir", _FILES),
    "btrfs": _type("path", f"{_DIRECTORY} is_mountpoint nocow", "images,rootdir", _FILES),
    "nfs": _type("server export", f"{_DIRECTORY} path options", "images,rootdir", _FILES, True, True),
    "cifs": _type(
        "server share", f"{_DIRECTORY} path subdir username password domain smbversion options", "images", _FILES,
        True, True,
    ),
    "cephfs": _type(
        "", f"{_DIRECTORY} path subdir username monhost fuse keyring fs-name options", "backup",
        "backup iso vztmpl snippets import", True, True,
    ),
    "lvm": _type(
        "vgname", "nodes shared disable saferemove saferemove_throughput saferemove-stepsize content base tagged_only "
        "bwlimit snapshot-as-volume-chain", "images", "images rootdir",
    ),
    "lvmthin": _type("thinpool vgname", "nodes disable content bwlimit", "images,rootdir"),
    "zfspool": _type("pool", "nodes disable content blocksize sparse bwlimit mountpoint", "images,rootdir"),
    "rbd": _type(
        "", "nodes disable content monhost pool data-pool namespace username krbd keyring authsupported bwlimit",
        "images", "images rootdir", True,
    ),
    "pbs": _type(
        "server datastore", "namespace port nodes disable content username password encryption-key master-pubkey "
        "prune-backups max-protected-backups fingerprint skip-cert-verification", "backup", "", True,
    ),
    "esxi": _type("server username password", "nodes shared disable content skip-cert-verification", "import"),
    "iscsi": _type("portal target", "nodes disable content bwlimit", "images", "images none", True),
    "iscsidirect": _type("portal target", "nodes disable content bwlimit", "images", "", True),
    "zfs": _type(
        "pool portal target iscsiprovider", "blocksize nodes disable content sparse nowritecache comstar_hg comstar_tg "
        "lio_tpg bwlimit zfs-base-path", "images", "", True,
    ),
}  # fmt: skip
#: What stays as it was made, by type.
FIXED = {
    kind: tuple(names.split())
    for kind, names in {
        "dir": "path snapshot-as-volume-chain",
        "btrfs": "path",
        "nfs": "path server export snapshot-as-volume-chain",
        "cifs": "path server share snapshot-as-volume-chain",
        "cephfs": "path",
        "lvm": "vgname base",
        "lvmthin": "thinpool vgname",
        "zfspool": "pool",
        "pbs": "server datastore",
        "iscsi": "portal target",
        "iscsidirect": "portal target",
        "zfs": "portal target pool blocksize iscsiprovider",
    }.items()
}
SECRET = ("password", "keyring", "encryption-key", "master-pubkey")
