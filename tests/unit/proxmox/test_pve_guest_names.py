# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that are looked for by their names: one that is just being made has none yet, and is waited for."""

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import Unreachable
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.tasks import Tasks
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.guests.guest_planner import GuestPlanner
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Clock, Deadline, no_progress

UPID = "UPID:pve1:00000001:00000001:60000000:{}:100:ansible@pve!test:"


class Session:
    """A node that makes the container 100: it has its name when the task that makes it has been seen to its end."""

    of = "Proxmox VE in memory"
    progress = staticmethod(no_progress)
    connection = types.SimpleNamespace(who="ansible@pve!test", user="ansible@pve")

    def __init__(self, kind: str) -> None:
        self.upid = UPID.format(kind)
        self.looks = 0
        self.paths: list[str] = []

    def deadline(self, seconds: float = 5.0) -> Deadline:
        return Deadline(seconds, Clock(sleep=lambda _seconds: None))

    def get(self, path: str, query: t.Any = None, *, asked: str = "") -> t.Any:
        assert asked
        self.paths.append(path)
        made = self.looks > 2
        if path.endswith("/tasks"):
            return [{"upid": self.upid}]
        if path.endswith("/status"):
            self.looks += 1
            return {"status": "stopped" if self.looks > 2 else "running", "exitstatus": "OK"}
        named = {"name": "auto"} if made else {"name": "CT100", "lock": "create"}
        return [{"vmid": 100, "type": "lxc", "node": "pve1", "status": "stopped", **named}]


class Planner(GuestPlanner[t.Any]):
    kind, word, words = "lxc", "CT", "containers"


def looked_for(kind: str, name: str = "auto") -> tuple[t.Any, Session]:
    session: t.Any = Session(kind)
    return Planner(session, Tasks(session, lambda _warning: None), set()).only_one(name, "it is wanted"), session


@pytest.mark.parametrize("kind", ["vzcreate", "vzclone", "vzrestore"])
def test_what_is_just_being_made_is_waited_for(kind: str) -> None:
    found, session = looked_for(kind)
    assert found is not None and found["vmid"] == 100
    assert session.looks == 3


def test_other_tasks_of_its_node_are_not_waited_for() -> None:
    found, session = looked_for("vzdump")
    assert found is None and session.looks == 0


def test_nobody_is_asked_when_the_name_is_there() -> None:
    found, session = looked_for("vzcreate", "ct100")
    assert found is not None and "/nodes/pve1/tasks" not in session.paths


class Half(Session):
    """Of two nodes one is off: of its container the cluster tells no name any more."""

    def __init__(self, name: str = "") -> None:
        super().__init__("vzdump")
        self.name = name

    def get(self, path: str, query: t.Any = None, *, asked: str = "") -> t.Any:
        here = {"vmid": 100, "node": "pve1", "type": "lxc", "status": "running", "name": "auto"}
        if path == "/nodes/pve1/lxc":
            return [here]
        if path == "/nodes/pve2/lxc":
            raise Unreachable(asked, of=self.of, answer="595 No route to host", status=595)
        assert path == "/cluster/resources"
        there = {"vmid": 101, "node": "pve2", "type": "lxc", "status": "unknown"}
        other = {"vmid": 102, "node": "pve2", "type": "qemu", "status": "unknown"}
        return [here, {**there, **({"name": self.name} if self.name else {})}, other]


def found_in(session: t.Any, name: str) -> t.Any:
    return Planner(session, Tasks(session, lambda _warning: None), set()).only_one(name, "it is wanted")


def test_nobody_knows_whether_a_name_is_free_while_a_node_is_off() -> None:
    """A second guest of that name would be made, or one that is to go would be called gone."""
    with pytest.raises(Unreachable, match="node pve2 does not answer, and 101 has no name without it") as caught:
        found_in(Half(), "web")
    assert "595 No route to host" in caught.value.answer and "Give the vmid" in caught.value.hint
    assert caught.value.asked == "look for the container 'web'"


def test_a_node_that_is_off_hides_no_guest_of_another_one() -> None:
    assert found_in(Half(), "auto")["vmid"] == 100
    assert found_in(Half("web"), "web")["vmid"] == 101
    assert found_in(Half("other"), "web") is None
