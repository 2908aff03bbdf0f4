# SPDX-License-Identifier: GPL-3.0-or-later
"""What tasks write: the logs of the simulated Proxmox VE beside the recorded ones."""

from __future__ import annotations

import collections
import difflib
import re
import typing as t

#: Tasks whose logs depend on nothing but the request. (Those of containers, downloads and backups tell of file systems,
#: speeds and mail.)
COMPARED = re.compile(r"qm|imgdel|imgcopy|resize$")
#: Logs that are not the simulator's to reproduce, with the reason.
EXPLAINED = {
    ("create_bad", "stop 903"): "two tasks met at the lock of one VM",
    ("mappings", "start with a device that is not there"): "a remark of the recorded machine on its own mapping",
    ("lxc", "ct resize"): "the file system of a container",
    ("lxc_options", "ct resize +1G"): "the file system of a container",
    ("lxc_options", "ct resize absolute"): "the file system of a container",
    ("lxc_options", "ct running resize"): "the file system of a container",
}
_VOLATILE = (
    (re.compile(r"\d{4}[-_]\d\d[-_]\d\d[-_ T]\d\d[:_]\d\d[:_]\d\d"), "TIME"),
    (re.compile(r"pveupload-\w+"), "pveupload-X"),
)


def differences(recorded: t.Iterable[dict[str, t.Any]], answered: t.Iterable[dict[str, t.Any]]) -> str:
    """The logs that differ, as text; empty when none does."""
    wanted, got = _logs(recorded), _logs(answered)
    found = []
    for key in [key for key in wanted if key in got and key[:2] not in EXPLAINED]:
        lines = list(difflib.unified_diff(wanted[key], got[key], "recorded", "answered", lineterm="", n=1))
        found += [f"{key[0]}/{key[1]}", *lines] if lines else []
    return "\n".join(found)


def _logs(records: t.Iterable[dict[str, t.Any]]) -> dict[tuple[str, str, int], list[str]]:
    count: collections.Counter[tuple[str, str]] = collections.Counter()
    found = {}
    for record in records:
        name = (record["section"], record["case"])
        count[name] += 1
        task = record.get("task")
        if task and COMPARED.match(task["type"]):
            found[*name, count[name]] = [_steady(line) for line in task["log"]]
    return found


def _steady(line: str) -> str:
    for pattern, word in _VOLATILE:
        line = pattern.sub(word, line)
    return line
