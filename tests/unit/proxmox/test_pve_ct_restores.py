# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that are restored: what their backups say of them."""

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import Change, Plan
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups import ct_restores
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups.backup_plan import MakeRestore
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups.backup_reading import Backup, StorageAt
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups.backup_spec import Restore

SAVED = """#the notes: of it
arch: amd64
mp0: fast:310/vm-310-disk-1.raw,mp=/data,backup=1,size=512M
rootfs: local:310/vm-310-disk-0.raw,size=1536M
unused0: gone:310/vm-310-disk-2.raw
unprivileged: 1

[before]
rootfs: gone:310/vm-310-disk-0.raw,size=1G
"""
STORAGES = [StorageAt(name, "pve1", False, frozenset({"rootdir"}), True) for name in ("local", "fast")]


def completed(saved: str, target: str = "") -> MakeRestore:
    session: t.Any = types.SimpleNamespace(
        get=lambda path, query, asked: saved, connection=types.SimpleNamespace(who="root@pam")
    )
    backup = Backup("nas:backup/vzdump-lxc-310-2026_01_01-00_00_00.tar", 310, "lxc", 1, 1)
    operation = MakeRestore(Restore(311, backup.volid, target=target), "pve1", backup, None, False)
    plan = Plan.of([Change("ct/311", "create", operation=operation)])
    [change] = ct_restores.completed(session, plan, STORAGES, {})
    return t.cast(MakeRestore, change.operation)


def test_each_volume_is_made_where_it_was_with_its_size_and_settings() -> None:
    found = completed(SAVED)
    assert found.volumes == {"rootfs": "local:1.5", "mp0": "fast:0.5,mp=/data,backup=1"}
    assert (found.storages, found.privileged) == (("fast", "local"), False)


def test_one_storage_is_left_to_the_server() -> None:
    assert completed(SAVED.replace("fast:", "local:")).volumes == {"storage": "local"}
    assert completed(SAVED, target="fast").volumes == {"storage": "fast"}


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (
            "arch: amd64\n",
            "The backup nas:backup/vzdump-lxc-310-2026_01_01-00_00_00.tar does not tell where the volumes of",
        ),
        (
            SAVED.replace("unused0: gone:310/vm-310-disk-2.raw", "mp1: /srv,mp=/srv"),
            "CT 311 has directories or devices",
        ),
    ],
)
def test_what_cannot_be_told_takes_a_target_storage(saved: str, message: str) -> None:
    with pytest.raises(InvalidInput, match="target_storage") as raised:
        completed(saved)
    assert raised.value.message.startswith(message)
    assert completed(saved, target="local").volumes == {"storage": "local"}
