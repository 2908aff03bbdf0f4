# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest is as a host: its variables, and the groups that it belongs to."""

from __future__ import annotations

import re
import typing as t

from . import inventory_addresses as addresses
from .inventory_guests import Guest

Facts = t.Mapping[str, t.Any]

#: What guests can be grouped by.
GROUPINGS = ("node", "os", "pool", "status", "tag", "template", "type")

#: Variables (without their prefix) that only facts give, and the tiers that do: an expression that names one of them
#: has to wait for these.
LATE: t.Mapping[str, tuple[str, ...]] = {
    "addresses": ("config", "agent"),
    "config": ("config", "agent"),
    "interfaces": ("agent",),
    "os": ("config", "agent"),
    "ostype": ("config", "agent"),
    "qmpstatus": ("status",),
    "snapshots": ("snapshots",),
    "status_details": ("status",),
}
#: Groups that are there even when they are empty, so that a playbook may name them.
_ALWAYS = {
    "status": ("status_running", "status_stopped"),
    "type": ("type_qemu", "type_lxc"),
    "template": ("templates",),
}

#: ``ostype`` of a VM; a container's is the name of a distribution, and all of them are Linux.
_SYSTEMS = (
    (re.compile(r"l2[46]"), "linux"),
    (re.compile(r"w2k\d?|wxp|wvista|win\d+"), "windows"),
    (re.compile(r"solaris"), "solaris"),
)


def system(kind: str, ostype: str) -> str:
    """``linux``, ``windows``, ``solaris``, ``other``; empty when nothing is said."""
    if kind == "lxc":
        return "" if not ostype else "other" if ostype == "unmanaged" else "linux"
    found = next((name for pattern, name in _SYSTEMS if pattern.fullmatch(ostype)), "other")
    return found if ostype else ""


def variables(
    guest: Guest, facts: Facts, *, preferred: t.Sequence[addresses.Network] = (), sources: t.Sequence[str] = ()
) -> dict[str, t.Any]:
    """By their names without the prefix. Those of :data:`LATE` are there only when their facts are."""
    found: dict[str, t.Any] = {
        "cores": guest.cores,
        "disk": guest.disk,
        "ha_state": guest.ha_state,
        "lock": guest.lock,
        "memory": guest.memory,
        "name": guest.name,
        "node": guest.node,
        "pool": guest.pool,
        "status": guest.status,
        "tags": list(guest.tags),
        "template": guest.template,
        "type": guest.kind,
        "uptime": guest.uptime,
        "vmid": guest.vmid,
    }
    return found | _late(guest, facts, preferred, sources or addresses.SOURCES)


def _late(
    guest: Guest, facts: Facts, preferred: t.Sequence[addresses.Network], sources: t.Sequence[str]
) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    config, told = facts.get("config"), facts.get("interfaces")
    seen = addresses.interfaces(told)
    if isinstance(config, dict):
        found["config"] = config
        found["ostype"] = str(config.get("ostype") or "")
        found["os"] = system(guest.kind, found["ostype"])
        found["addresses"] = addresses.of_guest(guest.kind, config, seen, preferred=preferred, sources=sources)
    if told is not None:
        found["interfaces"] = [{"name": one.name, "mac": one.mac, "addresses": list(one.addresses)} for one in seen]
    if isinstance(facts.get("snapshots"), list):
        found["snapshots"] = facts["snapshots"]
    if isinstance(facts.get("status"), dict):
        found["status_details"] = facts["status"]
        found["qmpstatus"] = str(facts["status"].get("qmpstatus") or guest.status)
    return found


def group_name(text: str) -> str:
    """What Ansible takes as a group: letters, digits and underscores, and no digit first."""
    return re.sub(r"^(?=\d)", "_", re.sub(r"[^A-Za-z0-9_]", "_", text)) or "_"


def standing_groups(group_by: t.Collection[str], prefix: str) -> list[str]:
    return [
        group_name(prefix + name)
        for grouping in GROUPINGS
        if grouping in group_by
        for name in _ALWAYS.get(grouping, ())
    ]


def groups(guest: Guest, facts: Facts, group_by: t.Collection[str], prefix: str) -> dict[str, str]:
    """Group -> what it stands for, in words: two tags whose names become one group can so be told."""
    config = facts.get("config")
    ostype = str((config or {}).get("ostype") or "")
    systems = {system(guest.kind, ostype), ostype if guest.kind == "lxc" else ""} - {""}
    status = str((facts.get("status") or {}).get("qmpstatus") or guest.status)
    named: dict[str, t.Iterable[str]] = {
        "node": [guest.node],
        "os": sorted(systems),
        "pool": [guest.pool] if guest.pool else [],
        "status": [status],
        "tag": guest.tags,
        "type": [guest.kind],
    }
    found = {
        group_name(f"{prefix}{grouping}_{name}"): f"{grouping} {name}"
        for grouping, names in named.items()
        if grouping in group_by
        for name in names
    }
    if "template" in group_by and guest.template:
        found[group_name(f"{prefix}templates")] = "templates"
    return found
