# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and stopping tasks."""

from __future__ import annotations

import datetime
import re
import typing as t

from . import formats
from .api import Call, Counted, Download, handles
from .errors import Failure, ParameterError
from .tasks import UPID, Task

_TASK = "/nodes/{node}/tasks/{upid}"


def _known(call: Call) -> Task | None:
    upid = call.text("upid")
    if UPID.fullmatch(upid) is None:
        raise ParameterError({"upid": "unable to parse worker upid"})
    return call.cluster.tasks.by_upid.get(upid)


def _task(call: Call) -> Task:
    task = _known(call)
    if task is None:
        raise ParameterError({"upid": "no such task"})
    return task


def _mine(call: Call, task: Task) -> bool:
    """One's own tasks are those of the user too (a token sees its user's)."""
    return task.user == call.caller.name or task.user.partition("!")[0] == call.caller.name


def _readable(call: Call) -> Task:
    task = _task(call)
    if not _mine(call, task):
        call.allowed.require(f"/nodes/{task.node}", "Sys.Audit")
    return task


@handles("GET", f"{_TASK}/status")
def status(call: Call) -> dict[str, t.Any]:
    task = _readable(call)
    user, _, token = task.user.partition("!")
    found: dict[str, t.Any] = {
        "upid": task.upid, "node": task.node, "pid": task.pid, "pstart": task.pstart, "starttime": task.start,
        "type": task.type, "id": task.id, "user": user, "status": "running" if task.running else "stopped",
    }  # fmt: skip
    if token:
        found["tokenid"] = token
    return found if task.running else found | {"exitstatus": task.exit_status}


@handles("GET", f"{_TASK}/log")
def log(call: Call) -> list[dict[str, t.Any]] | Download:
    if _known(call) is None:  # its file is opened without a look whether there is one
        return [{"n": 1, "t": "unable to open file - No such file or directory"}]
    task = _readable(call)
    if call.flag("download"):
        return _download(call, task)
    first, limit = int(call.params.get("start", 0)), int(call.params.get("limit", 50))
    lines = task.lines or ["no content"]
    chosen = lines[first:] if limit == 0 else lines[first : first + limit]
    return Counted(({"n": first + number, "t": line} for number, line in enumerate(chosen, 1)), len(lines))


def _download(call: Call, task: Task) -> Download:
    if "start" in call.params or "limit" in call.params:
        raise Failure("'download' cannot be used together with 'start' or 'limit' parameters")
    moment = datetime.datetime.fromtimestamp(task.start, datetime.timezone.utc)
    return Download(
        f"task-{task.node}-{task.type}-{moment:%Y-%m-%dT%H:%M:%SZ}.log", "".join(f"{line}\n" for line in task.lines)
    )


@handles("DELETE", _TASK)
def stop(call: Call) -> None:
    task = _task(call)
    if not _mine(call, task):
        call.allowed.require(f"/nodes/{task.node}", "Sys.Modify")
    call.cluster.tasks.stop(task)


@handles("GET", _TASK)
def index(call: Call) -> list[dict[str, str]]:
    return [{"name": "log"}, {"name": "status"}]


@handles("GET", "/nodes/{node}/tasks")
def listing(call: Call) -> list[dict[str, t.Any]]:
    audit = call.allowed.has(f"/nodes/{call.node.name}", ["Sys.Audit"])
    found = [task for task in call.cluster.tasks.by_upid.values() if task.node == call.node.name]
    found = [task for task in reversed(found) if (audit or _mine(call, task)) and _wanted(call, task)]
    first, limit = int(call.params.get("start", 0)), int(call.params.get("limit", 50))
    return Counted((_entry(call, task) for task in found[first : first + limit]), len(found))


def _entry(call: Call, task: Task) -> dict[str, t.Any]:
    entry = task.summary()
    if task.running:
        entry |= {"status": "RUNNING", "saved": "0"}
    user, _, token = task.user.partition("!")
    return entry | {"user": user} | ({"tokenid": token} if token else {})


def _wanted(call: Call, task: Task) -> bool:
    params = call.params
    source = params.get("source", "archive")
    if (source == "archive" and task.running) or (source == "active" and not task.running):
        return False
    return (
        params.get("vmid", task.id) == task.id
        and params.get("typefilter", task.type) == task.type
        and str(params.get("userfilter", "")).lower() in task.user.partition("!")[0].lower()
        and int(params.get("since", 0)) <= task.start <= int(params.get("until", 1 << 62))
        and _kind_of_status(task) in _wanted_kinds(call)
    )


def _wanted_kinds(call: Call) -> set[str]:
    if call.flag("errors"):
        return {"warning", "error", "unknown"}
    if "statusfilter" not in call.params:
        return {"ok", "warning", "error", "unknown"}
    return {kind.lower() for kind in formats.split_list(call.text("statusfilter"))}


def _kind_of_status(task: Task) -> str:
    text = task.exit_status
    if not text or text == "unexpected status":
        return "unknown"
    return "ok" if text == "OK" else "warning" if re.fullmatch(r"WARNINGS: \d+", text) else "error"


@handles("GET", "/cluster/tasks")
def cluster_listing(call: Call) -> list[dict[str, t.Any]]:
    found = []
    for task in reversed(call.cluster.tasks.by_upid.values()):
        if _mine(call, task) or call.allowed.has(f"/nodes/{task.node}", ["Sys.Audit"]):
            entry = {key: value for key, value in task.summary().items() if key not in ("pid", "pstart")}
            found.append(entry | ({} if task.running else {"saved": "1"}))
    return found[:25]
