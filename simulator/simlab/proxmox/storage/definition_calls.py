# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of storages (``storage.cfg``)."""

from __future__ import annotations

import json
import typing as t

from .. import formats, schema
from ..api import Call, handles
from ..errors import Failure
from ..firewall import CHANGED
from .types import FIXED, SECRET, TYPES, StorageType


def shown(name: str, options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A definition as the API shows it: never with a password, and of keys only that they are there."""
    specs = schema.load().paths["/storage"]["POST"]["parameters"]["properties"]
    found: dict[str, t.Any] = {"storage": name}
    for key, value in options.items():
        if key not in SECRET:
            numeric = specs.get(key, {}).get("type") in ("integer", "boolean")
            found[key] = int(value) if numeric else value
    if "encryption-key" in options:
        found["encryption-key"] = json.loads(options["encryption-key"]).get("fingerprint") or "1"
    return found | ({"master-pubkey": "1"} if "master-pubkey" in options else {})


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
    known = TYPES[kind]
    _check_options(known, options)
    if name in call.cluster.storages.definitions:
        raise Failure(f"create storage failed: storage ID '{name}' already defined")
    _complete(known, name, options)
    if "disable" not in options:
        _activate(call, name, kind, options)
    call.cluster.storages.define(name, options)
    return {"storage": name, "type": kind} | ({"config": {}} if kind == "pbs" else {})


def _check_options(known: StorageType, options: dict[str, t.Any]) -> None:
    for key in known.required:
        if key not in options:
            raise Failure(f"missing value for required option '{key}'")
    for key in options:
        if key not in known.required and key not in known.optional and key != "type":
            raise Failure(f"unexpected property '{key}'")
    _check_content(known, options)
    if "master-pubkey" in options and "encryption-key" not in options:
        raise Failure("create storage failed: 'master-pubkey' can only be used together with 'encryption-key'")
    _check_key(options.get("encryption-key"), "create storage failed: ")


def _check_key(text: str | None, failed: str = "") -> None:
    try:
        known = text is None or "data" in json.loads(text)
    except (ValueError, TypeError):
        known = False
    if not known:
        raise Failure(f"{failed}Value does not seems like a valid, JSON formatted encryption key!")


def _check_content(known: StorageType, options: dict[str, t.Any]) -> None:
    wanted = formats.split_list(str(options.get("content", "")))
    if wanted == ["none"] and "images" in known.contents and len(known.contents) > 2:
        raise Failure("create storage failed: unknown vtype 'none'")
    if any(item not in known.contents for item in wanted):
        raise Failure("storage does not support content type 'none'")


def _complete(known: StorageType, name: str, options: dict[str, t.Any]) -> None:
    """What the real one adds: content, sharing, mount path; and leaves out: switches that are off."""
    if not options.get("content"):
        options["content"] = known.default
    if known.mounted:
        options.setdefault("path", f"/mnt/pve/{name}")
    if known.shared:
        options["shared"] = 1
    for key in ("disable", "shared"):
        if str(options.get(key, "1")) == "0":
            del options[key]
    if options.get("nodes") == "":
        del options["nodes"]


def _activate(call: Call, name: str, kind: str, options: dict[str, t.Any]) -> None:
    """Backends are contacted when a storage is added: there is none behind the names of this lab."""
    text = {
        "nfs": f"storage '{name}' is not online",
        "cifs": f"storage '{name}' is not online",
        "lvmthin": f"no such logical volume {options.get('vgname')}/{options.get('thinpool')}",
        "pbs": f"{name}: error fetching datastores - 500 Can't connect to {options.get('server')}:"
        f"{options.get('port', 8007)} (Connection refused)",
        "zfspool": f"could not activate storage '{name}', zfs error: open3: exec of zpool import -d "
        f"/dev/disk/by-id/ -o cachefile=none {str(options.get('pool')).partition('/')[0]} failed: No such file or "
        "directory at /usr/share/perl5/PVE/Tools.pm line 435.",
    }.get(kind)
    missing = kind == "dir" and str(options.get("create-base-path", options.get("mkdir", "1"))) == "0"
    if missing and options["path"] not in _paths(call):
        text = f"unable to activate storage '{name}' - directory '{options['path']}' does not exist or is unreachable"
    mount = str(options.get("is_mountpoint", "no"))
    if kind in ("dir", "btrfs") and mount.lower() not in _NO:
        where = options["path"] if mount.lower() in _YES else mount
        text = f"directory is expected to be a mount point but is not mounted: '{where}'"
        text = f"unable to activate storage '{name}' - {text}"
    if text:
        raise Failure(f"create storage failed: {text}")


#: How a switch is written that may also be a path.
_YES, _NO = ("1", "on", "yes", "true"), ("0", "off", "no", "false")


def _paths(call: Call) -> set[str]:
    nodes = call.cluster.nodes.values()
    known = {directory for node in nodes for directory in node.config.directories}
    return known | {str(options.get("path")) for options in call.cluster.storages.definitions.values()}


@handles("PUT", "/storage/{storage}")
def update(call: Call) -> dict[str, t.Any]:
    name = call.text("storage")
    try:
        options = _changed(call, name)
    except Failure as error:
        raise Failure(f"update storage failed: {error}") from None
    call.cluster.storages.define(name, options)
    return {"storage": name, "type": options["type"]}


def _changed(call: Call, name: str) -> dict[str, t.Any]:
    """The definition as it will be; raises Failure in the order of the real checks."""
    if call.params.get("digest") not in (None, call.cluster.storages.digest()):
        raise Failure(CHANGED)
    if name not in call.cluster.storages.definitions:
        raise Failure(f"storage '{name}' does not exist")
    options = dict(call.cluster.storages.definitions[name])
    kind = str(options["type"])
    known, fixed = TYPES[kind], FIXED.get(kind, ())
    given = {key: value for key, value in call.params.items() if key not in ("storage", "delete", "digest")}
    for key in given:
        if key in fixed:
            raise Failure(f"can't change value of fixed parameter '{key}'")
        if key not in known.required and key not in known.optional:
            raise Failure(f"unexpected property '{key}'")
    for key in formats.split_list(call.text("delete")):
        _check_delete(known, fixed, key, given)
        options.pop(key, None)
    _check_key(given.get("encryption-key"))
    if given.get("content") == "":
        given["content"] = "none"
    options |= given
    _complete(known, name, options)
    return options


def _check_delete(known: StorageType, fixed: t.Collection[str], key: str, given: t.Collection[str]) -> None:
    if key in known.required:
        raise Failure(f"unable to delete required option '{key}'")
    if key not in known.optional:
        raise Failure(f"no such option '{key}'")
    if key in fixed:
        raise Failure(f"unable to delete fixed option '{key}'")
    if key in given:
        raise Failure(f"cannot set and delete property '{key}' at the same time!")


@handles("DELETE", "/storage/{storage}")
def delete(call: Call) -> None:
    name = call.text("storage")
    if name not in call.cluster.storages.definitions:
        raise Failure(f"delete storage failed: storage '{name}' does not exist")
    call.cluster.storages.forget(name)
