# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cluster and its nodes wrote down: the tasks, as they are logged."""

from __future__ import annotations

import time
import typing as t

from .api import Call, handles
from .tasks import Task


def _lines(call: Call, node: str | None = None) -> list[tuple[Task, str]]:
    found = []
    for task in call.cluster.tasks.by_upid.values():
        if node in (None, task.node):
            found.append((task, f"<{task.user}> starting task {task.upid}"))
            if not task.running:
                found.append((task, f"<{task.user}> end task {task.upid} {task.exit_status}"))
    return found


@handles("GET", "/cluster/log")
def cluster_log(call: Call) -> list[dict[str, t.Any]]:
    most = int(call.params.get("max", 0)) or 50
    audit = call.allowed.has("/", ["Sys.Syslog"])
    found = [
        {
            "uid": number, "id": f"{number}:{task.node}", "node": task.node, "user": task.user, "tag": "pvedaemon",
            "pid": task.pid, "pri": 6, "time": task.start, "msg": text,
        }
        for number, (task, text) in enumerate(_lines(call), 1)
        if audit or task.user == call.caller.name
    ]  # fmt: skip
    return found[::-1][:most]


def _written(call: Call) -> list[str]:
    lines = []
    for task, text in _lines(call, call.node.name):
        moment = time.strftime("%b %d %H:%M:%S", time.gmtime(task.start))
        lines.append(f"{moment} {task.node} pvedaemon[{task.pid}]: {text}")
    return lines


@handles("GET", "/nodes/{node}/syslog")
def syslog(call: Call) -> list[dict[str, t.Any]]:
    first, limit = int(call.params.get("start", 0)), int(call.params.get("limit", 50))
    lines = _written(call) or ["no content"]
    return [{"n": first + number, "t": line} for number, line in enumerate(lines[first : first + limit], 1)]


@handles("GET", "/nodes/{node}/journal")
def journal(call: Call) -> list[str]:
    last = int(call.params.get("lastentries", 0))
    return _written(call)[-last:]
