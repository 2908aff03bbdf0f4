# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of guests: one list for all of them, and more of each only where it is asked for.

What cannot be read of one guest is said of that guest and hides nothing of the others.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import typing as t

from ...errors import AccessDenied, Refused
from ...plan import HIDDEN
from ...task import Result, Task
from ..api.lanes import together
from ..api.session import Session, listing, no_records, record, records_in, segment
from ..snapshots.snapshot_list import snapshots
from ..vms.options import tags
from .reading import attempt, check_vmids, checked, online, opened

Guest = dict[str, t.Any]

#: What may be asked for besides the list.
FACTS = ("agent", "config", "pending", "snapshots")

#: Our name -> that of ``/cluster/resources``. Sizes in bytes, times in seconds.
_NUMBERS = {"cpus": "maxcpu", "memory": "maxmem", "disk": "maxdisk", "uptime": "uptime"}

#: Refusals that only say that no agent answers: expected, and no error.
_NO_AGENT = re.compile(r"No QEMU guest agent configured|guest agent is not running|is not running|not running", re.I)

_SECRETS = ("cipassword",)


def look_up(task: Task) -> Result:
    """The module ``proxmox_vm_info``."""
    params = task.params
    check_vmids(params.get("vmid") or ())
    checked("node", params.get("node"))
    with opened(task) as session:
        everyone = basic(session)
        found = [guest for guest in everyone if matches(guest, params)]
        gather(session, found, params.get("facts") or ())
    seen = {guest["vmid"] for guest in everyone}
    missing = sorted(set(params.get("vmid") or ()) - seen)
    return {"changed": False, "guests": found, "missing": missing}


def basic(session: Session) -> list[Guest]:
    """All guests that the caller may see, by id, with one request.

    The list comes from a daemon that lags behind by some ten seconds: a guest that it knows nothing of yet (or whose
    node is offline) is asked for by itself, if its node is there.
    """
    found = listing(session, "/cluster/resources", "vmid", {"type": "vm"}, asked="list the guests of the cluster")
    guests = sorted((_guest(entry) for entry in found), key=lambda guest: int(guest["vmid"]))
    unknown = [guest for guest in guests if guest["status"] == "unknown"]
    if unknown:
        up = online(session)
        together(lambda guest: _complete(session, guest, up), unknown)
    return guests


def matches(guest: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> bool:
    """Whether a guest is one of those asked for: every option that is given must fit. Names may be shell patterns,
    of ``tag`` all have to be there.
    """
    for option in ("vmid", "node", "pool"):
        if wanted.get(option) and guest[option] not in wanted[option]:
            return False
    names = wanted.get("name")
    if names and not any(fnmatch.fnmatchcase(guest["name"], name) for name in names):
        return False
    if wanted.get("tag") and not {tag.lower() for tag in wanted["tag"]} <= set(guest["tags"]):
        return False
    if wanted.get("type") and guest["type"] != wanted["type"]:
        return False
    if wanted.get("status") and guest["status"] != wanted["status"]:
        return False
    return wanted.get("template") is None or guest["template"] == wanted["template"]


def gather(session: Session, guests: t.Sequence[Guest], facts: t.Collection[str]) -> None:
    """Add the facts to the guests, some at a time; what could not be read stands in ``errors`` of its guest."""
    if not facts or not guests:
        return
    up = online(session)
    together(lambda guest: _gather(session, guest, facts, up), guests)


def _gather(session: Session, guest: Guest, facts: t.Collection[str], up: t.Mapping[str, bool]) -> None:
    if not up.get(guest["node"], False):
        guest["errors"].update(dict.fromkeys(facts, f"node {guest['node']} is offline"))
        return
    if "pending" in facts:
        attempt(guest["errors"], "pending", lambda: guest.update(_pending(session, guest, "config" in facts)))
    elif "config" in facts:
        attempt(guest["errors"], "config", lambda: guest.update(config=_config(_read(session, guest, "config"))))
    if "snapshots" in facts:
        attempt(
            guest["errors"], "snapshots", lambda: guest.update(snapshots=snapshots(_read(session, guest, "snapshot")))
        )
    if "agent" in facts:
        attempt(guest["errors"], "agent", lambda: guest.update(agent=_agent(session, guest)))


def _guest(entry: t.Mapping[str, t.Any]) -> Guest:
    numbers = {ours: int(entry.get(theirs) or 0) for ours, theirs in _NUMBERS.items()}
    return {
        "vmid": int(entry["vmid"]),
        "name": str(entry.get("name") or ""),
        "node": str(entry.get("node") or ""),
        "type": str(entry.get("type") or "qemu"),
        "status": str(entry.get("status") or "unknown"),
        "template": bool(int(entry.get("template") or 0)),
        "tags": tags(str(entry.get("tags") or "")),
        "pool": str(entry.get("pool") or ""),
        "lock": str(entry.get("lock") or ""),
        "ha_state": str(entry.get("hastate") or ""),
        **numbers,
        "errors": {},
    }


def _complete(session: Session, guest: Guest, up: t.Mapping[str, bool]) -> None:
    if not up.get(guest["node"], False):
        guest["errors"]["status"] = f"node {guest['node']} is offline"
        return

    def complete() -> None:
        status = _read(session, guest, "status/current")
        known = {**status, "maxcpu": status.get("cpus"), "vmid": guest["vmid"], "type": guest["type"]}
        fresh = _guest({**known, "node": guest["node"], "pool": guest["pool"], "hastate": guest["ha_state"]})
        guest.update({**fresh, "errors": guest["errors"]})

    attempt(guest["errors"], "status", complete)


def _path(guest: Guest) -> str:
    return f"/nodes/{segment(guest['node'])}/{guest['type']}/{guest['vmid']}"


#: What is a list -> the key that all its records have; everything else is one record.
_LISTS = {"pending": "key", "snapshot": "name", "interfaces": "name"}


def _read(session: Session, guest: Guest, what: str) -> t.Any:
    asked, path = _asked(guest, what), f"{_path(guest)}/{what}"
    if what not in _LISTS:
        return record(session, path, asked=asked)
    found = session.get(path, asked=asked)
    if found is None and what == "interfaces":
        return []  # of a container that has just stopped
    return records_in(session, found, _LISTS[what], asked=asked)


def _asked(guest: Guest, what: str) -> str:
    word = "container" if guest["type"] == "lxc" else "VM"
    return f"read {what} of {word} {guest['vmid']} on node {guest['node']}"


def _config(config: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key: HIDDEN if key in _SECRETS else value for key, value in config.items()}


def _pending(session: Session, guest: Guest, with_config: bool) -> dict[str, t.Any]:
    """What waits for a stop and start; the configuration follows from the same answer."""
    config, waiting = {}, {}
    for item in _read(session, guest, "pending"):
        key = str(item["key"])
        if "pending" in item or item.get("delete"):
            waiting[key] = {
                "current": HIDDEN if key in _SECRETS else item.get("value"),
                "pending": HIDDEN if key in _SECRETS else item.get("pending"),
            }
        if not item.get("delete"):
            config[key] = item.get("pending", item.get("value"))
    return {"pending": waiting, **({"config": _config(config)} if with_config else {})}


# -- from inside the guest -------------------------------------------------------------------------------------------


def _agent(session: Session, guest: Guest) -> dict[str, t.Any]:
    """Addresses and operating system; ``reason`` says why there are none."""
    if guest["status"] != "running":
        return _silent(f"it is {guest['status']}")
    try:
        if guest["type"] == "lxc":
            interfaces = _read(session, guest, "interfaces")
        else:
            interfaces = _read(session, guest, "agent/network-get-interfaces").get("result")
    except (AccessDenied, Refused) as error:
        if isinstance(error, Refused) and _NO_AGENT.search(error.answer):
            return _silent(error.answer)
        raise
    if _agents_error(interfaces):
        return _silent(f"the agent answers: {_agents_error(interfaces)}")
    cards = _cards(session, guest, interfaces)
    return {
        "available": True,
        "reason": "",
        "interfaces": cards,
        "addresses": [address for card in cards for address in card["addresses"] if _routed(address)],
        "os": {} if guest["type"] == "lxc" else _os(session, guest),
    }


def _silent(reason: str) -> dict[str, t.Any]:
    return {"available": False, "reason": reason, "interfaces": [], "addresses": [], "os": {}}


def _agents_error(result: t.Any) -> str:
    """What an agent says that does not know the question, an old one on Windows for example; empty when it does."""
    error = result.get("error") if isinstance(result, dict) else None
    return str(error.get("desc") or error) if isinstance(error, dict) else str(error or "")


def _cards(session: Session, guest: Guest, interfaces: t.Any) -> list[dict[str, t.Any]]:
    what = "interfaces" if guest["type"] == "lxc" else "agent/network-get-interfaces"
    asked = _asked(guest, what)
    for entry in records_in(session, interfaces, "name", asked=asked):
        addresses = entry.get("ip-addresses") or []
        if not isinstance(addresses, list) or not all(isinstance(one, dict) for one in addresses):
            raise no_records(session, asked, "no list of addresses", addresses)
    return [_card(entry) for entry in interfaces]


def _card(entry: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Of a VM's agent, or of a container (whose answer has both spellings; before 9 only ``inet`` and ``inet6``)."""
    old = [{"ip-address": str(entry[key]).partition("/")[0]} for key in ("inet", "inet6") if entry.get(key)]
    found = entry.get("ip-addresses") or old
    return {
        "name": str(entry.get("name") or ""),
        "mac": str(entry.get("hardware-address") or entry.get("hwaddr") or "").upper(),
        "addresses": [str(one["ip-address"]) for one in found if one.get("ip-address")],
    }


def _routed(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_link_local)


def _os(session: Session, guest: Guest) -> dict[str, t.Any]:
    """``{id, name, version, kernel, …}``; empty when the agent does not know the question."""
    try:
        found = _read(session, guest, "agent/get-osinfo").get("result")
    except Refused:
        return {}
    if _agents_error(found):
        return {}
    if not isinstance(found, dict):
        raise no_records(session, _asked(guest, "agent/get-osinfo"), "no record", found)
    return {str(key).replace("-", "_"): value for key, value in found.items()}
