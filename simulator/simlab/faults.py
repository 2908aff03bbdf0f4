# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on purpose: which request meets which fault.

A played server asks :meth:`Faults.meet` once for every request, before it handles it, and does what the
fault says. Faults are added by ``rehearse --fault`` and by tests over the control socket.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import typing as t

#: What every played server can do to a request:
#: ``drop-before`` close the connection and do nothing; ``drop-after`` do it, then close the connection without
#: an answer; ``kill-before`` / ``kill-after`` kill the running playbook before or after it is done;
#: ``delay`` answer after ``seconds``; ``answer`` answer ``status`` and ``text`` without doing it;
#: ``garbage`` answer something that is not the protocol; ``cut`` stop in the middle of the answer.
GENERAL = (
    "drop-before",
    "drop-after",
    "kill-before",
    "kill-after",
    "delay",
    "answer",
    "garbage",
    "cut",
)

#: What only the played Proxmox can do, besides: its task ends with ``text`` (``task-error``), takes
#: ``seconds`` (``task-time``), the guest is locked for ``seconds`` (``lock``), ``storage-full``.
PROXMOX = ("task-error", "task-time", "lock", "storage-full")


@dataclasses.dataclass
class Fault:
    """``api`` and ``path`` are shell patterns; ``nth`` counts matching requests from 1; ``times`` is
    how many of them, from the nth on, are hit (0: all).
    """

    kind: str
    api: str = "*"
    verb: str = "*"
    path: str = "*"
    caller: str = "*"
    writes: bool = False
    nth: int = 1
    times: int = 1
    args: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    seen: int = 0
    #: The requests that it hit, as ``proxmox POST /nodes/pve1/qemu``.
    hit: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.kind not in GENERAL + PROXMOX:
            raise ValueError(f"unknown fault {self.kind!r}; known: {', '.join(GENERAL + PROXMOX)}")

    def hits(self, api: str, verb: str, path: str, write: bool, caller: str) -> bool:
        wanted = ((self.api, api), (self.verb, verb), (self.path, path), (self.caller, caller))
        if (self.writes and not write) or not all(fnmatch.fnmatchcase(is_, want) for want, is_ in wanted):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times and self.seen >= self.nth + self.times):
            return False
        self.hit.append(f"{api} {verb} {path}")
        return True


class Faults:
    def __init__(self) -> None:
        self.active: list[Fault] = []
        #: Set by the lab: kills the running playbook (its process group) and returns when it is dead.
        self.kill_playbook: t.Callable[[], t.Awaitable[None]] | None = None

    def add(self, fault: Fault) -> None:
        self.active.append(fault)

    def clear(self) -> None:
        self.active.clear()

    def meet(self, *, api: str, verb: str, path: str, write: bool, caller: str) -> Fault | None:
        """The first fault that hits this request. Every fault that matches counts it."""
        met = [fault for fault in self.active if fault.hits(api, verb, path, write, caller)]
        return met[0] if met else None

    async def kill(self) -> None:
        if self.kill_playbook is not None:
            await self.kill_playbook()


_FIELDS = {field.name for field in dataclasses.fields(Fault)} - {"seen", "hit", "args"}


def parse(fields: t.Mapping[str, t.Any]) -> Fault:
    """A fault from JSON or ``--fault``: unknown fields are its arguments (``status``, ``text``, ``seconds``). Raises
    ValueError."""
    if "kind" not in fields:
        raise ValueError(f"a fault needs a kind: {dict(fields)!r}")
    known: dict[str, t.Any] = {name: value for name, value in fields.items() if name in _FIELDS}
    for name in ("nth", "times"):
        if name in known:
            known[name] = int(known[name])
    known["writes"] = str(known.get("writes", False)).lower() in ("1", "true", "yes")
    rest = {name: value for name, value in fields.items() if name not in _FIELDS | {"args", "seen", "hit"}}
    return Fault(**known, args={**fields.get("args", {}), **rest})
