# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rights an operation needs, as measured (each was found by adding what the 403 named, then removing each)."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..errors import AccessDenied, HomelabError
from . import propertystring as ps
from .roles import holding
from .session import Session

#: Option (a pattern) -> the privileges of which one is enough, on ``/vms/<vmid>``. The first that matches.
_OPTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"cores|sockets|cpu|numa|cpulimit|cpuunits|vcpus", ("VM.Config.CPU",)),
    (r"memory|balloon|shares", ("VM.Config.Memory",)),
    (r"scsihw|machine|vga|serial\d+|hotplug", ("VM.Config.HWType",)),
    (r"ci\w+|sshkeys|ipconfig\d+|nameserver|searchdomain", ("VM.Config.Cloudinit", "VM.Config.Network")),
    (r"net\d+", ("VM.Config.Network",)),
    (r"boot|efidisk0", ("VM.Config.Disk",)),
    (r"name|description|tags|onboot|agent|ostype|protection|bios|startup", ("VM.Config.Options",)),
)
_DRIVE = re.compile(r"(scsi|virtio|sata|ide)\d+")


@dataclasses.dataclass(frozen=True)
class Need:
    """One of these privileges on one of these paths (a guest's rights may come from its pool)."""

    paths: tuple[str, ...]
    any_of: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        return f"{' or '.join(self.any_of)} on {' or '.join(self.paths)} ({self.why})"


def read(session: Session) -> dict[str, dict[str, int]] | None:
    """Path -> privilege -> 1 when it goes on to what is below. None when the server does not tell."""
    try:
        found = session.get("/access/permissions", asked=f"read the rights of {session.connection.who}")
    except HomelabError:
        return None
    return found if isinstance(found, dict) else None


def needed(operation: t.Any, current: t.Mapping[int, t.Any]) -> list[Need]:
    """``operation`` is one of :mod:`vm_plan`; known by what it carries, so that containers can bring theirs."""
    vmid, kind = operation.vm.vmid, type(operation).__name__
    pool = current[vmid].pool if vmid in current else operation.vm.pool
    paths = (f"/vms/{vmid}", f"/pool/{pool}") if pool else (f"/vms/{vmid}",)
    if kind == "Create":
        needs = [Need(paths, ("VM.Allocate",), f"create VM {vmid}")]
        return needs + _configured(paths, vmid, operation.form, creating=True)
    if kind == "Update":
        needs = _configured(paths, vmid, {**operation.put, **operation.allocate}, creating=False)
        needs += _configured(paths, vmid, dict.fromkeys(operation.delete, ""), creating=False)
        needs += [Need(paths, ("VM.Config.Disk",), f"resize {slot} of VM {vmid}") for slot in operation.resizes]
        return needs + _pool(paths, vmid, operation.pool)
    if kind == "Destroy":
        return [Need(paths, ("VM.Allocate",), f"delete VM {vmid}")]
    return [Need(paths, ("VM.PowerMgmt",), f"{operation.to} VM {vmid}")]


def check(rights: t.Mapping[str, t.Mapping[str, int]] | None, needs: t.Iterable[Need], *, asked: str) -> None:
    """Raises :class:`AccessDenied` naming every right that is missing, with its path and what it is for."""
    if not rights:
        return  # nobody could tell; the server will
    lacking = [need for need in needs if not granted(rights, need)]
    missing = sorted({str(need) for need in lacking})
    if missing:
        found = sorted({holding(need.any_of[0]) for need in lacking} - {""})
        belong = f"They belong to the role {' and '.join(found)}; with" if found else "With"
        raise AccessDenied(
            asked,
            answer="these rights are missing: " + "; ".join(missing),
            hint=f"{belong} a token, its user needs them too.",
            missing=missing,
        )


def granted(rights: t.Mapping[str, t.Mapping[str, int]], need: Need) -> bool:
    """By the path itself where it has rights of its own, else by a path above whose rights go on to what is below.

    Lenient where rights on several paths meet: the server has the last word.
    """
    return any(_on(rights, path, need.any_of) for path in need.paths)


def _on(rights: t.Mapping[str, t.Mapping[str, int]], path: str, any_of: tuple[str, ...]) -> bool:
    if path in rights:
        return any(privilege in rights[path] for privilege in any_of)
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        if any(rights.get(path, {}).get(privilege) == 1 for privilege in any_of):
            return True
    return False


def _configured(paths: tuple[str, ...], vmid: int, form: t.Mapping[str, t.Any], *, creating: bool) -> list[Need]:
    needs = []
    for key, value in form.items():
        if _DRIVE.fullmatch(key) or key == "efidisk0":
            needs += _drive(paths, vmid, key, str(value), creating)
            continue
        for pattern, privileges in _OPTIONS:
            if re.fullmatch(pattern, key):
                needs.append(Need(paths, privileges, f"set {key} of VM {vmid}"))
                break
        if key == "startup":
            needs.append(Need(("/",), ("Sys.Modify",), f"set startup of VM {vmid}"))
        if key.startswith("net") and value:
            needs += _bridge(vmid, key, str(value))
    return needs


def _pool(paths: tuple[str, ...], vmid: int, pool: str) -> list[Need]:
    if not pool:
        return []
    why = f"put VM {vmid} into the pool {pool}"
    return [
        Need((f"/pool/{pool}",), ("Pool.Allocate",), why),
        Need(paths, ("VM.Allocate", "Permissions.Modify"), why),
    ]


def _drive(paths: tuple[str, ...], vmid: int, key: str, value: str, creating: bool) -> list[Need]:
    volume = ps.parse_disk(value).get("file", "")
    needs = []
    if volume.endswith(":cloudinit") and not creating:
        needs.append(Need(paths, ("VM.Config.CDROM",), f"add the cloud-init drive {key} of VM {vmid}"))
        needs.append(Need(paths, ("VM.Config.Cloudinit",), f"add the cloud-init drive {key} of VM {vmid}"))
    elif not creating:
        needs.append(Need(paths, ("VM.Config.Disk",), f"set {key} of VM {vmid}"))
    if re.search(r":(\d+(\.\d+)?|cloudinit)$", volume):
        storage = ps.storage_of(volume)
        needs.append(Need((f"/storage/{storage}",), ("Datastore.AllocateSpace",), f"make {key} of VM {vmid}"))
    return needs


def _bridge(vmid: int, key: str, value: str) -> list[Need]:
    """A vnet of SDN belongs to a zone that cannot be told from here, so only the plain ``vmbrN`` are judged."""
    properties = ps.parse_network(value)
    bridge, tag = properties.get("bridge", ""), properties.get("tag", "")
    if not re.fullmatch(r"vmbr\d+", bridge):
        return []
    path = f"/sdn/zones/localnetwork/{bridge}" + (f"/{tag}" if tag else "")
    return [Need((path,), ("SDN.Use",), f"connect {key} of VM {vmid} to {bridge}")]
