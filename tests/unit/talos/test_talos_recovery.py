# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether old data of etcd is in the way of a recovery: judged of an etcd that has begun, never of one that boots."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import Refused, Unreachable
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import recovery
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.client import Service
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.inputs import Node
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Clock, Deadline

CP = Node("cp1", "10.77.0.11", "controlplane")
WELL = Service("etcd", "Running", True, "up")
ILL = Service("etcd", "Running", False, "up", "no leader")
BEGINS = (None, Service("etcd", "Waiting", None, "waiting for network"), Service("etcd", "Preparing", None, "pulling"))
CRASHES = Service("etcd", "Waiting", None, "Error running Containerd(etcd), going to restart forever: exit code 2")


def judged(later: Service, *, begins: float, serves: bool = True) -> float:
    """Seconds until data of etcd is found to serve, when its service has begun after so many."""
    now = [0.0]

    class Client:
        of = "cp1"

        def services(self) -> list[Service]:
            if now[0] >= begins:
                return [later]
            early = BEGINS[min(int(now[0] / begins * len(BEGINS)), len(BEGINS) - 1)]
            return [early] if early else []

        def etcd_members(self) -> list[t.Any]:
            if not serves:
                raise Unreachable("call EtcdMemberList", answer="no quorum")
            return []

    deadline = Deadline(300, Clock(lambda: now[0], lambda seconds: now.__setitem__(0, now[0] + seconds)))
    try:
        recovery.require_service(CP, t.cast(t.Any, Client()), deadline)
    except Refused as error:
        error.details["after"] = now[0]
        raise
    return now[0]


def test_a_machine_that_still_boots_is_waited_for() -> None:
    """After a power cut, to wipe what is about to serve would be the end of a cluster that is whole."""
    assert 120 <= judged(WELL, begins=120.0) < 130


@pytest.mark.parametrize(("later", "serves"), [(ILL, True), (WELL, False), (CRASHES, True)])
def test_what_has_begun_and_does_not_serve_is_in_the_way(later: Service, serves: bool) -> None:
    with pytest.raises(Refused, match="does not serve") as caught:
        judged(later, begins=60.0, serves=serves)
    assert 60 + recovery.PATIENCE <= caught.value.details["after"] < 90
    assert "talos_reset with partitions [EPHEMERAL]" in caught.value.hint
    assert "may still come back" in caught.value.hint


def test_one_that_never_begins_is_named_at_the_end() -> None:
    with pytest.raises(Refused, match=r"etcd is") as caught:
        judged(WELL, begins=1000.0)
    assert caught.value.details["after"] >= 300
