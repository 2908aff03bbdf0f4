# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of snapshots, checked before anybody is asked."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import InvalidInput
from ..facts.reading import check_vmids

State = t.Literal["present", "absent", "rolled_back"]

#: As the API wants it; two to forty characters.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{1,39}")
_RESERVED = ("current", "pending")

#: Options that only make sense with some states.
_ONLY = {"description": "present", "vmstate": "present", "keep": "present", "prefix": "present", "start": "rolled_back"}


@dataclasses.dataclass(frozen=True)
class Wish:
    """One entry. ``keep`` of those whose names begin with ``prefix`` stay. ``start`` None: as the guest was."""

    vmid: int
    name: str
    state: State = "present"
    description: str | None = None
    vmstate: bool = False
    start: bool | None = None
    prefix: str = ""
    keep: int = 0

    def __str__(self) -> str:
        return f"snapshot {self.name} of guest {self.vmid}"


def wanted(entries: t.Sequence[t.Mapping[str, t.Any]]) -> list[Wish]:
    """Raises :class:`InvalidInput`."""
    wishes = [_wish(entry) for entry in entries]
    seen: set[tuple[int, str]] = set()
    for wish in wishes:
        if (wish.vmid, wish.name) in seen:
            raise InvalidInput(f"The {wish} is named twice", hint="Put what you want of it into one entry.")
        seen.add((wish.vmid, wish.name))
    return wishes


def _wish(entry: t.Mapping[str, t.Any]) -> Wish:
    given = {key: value for key, value in entry.items() if value is not None}
    check_vmids([given["vmid"]])
    wish = Wish(**{**given, "description": _description(given.get("description"))})
    if not NAME.fullmatch(wish.name) or wish.name in _RESERVED:
        raise InvalidInput(
            f"{wish.name!r} is no name of a snapshot (guest {wish.vmid})",
            hint="Write 2 to 40 letters, digits, '-' or '_', a letter first; not current or pending.",
        )
    for option, state in _ONLY.items():
        if option in given and wish.state != state and given[option] is not False:
            raise InvalidInput(f"The {wish} is to be {wish.state}, and {option} belongs to the state {state}")
    _check_retention(wish, given)
    return wish


def _description(given: str | None) -> str | None:
    return None if given is None else given.rstrip("\n")


def _check_retention(wish: Wish, given: t.Mapping[str, t.Any]) -> None:
    if ("keep" in given) != ("prefix" in given):
        raise InvalidInput(
            f"The {wish} has only one of keep and prefix",
            hint="keep says how many stay of those whose names begin with prefix.",
        )
    if "keep" not in given:
        return
    if wish.keep < 1:
        raise InvalidInput(f"The {wish} has keep {wish.keep}", hint="At least the snapshot itself stays: 1 or more.")
    if not wish.prefix or not wish.name.startswith(wish.prefix):
        raise InvalidInput(
            f"The name of the {wish} does not begin with its prefix {wish.prefix!r}",
            hint="Only snapshots of one series are counted and deleted, so the new one has to be of it.",
        )
