# SPDX-License-Identifier: GPL-3.0-or-later
"""When a machine counts as wiped: never by one answer that was lost."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import Unreachable, WaitTimeout
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import reset
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.inputs import Node
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.node import Sight, State
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Clock, Deadline

WIPED = {"partitions": ("STATE", "EPHEMERAL"), "system_disk": False, "user_disks": (), "graceful": True}
LOST = Sight(State.SILENT, reason=Unreachable("call Get", answer="DEADLINE_EXCEEDED: no answer in time"))
AWAY = Sight(State.SILENT, reason=Unreachable("connect", answer="connection timed out"))
DRAINS = Sight(State.OURS, stage="resetting")


def wait(*looks: Sight, reboot: bool) -> tuple[str, float]:
    """The stage after these looks, one each second, the last of which goes on; and when it was told."""
    left, now = list(looks), [0.0]

    class Connector:
        def look(self, _node: Node) -> Sight:
            return left.pop(0) if len(left) > 1 else left[0]

    def sleep(_seconds: float) -> None:
        now[0] += 1

    wanted = reset.Wanted(**t.cast(t.Any, WIPED), reboot=reboot)
    deadline = Deadline(60, Clock(lambda: now[0], sleep))
    work = reset.Reset(t.cast(t.Any, Connector()), Node("w1", "10.77.0.21", "worker"), wanted, deadline)
    return work._wait_until_wiped(), now[0]


def test_a_lost_answer_while_it_drains_is_not_its_end() -> None:
    assert wait(DRAINS, LOST, DRAINS, DRAINS, AWAY, reboot=False) == ("off", 4 + reset.AWAY)


def test_one_that_comes_back_elsewhere_is_told_of() -> None:
    """An address that stood in the config went with it."""
    with pytest.raises(WaitTimeout, match="has another one now"):
        wait(DRAINS, AWAY, reboot=True)
