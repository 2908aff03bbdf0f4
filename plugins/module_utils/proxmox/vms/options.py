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

from ..api import propertystring as ps

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
    "hostpci": "host",
    "usb": "host",
    "watchdog": "model",
    "rng": "source",
    "cicustom": "",
}

#: What an absent sub-key of a property string means. Their values are compared as flags, too.
_SUB_DEFAULTS: dict[str, dict[str, str]] = {
    "agent": {"fstrim_cloned_disks": "0", "freeze-fs": "1", "type": "virtio"},
    "hostpci": {"pcie": "0", "x-vga": "0", "rombar": "1", "legacy-igd": "0"},
    "usb": {"usb3": "0"},
    "vga": {"type": "std"},
    "watchdog": {"model": "i6300esb"},
}

#: Other names of sub-keys.
_ALIASES = {"freeze-fs-on-backup": "freeze-fs", "guest-fsfreeze": "freeze-fs"}

#: What an absent option means. An option without a default here is just absent.
DEFAULTS: dict[str, Value] = {
    "acpi": 1,
    "agent": "0",
    "bios": "seabios",
    "ciupgrade": 1,
    "cores": 1,
    "cpulimit": "0",
    "cpu": "kvm64",
    "hotplug": "network,disk,usb",
    "kvm": 1,
    "machine": "pc",
    "memory": "512",
    "numa": 0,
    "onboot": 0,
    "ostype": "other",
    "protection": 0,
    "scsihw": "lsi",
    "sockets": 1,
    "tablet": 1,
    "vga": "std",
}

#: Machine types without a version -> their part of the name of one with its version.
_FAMILIES = {"pc": "i440fx", "q35": "q35"}
_PINNED = re.compile(r"pc-(i440fx|q35)-\d")

#: Sub-keys of disks and networks whose value is a boolean, which the server keeps in the spelling it was sent in.
_FLAGS = {
    "ssd": "0", "iothread": "0", "firewall": "0", "enabled": "0", "pre-enrolled-keys": "0", "link_down": "0",
    "backup": "1", "replicate": "1",
}  # fmt: skip

#: Other sub-keys of disks and networks, and the value that says what their absence says.
_MEANS_NOTHING = {"discard": "ignore", "cache": "none"}

#: Options of a running VM that take effect at once; all others wait for a stop and start.
_LIVE = re.compile(
    r"name|tags|description|onboot|protection|startup|balloon|cpulimit|cpuunits|hotplug|hookscript|unused\d+"
)

#: What stands on the cloud-init drive. The server takes it at once, so that nothing is pending there, but writes the drive
#: only when the VM starts or when it is asked to; and the guest reads it when it boots.
_ON_DRIVE = re.compile(r"ipconfig\d+|nameserver|searchdomain|ciuser|cipassword|sshkeys|citype|ciupgrade|cicustom")

#: Options that a running VM takes when this word is in its ``hotplug``.
_HOTPLUG_WORDS = (("net", "network"), ("usb", "usb"), ("tablet", "usb"), ("vcpus", "cpu"))

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
    if key in ("cpulimit", "hotplug"):
        return float(text) if key == "cpulimit" else hotplug_words(text)
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
    allowed = hotplug_words(_HOTPLUG if hotplug is None else hotplug)
    if _LIVE.fullmatch(key):
        return False
    for kind, word in _HOTPLUG_WORDS:
        if re.fullmatch(rf"{kind}\d*", key):
            return word not in allowed
    if _HOT_DISK.fullmatch(key):
        return "disk" not in allowed or before is not None
    return True


def on_drive(key: str) -> bool:
    """Whether the guest reads this option from its cloud-init drive."""
    return _ON_DRIVE.fullmatch(key) is not None


def hotplug_words(text: str) -> frozenset[str]:
    """``1`` is the usual three, ``0`` is none."""
    words = _HOTPLUG if text == "1" else "" if text == "0" else text
    return frozenset(word for word in re.split(r"[,;\s]+", words) if word)


def is_windows(ostype: Value | None) -> bool:
    return str(ostype or "").startswith("w")


def with_pin(machine: Value, current: Value | None, ostype: Value | None) -> Value:
    """A machine that is wanted, with the version to which the server has pinned that of a Windows VM: it does so when a
    VM is made or becomes one, but keeps what is written later as it is, without a version. Empty is the default."""
    wanted, there = ps.parse(str(machine), "type"), ps.parse(str(current or ""), "type")
    pin = _PINNED.match(there.get("type", ""))
    if not is_windows(ostype) or not pin or _FAMILIES.get(wanted.get("type", "pc")) != pin[1]:
        return machine
    return ps.render({**wanted, "type": there["type"]}, "type")


def gets_pinned(put: t.Mapping[str, Value], delete: t.Collection[str], machine: Value | None) -> bool:
    """Whether the server pins the machine of a VM when this is sent, because the VM becomes a Windows VM."""
    if "machine" in put or "machine" in delete:
        return False
    return is_windows(put.get("ostype")) and ps.parse(str(machine or "pc"), "type").get("type", "pc") in _FAMILIES


def merge_flag(text: str | None, key: str, default_key: str, on: bool) -> str:
    """A property string with one flag changed and everything else kept."""
    properties = ps.parse(text or "", default_key)
    properties[key] = "1" if on else "0"
    return ps.render(properties, default_key)


def without_defaults(properties: t.Mapping[str, str]) -> ps.Properties:
    """Flags normalised, and those left out that say what their absence says."""
    kept = {}
    for key, value in properties.items():
        value = ps.flag(value) if key in _FLAGS else value
        if value != _FLAGS.get(key, _MEANS_NOTHING.get(key, "")):
            kept[key] = value
    return kept


def _properties(kind: str, text: str) -> Comparable:
    properties = ps.parse(text, PROPERTY_STRINGS[kind])
    if kind == "agent":
        properties["enabled"] = ps.flag(properties.get("enabled", "0"))
    if kind == "boot":
        return tuple(part for part in properties.get("order", "").split(";") if part) or properties.get("legacy")
    defaults = _SUB_DEFAULTS.get(kind, {})
    named = ((_ALIASES.get(key, key), value) for key, value in properties.items())
    flagged = ((key, ps.flag(value) if kind in _SUB_DEFAULTS else value) for key, value in named)
    return frozenset((key, value) for key, value in flagged if value != defaults.get(key))
