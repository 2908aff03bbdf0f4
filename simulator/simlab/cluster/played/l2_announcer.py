# SPDX-License-Identifier: GPL-3.0-or-later
"""The L2 announcer of one node's Cilium agent: one node, chosen by a Lease, answers ARP for a Service's addresses."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
import typing as t

from ...contracts import Machine, Nic
from ...iproute import NetworkError
from ..client import KubeError
from .conditions import condition, find, generation, merged, write_status
from .l2_policies import BAD, BadPolicy, addresses_of, devices_of
from .seat import Object, Seat
from .watching import Controller, Key, Kind

MANAGER = "cilium-agent-l2-announcer"
POLICIES = Kind("cilium.io", "ciliuml2announcementpolicies")
#: Real seconds: how long a lease is good for, and between two looks at it. Nothing is asked while nothing is announced.
LEASE, LOOK = 15, 5.0


class L2Announcer(Controller):
    """The agent of ``seat.node``. A Service that no policy selects is not announced: its address does not answer."""

    name = "L2 announcer"

    def __init__(self, seat: Seat) -> None:
        if seat.node is None:
            raise ValueError("an agent needs a node")
        self._machine: Machine = seat.node.machine
        self._node = seat.node.name
        self.kinds = (POLICIES, Kind("", "services"), _own_node(self._node))
        super().__init__(seat)
        self._leads: dict[Key, float] = {}  # when the lease was last known to be ours, by the monotonic clock
        self._answers: set[tuple[str, str]] = set()  # (device, address)
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            await self._answer(set())

    async def reconcile(self) -> None:
        selected = await self._selected()
        for key in self._leads.keys() - selected.keys():
            del self._leads[key]
            await self._release(key)
        wanted: set[tuple[str, str]] = set()
        for key, places in selected.items():
            if await self._lead(key):
                wanted |= places
        await self._answer(wanted)
        if self._timer is not None:
            self._timer.cancel()
        later = asyncio.get_running_loop().call_later
        self._timer = later(LOOK, self.again) if selected else None

    # --- what is to be announced
    async def _selected(self) -> dict[Key, set[tuple[str, str]]]:
        """Services that this node may announce, with devices and addresses."""
        node = self["nodes"].get("", self._node)
        labels = (node or {"metadata": {}})["metadata"].get("labels") or {}
        found: dict[Key, set[tuple[str, str]]] = {}
        for policy in self["ciliuml2announcementpolicies"]:
            try:
                devices = devices_of(policy, labels, list(self._nics()))
                for key, service in self["services"].objects.items():
                    places = {(device, a) for device in devices for a in addresses_of(policy, service)}
                    if places:
                        found.setdefault(key, set()).update(places)
            except BadPolicy as error:
                await self._judge(policy, error)
            else:
                await self._judge(policy, None)
        return found

    async def _judge(self, policy: Object, error: BadPolicy | None) -> None:
        known = (policy.get("status") or {}).get("conditions")
        told = [condition(k, "False", "error", "", generation(policy)) for k in BAD if find(known, k)]
        if error is not None:
            told += [condition(error.kind, "True", "error", str(error), generation(policy))]
        if told:
            status = {"conditions": merged(known, told)}
            with contextlib.suppress(KubeError):  # every agent writes it; one of them is enough
                await write_status(self.client, self["ciliuml2announcementpolicies"], policy, status, MANAGER)

    def _nics(self) -> dict[str, Nic]:
        return {self._machine.device(nic): nic for nic in self._machine.guest.nics if not nic.link_down}

    # --- who announces it
    def _lease_path(self, key: Key) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.seat.namespace}/leases/{_lease_name(key)}"

    async def _lead(self, key: Key) -> bool:
        """Whether this node holds the Service's lease; takes and renews it as it must. While no API server answers it
        goes on for as long as the lease is good."""
        now = datetime.datetime.now(datetime.timezone.utc)
        try:
            holds = await self._hold(key, now)
        except KubeError as error:
            if error.code == 403:
                raise
            # 409: another node was faster
            holds = error.code != 409 and time.monotonic() - self._leads.get(key, float("-inf")) < LEASE
            if holds:
                return True
        if holds:
            self._leads[key] = time.monotonic()
        else:
            self._leads.pop(key, None)
        return holds

    async def _hold(self, key: Key, now: datetime.datetime) -> bool:
        """Raises KubeError."""
        path = self._lease_path(key)
        lease = await self.client.get(path)
        mine = {"holderIdentity": self._node, "leaseDurationSeconds": LEASE, "renewTime": _micro(now)}
        if lease is None:
            metadata = {"name": _lease_name(key), "namespace": self.seat.namespace}
            spec = mine | {"acquireTime": _micro(now), "leaseTransitions": 0}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            await self.client.call("POST", path.rpartition("/")[0], body)
        elif lease["spec"].get("holderIdentity") == self._node:
            if _age(lease, now) >= LOOK - 0.5:
                await self.client.call("PUT", path, lease | {"spec": lease["spec"] | mine})
        elif _age(lease, now) > float(lease["spec"].get("leaseDurationSeconds") or LEASE):
            count = int(lease["spec"].get("leaseTransitions") or 0) + 1
            spec = mine | {"acquireTime": _micro(now), "leaseTransitions": count}
            await self.client.call("PUT", path, lease | {"spec": spec})
        else:
            return False
        return True

    async def _release(self, key: Key) -> None:
        with contextlib.suppress(KubeError):
            await self.client.call("DELETE", self._lease_path(key))

    # --- the interface
    async def _answer(self, wanted: set[tuple[str, str]]) -> None:
        nics = self._nics()
        for device, address in sorted(self._answers - wanted):
            with contextlib.suppress(NetworkError, OSError, KeyError):  # the cable may be gone
                await self._machine.withdraw(nics[device], address)
            self._answers.discard((device, address))
        for device, address in sorted(wanted - self._answers):
            await self._machine.announce(nics[device], address)
            self._answers.add((device, address))


def _own_node(name: str) -> Kind:
    return Kind("", "nodes", query=(("fieldSelector", f"metadata.name={name}"),))


def _lease_name(key: Key) -> str:
    return f"cilium-l2announce-{key[0]}-{key[1]}"


def _micro(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _age(lease: t.Mapping[str, t.Any], now: datetime.datetime) -> float:
    renewed = str(lease["spec"].get("renewTime") or lease["metadata"]["creationTimestamp"])
    return (now - datetime.datetime.fromisoformat(renewed.replace("Z", "+00:00"))).total_seconds()
