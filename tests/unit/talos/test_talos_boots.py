# SPDX-License-Identifier: GPL-3.0-or-later
"""One boot and the next: when a node counts as back, with and without the right to read its boot ID."""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import AccessDenied, TaskFailed, Unreachable
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import apply, boots, client, compare
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.inputs import Node
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.node import Sight, State
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Clock, Deadline

CP = Node("cp1", "10.77.0.11", "controlplane")
READY: dict[str, t.Any] = {"ready": True, "unmetConditions": []}
NO_NETWORK: dict[str, t.Any] = {"ready": False, "unmetConditions": [{"name": "nodeReady", "reason": "no CNI"}]}
SERVICES: dict[str, t.Any] = {
    "ready": False,
    "unmetConditions": [{"name": "services", "reason": "etcd"}, {"name": "nodeReady", "reason": "no CNI"}],
}


@dataclasses.dataclass
class Answers:
    """A node at one look; no ``boot`` is one that we may not read."""

    stage: str
    boot: str = ""
    status: dict[str, t.Any] = dataclasses.field(default_factory=lambda: READY)

    @property
    def channel(self) -> t.Any:
        return self

    def close(self) -> None:
        pass

    def read_file(self, _path: str) -> str:
        if not self.boot:
            raise AccessDenied("call Read", answer="not authorized")
        return self.boot

    def services(self) -> list[client.Service]:
        return [client.Service("etcd", "Running", True, "up")]


GONE = None


def stage_after(*looks: Answers | None, boot: str = "", settled: bool = True, state: State | None = None) -> str:
    """What is returned after these looks at a node, the last of which goes on. ``state``: of one in maintenance mode."""
    left = list(looks)
    now = [0.0]

    class Connector:
        def look(self, _node: Node) -> Sight:
            seen = left.pop(0) if len(left) > 1 else left[0]
            if seen is GONE:
                return Sight(State.SILENT, reason=Unreachable("connect", answer="connection refused", refused=True))
            status = {"stage": seen.stage, "status": seen.status}
            found = state if state and seen.stage == "maintenance" else State.OURS
            return Sight(found, t.cast(t.Any, seen), seen.stage, status=status)

    def sleep(seconds: float) -> None:
        now[0] += seconds

    deadline = Deadline(30, Clock(lambda: now[0], sleep))
    return boots.wait_for_next(t.cast(t.Any, Connector()), CP, boot, deadline=deadline, settled=settled)


def test_a_node_that_waits_for_a_network_plugin_alone_is_back() -> None:
    """Its boot goes on until Kubernetes calls it ready, which without a network plugin never happens."""
    came = (GONE, Answers("booting", "two", SERVICES), Answers("booting", "two", NO_NETWORK))
    assert stage_after(Answers("running", "one"), *came, boot="one") == "booting"


def test_a_node_that_lacks_more_is_not() -> None:
    looks = (Answers("booting", "two", SERVICES), Answers("running", "two"))
    assert stage_after(GONE, *looks, boot="one") == "running"


@pytest.mark.parametrize("settled", [True, False])
def test_without_a_boot_id_a_passing_stage_is_not_the_end(settled: bool) -> None:
    """A lost connection while the node still goes down is no reboot."""
    looks = (Answers("rebooting"), GONE, Answers("rebooting"), GONE, Answers("running"))
    assert stage_after(*looks, settled=settled) == "running"


def test_without_a_boot_id_one_that_was_seen_going_is_back() -> None:
    assert stage_after(Answers("running"), Answers("rebooting"), Answers("running")) == "running"


def test_the_next_control_plane_waits_until_etcd_serves_again() -> None:
    """A machine's stage may be running while its etcd is not well yet, or cannot be asked for a moment."""
    told: list[t.Any] = [
        Unreachable("connect", answer="connection refused"),
        [client.Service("etcd", "Preparing", None, "Running pre state")],
        [client.Service("etcd", "Running", False, "up", "no leader")],
        [client.Service("etcd", "Running", True, "up")],
    ]
    asked = []

    class Connector:
        def open(self, node: Node) -> t.Any:
            asked.append(node.name)
            answer = told.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return contextlib.nullcontext(types.SimpleNamespace(services=lambda: answer))

    now = [0.0]
    deadline = Deadline(30, Clock(lambda: now[0], lambda seconds: now.__setitem__(0, now[0] + seconds)))
    rollout = apply.Rollout(t.cast(t.Any, Connector()), "auto", compare.Discretion(frozenset()), deadline)
    rollout._wait_for_etcd(CP)
    assert asked == ["cp1"] * 4 and told == []


def test_a_machine_that_comes_back_without_its_config_is_an_error() -> None:
    """It has booted from another medium, or has lost its disk: nobody has to wait for the end of the time."""
    told = Answers("maintenance")
    with pytest.raises(TaskFailed, match="maintenance mode: it has booted without its config") as caught:
        stage_after(Answers("running", "one"), GONE, told, boot="one", state=State.MAINTENANCE)
    assert "boot order" in caught.value.hint


def test_a_moment_of_maintenance_mode_is_none() -> None:
    looks = (GONE, Answers("maintenance"), GONE, Answers("running", "two"))
    assert stage_after(*looks, boot="one", state=State.MAINTENANCE) == "running"
