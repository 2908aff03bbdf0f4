# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory's readings as a cache keeps them: what was read, from whom, when, and which agents were silent."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from . import inventory_guests as guests_of
from .inventory_reading import Reading

#: Entries of another form are not read.
_FORM = 1


@dataclasses.dataclass(frozen=True)
class Kept:
    """A reading of an earlier time, and its age in seconds."""

    reading: Reading
    age: float


def as_entry(reading: Reading, *, of: t.Sequence[str], now: float) -> dict[str, t.Any]:
    """``of`` says whose answers these are: the API, who asked, and for which facts."""
    return {
        "form": _FORM,
        "of": list(of),
        "at": now,
        "guests": [guests_of.as_row(guest) for guest in reading.guests],
        "offline": dict(reading.offline),
        "facts": copy.deepcopy(reading.facts),
        "problems": copy.deepcopy(reading.problems),
    }


def from_entry(entry: t.Any, *, of: t.Sequence[str], now: float) -> Kept | None:
    """None when there is no entry, or it is of another form or source."""
    if not isinstance(entry, dict) or entry.get("form") != _FORM or entry.get("of") != list(of):
        return None
    try:
        reading = Reading(
            guests=[guests_of.from_row(row) for row in entry["guests"]],
            offline=dict(entry["offline"]),
            facts=copy.deepcopy(entry["facts"]),
            problems=copy.deepcopy(entry["problems"]),
        )
        return Kept(reading, now - float(entry["at"]))
    except (KeyError, TypeError, ValueError):
        return None


def silent_agents(entry: t.Any) -> dict[str, float]:
    """Guest -> since when, of an entry that holds nothing else; empty when it is none."""
    if not isinstance(entry, dict):
        return {}
    return {str(guest): float(since) for guest, since in entry.items() if isinstance(since, (int, float))}


class Store:
    """The entries of one inventory file. ``entries`` is Ansible's cache, or an empty dictionary without one."""

    def __init__(self, entries: t.MutableMapping[str, t.Any], key: str, *, of: t.Sequence[str], now: float) -> None:
        self._entries = entries
        self._key = key
        self._of = of
        self.now = now

    def kept(self) -> Kept | None:
        return from_entry(self._get(self._key), of=self._of, now=self.now)

    def silent(self) -> dict[str, float]:
        return silent_agents(self._get(f"{self._key}_silent_agents"))

    def keep(self, kept: Kept, silent: t.Mapping[str, float]) -> None:
        self._entries[self._key] = as_entry(kept.reading, of=self._of, now=self.now - kept.age)
        self._entries[f"{self._key}_silent_agents"] = dict(silent)

    def _get(self, key: str) -> t.Any:
        try:
            return self._entries[key]
        except KeyError:
            return None
