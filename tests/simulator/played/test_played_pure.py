# SPDX-License-Identifier: GPL-3.0-or-later
"""What played controllers reckon, without a cluster."""

from __future__ import annotations

import ipaddress
import typing as t

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from simlab.cluster.played import PROGRAMS, program_of
from simlab.cluster.played.address_pools import pool_of, settle
from simlab.cluster.played.address_requests import Allocation, request_of
from simlab.cluster.played.beside import CONTROLLERS
from simlab.cluster.played.certificates import CertManager
from simlab.cluster.played.conditions import condition, merged
from simlab.cluster.played.gateway_controller import shortened
from simlab.cluster.played.l2_policies import BadPolicy, addresses_of, devices_of
from simlab.cluster.played.seat import Seat
from simlab.cluster.played.selectors import matches

Object = dict[str, t.Any]


def a_pool(number: int, first: int, size: int, disabled: bool, color: str | None) -> Object:
    start = ipaddress.ip_address("10.0.0.0") + first
    spec: Object = {"blocks": [{"start": str(start), "stop": str(start + size - 1)}], "disabled": disabled}
    spec |= {"serviceSelector": {"matchLabels": {"color": color}}} if color else {}
    return {"metadata": {"name": f"p{number}", "creationTimestamp": f"2026-01-01T00:00:{number:02d}Z"}, "spec": spec}


def a_service(number: int, wanted: int | None, color: str, key: str, port: int) -> Object:
    notes = {"lbipam.cilium.io/ips": str(ipaddress.ip_address("10.0.0.0") + wanted)} if wanted is not None else {}
    notes |= {"lbipam.cilium.io/sharing-key": key} if key else {}
    meta = {"name": f"s{number}", "namespace": "n", "labels": {"color": color}, "annotations": notes}
    return {"metadata": meta, "spec": {"type": "LoadBalancer", "ports": [{"port": port}], "ipFamilies": ["IPv4"]}}


COLORS = st.sampled_from(["red", "blue"])
POOLS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 5), st.booleans(), st.one_of(st.none(), COLORS)), max_size=4
)
SERVICES = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(0, 16)), COLORS, st.sampled_from(["", "k"]), st.integers(80, 82)),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(POOLS, SERVICES)
def test_addresses_are_given_once_from_pools_that_give_and_then_stay(pools: t.Any, services: t.Any) -> None:
    found = [pool_of(a_pool(number, *one)) for number, one in enumerate(pools)]
    settle(found)
    documents = [a_service(number, *one) for number, one in enumerate(services)]
    requests = [request_of(one) for one in documents]
    first = Allocation(found)
    first.serve(requests)
    for request in requests:
        assert request.satisfied or request.reason
        for address in request.granted:
            assert any(p.gives and p.range_of(address) and p.selects(request.labels) for p in found)
            others = [one for one in first.owners[address] if one is not request]
            assert all(
                one.sharing_key == request.sharing_key == "k" and not one.ports & request.ports for one in others
            )
    for document, request in zip(documents, requests, strict=True):
        document["status"] = {"loadBalancer": {"ingress": [{"ip": str(one)} for one in request.granted]}}
    again = [request_of(one) for one in documents]
    Allocation(found).serve(again)
    before = {one.name: one.granted for one in requests if one.granted}
    assert {name: granted for name, granted in ((one.name, one.granted) for one in again) if name in before} == before


@settings(max_examples=60, deadline=None)
@given(POOLS)
def test_of_pools_that_do_not_conflict_no_two_overlap(pools: t.Any) -> None:
    found = [pool_of(a_pool(number, *one)) for number, one in enumerate(pools)]
    settle(found)
    ranges = [one for pool in found if not pool.conflict for one in pool.ranges]
    assert not any(a.overlaps(b) for n, a in enumerate(ranges) for b in ranges[n + 1 :])


@pytest.mark.parametrize("block", [{"cidr": "10.0.0.0/33"}, {"start": "ten"}, {}])
def test_a_block_that_cannot_be_read(block: Object) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        pool_of({"metadata": {"name": "p"}, "spec": {"blocks": [block]}})


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        (None, True),
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_selectors(selector: Object | None, fits: bool) -> None:
    assert matches(selector, {"a": "1"}) is fits


@pytest.mark.parametrize(
    "requirement",
    [
        {"key": "a", "operator": "In"},
        {"key": "a", "operator": "Exists", "values": ["1"]},
        {"key": "a", "operator": "Is"},
    ],
)
def test_selectors_that_are_wrong(requirement: Object) -> None:
    with pytest.raises(ValueError, match="value|operator"):
        matches({"matchExpressions": [requirement]}, {})


def test_what_a_policy_announces() -> None:
    service = {
        "metadata": {"name": "web", "namespace": "n"},
        "spec": {"type": "LoadBalancer", "externalIPs": ["10.0.0.9"]},
        "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}},
    }
    assert addresses_of({"spec": {"loadBalancerIPs": True}}, service) == ["10.0.0.1"]
    assert addresses_of({"spec": {"externalIPs": True}}, service) == ["10.0.0.9"]
    assert addresses_of({"spec": {}}, service) == []
    other = service | {"spec": {"type": "LoadBalancer", "loadBalancerClass": "example.com/x"}}
    assert addresses_of({"spec": {"loadBalancerIPs": True}}, other) == []
    assert devices_of({"spec": {"interfaces": ["^eth", "18$"]}}, {}, ["ens18", "ens19", "eth0"]) == ["ens18", "eth0"]
    assert devices_of({}, {}, ["ens18"]) == ["ens18"]
    with pytest.raises(BadPolicy):
        devices_of({"spec": {"interfaces": ["["]}}, {}, ["ens18"])


def test_the_time_of_a_condition_changes_with_its_status_only() -> None:
    old = [condition("Ready", True, "A") | {"lastTransitionTime": "then"}, {"type": "Other", "status": "True"}]
    kept = merged(old, [condition("Ready", True, "B", "why", 3)])
    assert kept[0]["lastTransitionTime"] == "then" and kept[0]["reason"] == "B" and kept[0]["observedGeneration"] == 3
    assert kept[1] == old[1]
    assert merged(old, [condition("Ready", False, "B")])[0]["lastTransitionTime"] != "then"


def test_long_names_are_shortened_as_cilium_does() -> None:
    assert shortened("cilium-gateway-x") == "cilium-gateway-x"
    long = shortened("cilium-gateway-" + "x" * 60)
    assert len(long) == 63 and long.startswith("cilium-gateway-xxx") and long[52] == "-"


@pytest.mark.parametrize(
    ("image", "program"),
    [
        ("quay.io/cilium/operator-generic:v1.20.2@sha256:0", "cilium/operator"),
        ("quay.io/cilium/cilium:v1.20.2", "cilium/cilium"),
        ("quay.io/cilium/cilium-envoy:v1", None),
        ("quay.io/jetstack/cert-manager-controller:v1.21.2", "cert-manager-controller"),
        ("ghcr.io/sergelogvinov/proxmox-csi-node:v0.15.0", "proxmox-csi-node"),
        ("docker.io/rancher/local-path-provisioner:v0.0.32", "local-path-provisioner"),
        ("nginx", None),
    ],
)
def test_what_a_container_does(image: str, program: str | None) -> None:
    pod = {"spec": {"containers": [{"name": "c", "image": image}]}}
    assert program_of(pod, "c") is (PROGRAMS[program] if program else None)


def test_flags_of_a_container() -> None:
    container = {"args": ["--a=1", "--b", "2", "-c", "--d"], "command": ["/bin/x"]}
    seat = Seat(t.cast("t.Any", None), {}, container)
    assert [seat.flag(name) for name in ("a", "b", "c", "d", "e")] == ["1", "2", "true", "true", ""]


@pytest.mark.parametrize("name", sorted(CONTROLLERS))
def test_what_is_played_beside_a_cluster(name: str) -> None:
    pod = {"metadata": {"namespace": "kube-system", "name": "played", "uid": ""}}
    made = CONTROLLERS[name](Seat(t.cast("t.Any", None), pod, {}))
    assert made and all(one.kinds and not one.ready for one in made)


def test_beside_a_cluster_acme_has_an_authority_of_its_own() -> None:
    pod = {"metadata": {"namespace": "kube-system", "name": "played", "uid": ""}}
    (manager,) = CONTROLLERS["certificates"](Seat(t.cast("t.Any", None), pod, {}))
    pair = t.cast("CertManager", manager).authority
    assert pair is not None
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    certificate.verify_directly_issued_by(certificate)
