# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people need to write the Proxmox part of a lab: property strings, sizes in MiB, ids that are free."""

from __future__ import annotations

import math
import re
import typing as t

from ..errors import InvalidInput
from .api import propertystring as ps
from .vms.options import PROPERTY_STRINGS

#: An option's name -> the key that may stand without its name in its value.
_DEFAULT_KEYS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(scsi|virtio|sata|ide|efidisk|tpmstate)\d+"), "file"),
    (re.compile(r"rootfs|mp\d+"), "volume"),
    (re.compile(r"dev\d+"), "path"),
    *((re.compile(rf"{name}\d*"), key) for name, key in PROPERTY_STRINGS.items()),
)
_NETWORK = re.compile(r"net\d+")
_MIB = 1 << 20

#: What Proxmox VE takes as an id of a guest.
FIRST_VMID, LAST_VMID = 100, 999999999


def from_property_string(text: str, option: str = "") -> ps.Properties:
    """``virtio=BC:24:11:…,bridge=vmbr0`` as a dictionary. ``option`` (``net0``, ``scsi0``, ``cpu``) names what stands first."""
    if not isinstance(text, str):
        raise InvalidInput(f"{text!r} is no text", hint="Give the option as the API shows it.")
    if _NETWORK.fullmatch(option):
        return ps.parse_network(text)
    found = ps.parse(text, _default_key(option))
    empty = [key for key in found if not key.strip()]
    if empty:
        raise InvalidInput(f"{text!r} is no property string", hint="It is written as key=value,key=value.")
    return found


def to_property_string(properties: t.Mapping[str, t.Any], option: str = "") -> str:
    """The opposite; booleans become 0 and 1, and what is none is left out."""
    if not isinstance(properties, t.Mapping):
        raise InvalidInput(f"{properties!r} is no dictionary", hint="Give the option's parts by their names.")
    given = {str(key): _text(key, value) for key, value in properties.items() if value is not None}
    if _NETWORK.fullmatch(option) and "model" in given:
        return ps.render_network(given)
    return ps.render(given, _default_key(option))


def mib(size: float | str) -> int:
    """``8G`` -> 8192; a number alone is MiB already. Rounded up, as less would not be enough."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    text = str(size).strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):  # with a fraction when it was divided in an expression
        return math.ceil(float(text))
    text = re.sub(r"(?<=[KMGT])i?B$", "", text, flags=re.IGNORECASE).upper()
    return -(-ps.size_in_bytes(text) // _MIB)


def next_free_vmid(taken: t.Iterable[int | str], first: int = FIRST_VMID, last: int = LAST_VMID) -> int:
    """The lowest id that is not in ``taken``. Raises :class:`InvalidInput` when all are."""
    if not FIRST_VMID <= first <= last <= LAST_VMID:
        raise InvalidInput(
            f"{first} to {last} is no range of ids", hint=f"They are between {FIRST_VMID} and {LAST_VMID}."
        )
    used = {_vmid(one) for one in taken}
    found = next((vmid for vmid in range(first, last + 1) if vmid not in used), None)
    if found is None:
        raise InvalidInput(f"No id from {first} to {last} is free")
    return found


def _vmid(value: int | str) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)):
        raise InvalidInput(f"{value!r} is no id of a guest", hint="Give the ids alone, such as [200, 201].")
    return int(value)


def _default_key(option: str) -> str:
    return next((key for pattern, key in _DEFAULT_KEYS if pattern.fullmatch(option)), "")


def _text(key: object, value: t.Any) -> str:
    text = str(int(value)) if isinstance(value, bool) else str(value)
    if "," in text or isinstance(value, (dict, list)):
        raise InvalidInput(f"The value of {key}, {text!r}, cannot stand in a property string")
    return text
