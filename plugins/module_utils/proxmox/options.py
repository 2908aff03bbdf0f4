# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a VM: what is read back for what was sent, so that equal things compare equal.

Measured on 9.1.8. Property strings come back in the order and the spelling that they were sent in, tags as they were
created but normalised when updated, numbers partly as strings, absent options mean their default.
"""

from __future__ import annotations

import re
import typing as t
import urllib.parse

from . import propertystring as ps

Value = t.Union[str, int]
Comparable = t.Any

#: Options that are property strings -> their default key (which may stand without its name).
PROPERTY_STRINGS = {
    "agent": "enabled",
    "cpu": "cputype",
    "machine": "type",
    "memory": "current",
    "startup": "order",
    "vga": "type",
    "boot": "legacy",
    "ipconfig": "",
}

#: What an absent option means. An option without a default here is just absent.
DEFAULTS: dict[str, Value] = {
    "agent": "0",
    "bios": "seabios",
    "cores": 1,
    "cpu": "kvm64",
    "machine": "pc",
    "memory": "512",
    "onboot": 0,
    "ostype": "other",
    "protection": 0,
    "scsihw": "lsi",
    "sockets": 1,
}

#: Sub-keys whose value is a boolean, which the server keeps in the spelling it was sent in.
_FLAGS = {"discard": None, "ssd": "0", "iothread": "0", "firewall": "0", "enabled": "0", "pre-enrolled-keys": "0"}

#: Options of a running VM that take effect at once; all others wait for a stop and start.
_LIVE = re.compile(
    r"name|tags|description|onboot|protection|startup|balloon|ipconfig\d+|nameserver|searchdomain|ciuser|cipassword"
    r"|sshkeys|citype|ciupgrade"
)
_HOT_DISK = re.compile(r"(scsi|virtio)\d+")

#: ``hotplug`` of a VM that says nothing else.
_HOTPLUG = "network,disk,usb"


def comparable(key: str, value: Value | None) -> Comparable:
    """The form in which two values of an option are compared. ``None`` is an absent option."""
    if value is None or str(value).strip() == "":
        value = DEFAULTS.get(key)
        if value is None:
            return None
    text = str(value)
    kind = re.sub(r"\d+$", "", key)
    if key == "tags":
        return frozenset(tags(text))
    if key == "description":
        return text.rstrip("\n")
    if key == "sshkeys":
        return frozenset(ssh_keys(text))
    if key in ("nameserver", "searchdomain"):
        return tuple(text.replace(",", " ").replace(";", " ").split())
    if kind in PROPERTY_STRINGS:
        return _properties(kind, text)
    return text


def tags(text: str) -> list[str]:
    """Lower case, unique, sorted: what the server makes of them on an update."""
    return sorted({tag.lower() for tag in re.split(r"[;,\s]+", text) if tag})


def ssh_keys(text: str) -> list[str]:
    """The lines of an encoded ``sshkeys`` value."""
    return [line.strip() for line in urllib.parse.unquote(text).splitlines() if line.strip()]


def encode_ssh_keys(keys: t.Iterable[str]) -> str:
    """``%20`` and not ``+`` for a blank, as the server wants them."""
    return urllib.parse.quote("\n".join(key.strip() for key in keys), safe="")


def needs_restart(key: str, value: Value | None, hotplug: str | None, before: Value | None = None) -> bool:
    """Whether this option of a running VM waits for a stop and start. ``hotplug`` as in its configuration."""
    allowed = _HOTPLUG if hotplug in (None, "1", 1) else str(hotplug)
    if _LIVE.fullmatch(key):
        return False
    if re.fullmatch(r"net\d+", key):
        return "network" not in allowed
    if _HOT_DISK.fullmatch(key):
        return "disk" not in allowed or before is not None
    return True


def merge_flag(text: str | None, key: str, default_key: str, on: bool) -> str:
    """A property string with one flag changed and everything else kept."""
    properties = ps.parse(text or "", default_key)
    properties[key] = "1" if on else "0"
    return ps.render(properties, default_key)


def without_defaults(properties: t.Mapping[str, str]) -> ps.Properties:
    """Flags normalised, and those left out that say what their absence says."""
    kept = {}
    for key, value in properties.items():
        value = ps.flag(value) if key in _FLAGS and _FLAGS[key] is not None else value
        if value != _FLAGS.get(key, ""):
            kept[key] = value
    return kept


def _properties(kind: str, text: str) -> Comparable:
    properties = ps.parse(text, PROPERTY_STRINGS[kind])
    if kind == "agent":
        properties["enabled"] = ps.flag(properties.get("enabled", "0"))
    if kind == "boot":
        return tuple(part for part in properties.get("order", "").split(";") if part) or properties.get("legacy")
    return frozenset(properties.items())
