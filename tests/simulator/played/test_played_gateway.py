# SPDX-License-Identifier: GPL-3.0-or-later
"""The played Gateway API on a real API server with the API's own definitions: one test for each reason."""

from __future__ import annotations

import asyncio
import base64
import collections.abc as c
import typing as t

import pytest
from playedlab import Object, PlayedCluster, of_list, told

from simlab.cluster.played.gateway_refs import meet

OURS, V1 = "io.cilium/gateway-controller", "gateway.networking.k8s.io/v1"


def gateway(namespace: str, *listeners: Object, name: str = "gw", cls: str = "cilium", **spec: t.Any) -> Object:
    meta = {"name": name, "namespace": namespace}
    body = {"gatewayClassName": cls, "listeners": list(listeners), **spec}
    return {"apiVersion": V1, "kind": "Gateway", "metadata": meta, "spec": body}


def listener(name: str = "http", port: int = 80, protocol: str = "HTTP", **more: t.Any) -> Object:
    return {"name": name, "port": port, "protocol": protocol, **more}


def https(*secrets: Object, name: str = "https", port: int = 443, **more: t.Any) -> Object:
    return listener(name, port, "HTTPS", tls={"certificateRefs": list(secrets)}, **more)


def route(
    namespace: str, name: str = "r", kind: str = "HTTPRoute", *, parent: Object | None = None, **spec: t.Any
) -> Object:
    body = {"parentRefs": [{"name": "gw", **(parent or {})}], "rules": [{"backendRefs": [BACKEND]}], **spec}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": V1, "kind": kind, "metadata": meta, "spec": body}


BACKEND = {"name": "app", "port": 80}


def service(namespace: str, name: str = "app") -> Object:
    spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def tls_secret(namespace: str, name: str, certificate: bytes, key: bytes) -> Object:
    data = {"tls.crt": base64.b64encode(certificate).decode(), "tls.key": base64.b64encode(key).decode()}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": meta, "data": data}


def grant(namespace: str, source: tuple[str, str], group: str, kind: str) -> Object:
    spec = {
        "from": [{"group": "gateway.networking.k8s.io", "kind": source[0], "namespace": source[1]}],
        "to": [{"group": group, "kind": kind}],
    }
    meta = {"name": "grant", "namespace": namespace}
    return {"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant", "metadata": meta, "spec": spec}


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    from netlab import authority

    made = authority("test")
    return base64.b64decode(made["crt"]), base64.b64decode(made["key"])


@pytest.fixture(scope="module")
def lab(played: PlayedCluster) -> c.Iterator[PlayedCluster]:
    meta = {"name": "gateways"}
    spec = {"blocks": [{"start": "10.99.0.200", "stop": "10.99.0.249"}]}
    pool = {"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumLoadBalancerIPPool", "metadata": meta, "spec": spec}
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    definition["metadata"] = {"name": "ciliumloadbalancerippools.cilium.io"}  # type: ignore[assignment]
    played.until(definition, lambda one: told(one, "Established")[0] == "True", "pools registered", 40.0)
    played.apply(pool)
    yield played
    played.delete(pool)


@pytest.fixture
def place(lab: PlayedCluster) -> c.Iterator[str]:
    """A namespace with a backend; its Gateways go with the test."""
    name = lab.namespace(team="a")
    lab.apply(service(name))
    yield name
    for found in lab.call("GET", f"/apis/{V1}/namespaces/{name}/gateways")["items"]:
        lab.call("DELETE", f"/apis/{V1}/namespaces/{name}/gateways/{found['metadata']['name']}")


def programmed(found: Object) -> bool:
    return told(found, "Programmed")[0] == "True"


def attached(found: Object) -> list[int]:
    return [one["attachedRoutes"] for one in (found.get("status") or {}).get("listeners") or ()]


def of_listener(found: Object, name: str, kind: str) -> tuple[str, str, str]:
    listeners = {one["name"]: one for one in (found.get("status") or {}).get("listeners", [])}
    return of_list(listeners.get(name, {}).get("conditions"), kind)


def of_parent(found: Object, kind: str, place: int = 0) -> tuple[str, str, str]:
    parents = [one for one in (found.get("status") or {}).get("parents") or [] if one["controllerName"] == OURS]
    return of_list(parents[place]["conditions"], kind) if len(parents) > place else ("", "", "")


# --- classes and gateways
def test_the_class_of_the_controllers_name_is_accepted(lab: PlayedCluster) -> None:
    mine = {"apiVersion": V1, "kind": "GatewayClass", "metadata": {"name": "cilium"}}
    other = mine | {"metadata": {"name": "other"}, "spec": {"controllerName": "example.com/controller"}}
    lab.apply(other)
    found = lab.until(mine, lambda one: told(one, "Accepted")[0] == "True", "accepted")
    assert told(found, "Accepted") == ("True", "Accepted", "Valid GatewayClass")
    assert told(lab.live(other), "Accepted")[:2] == ("Unknown", "Pending")


def test_a_class_with_unknown_parameters_is_invalid(lab: PlayedCluster, place: str) -> None:
    parameters = {"group": "example.com", "kind": "Config", "name": "x"}
    spec = {"controllerName": OURS, "parametersRef": parameters}
    wrong = {"apiVersion": V1, "kind": "GatewayClass", "metadata": {"name": "wrong"}, "spec": spec}
    lab.apply(wrong)
    lab.until(wrong, lambda one: told(one, "Accepted")[:2] == ("False", "InvalidParameters"), "refused")


def test_a_gateway_is_programmed_with_an_address(lab: PlayedCluster, place: str) -> None:
    wanted = gateway(place, listener())
    lab.apply(wanted)
    found = lab.until(wanted, programmed, "programmed")
    assert told(found, "Accepted") == ("True", "Accepted", "Gateway successfully scheduled")
    assert told(found, "Programmed") == ("True", "Programmed", "Gateway Programmed")
    assert found["status"]["addresses"][0]["value"].startswith("10.99.0.2")
    assert of_listener(found, "http", "Programmed") == ("True", "Programmed", "Listener Programmed")
    assert of_listener(found, "http", "ResolvedRefs")[:2] == ("True", "ResolvedRefs")
    assert found["status"]["listeners"][0]["attachedRoutes"] == 0
    made = lab.call("GET", f"/api/v1/namespaces/{place}/services/cilium-gateway-gw")
    assert made["spec"]["type"] == "LoadBalancer" and made["spec"]["ports"][0]["port"] == 80
    assert made["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]
    assert {one["observedGeneration"] for one in found["status"]["conditions"]} == {found["metadata"]["generation"]}


def test_a_gateway_gets_the_address_that_it_asks_for(lab: PlayedCluster, place: str) -> None:
    wanted = gateway(place, listener(), addresses=[{"type": "IPAddress", "value": "10.99.0.222"}])
    lab.apply(wanted)
    found = lab.until(wanted, programmed, "programmed")
    assert [one["value"] for one in found["status"]["addresses"]] == ["10.99.0.222"]


def test_an_address_outside_of_the_pools_is_not_assigned(lab: PlayedCluster, place: str) -> None:
    wanted = gateway(place, listener(), addresses=[{"type": "IPAddress", "value": "10.1.2.3"}])
    lab.apply(wanted)
    text = "Gateway waiting for address"
    lab.until(wanted, lambda one: told(one, "Programmed") == ("False", "AddressNotAssigned", text), "no address")
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cilium-gateway-gw", "namespace": place}}
    why = lab.until(made, lambda one: told(one, "cilium.io/IPAMRequestSatisfied")[0] == "False", "refused")
    assert told(why, "cilium.io/IPAMRequestSatisfied")[2] == "No pool exists with a CIDR containing '10.1.2.3'"


def test_an_address_that_is_a_name_is_not_supported(lab: PlayedCluster, place: str) -> None:
    wanted = gateway(place, listener(), addresses=[{"type": "Hostname", "value": "a.example"}])
    lab.apply(wanted)
    text = "Unsupported Gateway address, address type is not supported"
    lab.until(wanted, lambda one: told(one, "Accepted") == ("False", "UnsupportedAddress", text), "refused")


def test_a_service_that_cannot_be_made_keeps_no_other_gateway_from_its_own(lab: PlayedCluster, place: str) -> None:
    other = lab.namespace()
    hard = {"services.loadbalancers": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": other}}
    lab.apply(quota | {"spec": {"hard": hard}})
    lab.until(quota, lambda one: (one.get("status") or {}).get("hard") == hard, "the quota known")
    poor, rich = gateway(other, listener()), gateway(place, listener())
    lab.apply(poor)
    text = "Unable to create Service resource"
    lab.until(poor, lambda one: told(one, "Programmed") == ("False", "NoResources", text), "told")
    lab.apply(rich)
    lab.until(rich, programmed, "programmed")
    lab.delete(quota)
    lab.until(poor, programmed, "programmed without the quota", 40.0)
    lab.delete(poor)


def test_a_gateway_of_another_class_is_left_alone(lab: PlayedCluster, place: str) -> None:
    wanted = gateway(place, listener(), cls="nobody")
    marker = gateway(place, listener(), name="marker")
    lab.apply(wanted, marker)
    lab.until(marker, programmed, "the marker programmed")
    assert told(lab.live(wanted), "Accepted")[:2] == ("Unknown", "Pending")


# --- listeners
def test_a_certificate_that_is_missing(lab: PlayedCluster, place: str, pair: tuple[bytes, bytes]) -> None:
    wanted = gateway(place, listener(), https({"name": "cert"}))
    lab.apply(wanted)
    found = lab.until(wanted, lambda one: of_listener(one, "https", "ResolvedRefs")[0] == "False", "unresolved")
    assert of_listener(found, "https", "ResolvedRefs") == ("False", "InvalidCertificateRef", "Invalid CertificateRef")
    text = 'Listener not valid. Invalid CertificateRef, Secret "cert" not found'
    assert of_listener(found, "https", "Accepted") == ("False", "Invalid", text)
    lab.until(wanted, programmed, "programmed by the other listener")
    lab.apply(tls_secret(place, "cert", *pair))
    lab.until(wanted, lambda one: of_listener(one, "https", "Programmed")[0] == "True", "resolved")


def test_a_certificate_that_is_none(lab: PlayedCluster, place: str, pair: tuple[bytes, bytes]) -> None:
    wanted = gateway(place, https({"name": "cert"}))
    bad = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert", "namespace": place}}
    lab.apply(bad | {"data": {"tls.crt": "bm8=", "tls.key": "bm8="}}, wanted)
    found = lab.until(wanted, lambda one: told(one, "Accepted")[0] == "False", "no valid listener")
    assert told(found, "Accepted") == ("False", "ListenersNotValid", "No Accepted Listeners")
    assert told(found, "Programmed")[1] == "ListenersNotValid"
    assert of_listener(found, "https", "Accepted")[2].endswith("PEM format error in TLS Certificate")


def test_a_certificate_of_another_namespace_needs_a_grant(
    lab: PlayedCluster, place: str, pair: tuple[bytes, bytes]
) -> None:
    other = lab.namespace()
    wanted = gateway(place, https({"name": "cert", "namespace": other}))
    lab.apply(tls_secret(other, "cert", *pair), wanted)
    found = lab.until(wanted, lambda one: of_listener(one, "https", "ResolvedRefs")[0] == "False", "unresolved")
    text = "CertificateRef is not permitted"
    assert of_listener(found, "https", "ResolvedRefs") == ("False", "RefNotPermitted", text)
    lab.apply(grant(other, ("Gateway", place), "", "Secret"))
    lab.until(wanted, programmed, "programmed with the grant")


@pytest.mark.parametrize(
    ("listeners", "reason"),
    [
        ([listener("a", hostname="a.example"), listener("b", protocol="TCP")], "ProtocolConflict"),
        (
            [
                listener("a", 443, "TLS", hostname="*.example", tls={"mode": "Passthrough"}),
                https({"name": "cert"}, name="b", hostname="b.example"),
            ],
            "ProtocolConflict",
        ),
    ],
)
def test_listeners_that_cannot_stand_together(
    lab: PlayedCluster, place: str, pair: tuple[bytes, bytes], listeners: list[Object], reason: str
) -> None:
    wanted = gateway(place, *listeners)
    lab.apply(tls_secret(place, "cert", *pair), wanted)
    found = lab.until(wanted, lambda one: of_listener(one, "a", "Conflicted")[0] == "True", "a conflict")
    assert of_listener(found, "a", "Conflicted")[1] == of_listener(found, "b", "Conflicted")[1] == reason
    assert told(found, "Accepted")[1] == "ListenersNotValid"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (listener("bad", 9000, "example.com/other"), "UnsupportedProtocol"),
        (
            listener("bad", 9000, "TLS", tls={"mode": "Terminate", "certificateRefs": [{"name": "cert"}]}),
            "UnsupportedValue",
        ),
        (listener("bad", 9000, allowedRoutes={"kinds": [{"kind": "TLSRoute"}]}), "Invalid"),
    ],
)
def test_a_listener_that_is_not_supported(
    lab: PlayedCluster, place: str, pair: tuple[bytes, bytes], wrong: Object, reason: str
) -> None:
    wanted = gateway(place, listener(), wrong)
    lab.apply(tls_secret(place, "cert", *pair), wanted)
    found = lab.until(wanted, lambda one: of_listener(one, "bad", "Accepted")[0] == "False", "refused")
    assert of_listener(found, "bad", "Accepted")[1] == reason
    assert told(found, "Accepted")[0] == "True"


# --- routes
KINDS = {
    "HTTPRoute": listener(),
    "GRPCRoute": listener(),
    "TLSRoute": listener("tls", 443, "TLS", tls={"mode": "Passthrough"}),
    "TCPRoute": listener("tcp", 5432, "TCP"),
    "UDPRoute": listener("udp", 53, "UDP"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_route_is_attached(lab: PlayedCluster, place: str, kind: str) -> None:
    names = {"hostnames": ["a.example"]} if kind == "TLSRoute" else {}
    wanted, mine = gateway(place, KINDS[kind]), route(place, kind=kind, **names)
    lab.apply(wanted, mine)
    found = lab.until(mine, lambda one: of_parent(one, "Accepted")[0] == "True", "accepted")
    assert of_parent(found, "Accepted") == ("True", "Accepted", f"Accepted {kind}")
    assert of_parent(found, "ResolvedRefs") == ("True", "ResolvedRefs", "Service reference is valid")
    assert found["status"]["parents"][0]["parentRef"]["name"] == "gw"
    lab.until(wanted, lambda one: attached(one) == [1], "counted")


def _refused(lab: PlayedCluster, wanted: Object) -> tuple[str, str, str]:
    return of_parent(lab.until(wanted, lambda one: of_parent(one, "Accepted")[0] == "False", "refused"), "Accepted")


def test_a_route_of_another_namespace_is_not_allowed(lab: PlayedCluster, place: str) -> None:
    other = lab.namespace(team="b")
    wanted = gateway(place, listener())
    mine = route(other, parent={"namespace": place})
    lab.apply(service(other), wanted, mine)
    text = "HTTPRoute is not allowed to attach to this Gateway due to namespace restrictions"
    assert _refused(lab, mine) == ("False", "NotAllowedByListeners", text)
    chosen = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "b"}}}}
    lab.apply(gateway(place, listener(allowedRoutes=chosen)))
    lab.until(mine, lambda one: of_parent(one, "Accepted")[0] == "True", "allowed by its label")


def test_a_route_of_another_kind_is_not_allowed(lab: PlayedCluster, place: str) -> None:
    mine = route(place)
    lab.apply(gateway(place, listener(allowedRoutes={"kinds": [{"kind": "GRPCRoute"}]})), mine)
    text = "HTTPRoute is not allowed to attach to this Gateway due to route kind restrictions"
    assert _refused(lab, mine) == ("False", "NotAllowedByListeners", text)


def test_a_route_whose_protocol_no_listener_has(lab: PlayedCluster, place: str) -> None:
    mine = route(place, kind="TCPRoute")
    lab.apply(gateway(place, listener()), mine)
    text = "No matching listener protocol; route requires one of: [TCP]"
    assert _refused(lab, mine) == ("False", "NotAllowedByListeners", text)


def test_a_hostname_that_no_listener_has(lab: PlayedCluster, place: str) -> None:
    mine = route(place, hostnames=["a.other"])
    wanted = gateway(place, listener(hostname="*.example"))
    lab.apply(wanted, mine)
    assert _refused(lab, mine) == ("False", "NoMatchingListenerHostname", "No matching listener hostname")
    lab.apply(route(place, hostnames=["a.example"]))
    lab.until(wanted, lambda one: attached(one) == [1], "attached")


def test_a_section_that_the_gateway_does_not_have(lab: PlayedCluster, place: str) -> None:
    mine = route(place, parent={"sectionName": "https"})
    lab.apply(gateway(place, listener()), mine)
    assert _refused(lab, mine) == ("False", "NoMatchingParent", "No matching listener with sectionName https")


def test_a_backend_that_is_not_there(lab: PlayedCluster, place: str) -> None:
    mine = route(place, rules=[{"backendRefs": [{"name": "none", "port": 80}]}])
    lab.apply(gateway(place, listener()), mine)
    found = lab.until(mine, lambda one: of_parent(one, "ResolvedRefs")[0] == "False", "unresolved")
    assert of_parent(found, "ResolvedRefs") == ("False", "BackendNotFound", 'Service "none" not found')
    assert of_parent(found, "Accepted")[0] == "True"
    lab.apply(service(place, "none"))
    lab.until(mine, lambda one: of_parent(one, "ResolvedRefs")[0] == "True", "resolved")


@pytest.mark.parametrize(
    ("backend", "reason", "message"),
    [
        ({"name": "app", "port": 81}, "BackendNotFound", "Service port 81 could not be resolved for backend {}/app"),
        (
            {"name": "x", "kind": "Bucket", "group": "example.com", "port": 1},
            "InvalidKind",
            "Unsupported backend kind Bucket",
        ),
    ],
)
def test_a_backend_that_is_wrong(lab: PlayedCluster, place: str, backend: Object, reason: str, message: str) -> None:
    mine = route(place, rules=[{"backendRefs": [backend]}])
    lab.apply(gateway(place, listener()), mine)
    found = lab.until(mine, lambda one: of_parent(one, "ResolvedRefs")[0] == "False", "unresolved")
    assert of_parent(found, "ResolvedRefs") == ("False", reason, message.format(place))


def test_a_backend_of_another_namespace_needs_a_grant(lab: PlayedCluster, place: str) -> None:
    other = lab.namespace()
    mine = route(place, rules=[{"backendRefs": [{"name": "app", "namespace": other, "port": 80}]}])
    lab.apply(service(other), gateway(place, listener()), mine)
    found = lab.until(mine, lambda one: of_parent(one, "ResolvedRefs")[0] == "False", "unresolved")
    text = "Cross namespace references are not allowed"
    assert of_parent(found, "ResolvedRefs") == ("False", "RefNotPermitted", text)
    lab.apply(grant(other, ("HTTPRoute", place), "", "Service"))
    lab.until(mine, lambda one: of_parent(one, "ResolvedRefs")[0] == "True", "permitted")


THEIRS = {
    "type": "Accepted",
    "status": "True",
    "reason": "Accepted",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def test_an_unknown_parent_gets_no_status_and_others_keep_theirs(lab: PlayedCluster, place: str) -> None:
    parents = [{"name": "nobody"}, {"name": "gw"}]
    mine = route(place, parentRefs=parents)
    lab.apply(mine)
    theirs = {"parentRef": {"name": "nobody"}, "controllerName": "example.com/other", "conditions": [THEIRS]}
    body = {"status": {"parents": [theirs]}}
    lab.call("PATCH", f"{lab.path(mine)}/status", body, content_type="application/merge-patch+json")
    lab.apply(gateway(place, listener()))
    found = lab.until(mine, lambda one: of_parent(one, "Accepted")[0] == "True", "accepted")
    names = [(one["parentRef"]["name"], one["controllerName"]) for one in found["status"]["parents"]]
    assert names == [("nobody", "example.com/other"), ("gw", OURS)]
    lab.delete(gateway(place))
    lab.until(mine, lambda one: len(one["status"]["parents"]) == 1, "our status gone with the Gateway")


def test_nothing_is_written_while_nothing_changes(lab: PlayedCluster, place: str) -> None:
    wanted, mine = gateway(place, listener()), route(place)
    lab.apply(wanted, mine)
    lab.until(wanted, lambda one: programmed(one) and attached(one) == [1], "settled")
    lab.loop.run(asyncio.sleep(1.0))
    mark = lab.mark()
    lab.patch(service(place), {"metadata": {"labels": {"touched": "yes"}}})
    lab.loop.run(asyncio.sleep(1.0))
    assert [text for text in lab.writes_since(mark, "operator-generic") if f"/{place}/" in text] == []


@pytest.mark.parametrize(
    ("listening", "asked", "met"),
    [
        (None, "a.example", True),
        ("", "*.example", True),
        ("*.example", "a.example", True),
        ("*.example", "a.b.example", True),
        ("*.example", "example", False),
        ("*.example", "*.a.example", True),
        ("*.a.example", "*.example", True),
        ("a.example", "*.example", True),
        ("a.example", "b.example", False),
        ("a.example", "*.other", False),
    ],
)
def test_hostnames_meet(listening: str | None, asked: str, met: bool) -> None:
    assert meet(listening, asked) is met
