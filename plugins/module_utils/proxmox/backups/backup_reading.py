# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups there are, of whom, how old and whether they are whole."""

from __future__ import annotations

import dataclasses
import datetime
import re
import time
import typing as t

from ...errors import AccessDenied, InvalidInput, NotFound
from ..api import propertystring as ps
from ..api.lanes import together
from ..api.session import Session, listing, record, segment
from .retention import zone_of

#: Where backups are looked at: (node, storage).
Place = tuple[str, str]

_NAME = re.compile(r"vzdump-(?P<kind>qemu|lxc)-(?P<vmid>\d+)-|(?P<pbs>vm|ct)/(?P<id>\d+)/")


@dataclasses.dataclass(frozen=True)
class Guest:
    """``kind`` is ``qemu`` or ``lxc``, ``node`` empty for one that is yet to be made."""

    vmid: int
    kind: str
    node: str
    name: str = ""
    pool: str = ""
    running: bool = False

    @property
    def word(self) -> str:
        return "vm" if self.kind == "qemu" else "ct"

    @property
    def title(self) -> str:
        plain = f"{self.word.upper()} {self.vmid}"
        return f"{plain} ({self.name})" if self.name not in ("", plain) else plain


@dataclasses.dataclass(frozen=True)
class Backup:
    """``time`` in seconds since the epoch, ``size`` in bytes; ``verified`` is what a backup server says of it, or nothing."""

    volid: str
    vmid: int
    kind: str
    time: int
    size: int
    protected: bool = False
    notes: str = ""
    verified: str = ""
    encrypted: bool = False

    @property
    def problem(self) -> str:
        """Why it is not whole; empty when nothing is known to be wrong."""
        if not self.size:
            return "it is empty"
        return "the backup server's verification of it failed" if self.verified == "failed" else ""

    @property
    def taken(self) -> str:
        return datetime.datetime.fromtimestamp(self.time, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


@dataclasses.dataclass(frozen=True)
class Clock:
    """A node's time: seconds since the epoch, and its zone, by whose days a retention counts."""

    now: int
    zone: datetime.tzinfo


@dataclasses.dataclass(frozen=True)
class StorageAt:
    """A storage as a node has it."""

    storage: str
    node: str
    shared: bool
    contents: frozenset[str]
    available: bool


def guests(session: Session) -> dict[int, Guest]:
    """All that may be seen, with one request."""
    asked = "list the guests of the cluster"
    found = listing(session, "/cluster/resources", "vmid", {"type": "vm"}, asked=asked)
    return {int(entry["vmid"]): _guest(entry) for entry in found}


def _guest(entry: t.Mapping[str, t.Any]) -> Guest:
    return Guest(
        int(entry["vmid"]),
        str(entry["type"]),
        str(entry["node"]),
        str(entry.get("name") or ""),
        str(entry.get("pool") or ""),
        entry.get("status") == "running",
    )


def as_now(session: Session, guest: Guest) -> Guest:
    """Whether it runs at this moment: the list of the cluster lags behind by ten seconds."""
    path = f"/nodes/{segment(guest.node)}/{guest.kind}/{guest.vmid}/status/current"
    status = record(session, path, asked=f"read the status of {guest.title}")
    name = str(status.get("name") or guest.name)
    return dataclasses.replace(guest, name=name, running=status.get("status") == "running")


def storages(session: Session) -> list[StorageAt]:
    asked = "list the storages of the cluster"
    found = listing(session, "/cluster/resources", "storage", {"type": "storage"}, asked=asked)
    return [
        StorageAt(
            str(entry["storage"]),
            str(entry["node"]),
            bool(int(entry.get("shared") or 0)),
            frozenset(str(entry.get("content") or "").split(",")),
            entry.get("status") == "available",
        )
        for entry in sorted(found, key=lambda entry: (str(entry["storage"]), str(entry["node"])))
    ]


def places(found: t.Sequence[StorageAt], wanted: t.Collection[str], nodes: t.Collection[str] = ()) -> list[Place]:
    """Where to look at storages: on each node that has them, at one node where all see the same. Raises
    :class:`InvalidInput`."""
    chosen: list[Place] = []
    for storage in sorted(set(wanted)):
        there = [one for one in found if one.storage == storage and one.available and (not nodes or one.node in nodes)]
        if not there:
            where = f" on {' or '.join(sorted(nodes))}" if nodes else ""
            known = sorted({one.storage for one in found if "backup" in one.contents})
            raise InvalidInput(
                f"There is no storage {storage!r}{where} that is available",
                hint=f"Those that take backups: {', '.join(known) or 'none that may be seen'}.",
            )
        chosen += [(one.node, storage) for one in (there[:1] if there[0].shared else there)]
    return chosen


def read(session: Session, where: t.Collection[Place]) -> dict[Place, list[Backup]]:
    """One list a place, the newest first."""
    ordered = sorted(where)
    return dict(zip(ordered, together(lambda place: backups_at(session, place), ordered), strict=True))


def backups_at(session: Session, place: Place, vmid: int | None = None) -> list[Backup]:
    node, storage = place
    query = {"content": "backup", **({"vmid": vmid} if vmid else {})}
    asked = f"list the backups on storage {storage} of node {node}"
    path = f"/nodes/{segment(node)}/storage/{segment(storage)}/content"
    try:
        found = listing(session, path, "volid", query, asked=asked)
    except NotFound as error:
        raise InvalidInput(f"{error.answer} (node {node})", hint="Check the name of the storage.") from error
    backups = [_backup(entry) for entry in found if entry.get("content", "backup") == "backup"]
    return sorted(backups, key=lambda one: (-one.time, one.volid))


def _backup(entry: t.Mapping[str, t.Any]) -> Backup:
    volid = str(entry["volid"])
    match = _NAME.search(volid)
    named = (match["kind"] or {"vm": "qemu", "ct": "lxc"}[match["pbs"]]) if match else ""
    number = (match["vmid"] or match["id"]) if match else 0
    verification = entry.get("verification") or {}
    return Backup(
        volid,
        int(entry.get("vmid") or number),
        str(entry.get("subtype") or named),
        int(entry.get("ctime") or 0),
        int(entry.get("size") or 0),
        bool(int(entry.get("protected") or 0)),
        str(entry.get("notes") or ""),
        str(verification.get("state") or "") if isinstance(verification, dict) else "",
        bool(entry.get("encrypted")),
    )


def clock(session: Session, node: str) -> Clock:
    """This machine's own time where a node does not tell its."""
    try:
        answer = record(session, f"/nodes/{segment(node)}/time", asked=f"read the time of node {node}")
    except AccessDenied:
        return Clock(int(time.time()), datetime.timezone.utc)
    return Clock(int(answer["time"]), zone_of(answer))


def to_prune(session: Session, place: Place, rule: t.Mapping[str, int], vmid: int | None = None) -> frozenset[str]:
    """What the server would remove now (its dry run)."""
    node, storage = place
    query: dict[str, t.Any] = {"prune-backups": ps.render({key: str(value) for key, value in rule.items()})}
    if vmid:
        query["vmid"] = vmid
    asked = f"see what the retention removes from storage {storage} of node {node}"
    path = f"/nodes/{segment(node)}/storage/{segment(storage)}/prunebackups"
    found = listing(session, path, "volid", query, asked=asked)
    return frozenset(str(entry["volid"]) for entry in found if entry.get("mark") == "remove")
