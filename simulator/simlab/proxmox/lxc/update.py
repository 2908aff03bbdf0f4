# SPDX-License-Identifier: GPL-3.0-or-later
"""Changing a container's configuration."""

from __future__ import annotations

import typing as t

from .. import formats, tags
from ..api import Call, handles
from ..errors import Failure, Forbidden, ParameterError
from ..firewall import CHANGED
from . import create, mounts, options
from . import ct as containers
from .ct import Container

if t.TYPE_CHECKING:
    from ..cluster import Cluster

_REQUEST_ONLY = ("node", "vmid", "digest", "delete", "revert")
#: Options that cannot be deleted.
_REQUIRED = ("memory", "rootfs", "ostype")
#: What a bridge of the lab lets through.
_BRIDGE_MTU = 1500


@handles("PUT", "/nodes/{node}/lxc/{vmid}/config")
async def put(call: Call) -> None:
    settings = {name: str(value) for name, value in call.params.items() if name not in _REQUEST_ONLY}
    delete = formats.split_list(call.text("delete"))
    revert = formats.split_list(call.text("revert"))
    if not settings and not delete and not revert:
        raise Failure("no options specified")
    ct = containers.find(call)
    async with call.cluster.locked(ct):
        ct.check_lock()
        if call.params.get("digest") and call.params["digest"] != ct.digest():
            raise Failure(CHANGED)
        for name in [*delete, *revert]:
            call.allowed.vm(call.vmid, options.right_of(name))
        if "tags" in settings or "tags" in delete:
            tags.check_change(call, call.vmid, ct.options.get("tags", ""), settings.get("tags", ""))
        _check_lists(settings, delete, revert)
        for name in settings:
            call.allowed.vm(call.vmid, options.right_of(name))
        mounts.check_access(call, call.vmid, settings)
        _check_hardware(call, settings, delete)
        options.normalise(settings, str(call.cluster.options.get("tag-style", "")))
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
    for word, listed in (("revert", revert), ("delete", delete)):
        for name in listed:
            if not options.exists(name):
                raise ParameterError({word: f"unknown option '{name}'"})
            if name in settings:
                raise ParameterError({word: f"you can't use '-{name}' and {_SAID[word]} {name}' at the same time"})
            if word == "delete" and name in revert:
                text = f"you can't use '-delete {name}' and '-revert {name}' at the same time"
                raise ParameterError({"delete": text})


#: One of the two texts lacks a quotation mark.
_SAID = {"revert": "'-revert", "delete": "-delete"}


def _change(call: Call, ct: Container, settings: dict[str, str], delete: list[str], revert: list[str]) -> None:
    known = [name for name in delete if name in ct.options or name in ct.pending]
    for name in known:
        _check_delete(ct, name)
    for name, value in settings.items():
        _check_change(call, ct, name, value)
    for name in revert:
        ct.pending.pop(name, None)
        ct.deleting.pop(name, None)
    for name in known:
        _delete(call, ct, name)
    made: list[str] = []
    try:
        for name, value in sorted(settings.items()):
            ct.deleting.pop(name, None)
            ct.pending[name] = _allocated(call, ct, name, value, made)
    except ParameterError:
        for name in settings:  # all or nothing
            ct.pending.pop(name, None)
        for volid in made:
            call.cluster.storages.free(ct.node, volid)
        raise
    if call.text("description", "x").strip("\n") == "" and "description" in ct.options:
        ct.deleting["description"] = False
    ct.tidy()
    if ct.running:
        _plug(call.cluster, ct)
    else:
        apply(call.cluster, ct)


def _allocated(call: Call, ct: Container, name: str, value: str, made: list[str]) -> str:
    """A mount point with its volume, which is made if need be; anything else as it is. Raises ParameterError."""
    if not options.is_mount(name):
        return value
    try:
        return mounts.allocate(call.cluster, ct, name, value, made)
    except Failure as error:
        what = f"unable to hotplug {name}:" if ct.running else f"unable to apply pending change {name} :"
        raise ParameterError({name: f"{what} {error}\n"}) from None


def _check_delete(ct: Container, name: str) -> None:
    if name in _REQUIRED:
        raise Failure(f"unable to delete required option '{name}'")
    if name in options.READ_ONLY:
        raise Failure(f"unable to delete read-only option: '{name}'")
    if name.startswith("unused") or options.is_mount(name):
        ct.check_protection(f"can't remove CT {ct.vmid} drive '{name}'")


def _check_change(call: Call, ct: Container, name: str, value: str) -> None:
    if options.is_mount(name):
        ct.check_protection(f"can't update CT {ct.vmid} drive '{name}'")
        mounts.check_content(call, options.parse_mount(name, value)["volume"])
    elif name in options.READ_ONLY:
        raise Failure(f"unable to modify read-only option: '{name}'")
    elif options.is_net(name):
        mtu = options.parse_net(name, value).get("mtu", "0")
        if int(mtu) > _BRIDGE_MTU:
            raise Failure(f"{name}: MTU size '{mtu}' is bigger than bridge MTU '{_BRIDGE_MTU}'")


def _delete(call: Call, ct: Container, name: str) -> None:
    ct.pending.pop(name, None)
    if name not in ct.options:
        return
    if name.startswith("unused"):
        volid = ct.options[name]
        if mounts.owned(call.cluster, ct, volid) and not ct.uses(volid):
            call.cluster.storages.free(ct.node, volid)
        del ct.options[name]
        return
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
