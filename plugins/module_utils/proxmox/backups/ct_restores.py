# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that are restored: where their volumes come to, and what only root may restore.

Left to itself the server makes all volumes on the storage ``local``, wherever they were; and what it does not do it says
when the container that is restored over is stopped already. So the configuration in the backup is looked at first.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import AccessDenied, InvalidInput
from ...plan import Change, Plan
from ..api import propertystring as ps
from ..api.lanes import together
from ..api.session import Session, segment
from ..containers import ct_options as options
from .backup_plan import MakeRestore
from .backup_reading import StorageAt

Config = t.Mapping[str, t.Any]


def completed(session: Session, plan: Plan, storages: t.Sequence[StorageAt], over: t.Mapping[int, Config]) -> Plan:
    """The restores with what their backups tell. ``over`` are the configurations of guests that are restored over. Raises
    :class:`InvalidInput`, and :class:`AccessDenied` for what only root may restore."""
    saved = together(
        lambda change: _saved(session, change.operation) if change.operation.backup.kind == "lxc" else None, tuple(plan)
    )
    changes = [
        change if config is None else _completed(change, config, storages, over.get(change.operation.wish.vmid))
        for change, config in zip(plan, saved, strict=True)
    ]
    _check_root(changes, session.connection.who)
    return Plan.of(changes)


def parse(text: str) -> dict[str, str]:
    """A configuration file, without its notes and what follows of snapshots."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("["):
            break
        key, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            found[key.strip()] = value.strip()
    return found


def _saved(session: Session, operation: MakeRestore) -> dict[str, str]:
    path, query = f"/nodes/{segment(operation.node)}/vzdump/extractconfig", {"volume": operation.backup.volid}
    return parse(str(session.get(path, query, asked=f"read the configuration in {operation.backup.volid}") or ""))


def _completed(change: Change, saved: Config, storages: t.Sequence[StorageAt], over: Config | None) -> Change:
    operation: MakeRestore = change.operation
    mounts = {key: options.parse_mount(value) for key, value in saved.items() if re.fullmatch(r"rootfs|mp\d+", key)}
    binds = {key: mount["volume"] for key, mount in mounts.items() if options.is_bind(mount["volume"])}
    volumes = {key: mount for key, mount in mounts.items() if key not in binds}
    target = operation.wish.target
    used = sorted({target} if target else {ps.storage_of(mount["volume"]) for mount in volumes.values()})
    for storage in used:
        _check_storage(operation, storage, storages)
    unprivileged = _flag(saved) or (over is not None and not _flag(over))
    operation = dataclasses.replace(
        operation,
        volumes={"storage": used[0]} if len(used) == 1 else _each(operation, volumes, binds),
        storages=tuple(used),
        binds=tuple(f"{key} (bind mount of {source})" for key, source in sorted(binds.items())),
        privileged=not unprivileged,
    )
    return dataclasses.replace(change, after={**change.after, "storage": ", ".join(used)}, operation=operation)


def _flag(config: Config) -> bool:
    return str(config.get("unprivileged") or "0") == "1"


def _check_storage(operation: MakeRestore, storage: str, storages: t.Sequence[StorageAt]) -> None:
    vmid, node = operation.wish.vmid, operation.node
    there = [one for one in storages if (one.storage, one.node, one.available) == (storage, node, True)]
    able = sorted({one.storage for one in storages if one.node == node and "rootdir" in one.contents})
    hint = f"Name one that takes containers in target_storage: {', '.join(able) or 'there is none'}."
    if not there:
        problem = f"Node {node}, where guest {vmid} is restored, has no storage {storage!r} that is available"
        raise InvalidInput(problem, hint=hint)
    if "rootdir" not in there[0].contents:
        raise InvalidInput(
            f"CT {vmid} cannot be restored to the storage {storage!r} of node {node}, which takes no containers",
            hint=hint,
        )


def _each(operation: MakeRestore, volumes: t.Mapping[str, ps.Properties], binds: t.Collection[str]) -> dict[str, str]:
    """Volumes of several storages, each with its size: the server then makes exactly these. Directories of the node would
    have to be among them, and be mounted while the archive is unpacked."""
    if "rootfs" not in volumes:
        raise InvalidInput(
            f"The backup {operation.backup.volid} does not tell where the volumes of its container were",
            hint="Name a target_storage.",
        )
    if binds:
        raise InvalidInput(
            f"CT {operation.wish.vmid} has directories or devices of the node mounted, and volumes on several storages",
            hint="Name a target_storage: such a container can only be restored to one.",
        )
    found = {}
    for key, mount in volumes.items():
        kept = {name: value for name, value in mount.items() if name != "size"}
        size = ps.gibibytes(ps.size_in_bytes(mount.get("size", "0"), option=f"size of {key} in the backup"))
        found[key] = options.render_mount({**kept, "volume": f"{ps.storage_of(mount['volume'])}:{size}"})
    return found


def _check_root(changes: t.Sequence[Change], who: str) -> None:
    operations = [change.operation for change in changes if who != "root@pam"]
    found = [f"restore {bind} of CT {one.wish.vmid}" for one in operations for bind in one.binds]
    if found:
        raise AccessDenied(
            "restore containers",
            answer=f"only root@pam may do this, logged in with a password, not {who}: " + ", ".join(found),
            hint="Use api_user root@pam with api_password for it.",
            root_only=found,
        )
