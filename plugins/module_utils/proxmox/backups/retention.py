# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups a retention keeps, as Proxmox VE computes it, for a backup that is yet to be made.

For backups that are there the server is asked (its dry run). This only says beforehand what a run will remove that makes
a new one first; what is then removed is what both say. From the documentation of ``vzdump``: each option looks at the
backups that no option before it has decided on, from the newest to the oldest, and keeps the newest of as many periods.
"""

from __future__ import annotations

import datetime
import typing as t
import zoneinfo

#: In the order in which they are looked at; each names the period that a moment belongs to.
_PERIODS: tuple[tuple[str, t.Callable[[datetime.datetime], object]], ...] = (
    ("keep-last", lambda moment: moment.timestamp()),
    ("keep-hourly", lambda moment: moment.strftime("%Y-%m-%d %H")),
    ("keep-daily", lambda moment: moment.date()),
    ("keep-weekly", lambda moment: moment.isocalendar()[:2]),
    ("keep-monthly", lambda moment: (moment.year, moment.month)),
    ("keep-yearly", lambda moment: moment.year),
)

K = t.TypeVar("K", bound=t.Hashable)


def removed(times: t.Mapping[K, int], rule: t.Mapping[str, int], zone: datetime.tzinfo) -> set[K]:
    """Those that go. ``times`` are seconds since the epoch; ``zone`` is the node's. Protected ones are not given."""
    if rule.get("keep-all") or not rule:
        return set()
    newest = sorted(times, key=lambda key: -times[key])
    moments = {key: datetime.datetime.fromtimestamp(times[key], zone) for key in newest}
    kept: dict[K, bool] = {}
    for option, period in _PERIODS:
        if rule.get(option):
            _decide(newest, {key: period(moments[key]) for key in newest}, rule[option], kept)
    return {key for key in newest if not kept.get(key)}


def _decide(newest: t.Sequence[K], periods: t.Mapping[K, object], count: int, kept: dict[K, bool]) -> None:
    covered = {periods[key] for key, keep in kept.items() if keep}
    new: set[object] = set()
    for key in newest:
        period = periods[key]
        if period in covered:
            continue
        if period in new:
            kept[key] = False
        elif len(new) >= count:
            break
        else:
            new.add(period)
            kept[key] = True


def zone_of(answer: t.Mapping[str, t.Any]) -> datetime.tzinfo:
    """The zone of a node, from what ``/nodes/N/time`` answers; as an offset where this machine does not know its name."""
    try:
        return zoneinfo.ZoneInfo(str(answer.get("timezone") or ""))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        offset = int(answer.get("localtime") or 0) - int(answer.get("time") or 0)
        return datetime.timezone(datetime.timedelta(seconds=offset))
