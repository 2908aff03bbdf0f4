# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxmox VE's property strings: ``key=value,key=value``, where one key may stand without its name.

The server keeps most of them as they were sent, in any order and with any of their spellings, so they are compared
parsed. Networks and disks have first parts of their own: ``virtio=BC:24:11:…`` and a volume.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import InvalidInput

Properties = dict[str, str]

#: Network card models as PVE names them; ``model=MAC`` is the short form of ``model=…,macaddr=…``.
MODELS = (
    "virtio", "e1000", "e1000e", "vmxnet3", "rtl8139", "e1000-82540em", "e1000-82544gc", "e1000-82545em",
    "i82551", "i82557b", "i82559er", "ne2k_isa", "ne2k_pci", "pcnet",
)  # fmt: skip

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")
_TRUE = {"1", "on", "yes", "true"}
_FALSE = {"0", "off", "no", "false"}


def parse(text: str, default_key: str = "") -> Properties:
    """``host,flags=+aes`` with the default key ``cputype`` is ``{cputype: host, flags: +aes}``."""
    properties: Properties = {}
    for part in filter(None, (part.strip() for part in str(text).split(","))):
        key, separator, value = part.partition("=")
        if not separator:
            key, value = default_key or part, part
        properties[key] = value
    return properties


def render(properties: t.Mapping[str, str], default_key: str = "") -> str:
    """The default key first and without its name, the others sorted, as the server itself prints them."""
    first = [properties[default_key]] if default_key and default_key in properties else []
    rest = [f"{key}={value}" for key, value in sorted(properties.items()) if key != default_key]
    return ",".join(first + rest)


def parse_network(text: str) -> Properties:
    """Keys ``model``, ``macaddr`` and what else there is; a MAC in upper case, as it is compared."""
    properties: Properties = {}
    for key, value in parse(text, "model").items():
        if key in MODELS:
            properties["model"] = key
            properties["macaddr"] = value
        else:
            properties[key] = value
    if "macaddr" in properties:
        properties["macaddr"] = properties["macaddr"].upper()
    return properties


def render_network(properties: t.Mapping[str, str]) -> str:
    rest = {key: value for key, value in properties.items() if key not in ("model", "macaddr", "bridge")}
    model, mac = properties.get("model", "virtio"), properties.get("macaddr", "")
    parts = [f"{model}={mac}" if mac else model]
    if properties.get("bridge"):
        parts.append(f"bridge={properties['bridge']}")
    return ",".join(parts + [f"{key}={value}" for key, value in sorted(rest.items())])


def parse_disk(text: str) -> Properties:
    """Key ``file`` holds the volume: ``local:200/vm-200-disk-0.qcow2``, ``none``."""
    return parse(text, "file")


def render_disk(properties: t.Mapping[str, str]) -> str:
    return render(properties, "file")


def storage_of(volume: str) -> str:
    """``local`` of ``local:200/vm-200-disk-0.qcow2``; empty for ``none`` and paths."""
    return "" if volume.startswith("/") else volume.partition(":")[0] if ":" in volume else ""


def size_in_bytes(text: str, *, option: str = "size") -> int:
    """``100G``, ``3500M``, ``528K``; a number alone is bytes. Raises :class:`InvalidInput`."""
    found = _SIZE.fullmatch(str(text).strip())
    if not found:
        raise InvalidInput(f"{option} {text!r} is no size", hint="Write a number and K, M, G or T, for example 100G.")
    return round(float(found[1]) * _UNITS[found[2]])


def size_text(size: int) -> str:
    """In the largest unit that leaves no fraction, as the server prints it: ``100G``, ``528K``."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


def rounded_up(size: int, unit: t.Literal["K", "M"]) -> int:
    """The next whole KiB or MiB, in bytes: the server makes no other disks."""
    return -(-size // _UNITS[unit]) * _UNITS[unit]


def gibibytes(size: int) -> str:
    """For ``STORAGE:SIZE``, which counts in GiB and takes fractions. Exact for whole KiB (20 decimals are 2 to the power
    of -20): the server rounds what is left over up for VMs, and down to MiB for containers."""
    return f"{size / _UNITS['G']:.20f}".rstrip("0").rstrip(".")


def flag(text: str) -> str:
    """A boolean in any of its spellings as ``0`` or ``1``; other text as it is."""
    lowered = text.lower()
    return "1" if lowered in _TRUE else "0" if lowered in _FALSE else text
