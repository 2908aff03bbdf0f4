# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node announces a Service's address: the Lease, without a cluster."""

from __future__ import annotations

import asyncio
import datetime
import time
import types
import typing as t

import pytest

from simlab.cluster.client import KubeError
from simlab.cluster.played.l2_announcer import LEASE, L2Announcer
from simlab.cluster.played.seat import Seat

KEY = ("n", "web")


class Leases:
    """The API server's side: one Lease."""

    def __init__(self, holder: str = "", age: float = 0.0, refusal: int | None = None) -> None:
        renewed = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age)
        spec = {"holderIdentity": holder, "leaseDurationSeconds": LEASE, "renewTime": renewed.isoformat()}
        self.lease = {"metadata": {"creationTimestamp": renewed.isoformat()}, "spec": spec} if holder else None
        self.refusal = refusal
        self.written: list[tuple[str, str]] = []

    async def get(self, path: str) -> t.Any:
        if self.refusal == 0:
            raise KubeError(0, "Unreachable", "nobody answers")
        return self.lease

    async def call(self, method: str, path: str, body: t.Any) -> t.Any:
        if self.refusal is not None:
            raise KubeError(self.refusal, "", "refused")
        self.written.append((method, body["spec"]["holderIdentity"]))
        return body


def announcer(leases: Leases) -> L2Announcer:
    machine = types.SimpleNamespace(guest=types.SimpleNamespace(nics=()))
    node = t.cast("t.Any", types.SimpleNamespace(machine=machine, name="a"))
    return L2Announcer(Seat(t.cast("t.Any", leases), {"metadata": {"namespace": "kube-system", "name": "c"}}, {}, node))


@pytest.mark.parametrize(
    ("given", "leads", "written"),
    [
        ({}, True, [("POST", "a")]),
        ({"holder": "a", "age": 1}, True, []),
        ({"holder": "a", "age": 6}, True, [("PUT", "a")]),
        ({"holder": "b", "age": 6}, False, []),
        ({"holder": "b", "age": LEASE + 1}, True, [("PUT", "a")]),
        ({"holder": "b", "age": LEASE + 1, "refusal": 409}, False, []),
        ({"refusal": 409}, False, []),
        ({"holder": "b", "refusal": 0}, False, []),
    ],
    ids=["free", "mine", "mine, to renew", "another's", "another's, over", "lost a race", "lost the first", "no API"],
)
def test_one_node_leads(given: dict[str, t.Any], leads: bool, written: list[tuple[str, str]]) -> None:
    leases = Leases(**given)
    assert asyncio.run(announcer(leases)._lead(KEY)) is leads
    assert leases.written == written


@pytest.mark.parametrize(("age", "leads"), [(1.0, True), (LEASE + 1.0, False)])
def test_a_leader_without_an_api_server_goes_on_while_its_lease_is_good(age: float, leads: bool) -> None:
    mine = announcer(Leases("a", refusal=0))
    mine._leads[KEY] = time.monotonic() - age
    assert asyncio.run(mine._lead(KEY)) is leads
    assert (KEY in mine._leads) is leads


def test_a_right_that_is_missing_is_no_answer() -> None:
    with pytest.raises(KubeError):
        asyncio.run(announcer(Leases(refusal=403))._lead(KEY))
