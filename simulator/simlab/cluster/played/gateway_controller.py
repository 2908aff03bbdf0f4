# SPDX-License-Identifier: GPL-3.0-or-later
"""Cilium's Gateway API: status of GatewayClasses, Gateways and routes, and the Service with a Gateway's address.

Not played: what would carry traffic (Envoy), ListenerSets, routes of a mesh (parents that are Services), policies,
UDPRoutes' backends beyond their references. A parent that is none of these Gateways gets no status.
"""

from __future__ import annotations

import hashlib
import ipaddress
import typing as t

from ..client import APPLY, KubeClient, KubeError
from .address_requests import IPS
from .conditions import Condition, condition, find, generation, merged, same, write_status
from .gateway_listeners import Judged, Surroundings, judge
from .gateway_refs import GROUP, is_gateway
from .gateway_routes import attached, judged
from .seat import Object
from .watching import Controller, Kind, key_of, served

CONTROLLER = "io.cilium/gateway-controller"
MANAGER = "cilium-operator-generic"
OWNING, NAMED = "io.cilium.gateway/owning-gateway", "gateway.networking.k8s.io/gateway-name"
ROUTES = {
    "httproutes": "HTTPRoute",
    "grpcroutes": "GRPCRoute",
    "tlsroutes": "TLSRoute",
    "tcproutes": "TCPRoute",
    "udproutes": "UDPRoute",
}
_REQUIRED = ("gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants")
_PENDING = ("Programmed", False, "Pending", "Address not ready yet")


async def missing(client: KubeClient) -> list[str]:
    """The definitions without which Cilium does not start its Gateway API. Raises KubeError."""
    return [f"{name}.{GROUP}" for name in _REQUIRED if not await served(client, Kind(GROUP, name))]


class GatewayController(Controller):
    name = "Gateway API"
    kinds = (
        *(Kind(GROUP, name) for name in _REQUIRED),
        *(Kind(GROUP, name, optional=True) for name in ROUTES if name not in _REQUIRED),
        *(Kind("", name) for name in ("services", "secrets", "namespaces")),
    )

    async def reconcile(self) -> None:
        classes = {one["metadata"]["name"] for one in self["gatewayclasses"] if await self._class(one)}
        around = Surroundings(
            grants=list(self["referencegrants"]),
            secrets=self["secrets"].objects,
            services=self["services"].objects,
            namespaces={n["metadata"]["name"]: n["metadata"].get("labels") or {} for n in self["namespaces"]},
        )
        ours = {key: gw for key, gw in self["gateways"].objects.items() if gw["spec"]["gatewayClassName"] in classes}
        counts = await self._routes(ours, around)
        staying = [gateway for gateway in ours.values() if not gateway["metadata"].get("deletionTimestamp")]
        await self.each(staying, lambda one: self._gateway(one, counts.get(key_of(one), {}), around))

    async def _class(self, found: Object) -> bool:
        """Whether a GatewayClass is ours and usable; says so in its status."""
        spec = found["spec"]
        if spec.get("controllerName") != CONTROLLER:
            return False
        usable = not spec.get("parametersRef")  # CiliumGatewayClassConfigs are not played
        reason = ("Accepted", "Valid GatewayClass") if usable else ("InvalidParameters", "Invalid GatewayClass")
        told = [condition("Accepted", usable, *reason, generation(found))]
        conditions = merged((found.get("status") or {}).get("conditions"), told)
        await write_status(self.client, self["gatewayclasses"], found, {"conditions": conditions}, MANAGER)
        return usable

    # --- routes
    async def _routes(
        self, ours: t.Mapping[tuple[str, str], Object], around: Surroundings
    ) -> dict[tuple[str, str], dict[str, int]]:
        """Write all routes' status; how many are attached to which listener of which Gateway."""
        counts: dict[tuple[str, str], dict[str, int]] = {}

        async def look_at(found: Object) -> None:
            kind = next(kind for plural, kind in ROUTES.items() if self[plural].objects.get(key_of(found)) is found)
            plural = f"{kind.lower()}s"
            for key, name in await self._route(plural, found, found | {"kind": kind}, ours, around):
                listeners = counts.setdefault(key, {})
                listeners[name] = listeners.get(name, 0) + 1

        await self.each([found for plural in ROUTES for found in self[plural]], look_at)
        return counts

    async def _route(
        self,
        plural: str,
        found: Object,
        route: Object,
        ours: t.Mapping[tuple[str, str], Object],
        around: Surroundings,
    ) -> set[tuple[tuple[str, str], str]]:
        before = (found.get("status") or {}).get("parents") or []
        parents = [one for one in before if one["controllerName"] != CONTROLLER]
        taken: set[tuple[tuple[str, str], str]] = set()
        for parent in found["spec"].get("parentRefs") or ():
            key = (parent.get("namespace") or found["metadata"]["namespace"], parent["name"])
            gateway = ours.get(key) if is_gateway(parent) else None
            if gateway is None:
                continue
            told = judged(route, parent, gateway, around)
            old = [one for one in before if one["controllerName"] == CONTROLLER and same(one["parentRef"], parent)]
            conditions = merged(old[0]["conditions"] if old else (), told)
            parents.append({"parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions})
            taken |= {(key, name) for name in attached(route, parent, gateway, around)}
        if parents or before:
            await write_status(self.client, self[plural], found, {"parents": parents}, MANAGER)
        return taken

    # --- gateways
    async def _gateway(self, gateway: Object, counts: t.Mapping[str, int], around: Surroundings) -> None:
        seen = generation(gateway)
        bad = _bad_request(gateway)
        if bad is not None:
            await self._tell(gateway, [condition(*one, seen) for one in bad], None, None)
            return
        listeners = judge(gateway, around)
        if not any(listener.valid for listener in listeners):
            reason = ("ListenersNotValid", "No Accepted Listeners")
            told = [condition("Accepted", False, *reason, seen), condition("Programmed", False, *reason, seen)]
            await self._tell(gateway, told, self._listeners(gateway, listeners, counts, programmed=False), None)
            return
        reason = ("Accepted", "Gateway successfully scheduled")
        if any(listener.reason == "UnsupportedProtocol" for listener in listeners):
            reason = ("ListenersNotValid", "Gateway has unsupported listeners")
        try:
            service = await self._service(gateway, listeners)
        except KubeError as error:
            if error.code in (0, 409):
                raise
            reason = ("NoResources", "Unable to create Service resource")
            told = [condition("Accepted", False, *reason, seen), condition("Programmed", False, *reason, seen)]
            await self._tell(gateway, told, self._listeners(gateway, listeners, counts, programmed=False), None)
            raise
        addresses = _addresses(service)
        told = [condition("Accepted", True, *reason, seen), condition(*_programmed(gateway, addresses), seen)]
        shown = self._listeners(gateway, listeners, counts, programmed=bool(addresses))
        await self._tell(gateway, told, shown, addresses)

    def _listeners(
        self, gateway: Object, listeners: list[Judged], counts: t.Mapping[str, int], *, programmed: bool
    ) -> list[Object]:
        before = {one["name"]: one for one in (gateway.get("status") or {}).get("listeners") or ()}
        ready = ("Programmed", True, "Programmed", "Listener Programmed")
        found = []
        for one in listeners:
            told = [*one.conditions, condition(*(ready if programmed and one.valid else _PENDING), generation(gateway))]
            old = before.get(one.name, {}).get("conditions") or ()
            # what is not told any more (Conflicted, say) goes
            old = [known for known in old if find(told, known["type"])]
            found.append({
                "name": one.name,
                "supportedKinds": one.kinds,
                "conditions": merged(old, told),
                "attachedRoutes": counts.get(one.name, 0),
            })  # fmt: skip
        return found

    async def _tell(
        self, gateway: Object, told: list[Condition], listeners: list[Object] | None, addresses: list[Object] | None
    ) -> None:
        before = gateway.get("status") or {}
        status: Object = {"conditions": merged(before.get("conditions"), told)}
        if listeners is not None:
            status["listeners"] = listeners
        if addresses is not None:
            status["addresses"] = addresses
        await write_status(self.client, self["gateways"], gateway, status, MANAGER)

    async def _service(self, gateway: Object, listeners: list[Judged]) -> Object | None:
        """The Service of type LoadBalancer that a Gateway listens by; as it is now."""
        wanted = _desired_service(gateway, [one.name for one in listeners if one.valid])
        meta = wanted["metadata"]
        found = self["services"].get(meta["namespace"], meta["name"])
        if found is not None and _covers(found, wanted):
            return found
        path = self["services"].path(meta["namespace"], meta["name"])
        query = {"fieldManager": MANAGER, "force": "true"}
        return await self.client.call("PATCH", path, wanted, content_type=APPLY, query=query)


def _bad_request(gateway: Object) -> list[tuple[str, t.Any, str, str]] | None:
    """Conditions of a Gateway that asks for what Cilium does not have; None when it does not."""
    spec = gateway["spec"]
    if (spec.get("infrastructure") or {}).get("parametersRef"):
        text = "Invalid Gateway parameters: spec.infrastructure.parametersRef is not supported"
        waiting = ("Programmed", "Unknown", "Pending", "Waiting for Accepted condition to be True")
        return [("Accepted", False, "InvalidParameters", text), waiting]
    for address in spec.get("addresses") or ():
        wrong = ""
        if address.get("type", "IPAddress") != "IPAddress":
            wrong = "address type is not supported"
        elif not address.get("value"):
            wrong = "address value is not set"
        elif not _is_address(address["value"]):
            wrong = "invalid ip address"
        if wrong:
            text = f"Unsupported Gateway address, {wrong}"
            not_ready = ("Programmed", False, "ListenersNotReady", "Address is not ready")
            return [("Accepted", False, "UnsupportedAddress", text), not_ready]
    return None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _programmed(gateway: Object, addresses: list[Object]) -> tuple[str, bool, str, str]:
    if not addresses:
        return "Programmed", False, "AddressNotAssigned", "Gateway waiting for address"
    have = {ipaddress.ip_address(one["value"]) for one in addresses if one["type"] == "IPAddress"}
    for wanted in gateway["spec"].get("addresses") or ():
        if ipaddress.ip_address(wanted["value"]) not in have:
            return "Programmed", False, "AddressNotUsable", f'StaticAddress "{wanted["value"]}" can\'t be used'
    return "Programmed", True, "Programmed", "Gateway Programmed"


def _addresses(service: Object | None) -> list[Object]:
    ingress = (((service or {}).get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    found: list[Object] = []
    for entry in ingress:
        found += [{"type": "IPAddress", "value": entry["ip"]}] if entry.get("ip") else []
        found += [{"type": "Hostname", "value": entry["hostname"]}] if entry.get("hostname") else []
    return found


def _desired_service(gateway: Object, valid: list[str]) -> Object:
    meta, spec = gateway["metadata"], gateway["spec"]
    added = spec.get("infrastructure") or {}
    notes = {str(key): str(value) for key, value in (added.get("annotations") or {}).items()}
    wanted = ",".join(address["value"] for address in spec.get("addresses") or ())
    if wanted and not any(notes.get(name) for name in IPS):
        notes[IPS[1]] = wanted
    listeners = [one for one in spec["listeners"] if one["name"] in valid]
    ports = sorted({(one["port"], "UDP" if one["protocol"] == "UDP" else "TCP") for one in listeners})
    short = shortened(meta["name"])
    owner = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": shortened(f"cilium-gateway-{meta['name']}"),
            "namespace": meta["namespace"],
            "labels": {**(added.get("labels") or {}), OWNING: short, NAMED: short},
            "annotations": notes,
            "ownerReferences": [owner],
        },
        "spec": {
            "type": "LoadBalancer",
            "ports": [
                {"name": f"port-{port}" + ("-udp" if way == "UDP" else ""), "port": port, "protocol": way}
                for port, way in ports
            ],
        },
    }


def _covers(found: Object, wanted: Object) -> bool:
    """Whether the Service is as it shall be; what others have added stays. An address that is not asked for any more is
    a difference, as the annotation was ours."""
    have, meta = found["metadata"], wanted["metadata"]
    named = {key: (have.get("annotations") or {}).get(key) for key in (*meta["annotations"], *IPS)}
    if {key: value for key, value in named.items() if value is not None} != meta["annotations"]:
        return False
    if any((have.get("labels") or {}).get(key) != value for key, value in meta["labels"].items()):
        return False
    ports = [{key: port[key] for key in ("name", "port", "protocol")} for port in found["spec"].get("ports") or ()]
    return bool(found["spec"].get("type") == "LoadBalancer" and ports == wanted["spec"]["ports"])


def shortened(name: str) -> str:
    """At most 63 characters, as Cilium shortens names."""
    if len(name) <= 63:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{name[:52]}-{digest.translate(str.maketrans('013ae', 'ghkmt'))}"
