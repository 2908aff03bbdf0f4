# SPDX-License-Identifier: GPL-3.0-or-later
"""Every call that the simulated Proxmox VE refuses has a reason, and the report lists them."""

from __future__ import annotations

import collections
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
for _folder in (HERE, HERE.parent, HERE.parents[2] / "simulator"):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))

import api_judge
import judgement
import not_simulated

from simlab.proxmox import api, schema


def _answered(method: str, path: str) -> bool:
    if (method, path) in api._HANDLERS:
        return True
    call = api.Call.__new__(api.Call)
    call.method, call.template = method, path
    return api._index(call) is not None


def test_what_is_not_simulated_has_a_reason() -> None:
    import simlab.proxmox.server  # registers the handlers

    assert simlab.proxmox.server
    every = [(method, path) for path, methods in schema.load().paths.items() for method in methods]
    refused = [(method, path) for method, path in every if not _answered(method, path)]
    by_reason: dict[str, list[str]] = collections.defaultdict(list)
    for method, path in refused:
        by_reason[not_simulated.reason(path) or ""].append(f"{method} {path}")
    judgement.Judgement(
        name="proxmox-not-simulated",
        judge="Proxmox VE's description of its API",
        version=api_judge.version(),
        judged="the simulated Proxmox VE: which calls it answers",
        cases=len(every),
        explained=[(f"501 {call}", why) for why, calls in sorted(by_reason.items()) if why for call in sorted(calls)],
        unexplained=[f"501 {call}" for call in sorted(by_reason.get("", []))],
        notes=[f"{len(every) - len(refused)} of {len(every)} calls are answered; all others are refused with 501."],
    ).write()
    assert by_reason.get("", []) == []


def test_the_judge_of_requests_has_nothing_against_what_the_real_server_accepted() -> None:
    """Else it would call good requests bad; the few that it is wrong about are known."""
    import json

    wrong = set()
    for line in HERE.joinpath("answers.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        request = record["request"]
        params = request["params"] if isinstance(request["params"], dict) else {}
        if record["status"] == 200 and not request.get("count") and not request["path"].endswith("/upload"):
            wrong |= set(api_judge.problems(request["method"], request["path"].partition("?")[0], params))
    assert wrong == {
        "GET / is not in the API",
        "PUT /storage/{storage}: content: invalid format - invalid content type 'none'",
    }
