# SPDX-License-Identifier: GPL-3.0-or-later
"""Changing a container's configuration."""

from __future__ import annotations

import typing as t

from .. import formats
from ..api import Call, handles
from ..errors import Failure, Forbidden, ParameterError
from . import create, mounts, options
from . import ct as containers
from .ct import Container

if t.TYPE_CHECKING:
    from ..cluster import Cluster

_REQUEST_ONLY = ("node", "vmid", "digest", "delete", "revert")
#: Options that cannot be deleted.
_REQUIRED = ("rootfs", "arch", "ostype")


@handles("PUT", "/nodes/{node}/lxc/{vmid}/config")
async def put(call: Call) -> None:
    settings = {name: str(value) for name, value in call.params.items() if name not in _REQUEST_ONLY}
    delete = formats.split_list(call.text("delete"))
    revert = formats.split_list(call.text("revert"))
    if not settings and not delete and not revert:
        raise Failure("no options specified")
    _check_lists(settings, delete, revert)
    for name in [*settings, *delete]:
        call.allowed.vm(call.vmid, options.right_of(name))
    mounts.check(call, call.vmid, settings)
    _check_hardware(call, settings, delete)
    options.normalise(settings, str(call.cluster.options.get("tag-style", "")))
    ct = containers.find(call)
    async with call.cluster.locked(ct):
        _change(call, ct, settings, delete, revert)


def _check_hardware(call: Call, settings: dict[str, str], delete: list[str]) -> None:
    guest = call.cluster.guests.get(call.vmid)
    now = guest.options if isinstance(guest, Container) else {}
    features, privileged = now.get("features", ""), now.get("unprivileged") != "1"
    create.check_hardware(call, settings, old=features, privileged=privileged)
    if call.caller.is_root:
        return
    if "features" in delete:
        create.check_features(call, features, "", privileged=privileged)
    if any(name.startswith("dev") for name in delete):
        raise Forbidden("configuring device passthrough is only allowed for root@pam")


def _check_lists(settings: dict[str, str], delete: list[str], revert: list[str]) -> None:
    for name in delete:
        if name in settings:
            text = f"you can't use '-{name}' and -delete {name}' at the same time"
            raise ParameterError({"delete": text})
        if not options.exists(name):
            raise ParameterError({"delete": f"unknown option '{name}'"})
    for name in revert:
        if not options.exists(name):
            raise ParameterError({"revert": f"unknown option '{name}'"})


def _change(call: Call, ct: Container, settings: dict[str, str], delete: list[str], revert: list[str]) -> None:
    if call.params.get("digest") and call.params["digest"] != ct.digest():
        raise Failure("detected modified configuration - file changed by other user? Try again.")
    ct.check_lock()
    for name in [*settings, *delete]:
        if name in options.READ_ONLY:
            raise Failure(f"unable to modify read-only option: '{name}'")
    for name in revert:
        ct.pending.pop(name, None)
        ct.deleting.pop(name, None)
    for name in delete:
        _delete(call, ct, name)
    for name, value in settings.items():
        ct.deleting.pop(name, None)
        made: list[str] = []
        ct.pending[name] = mounts.allocate(call.cluster, ct, name, value, made) if options.is_mount(name) else value
    if call.text("description", "x").strip("\n") == "" and "description" in ct.options:
        ct.deleting["description"] = False
    ct.tidy()
    if ct.running:
        _plug(call.cluster, ct)
    else:
        apply(call.cluster, ct)


def _delete(call: Call, ct: Container, name: str) -> None:
    if name in _REQUIRED:
        raise Failure(f"unable to delete required option '{name}'")
    ct.pending.pop(name, None)
    if name not in ct.options:
        return
    if name.startswith("unused"):
        volid = ct.options[name]
        ct.check_protection(f"can't remove unused volume '{volid}'")
        if mounts.owned(call.cluster, ct, volid) and not ct.uses(volid):
            call.cluster.storages.free(ct.node, volid)
        del ct.options[name]
        return
    if options.is_mount(name):
        ct.check_protection(f"can't remove CT {ct.vmid} drive '{name}'")
    ct.deleting[name] = False


def _plug(cluster: Cluster, ct: Container) -> None:
    """What a running container takes at once, mount points and devices only when they are new; the rest waits."""
    for name in [name for name in ct.deleting if name in options.LIVE or options.is_net(name)]:
        ct.options.pop(name, None)
        del ct.deleting[name]
    for name in list(ct.pending):
        new = name.startswith(("mp", "dev")) and name not in ct.options
        if new or name in options.LIVE or options.is_net(name):
            ct.options[name] = ct.pending.pop(name)
    ct.tidy()


def apply(cluster: Cluster, ct: Container) -> None:
    """All pending changes of a container that does not run."""
    for name in sorted(ct.deleting):
        if name in ct.options and options.is_mount(name):
            mounts.detach(cluster, ct, ct.options[name], name)
        ct.options.pop(name, None)
    ct.deleting.clear()
    for name, value in sorted(ct.pending.items()):
        if name in ct.options and options.is_mount(name):
            mounts.detach(cluster, ct, ct.options[name], name)
        # A volume may have grown since: its size is looked up again.
        ct.options[name] = mounts.allocate(cluster, ct, name, value, []) if options.is_mount(name) else value
    ct.pending.clear()
    ct.tidy()
