# SPDX-License-Identifier: GPL-3.0-or-later
"""LB-IPAM and L2 announcements of the played Cilium, on a real API server: one test for each reason."""

from __future__ import annotations

import asyncio
import collections.abc as c
import contextlib
import subprocess
import typing as t

import pytest
from playedlab import Object, PlayedCluster, told

SATISFIED = "cilium.io/IPAMRequestSatisfied"
CONFLICT = "cilium.io/PoolConflict"


def pool(name: str, first: str, last: str, **spec: t.Any) -> Object:
    body = {"blocks": [{"start": first, "stop": last}], **spec}
    return {"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumLoadBalancerIPPool", "metadata": {"name": name}} | {
        "spec": body
    }


def policy(name: str, **spec: t.Any) -> Object:
    meta = {"name": name}
    body = {"loadBalancerIPs": True, **spec}
    return {"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumL2AnnouncementPolicy", "metadata": meta, "spec": body}


def service(
    namespace: str, name: str, *, notes: Object | None = None, labels: Object | None = None, **spec: t.Any
) -> Object:
    meta = {"name": name, "namespace": namespace, "annotations": notes or {}, "labels": labels or {}}
    body = {"type": "LoadBalancer", "selector": {"app": name}, "ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": body}


def addresses(found: Object) -> list[str]:
    return [one["ip"] for one in found["status"].get("loadBalancer", {}).get("ingress", [])]


def satisfied(found: Object) -> bool:
    return told(found, SATISFIED)[0] == "True"


@pytest.fixture
def lab(played: PlayedCluster) -> c.Iterator[PlayedCluster]:
    """Without pools and policies of the test before."""
    made: list[Object] = []
    apply = played.apply

    def remembered(*objects: Object) -> None:
        made.extend(one for one in objects if one not in made)
        apply(*objects)

    played.apply = remembered  # type: ignore[method-assign]
    ready = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    for name in ("ciliumloadbalancerippools", "ciliuml2announcementpolicies"):
        definition = ready | {"metadata": {"name": f"{name}.cilium.io"}}
        played.until(definition, lambda one: told(one, "Established")[0] == "True", f"{name} registered", 40.0)
    yield played
    played.apply = apply  # type: ignore[method-assign]
    played.delete(*made)


def test_a_service_gets_an_address_of_the_pool(lab: PlayedCluster) -> None:
    wanted = service(lab.namespace(), "web")
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109"), wanted)
    found = lab.until(wanted, satisfied, "satisfied")
    assert addresses(found) == ["10.99.0.100"]
    assert told(found, SATISFIED) == ("True", "satisfied", "")
    shown = lab.until(pool("one", "", ""), lambda one: told(one, "cilium.io/IPsUsed")[2] == "1", "one address used")
    assert told(shown, "cilium.io/IPsTotal") == ("Unknown", "noreason", "10")
    assert told(shown, "cilium.io/IPsAvailable")[2] == "9"
    assert told(shown, CONFLICT) == ("False", "resolved", "")


@pytest.mark.parametrize("note", ["lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips"])
def test_a_service_gets_the_address_that_it_asks_for(lab: PlayedCluster, note: str) -> None:
    wanted = service(lab.namespace(), "web", notes={note: "10.99.0.105"})
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109"), wanted)
    assert addresses(lab.until(wanted, satisfied, "satisfied")) == ["10.99.0.105"]


def test_another_address_is_given_when_another_is_asked_for(lab: PlayedCluster) -> None:
    place = lab.namespace()
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109"), service(place, "web"))
    lab.until(service(place, "web"), satisfied, "satisfied")
    lab.apply(service(place, "web", notes={"lbipam.cilium.io/ips": "10.99.0.107"}))
    lab.until(service(place, "web"), lambda one: addresses(one) == ["10.99.0.107"], "the other address")


def test_without_a_pool_nothing_is_said(lab: PlayedCluster) -> None:
    wanted = service(lab.namespace(), "web")
    lab.apply(wanted)
    lab.loop.run(asyncio.sleep(0.5))
    assert told(lab.live(wanted), SATISFIED) == ("", "", "")


def _refused(lab: PlayedCluster, wanted: Object) -> tuple[str, str, str]:
    found = lab.until(wanted, lambda one: told(one, SATISFIED)[0] == "False", "refused")
    assert addresses(found) == []
    return told(found, SATISFIED)


def test_a_pool_that_is_exhausted(lab: PlayedCluster) -> None:
    place = lab.namespace()
    lab.apply(pool("one", "10.99.0.100", "10.99.0.100"), service(place, "first"))
    lab.until(service(place, "first"), satisfied, "satisfied")
    second = service(place, "second")
    lab.apply(second)
    text = "All enabled CiliumLoadBalancerIPPools that match this service ran out of allocatable IPs"
    assert _refused(lab, second) == ("False", "out_of_ips", text)
    lab.delete(service(place, "first"))
    assert addresses(lab.until(second, satisfied, "satisfied by the freed address")) == ["10.99.0.100"]


def test_a_disabled_pool_gives_nothing_new_and_takes_nothing_away(lab: PlayedCluster) -> None:
    place = lab.namespace()
    first, second = service(place, "first"), service(place, "second")
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109"), first)
    lab.until(first, satisfied, "satisfied")
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109", disabled=True), second)
    text = "There are no enabled CiliumLoadBalancerIPPools that match this service"
    assert _refused(lab, second) == ("False", "no_pool", text)
    assert addresses(lab.live(first)) == ["10.99.0.100"]


def test_a_pool_that_selects_other_services(lab: PlayedCluster) -> None:
    place = lab.namespace()
    chosen = {"serviceSelector": {"matchLabels": {"color": "red"}}}
    blue = service(place, "blue", notes={"lbipam.cilium.io/ips": "10.99.0.100"}, labels={"color": "blue"})
    red = service(place, "red", labels={"color": "red"})
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109", **chosen), blue, red)
    text = "The pool with the CIDR containing '10.99.0.100', doesn't select this service"
    assert _refused(lab, blue) == ("False", "pool_selector_mismatch", text)
    assert addresses(lab.until(red, satisfied, "satisfied")) == ["10.99.0.100"]


def test_a_pool_that_selects_a_namespace(lab: PlayedCluster) -> None:
    inside, outside = service(lab.namespace(), "in"), service(lab.namespace(), "out")
    expression = {
        "key": "io.kubernetes.service.namespace",
        "operator": "In",
        "values": [inside["metadata"]["namespace"]],
    }
    chosen = {"serviceSelector": {"matchExpressions": [expression]}}
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109", **chosen), inside, outside)
    assert _refused(lab, outside)[1] == "no_pool"
    lab.until(inside, satisfied, "satisfied")


def test_an_address_outside_of_every_pool(lab: PlayedCluster) -> None:
    wanted = service(lab.namespace(), "web", notes={"lbipam.cilium.io/ips": "10.99.1.1"})
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109"), wanted)
    assert _refused(lab, wanted) == ("False", "no_pool", "No pool exists with a CIDR containing '10.99.1.1'")


def test_an_address_that_another_service_has(lab: PlayedCluster) -> None:
    place, notes = lab.namespace(), {"lbipam.cilium.io/ips": "10.99.0.100"}
    first, second = service(place, "first", notes=notes), service(place, "second", notes=notes)
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109"), first)
    lab.until(first, satisfied, "satisfied")
    lab.apply(second)
    text = "The IP '10.99.0.100' is already allocated to another service"
    assert _refused(lab, second) == ("False", "already_allocated", text)


def test_services_share_an_address_by_a_key_and_other_ports(lab: PlayedCluster) -> None:
    place = lab.namespace()
    notes = {"lbipam.cilium.io/ips": "10.99.0.100", "lbipam.cilium.io/sharing-key": "k"}
    first, second = service(place, "first", notes=notes), service(place, "second", notes=notes, ports=[{"port": 443}])
    clash = service(place, "third", notes=notes)
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109"), first)
    lab.until(first, satisfied, "satisfied")
    lab.apply(second, clash)
    lab.until(second, satisfied, "shared")
    text = "The IP '10.99.0.100' is already allocated to an incompatible service. Reason: same port and protocol"
    assert _refused(lab, clash) == ("False", "already_allocated_incompatible_service", text)


def test_of_pools_that_overlap_the_older_one_gives(lab: PlayedCluster) -> None:
    first, second = pool("zzz", "10.99.0.100", "10.99.0.109"), pool("aaa", "10.99.0.105", "10.99.0.120")
    lab.apply(first)
    lab.until(first, lambda one: told(one, CONFLICT)[0] == "False", "no conflict")
    while lab.live(first)["metadata"]["creationTimestamp"] == _now(lab):
        pass
    lab.apply(second)
    found = lab.until(second, lambda one: told(one, CONFLICT)[0] == "True", "a conflict")
    text = (
        "Pool conflicts since range '10.99.0.105 - 10.99.0.120' overlaps range '10.99.0.100 - 10.99.0.109' "
        "from IP Pool 'zzz'"
    )
    assert told(found, CONFLICT) == ("True", "cidr_overlap", text)
    lab.delete(first)
    lab.until(second, lambda one: told(one, CONFLICT)[:2] == ("False", "resolved"), "the conflict resolved")


def _now(lab: PlayedCluster) -> str:
    """The API server's clock, by an object that it makes."""
    review = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "now-"}}
    made = lab.call("POST", "/api/v1/namespaces?dryRun=All", review)
    return str(made["metadata"]["creationTimestamp"])


def test_first_and_last_addresses_can_be_kept(lab: PlayedCluster) -> None:
    wanted = service(lab.namespace(), "web")
    meta = {"name": "one"}
    spec = {"blocks": [{"cidr": "10.99.0.128/30"}], "allowFirstLastIPs": "No"}
    both = {"apiVersion": "cilium.io/v2", "kind": "CiliumLoadBalancerIPPool", "metadata": meta, "spec": spec}
    lab.apply(both, wanted)
    assert addresses(lab.until(wanted, satisfied, "satisfied")) == ["10.99.0.129"]


def test_a_pool_that_goes_takes_its_addresses(lab: PlayedCluster) -> None:
    wanted = service(lab.namespace(), "web")
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109"), wanted)
    lab.until(wanted, satisfied, "satisfied")
    lab.delete(pool("one", "", ""))
    assert _refused(lab, wanted)[1] == "no_pool"


def test_a_service_of_another_class_or_type_is_not_ours(lab: PlayedCluster) -> None:
    place = lab.namespace()
    other = service(place, "other", loadBalancerClass="example.com/lb")
    marker = service(place, "marker", loadBalancerClass="io.cilium/l2-announcer")
    lab.apply(pool("one", "10.99.0.100", "10.99.0.109"), other, marker)
    lab.until(marker, satisfied, "satisfied")
    assert told(lab.live(other), SATISFIED) == ("", "", "")
    lab.patch(marker, {"spec": {"type": "ClusterIP", "loadBalancerClass": None, "allocateLoadBalancerNodePorts": None}})
    lab.until(marker, lambda one: told(one, SATISFIED) == ("", "", ""), "clean again")


# --- L2
async def answers(lab: PlayedCluster, address: str) -> bool:
    """Whether the address answers ARP, and its machine refuses a port that nobody listens on."""
    try:
        (await lab.network.switch.connect(address, 9, timeout=0.7)).close()
    except ConnectionRefusedError:
        return True
    except (OSError, asyncio.TimeoutError):
        await asyncio.to_thread(_forget, lab, address)
        return False
    return True


def _forget(lab: PlayedCluster, address: str) -> None:
    """A neighbour that did not answer is asked again."""
    with contextlib.suppress(subprocess.CalledProcessError):
        lab.network.switch.ip("neigh", "del", address, "dev", "br0")


async def silent(lab: PlayedCluster, address: str) -> bool:
    return not await answers(lab, address)


def test_an_address_answers_when_a_policy_says_so_and_only_then(lab: PlayedCluster) -> None:
    place = lab.namespace()
    wanted = service(place, "web", notes={"lbipam.cilium.io/ips": "10.99.0.150"}, labels={"announce": "yes"})
    lab.apply(pool("one", "10.99.0.150", "10.99.0.159"), wanted)
    lab.until(wanted, satisfied, "satisfied")
    assert lab.loop.run(silent(lab, "10.99.0.150"))
    chosen = {"serviceSelector": {"matchLabels": {"announce": "yes"}}, "interfaces": ["^eth[0-9]+"]}
    lab.apply(policy("l2", **chosen))
    lab.loop.until(lambda: answers(lab, "10.99.0.150"), "answers")
    lease = lab.call("GET", f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/cilium-l2announce-{place}-web")
    assert lease["spec"]["holderIdentity"] == "n11"
    lab.patch(wanted, {"metadata": {"labels": {"announce": None}}})
    lab.loop.until(lambda: silent(lab, "10.99.0.150"), "silent")


@pytest.mark.parametrize(
    "spec",
    [
        {"interfaces": ["^ens18$"]},
        {"nodeSelector": {"matchLabels": {"no": "such"}}},
        {"loadBalancerIPs": False, "externalIPs": True},
    ],
    ids=["other interface", "other node", "other addresses"],
)
def test_a_policy_that_does_not_fit_announces_nothing(lab: PlayedCluster, spec: Object) -> None:
    place = lab.namespace()
    fits, marker = service(place, "web", notes={"lbipam.cilium.io/ips": "10.99.0.151"}), service(place, "marker")
    chosen = {"serviceSelector": {"matchLabels": {"io.kubernetes.service.name": "marker"}}}
    lab.apply(pool("one", "10.99.0.151", "10.99.0.159"), fits)
    lab.until(fits, satisfied, "satisfied")
    lab.apply(policy("wrong", **spec), policy("right", **chosen), marker)
    lab.until(marker, satisfied, "satisfied")
    announced = addresses(lab.live(marker))[0]
    lab.loop.until(lambda: answers(lab, announced), "the marker answers")
    assert lab.loop.run(silent(lab, "10.99.0.151"))


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ({"interfaces": ["("]}, "io.cilium/bad-interface-regex"),
        ({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "io.cilium/bad-node-selector"),
        ({"serviceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "io.cilium/bad-service-selector"),
    ],
)
def test_a_policy_that_cannot_be_read_says_so(lab: PlayedCluster, spec: Object, kind: str) -> None:
    lab.apply(policy("bad", **spec), service(lab.namespace(), "web"))
    found = lab.until(policy("bad"), lambda one: told(one, kind)[0] == "True", "a condition")
    assert told(found, kind)[1] == "error"
    lab.apply(policy("bad", interfaces=["eth0"]))
    lab.until(policy("bad"), lambda one: told(one, kind)[0] == "False", "the condition is false")
