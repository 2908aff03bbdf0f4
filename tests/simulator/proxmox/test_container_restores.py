# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that are restored: where their volumes come to, and which of them."""

from __future__ import annotations

import asked
from flows import TEMPLATE


def _backup(server: asked.Asked, vmid: int) -> str:
    server.walk([("POST", "/vzdump", {"vmid": vmid, "storage": "local"}, "task OK")])
    [entry] = server.data("GET", "/storage/local/content", content="backup", vmid=vmid)
    return str(entry["volid"])


def test_volumes_come_to_one_storage_and_those_that_no_backup_holds_are_empty(asked_server: asked.Asked) -> None:
    """Not to those that they were on: ``storage`` is ``local`` when it is not named."""
    mounts = {"mp0": "local:1,mp=/kept,backup=1", "mp1": "dir2:2,mp=/cache", "rootfs": "dir2:1"}
    asked_server.walk([("POST", "/lxc", {"vmid": 610, "ostemplate": TEMPLATE, **mounts}, "task OK")])
    volid = _backup(asked_server, 610)
    restore = {"ostemplate": volid, "restore": 1}
    asked_server.walk([
        ("POST", "/lxc", {"vmid": 611, **restore}, "task OK"),
        ("GET", "/lxc/611/config", {}, {
            "rootfs": "local:611/vm-611-disk-0.raw,size=1G", "mp0": "local:611/vm-611-disk-1.raw,mp=/kept,backup=1,size=1G",
            "mp1": "local:611/vm-611-disk-2.raw,mp=/cache,size=2G",
        }),
        ("POST", "/lxc", {"vmid": 612, **restore, "rootfs": "dir2:1", "mp1": "local:3,mp=/cache"}, "task OK"),
        ("GET", "/lxc/612/config", {}, {
            "rootfs": "dir2:612/vm-612-disk-0.raw,size=1G", "mp0": None, "mp1": "local:612/vm-612-disk-0.raw,mp=/cache,size=3G",
        }),
        ("PUT", "//storage/local", {"content": "iso,vztmpl,backup"}, "ok"),
        ("POST", "/lxc", {"vmid": 613, **restore}, "storage: storage 'local' does not support container directories"),
        ("PUT", "//storage/local", {"content": "iso,vztmpl,backup,rootdir,images,import,snippets"}, "ok"),
        *(("DELETE", f"/lxc/{vmid}", {}, "task OK") for vmid in (610, 611, 612)),
    ])  # fmt: skip
