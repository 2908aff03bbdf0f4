# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of faults for the modules that make a node go away: whatever happens, the write is done once or not at all."""

from __future__ import annotations

import typing as t

import pytest
from talos_lab import PlayedLab
from talos_quorum_lab import stand_up
from test_talos_life import build

from simlab.faults import Fault

#: Module -> its write, and its parameters for the lab's only node.
MODULES: dict[str, tuple[str, t.Callable[[PlayedLab], dict[str, t.Any]]]] = {
    "reboot": ("Reboot", lambda lab: {"nodes": lab.described("cp1")}),
    "reset": ("Reset", lambda lab: {"node": lab.address("cp1"), "node_name": "cp1", "force": True}),
}
#: What each of them reads before it writes.
READS = {"reboot": ("Get", "ServiceList", "Read", "EtcdMemberList"), "reset": ("Get", "ServiceList", "Read", "Version")}
#: Answers to the write, and what the error must say besides the call's name; none of them is worth a second try.
REFUSALS = {
    "INVALID_ARGUMENT": "this is no way",
    "UNAUTHENTICATED": "no certificate",
    "INTERNAL": "disk is gone",
    "FAILED_PRECONDITION": "the node is locked",
    "UNIMPLEMENTED": "not by this version",
}
EVERY = pytest.mark.parametrize("module", sorted(MODULES))


def go(lab: PlayedLab, module: str, **more: t.Any) -> dict[str, t.Any]:
    return lab.run(module, **{"wait_timeout": 60, **MODULES[module][1](lab), **more})


def written(lab: PlayedLab, mark: int) -> list[str]:
    verbs = {verb for verb, _params in MODULES.values()}
    return [entry.result for entry in lab.ledger.entries(mark) if entry.verb in verbs]


def fault(lab: PlayedLab, module: str, kind: str, **args: t.Any) -> None:
    """For every one of the module's writes."""
    lab.faults.add(Fault(kind, api="talos", verb=MODULES[module][0], times=0, args=args))


@pytest.mark.parametrize(("module", "verb"), [(module, verb) for module, verbs in READS.items() for verb in verbs])
@pytest.mark.parametrize("kind", ["drop-before", "cut", "garbage"])
def test_a_read_that_is_cut_off_is_asked_again(lab: PlayedLab, module: str, verb: str, kind: str) -> None:
    build(lab, "cp1")
    mark = lab.ledger.mark()
    lab.faults.add(Fault(kind, api="talos", verb=verb))
    made = go(lab, module)
    assert not made.get("failed"), made
    assert written(lab, mark) == ["OK"]


@pytest.mark.parametrize("kind", ["drop-before", "cut", "garbage"])
def test_the_question_for_the_quorum_that_is_cut_off_is_asked_again(lab: PlayedLab, kind: str) -> None:
    stand_up(lab, "cp1", "cp2", "cp3")
    mark = lab.ledger.mark()
    lab.faults.add(Fault(kind, api="talos", verb="EtcdMemberList"))
    made = lab.run("reset", node=lab.address("cp3"), node_name="cp3", wait_timeout=60)
    assert not made.get("failed"), made
    assert written(lab, mark) == ["OK"]


@EVERY
@pytest.mark.parametrize("status", sorted(REFUSALS))
def test_a_refusal_is_told_in_the_node_s_words(lab: PlayedLab, module: str, status: str) -> None:
    build(lab, "cp1")
    boot = lab.nodes["cp1"].runtime.boot_id
    fault(lab, module, "answer", status=status, text=REFUSALS[status])
    failed = go(lab, module, wait_timeout=4)
    assert failed["failed"] and REFUSALS[status] in failed["msg"] and MODULES[module][0] in failed["msg"], failed["msg"]
    assert failed["changes"] == [] and lab.nodes["cp1"].runtime.boot_id == boot


@EVERY
def test_a_missing_right_is_named(lab: PlayedLab, module: str) -> None:
    build(lab, "cp1")
    fault(lab, module, "answer", status="PERMISSION_DENIED", text="not authorized")
    failed = go(lab, module)
    assert failed["error"]["kind"] == "AccessDenied" and "os:admin" in failed["msg"]
    assert failed["changes"] == []


@EVERY
def test_a_busy_node_is_asked_again(lab: PlayedLab, module: str) -> None:
    build(lab, "cp1")
    mark = lab.ledger.mark()
    args = {"status": "UNAVAILABLE", "text": "try again"}
    lab.faults.add(Fault("answer", api="talos", verb=MODULES[module][0], args=args))
    made = go(lab, module)
    assert not made.get("failed"), made
    assert written(lab, mark) == ["UNAVAILABLE", "OK"]


@EVERY
def test_a_slow_answer_is_waited_for(lab: PlayedLab, module: str) -> None:
    build(lab, "cp1")
    mark = lab.ledger.mark()
    lab.faults.add(Fault("delay", api="talos", times=3, args={"seconds": 0.4}))
    assert not go(lab, module).get("failed")
    assert written(lab, mark) == ["OK"]


@EVERY
def test_an_answer_that_never_comes_is_a_time_out_that_names_the_call(lab: PlayedLab, module: str) -> None:
    build(lab, "cp1")
    fault(lab, module, "delay", seconds=30)
    failed = go(lab, module, timeout=1, wait_timeout=3)
    assert failed["failed"] and MODULES[module][0] in failed["msg"] and "DEADLINE_EXCEEDED" in failed["msg"]
    assert failed["changes"] == []


@EVERY
def test_the_node_of_another_cluster_is_left_alone(lab: PlayedLab, module: str) -> None:
    build(lab, "cp1")
    other, mark = lab.path / "other" / "talos-secrets.yaml", lab.ledger.mark()
    lab.run("secrets", secrets_path=str(other))
    refused = go(lab, module, secrets_path=str(other), wait_timeout=10)
    assert refused["failed"] and "as a node of this cluster" in refused["msg"], refused["msg"]
    assert written(lab, mark) == []
