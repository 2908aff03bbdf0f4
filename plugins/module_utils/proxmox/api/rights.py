# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rights an operation needs, as measured (each was found by adding what the 403 named, then removing each)."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import AccessDenied, HomelabError
from ..access.roles import holding
from . import propertystring as ps
from .session import Session

#: Option (a pattern) -> the privileges of which one is enough, on ``/vms/<vmid>``. The first that matches.
_OPTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"cores|sockets|cpu|numa\d*|cpulimit|cpuunits|vcpus", ("VM.Config.CPU",)),
    (r"memory|balloon|shares|allow-ksm", ("VM.Config.Memory",)),
    (
        r"scsihw|machine|vga|serial\d+|hotplug|rng0|kvm|tablet|acpi|watchdog|audio0|smbios1|hostpci\d+|usb\d+",
        ("VM.Config.HWType",),
    ),
    (r"ci\w+|sshkeys|ipconfig\d+|nameserver|searchdomain", ("VM.Config.Cloudinit", "VM.Config.Network")),
    (r"net\d+", ("VM.Config.Network",)),
    (r"boot|efidisk0", ("VM.Config.Disk",)),
    (
        r"name|description|tags|onboot|agent|ostype|protection|bios|startup|localtime|keyboard|autostart",
        ("VM.Config.Options",),
    ),
)
_DRIVE = re.compile(r"(scsi|virtio|sata|ide)\d+|efidisk0|tpmstate0")


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
    """``operation`` is one of :mod:`vm_operations`; known by what it carries, so that containers can bring theirs.
    ``current`` are the guests that are there, clones' sources among them."""
    vmid, kind = operation.vm.vmid, type(operation).__name__
    paths = guest_paths(vmid, current[vmid].pool if vmid in current else operation.vm.pool)
    if kind == "Create":
        needs = [Need(paths, ("VM.Allocate",), f"create VM {vmid}")]
        return needs + _configured(paths, vmid, operation.form, creating=True)
    if kind == "Clone":
        return _cloned(paths, operation) + _updated(paths, operation.update, {})
    if kind == "Update":
        return _updated(paths, operation, current[vmid].config if vmid in current else {})
    if kind == "Migrate":
        return [Need(paths, ("VM.Migrate",), f"move VM {vmid} to node {operation.target}")]
    if kind == "Destroy":
        return [Need(paths, ("VM.Allocate",), f"delete VM {vmid}")]
    return [Need(paths, ("VM.PowerMgmt",), f"{operation.to} VM {vmid}")]


def guest_paths(vmid: int, pool: str | None) -> tuple[str, ...]:
    """Where rights on a guest may come from."""
    return (f"/vms/{vmid}", f"/pool/{pool}") if pool else (f"/vms/{vmid}",)


def _cloned(paths: tuple[str, ...], operation: t.Any) -> list[Need]:
    vmid, source = operation.vm.vmid, operation.source
    why = f"clone VM {source.vmid} as VM {vmid}"
    needs = [Need(guest_paths(source.vmid, source.pool), ("VM.Clone",), why), Need(paths, ("VM.Allocate",), why)]
    if operation.move_to:
        needs.append(Need(paths, ("VM.Migrate",), f"move VM {vmid} to node {operation.move_to}"))
    needs += [Need((f"/storage/{name}",), ("Datastore.AllocateSpace",), why) for name in sorted(operation.storages)]
    nics = {key: value for key, value in source.config.items() if re.fullmatch(r"net\d+", key)}
    return needs + [
        need for key, value in nics.items() for need in bridge(f"VM {vmid}", key, ps.parse_network(str(value)))
    ]


def _updated(paths: tuple[str, ...], operation: t.Any, config: t.Mapping[str, t.Any]) -> list[Need]:
    """What goes needs what it needed to come: the old values are judged, too."""
    vmid, found = operation.vm.vmid, operation.found
    needs = _configured(paths, vmid, {**found.put, **found.allocate}, creating=False)
    old = {key: config.get(key) or "" for key in (*found.delete, *found.destroy, *found.put)}
    needs += _configured(paths, vmid, {key: _without_volume(key, str(old[key])) for key in old}, creating=False)
    needs += [Need(paths, ("VM.Config.Disk",), f"resize {slot} of VM {vmid}") for slot in found.resizes]
    needs += [Need(paths, ("VM.Config.Disk",), f"move {slot} of VM {vmid}") for slot in found.moves]
    space = {**found.moves, **{slot: ps.storage_of(str(old[slot])) for slot in found.destroy}}
    space |= {slot: ps.storage_of(str(config.get(slot, ""))) for slot in found.resizes if slot in config}
    needs += [
        Need((f"/storage/{storage}",), ("Datastore.AllocateSpace",), f"make or free space for {slot} of VM {vmid}")
        for slot, storage in space.items()
        if storage
    ]
    if operation.seeds:
        needs.append(Need(paths, ("VM.Config.Cloudinit",), f"write the cloud-init drive of VM {vmid} anew"))
    if found.template:
        needs.append(Need(paths, ("VM.Allocate",), f"make VM {vmid} a template"))
    return needs + into_pool(paths, f"VM {vmid}", found.pool or found.leaves)


def _without_volume(key: str, old: str) -> str:
    """A disk that is there needs no space any more."""
    if not _DRIVE.fullmatch(key):
        return old
    properties = ps.parse_disk(old)
    return ",".join(filter(None, ("there", "media=cdrom" if properties.get("media") == "cdrom" else "")))


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
        if _DRIVE.fullmatch(key):
            needs += _drive(paths, vmid, key, str(value), creating)
            continue
        for pattern, privileges in _OPTIONS:
            if re.fullmatch(pattern, key):
                needs.append(Need(paths, privileges, f"set {key} of VM {vmid}"))
                break
        if key == "startup":
            needs.append(Need(("/",), ("Sys.Modify",), f"set startup of VM {vmid}"))
        if key.startswith("net") and value:
            needs += bridge(f"VM {vmid}", key, ps.parse_network(str(value)))
        mapping = ps.parse(str(value)).get("mapping") if re.fullmatch(r"(hostpci|usb)\d+", key) else None
        if mapping:
            path = f"/mapping/{'pci' if key.startswith('hostpci') else 'usb'}/{mapping}"
            needs.append(Need((path,), ("Mapping.Use",), f"use {mapping} for {key} of VM {vmid}"))
    return needs


def into_pool(paths: tuple[str, ...], title: str, pool: str) -> list[Need]:
    """To put a guest into a pool, or to take it out; nothing without a pool."""
    if not pool:
        return []
    why = f"put {title} into the pool {pool}"
    return [
        Need((f"/pool/{pool}",), ("Pool.Allocate",), why),
        Need(paths, ("VM.Allocate", "Permissions.Modify"), why),
    ]


def _drive(paths: tuple[str, ...], vmid: int, key: str, value: str, creating: bool) -> list[Need]:
    """On creation only the storage asks for a right; later the kind of drive does, too."""
    properties = ps.parse_disk(value)
    volume = properties.get("file", "")
    needs = []
    if not creating:
        cd = ("VM.Config.CDROM",) if properties.get("media") == "cdrom" else ("VM.Config.Disk",)
        kinds = (("VM.Config.CDROM",), ("VM.Config.Cloudinit",)) if volume.endswith(":cloudinit") else (cd,)
        needs = [Need(paths, kind, f"set {key} of VM {vmid}") for kind in kinds]
    storage = ps.storage_of(volume)
    if re.search(r":\d+(\.\d+)?$", volume):  # nothing for a cloud-init drive
        needs.append(Need((f"/storage/{storage}",), ("Datastore.AllocateSpace",), f"make {key} of VM {vmid}"))
    elif ":iso/" in volume:
        either = ("Datastore.AllocateSpace", "Datastore.Audit")
        needs.append(Need((f"/storage/{storage}",), either, f"use {volume} for {key} of VM {vmid}"))
    source = properties.get("import-from", "")
    return needs + ([_source(source, f"make {key} of VM {vmid} from {source}")] if source else [])


#: Of a volume's name: the VM that it belongs to, by its folder or its own name; the last one counts (linked clones).
_OWNER = re.compile(r"(?<![^/])(?:(\d+)(?=/)|(?:vm|base)-(\d+)-)")


def _source(volume: str, why: str) -> Need:
    """To copy a disk of a VM is to clone that VM; an image only has to be readable, but an archive is unpacked beside it."""
    storage, _colon, name = volume.partition(":")
    if re.fullmatch(r"import/[^/]+\.ova/.+", name):
        return Need((f"/storage/{storage}",), ("Datastore.AllocateSpace",), why)
    owners = [] if name.startswith("import/") else [folder or own for folder, own in _OWNER.findall(name)]
    if owners:
        return Need((f"/vms/{owners[-1]}",), ("VM.Clone",), why)
    return Need((f"/storage/{storage}",), ("Datastore.AllocateSpace", "Datastore.Audit", "Datastore.Allocate"), why)


def bridge(title: str, key: str, properties: t.Mapping[str, str]) -> list[Need]:
    """To connect a network card. A vnet of SDN belongs to a zone that cannot be told from here, so only the plain
    ``vmbrN`` are judged."""
    name, tag = properties.get("bridge", ""), properties.get("tag", "")
    if not re.fullmatch(r"vmbr\d+", name):
        return []
    path = f"/sdn/zones/localnetwork/{name}" + (f"/{tag}" if tag else "")
    return [Need((path,), ("SDN.Use",), f"connect {key} of {title} to {name}")]
