# SPDX-License-Identifier: GPL-3.0-or-later
"""talos_kubeconfig against faults: a lost answer is asked for again, and a refusal leaves the file as it was."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from talos_lab import PlayedLab
from test_talos_life import build

from simlab.faults import Fault

#: Refusals, the kind of error, and what its message has besides the call and the node.
REFUSALS = {
    "INVALID_ARGUMENT": ("Refused", "no such thing"),
    "UNAUTHENTICATED": ("Unauthenticated", "who"),
    "PERMISSION_DENIED": ("AccessDenied", "os:admin"),
    "INTERNAL": ("ServerFault", "disk is gone"),
    "UNIMPLEMENTED": ("Refused", "Give the address of a control plane node."),
}
NODE = "cp1"


def get(
    lab: PlayedLab, name: str = NODE, *, dest: str = "kubeconfig", check: bool = False, **more: t.Any
) -> dict[str, t.Any]:
    return lab.run("kubeconfig", check=check, node=lab.address(name), node_name=name, dest=str(lab.path / dest), **more)


def fault(lab: PlayedLab, kind: str, times: int = 1, **args: t.Any) -> Fault:
    made = Fault(kind, api="talos", verb="Kubeconfig", times=times, args=args)
    lab.faults.add(made)
    return made


def kept(lab: PlayedLab) -> tuple[bytes, float]:
    path = lab.path / "kubeconfig"
    return path.read_bytes(), path.stat().st_mtime


def leftovers(lab: PlayedLab) -> list[pathlib.Path]:
    return [path for path in lab.path.iterdir() if path.name.startswith(".") or path.name == "new"]


@pytest.mark.parametrize("kind", ["drop-before", "drop-after", "cut", "garbage"])
def test_a_lost_answer_is_asked_for_again(lab: PlayedLab, kind: str) -> None:
    build(lab, NODE)
    met = fault(lab, kind)
    made = get(lab, dest="new")
    assert not made.get("failed") and made["changed"] and met.hit, made
    path = lab.path / "new"
    assert path.stat().st_mode & 0o777 == 0o600 and "client-key-data" in path.read_text()
    assert not get(lab, dest="new")["changed"]


@pytest.mark.parametrize("status", sorted(REFUSALS))
def test_a_refusal_is_told_and_the_file_stays(lab: PlayedLab, status: str) -> None:
    build(lab, NODE)
    before, (kind, words) = kept(lab), REFUSALS[status]
    fault(lab, "answer", times=0, status=status, text=words)
    for dest in ("kubeconfig", "new"):
        failed = get(lab, dest=dest, wait_timeout=4)
        assert failed["failed"] and failed["error"]["kind"] == kind, failed["msg"]
        assert words in failed["msg"] and lab.address(NODE) in failed["msg"] and failed["changes"] == []
    assert kept(lab) == before and leftovers(lab) == []


def test_a_worker_sends_one_to_a_control_plane(lab: PlayedLab) -> None:
    build(lab, NODE, "w1")
    failed = get(lab, "w1", dest="new")
    assert failed["failed"] and "Could not get the kubeconfig from w1" in failed["msg"], failed["msg"]
    assert "is only available on control plane nodes" in failed["msg"]
    assert "Give the address of a control plane node." in failed["msg"] and leftovers(lab) == []


def test_a_node_that_is_not_ready_for_it_is_waited_for(lab: PlayedLab) -> None:
    build(lab, NODE)
    met = fault(lab, "answer", times=2, status="FAILED_PRECONDITION", text="not ready for that")
    made = get(lab, dest="new")
    assert made["changed"] and len(met.hit) == 2, made
    assert any("not ready for that" in said for said in lab.said)


def test_an_answer_that_never_comes_is_a_time_out_that_names_the_call(lab: PlayedLab) -> None:
    build(lab, NODE)
    before = kept(lab)
    fault(lab, "delay", times=0, seconds=30)
    failed = get(lab, timeout=1, wait_timeout=3)
    assert failed["failed"] and "Kubeconfig" in failed["msg"] and "DEADLINE_EXCEEDED" in failed["msg"]
    assert kept(lab) == before
