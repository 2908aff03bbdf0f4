# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of storages (``storage.cfg``)."""

from __future__ import annotations

import typing as t

from .. import formats
from ..api import Call, handles
from ..errors import Failure

#: Keys that a type must have, in the order in which they are missed.
REQUIRED = {
    "dir": ("path",), "btrfs": ("path",), "nfs": ("server", "export"), "cifs": ("server", "share"),
    "lvm": ("vgname",), "lvmthin": ("thinpool", "vgname"), "zfspool": ("pool",), "pbs": ("server", "datastore"),
    "iscsi": ("portal", "target"), "cephfs": (), "rbd": (), "esxi": ("server", "username", "password"),
    "iscsidirect": ("portal", "target"), "zfs": ("pool", "portal", "target", "iscsiprovider"),
}  # fmt: skip
_SECRET = ("password", "keyring", "encryption-key", "master-pubkey")


def shown(name: str, options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A definition as the API shows it: never with a password."""
    return {"storage": name} | {key: value for key, value in options.items() if key not in _SECRET}


@handles("GET", "/storage")
def listing(call: Call) -> list[dict[str, t.Any]]:
    wanted = call.params.get("type")
    digest = call.cluster.storages.digest()
    return [
        shown(name, options) | {"digest": digest}
        for name, options in call.cluster.storages.definitions.items()
        if wanted in (None, options["type"])
        and call.allowed.has(f"/storage/{name}", ["Datastore.Audit", "Datastore.AllocateSpace"], True)
    ]


@handles("GET", "/storage/{storage}")
def get(call: Call) -> dict[str, t.Any]:
    name = call.text("storage")
    if name not in call.cluster.storages.definitions:
        raise Failure(f"storage '{name}' does not exist")
    return shown(name, call.cluster.storages.definitions[name]) | {"digest": call.cluster.storages.digest()}


@handles("POST", "/storage")
def create(call: Call) -> dict[str, t.Any]:
    name, kind = call.text("storage"), call.text("type")
    options = {key: value for key, value in call.params.items() if key != "storage"}
    for key in REQUIRED[kind]:
        if key not in options:
            raise Failure(f"missing value for required option '{key}'")
    if name in call.cluster.storages.definitions:
        raise Failure(f"create storage failed: storage ID '{name}' already defined")
    options.setdefault("content", "images,rootdir")
    call.cluster.storages.define(name, options)
    return {"storage": name, "type": kind}


@handles("PUT", "/storage/{storage}")
def update(call: Call) -> dict[str, t.Any]:
    name = call.text("storage")
    if name not in call.cluster.storages.definitions:
        raise Failure(f"update storage failed: storage '{name}' does not exist")
    options = dict(call.cluster.storages.definitions[name])
    for key in formats.split_list(call.text("delete")):
        options.pop(key, None)
    options |= {key: value for key, value in call.params.items() if key not in ("storage", "delete", "digest")}
    call.cluster.storages.define(name, options)
    return {"storage": name, "type": options["type"]}


@handles("DELETE", "/storage/{storage}")
def delete(call: Call) -> None:
    name = call.text("storage")
    if name not in call.cluster.storages.definitions:
        raise Failure(f"delete storage failed: storage '{name}' does not exist")
    call.cluster.storages.forget(name)
