# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a container that is wanted: volumes, networks, devices, features."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps
from ..api.names import STORAGE
from ..guests import guest_spec

Params = t.Mapping[str, t.Any]

#: Feature flags; ``mount`` is a list of file systems.
FEATURES = ("nesting", "keyctl", "fuse", "mknod", "force_rw_sys")

_MOUNT_OPTIONS = ("discard", "lazytime", "noatime", "nodev", "noexec", "nosuid")
_FILE_SYSTEM = re.compile(r"[A-Za-z0-9_]+")
_MODE = re.compile(r"0[0-7]{3}")
_INTERFACE = re.compile(r"[A-Za-z0-9._-]{1,15}")


@dataclasses.dataclass(frozen=True)
class Mount:
    """Either a volume to make (``storage`` and ``size`` in bytes), or a ``volume`` to attach, or a directory of the node
    (``volume`` begins with a slash). ``settings`` are the sub-keys that the module decides; an empty value means: absent.
    """

    slot: str
    storage: str
    size: int | None
    volume: str
    settings: t.Mapping[str, str]
    absent: bool = False


@dataclasses.dataclass(frozen=True)
class Network:
    """``mac`` is empty when the server's own is kept. ``settings`` as for mounts."""

    slot: str
    name: str
    bridge: str
    mac: str
    settings: t.Mapping[str, str]
    absent: bool = False


@dataclasses.dataclass(frozen=True)
class Device:
    slot: str
    path: str
    settings: t.Mapping[str, str]
    absent: bool = False


def rootfs(entry: Params | None) -> Mount | None:
    if not entry:
        return None
    guest_spec.match(STORAGE, entry["storage"], "storage of rootfs", "Give the name of a storage.")
    size = _size(entry.get("size"), "rootfs") if entry.get("size") else None
    return Mount("rootfs", entry["storage"], size, "", _volume_settings(entry, "rootfs"))


def mount(entry: Params, index: int) -> Mount:
    slot = entry.get("slot") or f"mp{index}"
    guest_spec.check_slot(slot, {"mp": 256}, "slot of a mount")
    if entry.get("state") == "absent":
        return Mount(slot, "", None, "", {}, absent=True)
    path = entry.get("mp") or ""
    if not path.startswith("/") or "/../" in f"{path}/" or path.rstrip("/") == "":
        raise InvalidInput(f"mp of {slot} is {path!r}", hint="Write an absolute path in the container, such as /data.")
    _one_origin(entry, slot)
    storage, size = entry.get("storage") or "", None
    if storage:
        guest_spec.match(STORAGE, storage, f"storage of {slot}", "Give the name of a storage.")
        size = _size(entry.get("size"), slot)
    volume = volid(entry.get("volume") or "", f"volume of {slot}", "local:310/vm-310-disk-1.raw")
    if entry.get("source"):
        volume = _source(entry["source"], slot)
    settings = {"mp": path, "backup": "1" if entry.get("backup") else "", **_volume_settings(entry, slot)}
    return Mount(slot, storage, size, volume, settings)


def _one_origin(entry: Params, slot: str) -> None:
    origins = [key for key in ("storage", "volume", "source") if entry.get(key)]
    if len(origins) != 1:
        given = " and ".join(origins) or "none of them"
        hint = "A mount has storage and size, or volume, or source."
        raise InvalidInput(f"Mount {slot} has {given}", hint=hint)
    if entry.get("size") and origins != ["storage"]:
        raise InvalidInput(f"Mount {slot} has size and {origins[0]}", hint="Only a volume on a storage has a size.")


def _source(source: str, slot: str) -> str:
    if not source.startswith("/") or "," in source:
        raise InvalidInput(f"source of {slot} is {source!r}", hint="Write an absolute path on the node.")
    return source


def _size(text: str | None, slot: str) -> int:
    if not text:
        raise InvalidInput(f"size of {slot} is missing", hint="Write for example 8G.")
    size = ps.size_in_bytes(text, option=f"size of {slot}")
    if str(text).strip().isdigit() or size < 1 << 20:
        raise InvalidInput(f"size of {slot} is {text!r}", hint="Write a unit, for example 8G.")
    return ps.rounded_up(size, "M")


def _volume_settings(entry: Params, slot: str) -> dict[str, str]:
    """``acl`` and ``mount_options`` only when they are given: what they are otherwise is the storage's choice."""
    settings = {
        "quota": "1" if entry.get("quota") else "",
        "replicate": "" if entry.get("replicate", True) in (True, None) else "0",
        "ro": "1" if entry.get("readonly") else "",
        "shared": "1" if entry.get("shared") else "",
    }
    if entry.get("acl") is not None:
        settings["acl"] = str(int(entry["acl"]))
    if entry.get("mount_options") is not None:
        unknown = sorted(set(entry["mount_options"]) - set(_MOUNT_OPTIONS))
        if unknown:
            known = ", ".join(_MOUNT_OPTIONS)
            raise InvalidInput(f"mount_options of {slot} has {', '.join(unknown)}", hint=f"Known: {known}.")
        settings["mountoptions"] = ";".join(sorted(entry["mount_options"]))
    return settings


def network(entry: Params, index: int) -> Network:
    slot = entry.get("slot") or f"net{index}"
    guest_spec.check_slot(slot, {"net": 32}, "network slot")
    if entry.get("state") == "absent":
        return Network(slot, "", "", "", {}, absent=True)
    mac, mtu = guest_spec.check_card(entry, slot), entry.get("mtu")
    if mtu is not None and not 64 <= mtu <= 65535:
        raise InvalidInput(f"mtu of {slot} is {mtu}", hint="It must be 64 to 65535.")
    name = entry.get("name") or f"eth{index}"
    guest_spec.match(
        _INTERFACE, name, f"name of {slot}", "It is the interface in the container, 15 characters at most."
    )
    settings = {
        "tag": str(entry.get("vlan") or ""),
        "firewall": "1" if entry.get("firewall") else "",
        "mtu": str(entry.get("mtu") or ""),
        "rate": f"{entry['rate']:g}" if entry.get("rate") else "",
        **_addresses(entry, slot),
    }
    return Network(slot, name, entry.get("bridge") or "vmbr0", mac, settings)


def _addresses(entry: Params, slot: str) -> dict[str, str]:
    found = {}
    for family, words in (("", ("dhcp", "manual")), ("6", ("dhcp", "auto", "manual"))):
        ip, gateway = entry.get(f"ip{family}") or "", entry.get(f"gateway{family}") or ""
        version = 6 if family else 4
        if ip not in ("", *words) and _version(ip) != version:
            hint = f"Write for example {'fd00::5/64' if family else '192.168.1.5/24'}, or {' or '.join(words)}."
            raise InvalidInput(f"ip{family} of {slot} is {ip!r}", hint=hint)
        if gateway and _version(gateway, "32" if version == 4 else "128") != version:
            raise InvalidInput(f"gateway{family} of {slot} is {gateway!r}", hint=f"Write an IPv{version} address.")
        if gateway and ip in ("", *words):
            raise InvalidInput(
                f"{slot} has gateway{family}, but no ip{family} of its own", hint="Leave the gateway out."
            )
        found.update({f"ip{family}": ip, f"gw{family}": gateway})
    return found


def _version(text: str, prefix: str = "") -> int:
    """4 or 6; 0 when it is no address (with its prefix length, unless one is given for it)."""
    if ("/" in text) == bool(prefix):
        return 0
    try:
        return ipaddress.ip_interface(f"{text}/{prefix}" if prefix else text).version
    except ValueError:
        return 0


def device(entry: Params, index: int) -> Device:
    slot = entry.get("slot") or f"dev{index}"
    guest_spec.check_slot(slot, {"dev": 256}, "slot of a device")
    if entry.get("state") == "absent":
        return Device(slot, "", {}, absent=True)
    path, mode = entry.get("path") or "", entry.get("mode") or ""
    if not path.startswith("/dev/") or "," in path or "/../" in f"{path}/":
        raise InvalidInput(
            f"path of {slot} is {path!r}", hint="Write a device of the node, such as /dev/dri/renderD128."
        )
    if mode:
        guest_spec.match(_MODE, mode, f"mode of {slot}", "Write four octal digits in quotes, such as '0660'.")
    settings = {"mode": mode, "deny-write": "1" if entry.get("deny_write") else ""}
    for key in ("uid", "gid"):
        value = entry.get(key)
        if value is not None and value < 0:
            raise InvalidInput(f"{key} of {slot} is {value}", hint="It must be at least 0.")
        settings[key] = "" if value is None else str(value)
    return Device(slot, path, settings)


def features(entry: Params) -> dict[str, str]:
    found = {key: "1" if entry[key] else "" for key in FEATURES if entry.get(key) is not None}
    if entry.get("mount") is not None:
        for system in entry["mount"]:
            guest_spec.match(_FILE_SYSTEM, system, "mount of features", "Name file systems, such as nfs.")
        found["mount"] = ";".join(sorted(entry["mount"]))
    return found


def volid(text: str, option: str, example: str) -> str:
    if text and (text.startswith("/") or not ps.storage_of(text) or not text.partition(":")[2]):
        raise InvalidInput(f"{option} {text!r} is no volume", hint=f"Write for example {example}.")
    return text
