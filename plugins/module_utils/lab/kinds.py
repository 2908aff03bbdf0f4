# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every kind of value must look like. A check says what is wrong inside a value; nothing means that it is right.

Numbers and truth values may come as text, as an inventory in INI form or ``-e`` gives them.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

Faults = t.Iterator["Fault"]


@dataclasses.dataclass(frozen=True)
class Fault:
    """``path`` leads to the wrong part of a value (``.servers.gateway``); it is empty for the value itself."""

    path: str
    value: t.Any
    expected: str


@dataclasses.dataclass(frozen=True)
class Kind:
    """``opaque``: what is in it may be anybody's secret, so only its shape is shown and sent."""

    expected: str
    check: t.Callable[[t.Any], Faults]
    opaque: bool = False


DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")
TRUTH = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}


# -- readings that cannot fail -----------------------------------------------------------------------------------


def integer(value: t.Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return int(value) if re.fullmatch(r"-?\d+", str(value)) else None


def truth(value: t.Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return TRUTH.get(str(value).lower()) if isinstance(value, (str, int)) else None


def address(value: t.Any) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(value) if isinstance(value, str) else None
    except ValueError:
        return None


def subnet(value: t.Any) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(value) if isinstance(value, str) and "/" in value else None
    except ValueError:
        return None


def any_subnet(value: t.Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(value) if isinstance(value, str) and "/" in value else None
    except ValueError:
        return None


def address_range(value: t.Any) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address] | None:
    """``192.168.30.60-192.168.30.80``, or ``192.168.30.60-80`` for short."""
    first, dash, last = str(value).partition("-")
    low = address(first.strip())
    last = last.strip()
    if low is not None and last.isdigit():
        last = f"{first.strip().rpartition('.')[0]}.{last}"
    high = address(last)
    return (low, high) if dash and low is not None and high is not None and low <= high else None


# -- kinds -------------------------------------------------------------------------------------------------------


def simple(expected: str, accepts: t.Callable[[t.Any], bool], *, opaque: bool = False) -> Kind:
    def check(value: t.Any) -> Faults:
        if not accepts(value):
            yield Fault("", value, expected)

    return Kind(expected, check, opaque)


def pattern(expression: str, expected: str) -> Kind:
    return simple(expected, lambda value: isinstance(value, str) and bool(re.fullmatch(expression, value)))


def number(least: int, most: int, expected: str) -> Kind:
    return simple(expected, lambda value: (found := integer(value)) is not None and least <= found <= most)


def one_of(*choices: str) -> Kind:
    return simple("one of " + ", ".join(choices), lambda value: isinstance(value, str) and value in choices)


def list_of(kind: Kind, expected: str) -> Kind:
    def check(value: t.Any) -> Faults:
        if not isinstance(value, list):
            yield Fault("", value, expected)
            return
        for index, entry in enumerate(value):
            for fault in kind.check(entry):
                yield Fault(f"[{index}]{fault.path}", fault.value, fault.expected)

    return Kind(expected, check, kind.opaque)


def mapping_of(kind: Kind, expected: str) -> Kind:
    """Any keys; every value is of one kind."""

    def check(value: t.Any) -> Faults:
        if not isinstance(value, t.Mapping):
            yield Fault("", value, expected)
            return
        for key, entry in value.items():
            for fault in kind.check(entry):
                yield Fault(f".{key}{fault.path}", fault.value, fault.expected)

    return Kind(expected, check, kind.opaque)


def record(fields: t.Mapping[str, Kind], required: t.Collection[str], expected: str, *, opaque: bool = False) -> Kind:
    """Known keys, each of its own kind."""

    def check(value: t.Any) -> Faults:
        if not isinstance(value, t.Mapping):
            yield Fault("", value, expected)
            return
        for name in required:
            if value.get(name) in (None, ""):
                yield Fault(f".{name}", None, fields[name].expected)
        for name, entry in value.items():
            if name not in fields:
                yield Fault(f".{name}", entry, f"one of the keys {', '.join(fields)}")
            elif entry not in (None, ""):
                for fault in fields[name].check(entry):
                    yield Fault(f".{name}{fault.path}", fault.value, fault.expected)

    return Kind(expected, check, opaque)


def _is_host(value: t.Any) -> bool:
    if not isinstance(value, str) or not value:
        return False
    if address(value) is not None:
        return True
    labels = value.lower().rstrip(".").split(".")
    return all(DNS_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def is_unicast_mac(value: t.Any) -> bool:
    return isinstance(value, str) and bool(MAC.fullmatch(value)) and not int(value[:2], 16) & 1


def _is_patch(value: t.Any) -> bool:
    return isinstance(value, (t.Mapping, str)) and bool(value)


def _is_manifest(value: t.Any) -> bool:
    if isinstance(value, t.Mapping):
        return bool(value.get("apiVersion")) and bool(value.get("kind"))
    return isinstance(value, str) and bool(value)


TEXT = simple("a text", lambda value: isinstance(value, str))
PATH = simple("a path", lambda value: isinstance(value, str) and bool(value))
BOOLEAN = simple("true or false", lambda value: truth(value) is not None)
ADDRESS = simple("an IPv4 address such as 192.168.30.50, without a prefix", lambda value: address(value) is not None)
HOST = simple("a host name or an address", _is_host)
HOSTS = list_of(HOST, "a list of host names or addresses")
SUBNET = simple("a network such as 192.168.30.0/24", lambda value: subnet(value) is not None)
RANGE = simple("a range such as 192.168.30.60-192.168.30.80", lambda value: address_range(value) is not None)
SUBNETS = list_of(
    simple("a network such as 10.244.0.0/16", lambda value: any_subnet(value) is not None), "a list of networks"
)
PORT = number(1, 65535, "a port from 1 to 65535")
SECONDS = number(1, 86400, "seconds, from 1 to 86400")
MAC_ADDRESS = simple("a unicast MAC address such as 02:1A:2B:3C:4D:5E", is_unicast_mac)
NAME = pattern(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", "a name of letters, digits, dots and hyphens")
DOMAIN = simple("a DNS domain such as lab.example.org", lambda value: _is_host(value) and address(value) is None)
STORAGE = pattern(r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]", "the name of a storage, as Proxmox VE shows it")
TAGS = list_of(pattern(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", "a tag: letters, digits and _ - + ."), "a list of tags")
VERSION = pattern(r"v?1\.\d+\.\d+(-[0-9A-Za-z.-]+)?", "a version such as v1.13.9")
URL = pattern(r"https?://[^\s/?#]+(/[^\s?#]*)?", "a URL such as https://factory.talos.dev")
ENDPOINT = pattern(r"https://[^\s/:?#]+:\d{1,5}/?", "the Kubernetes API's URL, such as https://192.168.30.50:6443")
PATCHES = list_of(
    simple("a patch: a mapping, or its text in YAML", _is_patch, opaque=True), "a list of strategic merge patches"
)
MANIFESTS = list_of(
    simple("a definition with apiVersion and kind, or the path of a file", _is_manifest, opaque=True),
    "a list of definitions or of paths",
)
LABELS = mapping_of(TEXT, "a mapping from label to text")
TAINTS = mapping_of(
    pattern(r"([A-Za-z0-9._-]*:)?(NoSchedule|PreferNoSchedule|NoExecute)", "an effect, or value:effect"),
    "a mapping from taint to NoSchedule, PreferNoSchedule or NoExecute",
)
INLINE_MANIFESTS = list_of(
    record({"name": TEXT, "contents": TEXT}, ("name", "contents"), "a mapping with name and contents", opaque=True),
    "a list of mappings with name and contents",
)
SCHEMATIC = simple("a schematic of the Image Factory, as a mapping", lambda value: isinstance(value, t.Mapping))
EXTRA_DISKS = list_of(
    record(
        {"size": number(1, 1 << 20, "a size in GiB"), "storage": STORAGE, "slot": TEXT},
        ("size",),
        "a mapping with size, and storage or slot if need be",
    ),
    "a list of disks",
)
NETWORKS = mapping_of(
    record(
        {
            "subnet": SUBNET,
            "gateway": ADDRESS,
            "vlan": number(1, 4094, "a VLAN tag from 1 to 4094"),
            "bridge": pattern(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", "a bridge such as vmbr0"),
            "nameservers": list_of(ADDRESS, "a list of addresses"),
            "mtu": number(576, 65520, "an MTU from 576 to 65520"),
            "ranges": mapping_of(RANGE, "a mapping from name to range"),
        },
        ("subnet",),
        "a mapping with subnet, gateway, vlan, bridge, nameservers, mtu, ranges",
    ),
    "a mapping from a network's name to its subnet, gateway, vlan, bridge, nameservers, mtu, ranges",
)
