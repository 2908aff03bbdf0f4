# SPDX-License-Identifier: GPL-3.0-or-later
"""LB-IPAM: addresses for Services of type LoadBalancer, from CiliumLoadBalancerIPPools."""

from __future__ import annotations

import typing as t

from .address_pools import Pool, pool_of, settle
from .address_requests import Allocation, Request, is_ours, request_of
from .cilium_config import Settings
from .conditions import condition, find, generation, holds, merged, write_status
from .seat import Object, Seat
from .watching import Collection, Controller, Kind, key_of

MANAGER = "cilium-operator-lb-ipam"
SATISFIED = "cilium.io/IPAMRequestSatisfied"
CONFLICT = "cilium.io/PoolConflict"
COUNTS = ("cilium.io/IPsTotal", "cilium.io/IPsAvailable", "cilium.io/IPsUsed")
POOLS = Kind("cilium.io", "ciliumloadbalancerippools")
SERVICES = Kind("", "services")


class LBIPAM(Controller):
    """Stateless: who has which address stands in the Services' status. It rests while there is no pool."""

    name = "LB-IPAM"
    kinds = (POOLS, SERVICES)

    def __init__(self, seat: Seat, settings: Settings) -> None:
        super().__init__(seat)
        self.settings = settings

    async def reconcile(self) -> None:
        pools = await self._pools()
        await self.each([service for service in self["services"] if not self._ours(service)], self._leave)
        mine = [service for service in self["services"] if self._ours(service) and (pools or _granted(service))]
        mine.sort(key=lambda one: (not _granted(one), one["metadata"]["creationTimestamp"], one["metadata"]["name"]))
        requests = [request_of(service) for service in mine]
        allocation = Allocation(pools)
        allocation.serve(requests)
        answers = {key_of(service): request for service, request in zip(mine, requests, strict=True)}
        await self.each(mine, lambda service: self._write(service, answers[key_of(service)]))
        for pool in pools:
            await self._count(pool, allocation)

    def _ours(self, service: Object) -> bool:
        return is_ours(service, self.settings.classes, self.settings.lbipam_default)

    async def _pools(self) -> list[Pool]:
        """Those that can be read; what cannot be read is told on the pod, and gives nothing."""
        found = []
        for document in self["ciliumloadbalancerippools"]:
            try:
                found.append(pool_of(document))
            except ValueError as error:
                text = f"pool {document['metadata']['name']}: error parsing ip block: {error}"
                if text != self._told:
                    self._told = text
                    await self.seat.tell("Warning", "BadPool", text)
        settle(found)
        return found

    async def _leave(self, service: Object) -> None:
        """A Service that was ours and is not any more: clean for whoever comes next."""
        conditions = (service.get("status") or {}).get("conditions")
        if not find(conditions, SATISFIED):
            return
        rest = [one for one in conditions or () if one["type"] != SATISFIED]
        await self._status(service, {"conditions": rest, "loadBalancer": {"ingress": None}})

    async def _write(self, service: Object, request: Request) -> None:
        reason, message = ("satisfied", "") if request.satisfied else (request.reason, request.message)
        told = condition(SATISFIED, request.satisfied, reason, message, generation(service))
        status = service.get("status") or {}
        kept = [one for one in (status.get("loadBalancer") or {}).get("ingress") or () if one.get("ip")]
        ingress = [one for one in kept if one["ip"] in map(str, request.granted)]
        ingress += [{"ip": str(a)} for a in request.granted if str(a) not in {one["ip"] for one in kept}]
        balancer = {"ingress": ingress} if ingress else {}
        await self._status(service, {
            "conditions": merged(status.get("conditions"), [told]),
            "loadBalancer": balancer,
        })  # fmt: skip

    async def _status(self, service: Object, status: Object) -> None:
        if status.get("loadBalancer") == {} and (service.get("status") or {}).get("loadBalancer"):
            status["loadBalancer"] = {"ingress": None}
        await write_status(self.client, self["services"], service, status, MANAGER)

    async def _count(self, pool: Pool, allocation: Allocation) -> None:
        collection: Collection = self["ciliumloadbalancerippools"]
        document = collection.get("", pool.name)
        if document is None:
            return
        seen = generation(document)
        reason = ("cidr_overlap", pool.conflict) if pool.conflict else ("resolved", "")
        told = [condition(CONFLICT, bool(pool.conflict), *reason, seen)]
        numbers = zip(COUNTS, pool.counts(t.cast("t.Any", allocation.owners)), strict=True)
        told += [condition(kind, "Unknown", "noreason", str(number), seen) for kind, number in numbers]
        conditions = merged((document.get("status") or {}).get("conditions"), told)
        await write_status(self.client, collection, document, {"conditions": conditions}, MANAGER)


def _granted(service: Object) -> bool:
    return holds((service.get("status") or {}).get("conditions"), SATISFIED)
