# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what users write, for VMs and containers. Each raises :class:`InvalidInput` naming option and value."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ...errors import InvalidInput
from ..api.names import VMIDS
from ..vms import options

Params = t.Mapping[str, t.Any]
G = t.TypeVar("G")

NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
STARTUP = re.compile(r"(order=)?\d+(,(up|down)=\d+)*|(up|down)=\d+(,(up|down|order)=\d+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-+.]*")
_MAC = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")


def match(pattern: re.Pattern[str], text: str, option: str, hint: str) -> str:
    """The text, when all of it matches."""
    if not pattern.fullmatch(text):
        raise InvalidInput(f"{option} {text!r} is not valid", hint=hint)
    return text


def each(option: str, entries: t.Iterable[Params], make: t.Callable[[Params], G]) -> tuple[list[G], list[str]]:
    """What is made of the entries, and what is wrong with the others, each with its place."""
    made: list[G] = []
    problems: list[str] = []
    for index, entry in enumerate(entries):
        try:
            made.append(make(entry))
        except InvalidInput as error:
            problems.append(f"{option}[{index}]: {error.message}")
    return made, problems


def check_vmid(vmid: int) -> int:
    if vmid not in VMIDS:
        raise InvalidInput(f"vmid {vmid} is out of range", hint="Proxmox VE takes 100 to 999999999.")
    return vmid


def check_shutdown_timeout(params: Params) -> int:
    """In seconds; 180 when nothing is said."""
    seconds = 180 if params.get("shutdown_timeout") is None else int(params["shutdown_timeout"])
    if seconds < 1:
        raise InvalidInput(f"shutdown_timeout is {seconds} seconds", hint="It must be at least 1.")
    return seconds


def claimed_twice(claims: t.Iterable[tuple[str, str, str]]) -> list[str]:
    """Claims are (kind, value, title): two entries must not mean one guest, or claim one MAC."""
    first: dict[tuple[str, str], str] = {}
    problems = []
    for kind, value, title in claims:
        if (kind, value) in first:
            problems.append(f"The {kind} {value} is given twice: to {first[kind, value]} and to {title}.")
        first.setdefault((kind, value), title)
    return problems


def check_tags(tags: t.Sequence[str]) -> str:
    """As the server writes them."""
    for tag in tags:
        match(_TAG, tag, "tag", "Use letters, digits and _ - + . only.")
    return ";".join(options.tags(";".join(tags)))


def check_address(text: str, option: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InvalidInput(f"{option} {text!r} is no IP address") from None


def check_slot(slot: str, buses: t.Mapping[str, int], what: str) -> None:
    """``buses``: how many there are of each."""
    bus = slot.rstrip("0123456789")
    number = slot[len(bus) :]
    if bus not in buses or not number or int(number) >= buses[bus] or str(int(number)) != number:
        known = ", ".join(f"{bus}0 to {bus}{count - 1}" for bus, count in buses.items())
        raise InvalidInput(f"{slot!r} is no {what}", hint=f"Known: {known}.")


def check_card(nic: Params, slot: str) -> str:
    """``vlan``, ``rate`` and ``mac`` of a network card. The MAC in upper case, empty when there is none."""
    vlan, rate = nic.get("vlan"), nic.get("rate")
    if vlan is not None and not 1 <= vlan <= 4094:
        raise InvalidInput(f"vlan of {slot} is {vlan}", hint="It must be 1 to 4094.")
    if rate is not None and rate < 0:
        raise InvalidInput(f"rate of {slot} is {rate:g}", hint="It is in MB/s.")
    mac = (nic.get("mac") or "").upper()
    if mac:
        match(_MAC, mac, f"mac of {slot}", "Write for example BC:24:11:00:00:50.")
        if int(mac[:2], 16) & 1:
            raise InvalidInput(f"mac of {slot} is the multicast address {mac}", hint="Its first byte must be even.")
    return mac
