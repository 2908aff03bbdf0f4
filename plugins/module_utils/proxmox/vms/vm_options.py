# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single options of a VM: a module's parameters checked and brought into the words of the API."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps
from ..guests.guest_spec import STARTUP, Params, check_address, check_slot, check_tags, match
from . import options
from .vm_words import BUSES, check_volume

_SERIAL = re.compile(r"serial\d")

#: Texts that are sent as they are: the parameter's name -> the API's.
_TEXTS = {
    "cpu": "cpu", "machine": "machine", "bios": "bios", "scsihw": "scsihw", "ostype": "ostype", "startup": "startup",
    "vga": "vga", "watchdog": "watchdog", "rng": "rng0", "args": "args", "affinity": "affinity",
    "hookscript": "hookscript",
}  # fmt: skip

#: Numbers, with the least and the most that Proxmox VE takes.
_NUMBERS: dict[str, tuple[int, int]] = {
    "cores": (1, 8192),
    "sockets": (1, 64),
    "vcpus": (1, 8192),
    "memory": (16, 1 << 32),
    "balloon": (0, 1 << 32),
    "cpuunits": (1, 262144),
}
_SWITCHES = ("onboot", "protection", "numa", "kvm", "tablet", "acpi", "localtime")
_AGENT = {"type": "type", "fstrim_cloned_disks": "fstrim_cloned_disks", "freeze_fs": "freeze-fs"}
_HOTPLUG = ("network", "disk", "usb", "memory", "cpu", "cloudinit")

#: What ``unset`` may name -> what the API calls it.
UNSETTABLE = {
    **{name: name for name in (*_NUMBERS, *_SWITCHES)},
    **_TEXTS,
    **{name: name for name in ("cpulimit", "hotplug", "tags", "description", "agent")},
    "serial": "serial0",
    "boot_order": "boot",
}


def options_of(entry: Params) -> dict[str, options.Value]:
    """Name in the API -> value; an empty text removes the option."""
    found: dict[str, options.Value] = {"name": entry["name"]}
    found.update({ours: entry[name] for name, ours in _TEXTS.items() if entry.get(name)})
    found.update({key: int(entry[key]) for key in _SWITCHES if entry.get(key) is not None})
    found.update(_numbers(entry))
    if entry.get("description") is not None:
        found["description"] = entry["description"].rstrip("\n")
    if entry.get("tags") is not None:
        found["tags"] = check_tags(entry["tags"])
    if entry.get("serial") is not None:
        found["serial0"] = "socket" if entry["serial"] else ""
    if entry.get("startup"):
        match(STARTUP, entry["startup"], "startup", "Write for example order=2,up=30,down=60.")
    if entry.get("hotplug") is not None:
        found["hotplug"] = _hotplug(entry["hotplug"])
    if entry.get("boot_order") is not None:
        found["boot"] = _boot(entry["boot_order"])
    found.update(_cloud_init(entry.get("cloud_init") or {}))
    _unset(entry, found)
    return found


def agent_of(entry: Params) -> dict[str, str]:
    """Sub-keys of ``agent`` that are wanted; the others are left alone."""
    wanted = {} if entry.get("agent") is None else {"enabled": str(int(entry["agent"]))}
    for name, value in (entry.get("agent_options") or {}).items():
        if value is not None:
            wanted[_AGENT[name]] = str(int(value)) if isinstance(value, bool) else str(value)
    return wanted


def _numbers(entry: Params) -> dict[str, options.Value]:
    found: dict[str, options.Value] = {}
    for key, (least, most) in _NUMBERS.items():
        value = entry.get(key)
        if value is None:
            continue
        if not least <= value <= most:
            raise InvalidInput(f"{key} is {value}", hint=f"It must be at least {least} and at most {most}.")
        found[key] = str(value) if key == "memory" else value
    limit = entry.get("cpulimit")
    if limit is not None:
        if not 0 <= limit <= 128:
            raise InvalidInput(f"cpulimit is {limit:g}", hint="It must be 0 (no limit) to 128 CPUs.")
        found["cpulimit"] = f"{limit:g}"
    return found


def _unset(entry: Params, found: dict[str, options.Value]) -> None:
    for name in entry.get("unset") or ():
        if name not in UNSETTABLE:
            raise InvalidInput(f"unset names {name!r}", hint=f"Known: {', '.join(sorted(UNSETTABLE))}.")
        if entry.get(name) is not None or (name == "agent" and entry.get("agent_options")):
            raise InvalidInput(f"{name} is set and listed in unset", hint="Do one of them.")
        found[UNSETTABLE[name]] = ""


def _hotplug(words: t.Sequence[str]) -> str:
    for word in words:
        if word not in _HOTPLUG:
            raise InvalidInput(f"hotplug names {word!r}", hint=f"Known: {', '.join(_HOTPLUG)}.")
    return ",".join(words) or "0"


def _boot(slots: t.Sequence[str]) -> str:
    if not slots:
        raise InvalidInput("boot_order is empty", hint="Leave it out to let the server choose.")
    for slot in slots:
        check_slot(slot, {**BUSES, "net": 32, "hostpci": 16, "usb": 14}, "slot to boot from")
    return "order=" + ";".join(slots)


# -- cloud-init -------------------------------------------------------------------------------------------------------


def _cloud_init(cloud_init: Params) -> dict[str, options.Value]:
    found: dict[str, options.Value] = {}
    for index, text in enumerate(cloud_init.get("ipconfig") or []):
        found[f"ipconfig{index}"] = _ipconfig(text, f"ipconfig[{index}]")
    if cloud_init.get("nameservers") is not None:
        found["nameserver"] = " ".join(check_address(server, "nameserver") for server in cloud_init["nameservers"])
    for key, ours in (("searchdomain", "searchdomain"), ("ciuser", "user"), ("citype", "type")):
        if cloud_init.get(ours) is not None:
            found[key] = cloud_init[ours]
    if cloud_init.get("upgrade") is not None:
        found["ciupgrade"] = int(cloud_init["upgrade"])
    if cloud_init.get("ssh_keys") is not None:
        found["sshkeys"] = options.encode_ssh_keys(cloud_init["ssh_keys"])
    if cloud_init.get("custom") is not None:
        found["cicustom"] = _custom(cloud_init["custom"])
    return found


def _custom(snippets: Params) -> str:
    given = {kind: volume for kind, volume in snippets.items() if volume}
    for kind, volume in given.items():
        check_volume(volume, f"custom.{kind} of cloud_init", "local:snippets/user.yml")
        if not volume.partition(":")[2].startswith("snippets/"):
            raise InvalidInput(f"custom.{kind} of cloud_init {volume!r} is no snippet",
                               hint="Write for example local:snippets/user.yml.")  # fmt: skip
    return ps.render(given)


def _ipconfig(text: str, place: str) -> str:
    """``ip=192.168.30.50/24,gw=192.168.30.1``, ``ip=dhcp``, ``ip6=auto``."""
    hint = "Write for example ip=192.168.30.50/24,gw=192.168.30.1, or ip=dhcp."
    for key, value in ps.parse(text).items():
        if key not in ("ip", "ip6", "gw", "gw6"):
            raise InvalidInput(f"{place} has the unknown key {key!r}", hint=hint)
        if value in ("dhcp", "auto", "manual") and key in ("ip", "ip6"):
            continue
        try:
            if key in ("ip", "ip6"):
                ipaddress.ip_interface(value if "/" in value else "no prefix")
            else:
                ipaddress.ip_address(value)
        except ValueError:
            raise InvalidInput(f"{place}: {key}={value} is no {'address with prefix' if key[:2] == 'ip' else 'address'}",
                               hint=hint) from None  # fmt: skip
    return text
