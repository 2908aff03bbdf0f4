# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools."""

from __future__ import annotations

import dataclasses
import typing as t

from . import formats
from .access import Caller
from .api import Call, handles
from .cluster import Pool
from .cluster_calls import resources
from .errors import Failure, Forbidden
from .permissions import Permissions


def _pool(call: Call, name: str) -> Pool:
    if name not in call.cluster.pools:
        raise Failure(f"pool '{name}' does not exist")
    return call.cluster.pools[name]


@handles("GET", "/pools")
def pools(call: Call) -> list[dict[str, t.Any]]:
    wanted = call.params.get("poolid")
    if wanted is not None:  # the real one asks for the right and does not look at the answer
        return [{"poolid": wanted, **_details(call, wanted)}]
    return [
        {"poolid": name} | ({"comment": pool.comment} if pool.comment else {})
        for name, pool in call.cluster.pools.items()
        if call.allowed.has(f"/pool/{name}", ["Pool.Audit"])
    ]


@handles("GET", "/pools/{poolid}")
def pool(call: Call) -> dict[str, t.Any]:
    name = call.text("poolid")
    return {"poolid": name, **_details(call, name)}


def _details(call: Call, name: str) -> dict[str, t.Any]:
    found = _pool(call, name)
    kind = call.params.pop("type", None)
    everybody = dataclasses.replace(call, allowed=Permissions(call.cluster.access, Caller("root@pam")))
    members = [entry for entry in resources(everybody) if _is_member(found, entry) and kind in (None, entry["type"])]
    for entry in members:
        entry.pop("pool", None)
    return {"members": members} | ({"comment": found.comment} if found.comment else {})


def _is_member(found: Pool, entry: dict[str, t.Any]) -> bool:
    if entry["type"] == "storage":
        return entry["storage"] in found.storages
    return entry.get("vmid") in found.guests


@handles("POST", "/pools")
def create(call: Call) -> None:
    name = call.text("poolid")
    if name in call.cluster.pools:
        raise Failure(f"create pool failed: pool '{name}' already exists")
    parent, _, leaf = name.rpartition("/")
    if parent and parent not in call.cluster.pools:
        raise Failure(f"create pool failed: parent '{parent}' of pool '{name}' does not exist")
    if not leaf[:1].isalpha():
        raise Failure("create pool failed: pool name must start with a letter")
    call.cluster.pools[name] = Pool(call.text("comment").strip(" "))


@handles("PUT", "/pools", "/pools/{poolid}")
def update(call: Call) -> None:
    name = call.text("poolid")
    try:
        _update(call, _pool(call, name))
    except Failure as error:
        raise Failure(f"update pools failed: {error}") from None


def _update(call: Call, found: Pool) -> None:
    pools_ = call.cluster.pools
    before = {key: (set(pool.guests), set(pool.storages), pool.comment) for key, pool in pools_.items()}
    try:
        _change(call, found)
    except Failure:  # all or nothing
        for key, (guests, storages, comment) in before.items():
            pools_[key].guests, pools_[key].storages, pools_[key].comment = guests, storages, comment
        raise


def _change(call: Call, found: Pool) -> None:
    if "comment" in call.params:
        found.comment = call.text("comment").strip(" ")  # of a file of lines with colons
    remove = call.flag("delete")
    for text in formats.split_list(call.text("vms")):
        vmid = int(text)
        _may(call.allowed.modify, f"/vms/{vmid}")
        _change_guest(call, found, vmid, remove)
    for storage in formats.split_list(call.text("storage")):
        _may(call.allowed.modify, f"/storage/{storage}")
        if remove != (storage in found.storages):
            state = "is not" if remove else "is already"
            raise Failure(f"Storage '{storage}' {state} a pool member")
        (found.storages.discard if remove else found.storages.add)(storage)


def _may(check: t.Callable[..., None], *what: str) -> None:
    """A refusal inside of the change is a failure of the change."""
    try:
        check(*what)
    except Forbidden as error:
        raise Failure(f"{error.status} {error}") from None


def _change_guest(call: Call, found: Pool, vmid: int, remove: bool) -> None:
    if remove:
        if vmid not in found.guests:
            raise Failure(f"VM {vmid} is not a pool member")
        found.guests.discard(vmid)
        return
    if vmid in found.guests:
        raise Failure(f"VM {vmid} is already a pool member")
    other = next((n for n, p in call.cluster.pools.items() if vmid in p.guests), None)
    if other is not None:
        if not call.flag("allow-move"):
            raise Failure(f"VM {vmid} belongs already to pool '{other}' and 'allow-move' is not set")
        _may(call.allowed.require, f"/pool/{other}", "Pool.Allocate")
        call.cluster.pools[other].guests.discard(vmid)
    found.guests.add(vmid)


@handles("DELETE", "/pools", "/pools/{poolid}")
def delete(call: Call) -> None:
    name = call.text("poolid")
    try:
        found = _pool(call, name)
    except Failure as error:
        raise Failure(f"delete pool failed: {error}") from None
    content = [f"pool '{child}'" for child in call.cluster.pools if child.startswith(name + "/")]
    content += [f"VM {vmid}" for vmid in sorted(found.guests & set(call.cluster.guests))]
    content += [f"storage '{s}'" for s in sorted(found.storages & set(call.cluster.storages.definitions))]
    if content:
        raise Failure(f"delete pool failed: pool '{name}' is not empty (contains {content[0]})")
    del call.cluster.pools[name]
    call.cluster.access.forget(lambda acl: acl.path == f"/pool/{name}")
