# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes have done and are doing; of what failed, the last lines of its log."""

from __future__ import annotations

import re
import typing as t

from ...errors import InvalidInput
from ...task import Result, Task
from ..api.lanes import together
from ..api.session import Session, listing, record, segment
from ..api.tasks import Tasks, Upid
from .reading import attempt, check_vmids, checked, online, opened

Entry = dict[str, t.Any]

_UPID = re.compile(r"UPID:[A-Za-z0-9-]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:[^:\s]+:[^:\s]*:[^:\s]+:")
_WORD = re.compile(r"[A-Za-z0-9_-]+")

#: What a list of tasks is asked for: our option -> the API's.
_QUERY = {"vmid": "vmid", "type": "typefilter", "user": "userfilter", "since": "since", "limit": "limit"}

#: Our word for how a task ended -> the API's.
_VERDICTS = {"ok": "ok", "warnings": "warning", "failed": "error"}


def look_up(task: Task) -> Result:
    """The module ``proxmox_task_info``."""
    params = task.params
    _check(params)
    errors: dict[str, str] = {}
    with opened(task) as session:
        tasks = Tasks(session, task.warn)
        if params.get("upid"):
            found = together(lambda upid: _one(session, upid, errors), params["upid"])
            entries = [entry for entry in found if entry]
        else:
            entries = _lists(session, params, errors)
        _add_logs(tasks, entries, params)
    for name, error in errors.items():
        task.warn(f"The tasks of {name} could not be read: {error}")
    return {"changed": False, "tasks": entries, "errors": errors}


def _check(params: t.Mapping[str, t.Any]) -> None:
    checked("node", params.get("node"))
    for upid in params.get("upid") or ():
        if not _UPID.fullmatch(upid):
            raise InvalidInput(
                f"upid {upid!r} is no id of a task", hint="It looks like UPID:pve1:…:qmstart:200:root@pam:."
            )
    for option, least in (("limit", 1), ("log_lines", 0), ("since", 0)):
        if params.get(option) is not None and params[option] < least:
            raise InvalidInput(f"{option} is {params[option]}", hint=f"Choose {least} or more.")
    check_vmids([params["vmid"]] if params.get("vmid") is not None else [])
    if params.get("type") and not _WORD.fullmatch(params["type"]):
        raise InvalidInput(f"type {params['type']!r} is no kind of task", hint="Kinds are words such as qmstart.")


def _lists(session: Session, params: t.Mapping[str, t.Any], errors: dict[str, str]) -> list[Entry]:
    """Of all nodes that are asked for, the newest first."""
    up = online(session)
    wanted = params.get("node") or sorted(up)
    for node in wanted:
        if not up.get(node):
            errors[node] = "it is offline" if node in up else "there is no such node"
    nodes = [node for node in wanted if up.get(node)]
    found = together(lambda node: _list(session, node, params, errors), nodes)
    entries = sorted((one for some in found for one in some), key=lambda one: (-one["started"], one["upid"]))
    return entries[: params.get("limit") or 50]


def _list(session: Session, node: str, params: t.Mapping[str, t.Any], errors: dict[str, str]) -> list[Entry]:
    query = {theirs: params[ours] for ours, theirs in _QUERY.items() if params.get(ours) is not None}
    state = params.get("state")
    query["source"] = {"running": "active", None: "all"}.get(state, "archive")
    if state in _VERDICTS:
        query["statusfilter"] = _VERDICTS[state]
    asked = f"list the tasks of node {node}"
    path = f"/nodes/{segment(node)}/tasks"
    found = attempt(errors, node, lambda: listing(session, path, "upid", query, asked=asked))
    entries = [_task(entry) for entry in found or ()]
    return [entry for entry in entries if state is None or entry["state"] == state]


def _one(session: Session, upid: str, errors: dict[str, str]) -> Entry | None:
    node, asked = upid.split(":")[1], f"read the task {upid}"
    path = f"/nodes/{segment(node)}/tasks/{segment(upid)}/status"
    found = attempt(errors, upid, lambda: record(session, path, asked=asked))
    if found is None:
        return None
    return _task({**found, "status": found.get("exitstatus", ""), "endtime": found.get("status") == "stopped"})


def _task(entry: t.Mapping[str, t.Any]) -> Entry:
    """``ended`` is 0 while it runs, and for a task that was asked for by its id (the API does not tell)."""
    ended, verdict = entry.get("endtime") or 0, str(entry.get("status") or "")
    return {
        "upid": str(entry["upid"]),
        "node": str(entry.get("node") or ""),
        "type": str(entry.get("type") or ""),
        "id": str(entry.get("id") or ""),
        "user": str(entry.get("user") or ""),
        "started": int(entry.get("starttime") or 0),
        "ended": 0 if ended is True else int(ended),
        "state": _state(bool(ended), verdict),
        "exit_status": verdict if ended else "",
    }


def _state(ended: bool, verdict: str) -> str:
    if not ended:
        return "running"
    return "ok" if verdict == "OK" else "warnings" if verdict.startswith("WARNINGS") else "failed"


def _add_logs(tasks: Tasks, entries: t.Sequence[Entry], params: t.Mapping[str, t.Any]) -> None:
    """The last lines of what failed or warned; of all when they are asked for."""
    lines = params.get("log_lines", 8)
    told = [entry for entry in entries if params.get("logs") or entry["state"] in ("failed", "warnings")]
    if lines:
        together(lambda entry: entry.update(log=tasks.log(_upid(tasks, entry), lines)), told)


def _upid(tasks: Tasks, entry: Entry) -> Upid:
    return Upid.parse(entry["upid"], asked="read the log of a task", of=tasks.session.of)
