# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests as the list of a whole cluster shows them, and the names that they get as hosts."""

from __future__ import annotations

import collections
import dataclasses
import re
import typing as t

from ...errors import ServerFault
from ..api import propertystring as ps
from ..vms.options import tags

Row = t.Mapping[str, t.Any]

#: What a host may be called. Everything else would mean something in a pattern of hosts, or to a resolver.
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
#: Names that mean something to Ansible: a guest must not become the controller by calling itself so.
_RESERVED = {"all", "ungrouped", "localhost", "127.0.0.1"}
_MIB = 1 << 20
_PREFIXES = {"qemu": "vm", "lxc": "ct"}


@dataclasses.dataclass(frozen=True)
class Guest:
    """A VM or container. ``name`` is empty when nobody tells it, ``memory`` in MiB, ``disk`` in bytes, ``uptime`` in
    seconds. ``status`` is ``running``, ``stopped``, or ``unknown`` when the cluster does not know.
    """

    vmid: int
    kind: t.Literal["qemu", "lxc"]
    node: str
    status: str = "unknown"
    name: str = ""
    template: bool = False
    tags: tuple[str, ...] = ()
    pool: str = ""
    lock: str = ""
    ha_state: str = ""
    cores: int = 0
    memory: int = 0
    disk: int = 0
    uptime: int = 0

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.vmid}"

    @property
    def unnamed(self) -> bool:
        """For about ten seconds after a change, and on a node that is offline, only the id is told."""
        return self.status == "unknown" and not self.name

    @property
    def stand_in(self) -> str:
        """``vm-101``, ``ct-310``: what a guest is called whose name is not known, or is none."""
        return f"{_PREFIXES[self.kind]}-{self.vmid}"


def parse(rows: t.Any, *, of: str) -> list[Guest]:
    """The guests among ``/cluster/resources``' rows, by their id. Raises :class:`ServerFault` for other data."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ServerFault("list the guests of the cluster", of=of, answer=f"this is no list of guests: {rows!r:.80}")
    wanted = [row for row in rows if row.get("type") in _PREFIXES]
    try:
        return sorted((_guest(row) for row in wanted), key=lambda guest: guest.vmid)
    except (KeyError, TypeError, ValueError) as error:
        answer = f"a guest of the list cannot be understood: {type(error).__name__} {error}"
        raise ServerFault("list the guests of the cluster", of=of, answer=answer) from error


def _guest(row: Row) -> Guest:
    kind: t.Literal["qemu", "lxc"] = "lxc" if row["type"] == "lxc" else "qemu"
    vmid = int(row["vmid"])
    name = str(row.get("name") or "")
    return Guest(
        vmid=vmid,
        kind=kind,
        node=str(row["node"]),
        status=str(row.get("status") or "unknown"),
        name="" if name in (f"VM {vmid}", f"CT{vmid}") else name,
        template=ps.flag(str(row.get("template") or 0)) == "1",
        tags=tuple(tags(str(row.get("tags") or ""))),
        pool=str(row.get("pool") or ""),
        lock=str(row.get("lock") or ""),
        ha_state=str(row.get("hastate") or ""),
        cores=int(row.get("maxcpu") or row.get("cpus") or 0),
        memory=int(row.get("maxmem") or 0) // _MIB,
        disk=int(row.get("maxdisk") or 0),
        uptime=int(row.get("uptime") or 0),
    )


def completed(guest: Guest, entry: Row) -> Guest:
    """With what the node's own list tells of it, which is never late; membership only the cluster's list knows."""
    seen = _guest({**entry, "type": guest.kind, "vmid": guest.vmid, "node": guest.node})
    return dataclasses.replace(
        seen,
        pool=guest.pool,
        ha_state=guest.ha_state,
        tags=seen.tags or guest.tags,
        lock=seen.lock or guest.lock,
    )


def as_row(guest: Guest) -> dict[str, t.Any]:
    """For the cache: fields as JSON has them."""
    return {**dataclasses.asdict(guest), "tags": list(guest.tags)}


def from_row(row: Row) -> Guest:
    """Raises TypeError when the row was written by something else."""
    return Guest(**{**row, "tags": tuple(row["tags"])})


def host_names(guests: t.Iterable[Guest]) -> tuple[dict[int, str], list[str]]:
    """Every guest's host name, by id, and what there is to say about them.

    A name that several guests have gets the id of each appended (``web-101``, ``web-102``), so that no host's name
    depends on which guest comes first. What is no host name, or means something to Ansible, is ``vm-101``.
    """
    everyone = list(guests)
    unfit = [guest for guest in everyone if guest.name and not _fit(guest.name)]
    wanted = {guest.vmid: guest.name if guest.name and _fit(guest.name) else guest.stand_in for guest in everyone}
    count = collections.Counter(name.lower() for name in wanted.values())
    twice = {vmid: name for vmid, name in wanted.items() if count[name.lower()] > 1}
    taken = {name.lower() for vmid, name in wanted.items() if vmid not in twice}
    for vmid, name in sorted(twice.items()):
        made = f"{name}-{vmid}"
        while made.lower() in taken:
            made += f"-{vmid}"
        taken.add(made.lower())
        wanted[vmid] = made
    return wanted, [*_said_of_unfit(unfit), *_said_of_twice(twice, wanted)]


def _fit(name: str) -> bool:
    return bool(_HOST_NAME.fullmatch(name)) and name.lower() not in _RESERVED


def _said_of_unfit(unfit: t.Iterable[Guest]) -> list[str]:
    return [f"The name {guest.name!r} of {guest.id} is none for a host, so it is {guest.stand_in}" for guest in unfit]


def _said_of_twice(twice: t.Mapping[int, str], made: t.Mapping[int, str]) -> list[str]:
    by_name: dict[str, list[int]] = collections.defaultdict(list)
    for vmid, name in sorted(twice.items()):
        by_name[name.lower()].append(vmid)
    return [
        f"{len(vmids)} guests are called {twice[vmids[0]]}, so they are {', '.join(made[vmid] for vmid in vmids)}"
        for _name, vmids in sorted(by_name.items())
    ]
