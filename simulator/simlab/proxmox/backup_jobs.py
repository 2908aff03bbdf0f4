# SPDX-License-Identifier: GPL-3.0-or-later
"""Scheduled backup jobs: definitions that nothing runs."""

from __future__ import annotations

import datetime
import re
import typing as t
import uuid

from . import formats, named_formats, schema
from .api import Call, handles
from .errors import Failure, Forbidden, Nested, ParameterError

_JOBS = "/cluster/backup"
_ONE = f"{_JOBS}/{{id}}"
_SELECTIONS = ("vmid", "all", "pool")
_NUMBERS = frozenset(
    """all enabled remove stop quiet stdexcludes bwlimit ionice lockwait pigz stopwait zstd maxfiles
    repeat-missed""".split()
)


def _jobs(call: Call) -> dict[str, dict[str, t.Any]]:
    return t.cast("dict[str, dict[str, t.Any]]", call.cluster.extra("backup", dict))


def _shown(name: str, job: dict[str, t.Any]) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {"id": name, "type": "vzdump"}
    for key, value in job.items():
        if key in _NUMBERS:
            found[key] = int(value)
        elif key in ("prune-backups", "fleecing", "performance"):
            found[key] = _parsed(key, str(value))
        else:
            found[key] = value
    return found


def _parsed(key: str, value: str) -> dict[str, t.Any]:
    wanted = named_formats.PROPERTY_STRINGS[
        {"fleecing": "backup-fleecing", "performance": "backup-performance"}.get(key, key)
    ]
    values = formats.parse(wanted, value, key)
    return {k: int(v) if wanted[k].get("type") == "boolean" else v for k, v in values.items()}


def _check_selection(params: dict[str, t.Any]) -> None:
    if not any(params.get(key) not in (None, "0") for key in _SELECTIONS):
        raise Nested("vmid", "property is missing")
    if str(params.get("all", "0")) == "1":
        for key in ("vmid", "pool"):
            if key in params:
                raise Nested("all", f"option conflicts with option '{key}'")
    elif "exclude" in params:
        raise Nested("exclude", "requires option 'all'")


def _check_pool(call: Call) -> None:
    pool = call.params.get("pool")
    if pool and pool not in call.cluster.pools:
        raise Forbidden(f"pool '{pool}' does not exist")


@handles("GET", _JOBS)
def listing(call: Call) -> list[dict[str, t.Any]]:
    found = []
    now = datetime.datetime.fromtimestamp(call.cluster.config.clock(), datetime.UTC)
    for name, job in _jobs(call).items():
        entry = _shown(name, job)
        moment = next_run(str(job["schedule"]), now)
        found.append(entry | ({"next-run": moment} if entry["enabled"] and moment else {}))
    return found


@handles("GET", _ONE)
def get(call: Call) -> dict[str, t.Any]:
    name = call.text("id")
    if name not in _jobs(call):
        raise ParameterError({"id": f"No such job '{name}'"})
    return _shown(name, _jobs(call)[name])


@handles("POST", _JOBS)
def add(call: Call) -> None:
    _may_use(call, call.text("storage", "local"))
    _check_pool(call)
    job = {key: value for key, value in call.params.items() if key != "id"}
    if "schedule" not in job:
        if "starttime" not in job:
            raise ParameterError({"schedule": "neither 'starttime' nor 'schedule' were set"})
        days = ",".join(formats.split_list(str(job.pop("dow", "mon,tue,wed,thu,fri,sat,sun"))))
        job["schedule"] = f"{days} {job.pop('starttime')}"
    _check_selection(job)
    name = call.text("id") or str(uuid.uuid4())
    if name in _jobs(call):
        raise Failure(f"Job '{name}' already exists")
    job.setdefault("enabled", "1")
    _jobs(call)[name] = job


def _may_use(call: Call, storage: str) -> None:
    """A job prunes, so it takes the right to delete; also to change one that is there."""
    call.allowed.require(f"/storage/{storage}", "Datastore.Allocate")


@handles("PUT", _ONE)
def update(call: Call) -> None:
    name = call.text("id")
    given = {key: value for key, value in call.params.items() if key not in ("id", "delete")}
    dropped = formats.split_list(call.text("delete"))
    if not given and not dropped:
        raise Failure("no options specified")
    if "storage" in given or "storage" in dropped:
        _may_use(call, call.text("storage", "local"))
    _check_pool(call)
    if name not in _jobs(call):
        raise Failure("no such vzdump job")
    _may_use(call, str(_jobs(call)[name].get("storage", "local")))
    known = schema.load().paths[_JOBS]["POST"]["parameters"]["properties"]
    for key in dropped:
        if key not in known:
            raise Nested("delete", f"unknown option '{key}'")
    job = {key: value for key, value in _jobs(call)[name].items() if key not in dropped}
    for key in _SELECTIONS:  # another selection takes the place of the old one
        if key in given:
            job = {k: v for k, v in job.items() if k not in (*_SELECTIONS, "exclude")}
    job |= given
    _check_selection(job)
    _jobs(call)[name] = job


@handles("DELETE", _ONE)
def delete(call: Call) -> None:
    name = call.text("id")
    if name not in _jobs(call):
        raise Nested("id", f"No such job '{name}'")
    del _jobs(call)[name]


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPECIAL = {"daily": "00:00", "weekly": "mon 00:00"}
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")


def next_run(schedule: str, now: datetime.datetime) -> int | None:
    """Seconds since the epoch of the next ``[days] HH:MM``; None for schedules of other forms."""
    *days, clock = _SPECIAL.get(schedule.lower(), schedule.lower()).split()
    match = _CLOCK.fullmatch(clock)
    if match is None or len(days) > 1:
        return None
    wanted = _weekdays(days[0]) if days else set(range(7))
    for ahead in range(8):
        moment = (now + datetime.timedelta(days=ahead)).replace(
            hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0
        )
        if moment > now and moment.weekday() in wanted:
            return int(moment.timestamp())
    return None


def _weekdays(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("..")
        start, end = _DAYS.index(first[:3]), _DAYS.index((last or first)[:3])
        found |= set(range(start, end + 1))
    return found
