# SPDX-License-Identifier: GPL-3.0-or-later
"""Every RPC with an empty request, as recorded in maintenance, before bootstrap and on a running node."""

from __future__ import annotations

import asyncio
import collections.abc as c
import typing as t

import pytest
import recorded
import yaml
from talos_support import Client, Lab, client_pair, config, connected, context, text, until

#: RPCs that the simulation does not do, each with the reason. They answer UNIMPLEMENTED and say why.
NOT_SIMULATED: dict[str, str] = yaml.safe_load(
    (recorded.ROOT.parent / "not_simulated.yaml").read_text(encoding="utf-8")
)
#: Answers that differ for a reason; everything else is equal.
DIFFERENT: dict[str, str] = yaml.safe_load((recorded.ROOT.parent / "differences.yaml").read_text(encoding="utf-8"))
STATES = ("maintenance", "prebootstrap", "running")
#: A call that hangs on a real node is not waited for as long here.
PATIENCE = 0.3


@pytest.mark.parametrize("state", STATES)
def test_every_recorded_rpc_is_answered_as_by_a_real_node(lab: Lab, secrets: dict[str, t.Any], state: str) -> None:
    calls = recorded.calls(f"{state}/all-rpcs.txt")
    assert len(calls) > 50
    answers = asyncio.run(asyncio.wait_for(_answers(lab, secrets, state, calls), 60))
    wrong = [
        f"{call.path}: expected {_expected(call)}, got {answer}"
        for call, answer in zip(calls, answers, strict=True)
        if not _agrees(state, call, answer)
    ]
    assert wrong == []


def test_the_list_of_what_is_not_simulated_names_existing_rpcs_and_reasons() -> None:
    known = {call.path for call in recorded.calls("maintenance/all-rpcs.txt")}
    assert set(NOT_SIMULATED) <= known
    assert all(reason.strip() for reason in NOT_SIMULATED.values())


def _expected(call: recorded.Recorded) -> tuple[str, str]:
    return call.code, "" if call.code == "DEADLINE_EXCEEDED" else call.message


def _agrees(state: str, call: recorded.Recorded, answer: tuple[str, str]) -> bool:
    if f"{state} {call.path}" in DIFFERENT:
        return True
    if call.path in NOT_SIMULATED and call.code != "PERMISSION_DENIED":
        return answer[0] == "UNIMPLEMENTED" and answer[1].endswith("is not simulated")
    return answer == _expected(call)


async def _answers(
    lab: Lab, secrets: dict[str, t.Any], state: str, calls: c.Sequence[recorded.Recorded]
) -> list[tuple[str, str]]:
    node = lab.node("10.77.0.11", platform="container")
    await node.boot()
    await until(lambda: node.describe()["stage"] == "maintenance" and "10.77.0.11" in lab.ports)
    tls = context()
    if state != "maintenance":
        async with connected(lab, "10.77.0.11", tls) as client:
            document = config(secrets, features={"hostDNS": {"enabled": True, "forwardKubeDNSToHost": True}})
            answer = await client.call("ApplyConfiguration", {"data": text(document, "n1"), "mode": "AUTO"})
            assert answer.code == "OK", answer.message
        await until(lambda: node.serving and node.runtime.services.healthy("cri"))
        tls = context(client_pair(secrets["os"], ["os:admin"]), secrets["os"])
    async with connected(lab, "10.77.0.11", tls) as client:
        if state == "running":
            assert (await client.call("Bootstrap")).code == "OK"
            await until(lambda: node.runtime.stage == "running")
        found = [await _ask(client, call.path) for call in calls]
    await lab.close()
    return found


async def _ask(client: Client, path: str) -> tuple[str, str]:
    answer = await client.call(path, timeout=PATIENCE)
    return answer.code, "" if answer.code == "DEADLINE_EXCEEDED" else answer.message
