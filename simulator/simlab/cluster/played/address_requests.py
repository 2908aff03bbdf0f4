# SPDX-License-Identifier: GPL-3.0-or-later
"""What Services of type LoadBalancer ask of LB-IPAM, and what they get: Cilium's rules and words."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import ipaddress
import typing as t

from .address_pools import Address, Pool

#: Annotations, the newer name first.
IPS = ("lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips")
SHARING_KEY = ("lbipam.cilium.io/sharing-key", "io.cilium/lb-ipam-sharing-key")
SHARING_ACROSS = ("lbipam.cilium.io/sharing-cross-namespace", "io.cilium/lb-ipam-sharing-cross-namespace")
L2_CLASS, BGP_CLASS = "io.cilium/l2-announcer", "io.cilium/bgp-control-plane"


@dataclasses.dataclass
class Request:
    """One Service. ``held`` are addresses in its status; ``granted`` what it has now, ``reason`` and ``message`` why that
    is not enough ("" when it is)."""

    namespace: str
    name: str
    labels: dict[str, str]
    wanted: tuple[Address, ...]
    families: frozenset[int]
    held: tuple[Address, ...]
    ports: frozenset[tuple[int, str]]
    policy: str
    selector: tuple[tuple[str, str], ...]
    sharing_key: str = ""
    sharing_across: frozenset[str] = frozenset()
    granted: list[Address] = dataclasses.field(default_factory=list)
    reason: str = ""
    message: str = ""

    @property
    def satisfied(self) -> bool:
        if self.wanted:
            return set(self.wanted) <= set(self.granted)
        return self.families <= {address.version for address in self.granted}

    def refuse(self, reason: str, message: str) -> None:
        self.reason, self.message = reason, message


def request_of(service: t.Mapping[str, t.Any]) -> Request:
    meta, spec = service["metadata"], service["spec"]
    notes = meta.get("annotations") or {}
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    own = {"io.kubernetes.service.namespace": meta["namespace"], "io.kubernetes.service.name": meta["name"]}
    families = spec.get("ipFamilies") or ["IPv4"]
    if spec.get("ipFamilyPolicy", "SingleStack") == "SingleStack":
        families = families[:1]
    return Request(
        namespace=meta["namespace"],
        name=meta["name"],
        labels={**(meta.get("labels") or {}), **own},
        wanted=tuple(dict.fromkeys(_addresses([spec.get("loadBalancerIP") or "", *_note(notes, IPS).split(",")]))),
        families=frozenset(int(str(family)[-1]) for family in families),
        held=tuple(dict.fromkeys(_addresses(entry.get("ip") or "" for entry in ingress))),
        ports=frozenset((int(port["port"]), str(port.get("protocol", "TCP"))) for port in spec.get("ports") or ()),
        policy=str(spec.get("externalTrafficPolicy") or "Cluster"),
        selector=tuple(sorted((spec.get("selector") or {}).items())),
        sharing_key=_note(notes, SHARING_KEY),
        sharing_across=frozenset(filter(None, _note(notes, SHARING_ACROSS).split(","))),
    )


def is_ours(service: t.Mapping[str, t.Any], classes: c.Container[str], default: bool) -> bool:
    """Whether LB-IPAM answers for this Service, or somebody else, or nobody."""
    spec = service["spec"]
    if spec.get("type") != "LoadBalancer":
        return False
    given = spec.get("loadBalancerClass")
    return default if given is None else given in classes


def _note(notes: t.Mapping[str, str], names: t.Sequence[str]) -> str:
    return next((str(notes[name]) for name in names if notes.get(name)), "")


def _addresses(texts: c.Iterable[str]) -> c.Iterator[Address]:
    """Those that can be read; Cilium leaves the others out and says so in its log only."""
    for text in texts:
        try:
            yield ipaddress.ip_address(text.strip())
        except ValueError:
            continue


class Allocation:
    """Who has which address. First all that is held and still right is kept, then the rest is served."""

    def __init__(self, pools: c.Sequence[Pool]) -> None:
        self.pools = sorted(pools, key=lambda pool: pool.name)
        self.owners: dict[Address, list[Request]] = {}

    def serve(self, requests: c.Sequence[Request]) -> None:
        for request in requests:
            self._keep(request)
        for request in requests:
            if request.satisfied:
                continue
            for address in request.wanted:
                self._grant_wanted(request, address)
            for family in sorted(request.families if not request.wanted else ()):
                if family not in {address.version for address in request.granted}:
                    self._grant_any(request, family)

    def _keep(self, request: Request) -> None:
        for address in request.held:
            asked = address in request.wanted if request.wanted else address.version in request.families
            pool = self._pool_of(address, request)
            if asked and pool is not None and self._may_have(request, address) == "":
                self._grant(request, address)

    def _pool_of(self, address: Address, request: Request, *, giving: bool = False) -> Pool | None:
        fitting = (p for p in self.pools if p.range_of(address) and p.selects(request.labels))
        return next((pool for pool in fitting if pool.gives or not giving), None)

    def _grant(self, request: Request, address: Address) -> None:
        request.granted.append(address)
        self.owners.setdefault(address, []).append(request)

    def _may_have(self, request: Request, address: Address) -> str:
        """Why not; "" when it may."""
        for owner in self.owners.get(address, ()):
            if not request.sharing_key:
                return "already allocated"
            why = incompatible(owner, request)
            if why:
                return why
        return ""

    def _grant_wanted(self, request: Request, address: Address) -> None:
        if address in request.granted:
            return
        holding = [pool for pool in self.pools if pool.gives and pool.range_of(address)]
        if not holding:
            request.refuse("no_pool", f"No pool exists with a CIDR containing '{address}'")
        elif not any(pool.selects(request.labels) for pool in holding):
            text = f"The pool with the CIDR containing '{address}', doesn't select this service"
            request.refuse("pool_selector_mismatch", text)
        elif address in self.owners and not request.sharing_key:
            request.refuse("already_allocated", f"The IP '{address}' is already allocated to another service")
        elif self._may_have(request, address):
            text = f"The IP '{address}' is already allocated to an incompatible service. Reason: "
            request.refuse("already_allocated_incompatible_service", text + self._may_have(request, address))
        else:
            self._grant(request, address)

    def _grant_any(self, request: Request, family: int) -> None:
        for address, owners in self.owners.items():
            shared = request.sharing_key and any(owner.sharing_key == request.sharing_key for owner in owners)
            usable = address.version == family and self._pool_of(address, request, giving=True) is not None
            if shared and usable and self._may_have(request, address) == "":
                self._grant(request, address)
                return
        fitting = [pool for pool in self.pools if pool.gives and pool.selects(request.labels)]
        ranges = [found for pool in fitting for found in pool.ranges if found.first.version == family]
        for found in ranges:
            free = (a for a in found.addresses() if a not in self.owners and a not in found.reserved)
            for address in free:
                self._grant(request, address)
                return
        if ranges:
            text = "All enabled CiliumLoadBalancerIPPools that match this service ran out of allocatable IPs"
            request.refuse("out_of_ips", text)
        else:
            request.refuse("no_pool", "There are no enabled CiliumLoadBalancerIPPools that match this service")


def incompatible(one: Request, other: Request) -> str:
    """Why two Services cannot share an address, in Cilium's words; "" when they can."""
    if one.sharing_key != other.sharing_key:
        return "different sharing key"
    if one.namespace != other.namespace:
        for owner, guest in ((one, other), (other, one)):
            if not {guest.namespace, "*"} & owner.sharing_across:
                return "different and not permitted namespace"
    if one.ports & other.ports:
        return "same port and protocol"
    if one.policy != other.policy:
        return "different ExternalTrafficPolicy"
    if one.policy == "Local" and (not one.selector or one.selector != other.selector):
        return "compatible ExternalTrafficPolicy local but selecting different set of pods"
    return ""
