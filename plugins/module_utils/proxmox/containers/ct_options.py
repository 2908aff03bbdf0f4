# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a container: what is read back for what was sent, so that equal things compare equal.

Measured on 9.1.8. Networks come back as name, bridge and the rest sorted; mount points as volume and the rest; tags
always normalised; features, startup and devices as they were sent; a description with one line feed at its end.
"""

from __future__ import annotations

import re
import typing as t

from ..api import propertystring as ps
from ..vms import options
from ..vms.options import Value

#: What an absent option means. An option without a default here is just absent.
DEFAULTS: dict[str, Value] = {
    "cmode": "tty",
    "console": 1,
    "cpulimit": "0",
    "cpuunits": 100,
    "memory": 512,
    "onboot": 0,
    "protection": 0,
    "swap": 512,
    "tty": 2,
}

#: Options of a running container that take effect at once.
_LIVE = re.compile(
    r"hostname|tags|description|onboot|protection|startup|hookscript|cores|cpulimit|cpuunits|memory|swap|net\d+"
)
#: What a running container takes at once when it is new, and only after a restart when it is changed.
_LIVE_WHEN_NEW = re.compile(r"mp\d+|dev\d+")

#: Sub-keys whose absence says something -> what; None when the server or storage decides. Nearly all are booleans.
ABSENT: dict[str, str | None] = {
    "acl": None,
    "backup": "0",
    "deny-write": "0",
    "firewall": "0",
    "force_rw_sys": "0",
    "fuse": "0",
    "gid": "0",
    "keyctl": "0",
    "link_down": "0",
    "mknod": "0",
    "mode": "0660",
    "nesting": "0",
    "quota": "0",
    "replicate": "1",
    "ro": "0",
    "shared": "0",
    "uid": "0",
}


def comparable(key: str, value: Value | None) -> options.Comparable:
    """The form in which two values of an option are compared. ``None`` is an absent option."""
    if value is None or str(value).strip() == "":
        value = DEFAULTS.get(key)
        if value is None:
            return None
    text = str(value)
    if key == "cpulimit":
        return f"{float(text):g}"
    if key == "startup":
        return frozenset(ps.parse(text, "order").items())
    if key in ("tags", "description", "nameserver", "searchdomain"):
        return options.comparable(key, text)
    return text


def needs_restart(key: str, before: Value | None) -> bool:
    """Whether this option of a running container waits for a restart. ``before`` is None when it is new."""
    return not (_LIVE.fullmatch(key) or (_LIVE_WHEN_NEW.fullmatch(key) and before is None))


def properties(text: Value, default_key: str = "") -> ps.Properties:
    """Comparable: flags normalised, and sub-keys left out that say what their absence says."""
    found = {}
    for key, value in ps.parse(str(text), default_key).items():
        value = ps.flag(value) if key in ABSENT else value
        if value != ABSENT.get(key, ""):
            found[key] = value
    return found


def parse_network(text: Value) -> ps.Properties:
    """Keys ``name``, ``bridge``, ``hwaddr`` (in upper case, as it is compared), ``ip``, … as they were read."""
    found = ps.parse(str(text))
    if "hwaddr" in found:
        found["hwaddr"] = found["hwaddr"].upper()
    return found


def render_network(network: t.Mapping[str, str]) -> str:
    """Name and bridge first, the others sorted, as the server prints them."""
    first = [f"{key}={network[key]}" for key in ("name", "bridge") if key in network]
    return ",".join(
        first + [f"{key}={value}" for key, value in sorted(network.items()) if key not in ("name", "bridge")]
    )


def comparable_network(network: t.Mapping[str, str]) -> ps.Properties:
    found = properties(render_network(network))
    found.setdefault("type", "veth")
    if re.fullmatch(r"[0-9.]+", found.get("rate", "")):
        found["rate"] = f"{float(found['rate']):g}"
    return found


def parse_mount(text: Value) -> ps.Properties:
    """Key ``volume`` holds the volume, the directory or the device."""
    return ps.parse(str(text), "volume")


def render_mount(mount: t.Mapping[str, str]) -> str:
    """Volume and path first, the size last, as the server prints them."""
    places = {"mp": 0, "size": 2}
    rest = sorted(
        (item for item in mount.items() if item[0] != "volume"), key=lambda item: (places.get(item[0], 1), item)
    )
    return ",".join([mount.get("volume", ""), *(f"{key}={value}" for key, value in rest)])


def is_bind(volume: str) -> bool:
    """A directory or a device of the node, not a volume of a storage."""
    return volume.startswith("/")
