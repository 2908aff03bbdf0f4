# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rights a container's changes need, and what only root@pam with a password may do. Pure.

Measured on 9.1.8 with a token: feature flags other than nesting (for a privileged container all), bind mounts and
devices are refused to everybody but root@pam, and to root's own tokens, too.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import AccessDenied
from ..api import propertystring as ps
from ..api import rights
from ..api.rights import Need
from ..vms.vm_state import Surroundings, VmState
from . import ct_options as options

#: Option (a pattern) -> the privilege, on ``/vms/<vmid>``. The first that matches.
_OPTIONS = (
    (r"cores|cpulimit|cpuunits", "VM.Config.CPU"),
    (r"memory|swap", "VM.Config.Memory"),
    (r"hostname|nameserver|searchdomain|net\d+", "VM.Config.Network"),
    (r"rootfs|mp\d+", "VM.Config.Disk"),
    (r".*", "VM.Config.Options"),
)
#: What a create sends besides options.
_NO_OPTIONS = ("vmid", "ostemplate", "password", "ssh-public-keys", "pool", "unprivileged")

Current = t.Mapping[int, VmState]


def check_rights(operations: t.Sequence[t.Any], current: Current, around: Surroundings, who: str) -> None:
    """Raises :class:`AccessDenied` that names everything that is not allowed."""
    _check_root(operations, current, who)
    needs = [need for operation in operations for need in needed(operation, current)]
    rights.check(around.rights, needs, asked="make the planned changes of containers")


def _check_root(operations: t.Sequence[t.Any], current: Current, who: str) -> None:
    found = [
        f"{what} of {operation.ct.title}"
        for operation in operations
        for what in ([] if who == "root@pam" else roots_own(operation, current))
    ]
    if found:
        numbers = sorted({operation.ct.vmid for operation in operations if roots_own(operation, current)})
        raise AccessDenied(
            "make the planned changes of containers",
            answer=f"only root@pam may do this, logged in with a password, not {who}: set " + ", ".join(found),
            hint="Use api_user root@pam with api_password for a task with "
            f"{', '.join(f'CT {number}' for number in numbers)}, or make the container without these options, set them "
            "on the node with pct set, and add them here afterwards: what is there already needs no right.",
            root_only=found,
        )


def roots_own(operation: t.Any, current: Current) -> list[str]:
    """Options of an operation that only root@pam may set, as the module calls them."""
    kind = type(operation).__name__
    if kind == "CloneFrom":
        return roots_own(operation.update, {operation.ct.vmid: operation.predicted})
    if kind not in ("Create", "Update"):
        return []
    form = operation.form if kind == "Create" else operation.put
    config = current[operation.ct.vmid].config if operation.ct.vmid in current else {}
    found = []
    if "features" in form or "features" in getattr(operation, "delete", ()):
        unprivileged = form.get("unprivileged") if kind == "Create" else config.get("unprivileged")
        found += _features(
            str(form.get("features", "")), str(config.get("features") or ""), bool(int(unprivileged or 0))
        )
    for key, value in form.items():
        if re.fullmatch(r"mp\d+", key) and options.is_bind(options.parse_mount(value)["volume"]):
            found.append(f"{key} (bind mount of {options.parse_mount(value)['volume']})")
    devices = [*form, *getattr(operation, "delete", ())]
    return found + [f"{key} (device)" for key in devices if re.fullmatch(r"dev\d+", key)]


def _features(wanted: str, current: str, unprivileged: bool) -> list[str]:
    before, after = options.properties(current.strip()), options.properties(wanted)
    changed = sorted(key for key in {**before, **after} if before.get(key) != after.get(key))
    allowed = ("nesting",) if unprivileged else ()
    of = "" if unprivileged else " (of a privileged container)"
    return [f"features.{key}{of}" for key in changed if key not in allowed]


def needed(operation: t.Any, current: Current) -> list[Need]:
    ct, kind = operation.ct, type(operation).__name__
    pool = current[ct.vmid].pool if ct.vmid in current else ct.pool
    paths = rights.guest_paths(ct.vmid, pool)
    if kind == "Create":
        return _created(paths, operation)
    if kind == "CloneFrom":
        return _cloned(paths, operation)
    if kind == "Update":
        return _updated(paths, operation, current[ct.vmid].config) + rights.into_pool(
            paths, ct.title, operation.pool or operation.leaves
        )
    if kind == "Destroy":
        return [Need(paths, ("VM.Allocate",), f"delete {ct.title}")]
    if kind == "Migrate":
        return [Need(paths, ("VM.Migrate",), f"move {ct.title} to {operation.target}")]
    return [Need(paths, ("VM.PowerMgmt",), f"{operation.to} {ct.title}")]


def _created(paths: tuple[str, ...], operation: t.Any) -> list[Need]:
    title, template = operation.ct.title, operation.ct.ostemplate
    storage = f"/storage/{ps.storage_of(template)}"
    needs = [
        Need(paths, ("VM.Allocate",), f"create {title}"),
        Need(paths, ("VM.Config.Disk",), f"create {title}"),
        Need(paths, ("VM.Config.Options",), f"create {title}"),
        Need((storage,), ("Datastore.AllocateSpace", "Datastore.Audit"), f"use {template} for {title}"),
    ]
    if not operation.form["unprivileged"]:
        needs.append(Need(("/",), ("Sys.Modify",), f"make {title} privileged"))
    if operation.template:
        needs.append(Need(paths, ("VM.Allocate",), f"make {title} a template"))
    form = {key: value for key, value in operation.form.items() if key not in _NO_OPTIONS}
    return needs + _configured(paths, title, form)


def _cloned(paths: tuple[str, ...], operation: t.Any) -> list[Need]:
    """A clone's volumes lie on the storage that is asked for, or on those of its source."""
    ct, clone, config = operation.ct, operation.clone, operation.predicted.config
    source = rights.guest_paths(clone.source, operation.source_pool)
    needs = [
        Need(source, ("VM.Clone",), f"clone CT {clone.source}"),
        Need(paths, ("VM.Allocate",), f"create {ct.title}"),
    ]
    volumes = {ps.storage_of(options.parse_mount(value)["volume"]) for key, value in config.items() if _is_volume(key)}
    for storage in sorted({clone.storage} if clone.storage else volumes - {""}):
        needs.append(Need((f"/storage/{storage}",), ("Datastore.AllocateSpace",), f"make the volumes of {ct.title}"))
    for key, value in config.items():
        needs += _bridge(ct.title, key, str(value))
    return needs + _updated(paths, operation.update, config)


def _updated(paths: tuple[str, ...], operation: t.Any, config: t.Mapping[str, t.Any]) -> list[Need]:
    """A card that leaves a bridge needs what one needs that comes to it."""
    title = operation.ct.title
    needs = _configured(paths, title, {**operation.put, **dict.fromkeys(operation.delete, "")})
    for key in {**operation.put, **dict.fromkeys(operation.delete)}:
        needs += _bridge(title, key, str(config.get(key, "")))
    if "features" in operation.put or "features" in operation.delete:
        needs.append(Need(paths, ("VM.Allocate",), f"set features of {title}"))
    if operation.template:
        needs.append(Need(paths, ("VM.Allocate",), f"make {title} a template"))
    for slot in operation.resizes:
        storage = ps.storage_of(options.parse_mount(config.get(slot, ""))["volume"]) if slot in config else ""
        needs.append(Need(paths, ("VM.Config.Disk",), f"grow {slot} of {title}"))
        if storage:
            needs.append(Need((f"/storage/{storage}",), ("Datastore.AllocateSpace",), f"grow {slot} of {title}"))
    return needs


def _configured(paths: tuple[str, ...], title: str, form: t.Mapping[str, t.Any]) -> list[Need]:
    needs = []
    for key, value in form.items():
        privilege = next(right for pattern, right in _OPTIONS if re.fullmatch(pattern, key))
        needs.append(Need(paths, (privilege,), f"set {key} of {title}"))
        needs += _bridge(title, key, str(value))
        if _is_volume(key) and value:
            storage = ps.storage_of(options.parse_mount(value)["volume"])
            new = re.search(r":\d+(\.\d+)?$", options.parse_mount(value)["volume"])
            if storage and new:
                needs.append(Need((f"/storage/{storage}",), ("Datastore.AllocateSpace",), f"make {key} of {title}"))
    return needs


def _is_volume(key: str) -> bool:
    return bool(re.fullmatch(r"rootfs|mp\d+", key))


def _bridge(title: str, key: str, value: str) -> list[Need]:
    return rights.bridge(title, key, ps.parse(value) if re.fullmatch(r"net\d+", key) else {})
