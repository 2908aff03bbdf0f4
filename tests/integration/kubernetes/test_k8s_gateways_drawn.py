# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawn Gateways on a real API server: what is predicted is what is there afterwards, and a second run writes nothing."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_k8s_gateways import GROUP, ok, run

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import shown

pytestmark = pytest.mark.usefixtures("gateway_api")

Object = dict[str, t.Any]

HOSTS = st.sampled_from([None, "a.test", "*.b.test"])
FROM = st.sampled_from(["same", "all", "selector"])
LISTENERS = st.fixed_dictionaries(
    {
        "http": st.none() | st.tuples(HOSTS, st.sampled_from([None, 8080]), st.sampled_from([[], ["HTTPRoute"]])),
        "https": st.none() | st.tuples(HOSTS, st.sampled_from([["wild"], ["wild", "certs/other"]]), st.booleans()),
        "tls": st.none() | st.tuples(st.sampled_from(["a.test", "b.test"]), st.sampled_from([None, 8443])),
        "tcp": st.none() | st.sampled_from([5432, 6432]),
    }
).filter(lambda one: any(one.values()))
GATEWAYS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b"]),
        "state": st.sampled_from(["present", "present", "absent"]),
        "class": st.sampled_from(["nobody", "somebody"]),
        "labels": st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"]), max_size=2),
        "addresses": st.lists(st.sampled_from(["192.0.2.7", "192.0.2.8"]), unique=True, max_size=2),
        "from": FROM,
        "listeners": LISTENERS,
    }
)
GATEWAY_SETS = st.lists(GATEWAYS, max_size=2, unique_by=lambda one: one["name"])
PORTS = {"http": 80, "https": 443, "tls": 443}


def drawn_gateway(one: Object) -> tuple[Object, Object]:
    """What the task says, and the spec that the API then has, defaults and all."""
    given, wanted = [], []
    for name, choice in one["listeners"].items():
        if choice is None:
            continue
        option, listener = LISTENER_OF[name](choice)
        allowed: Object = {"from": one["from"].title()}
        if one["from"] == "selector":
            allowed["selector"] = {"matchLabels": {"team": "a"}}
            option["allowed_namespace_labels"] = {"team": "a"}
        option |= {"name": name, "protocol": name.upper(), "allowed_namespaces": one["from"]}
        listener = {"name": name, "protocol": name.upper(), "port": PORTS.get(name), **listener}
        listener["allowedRoutes"] = {"namespaces": allowed, **listener.get("allowedRoutes", {})}
        given.append({key: value for key, value in option.items() if value is not None})
        wanted.append({key: value for key, value in listener.items() if value is not None})
    spec: Object = {"gatewayClassName": one["class"], "listeners": wanted}
    if one["addresses"]:
        spec["addresses"] = [{"type": "IPAddress", "value": value} for value in one["addresses"]]
    task = {**{key: one[key] for key in ("name", "state", "class", "labels", "addresses")}, "listeners": given}
    return task, spec


def _http(choice: t.Any) -> tuple[Object, Object]:
    hostname, port, kinds = choice
    more = {"allowedRoutes": {"kinds": [{"group": GROUP.partition("/")[0], "kind": kind} for kind in kinds]}}
    option = {"hostname": hostname, "port": port, "allowed_routes": kinds}
    return option, {"hostname": hostname, "port": port or 80, **(more if kinds else {})}


def _https(choice: t.Any) -> tuple[Object, Object]:
    hostname, certificates, options = choice
    refs = [
        {"group": "", "kind": "Secret", "name": name, **({"namespace": space} if space else {})}
        for space, _slash, name in (one.rpartition("/") for one in certificates)
    ]
    tls: Object = {"mode": "Terminate", "certificateRefs": refs}
    tls |= {"options": {"example.com/tls": "1.3"}} if options else {}
    option = {"hostname": hostname, "certificates": certificates, "tls_options": tls.get("options")}
    return option, {"hostname": hostname, "tls": tls}


def _tls(choice: t.Any) -> tuple[Object, Object]:
    hostname, port = choice
    option = {"hostname": hostname, "port": port or 6443, "tls_mode": "passthrough"}
    return option, {"hostname": hostname, "port": port or 6443, "tls": {"mode": "Passthrough"}}


def _tcp(port: t.Any) -> tuple[Object, Object]:
    return {"port": port}, {"port": port}


LISTENER_OF: dict[str, t.Callable[[t.Any], tuple[Object, Object]]] = {
    "http": _http,
    "https": _https,
    "tls": _tls,
    "tcp": _tcp,
}


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(first=GATEWAY_SETS, second=GATEWAY_SETS, drift=st.booleans())
def test_whatever_the_gateways_they_are_as_wanted_then_and_a_second_run_writes_nothing(
    first: list[Object], second: list[Object], drift: bool, lab: t.Any
) -> None:
    """``drift``: somebody else changes what is there before the second set."""
    ok(run(lab, "gateways", *({"name": name, "state": "absent"} for name in ("a", "b")), wait=False))
    for number, drawn_set in enumerate((first, second)):
        wanted = [drawn_gateway(one) for one in drawn_set]
        tasks = [task for task, _spec in wanted]
        before = {name: lab.live(GROUP, "Gateway", name) for name in ("a", "b")}
        if number and drift:
            before = {name: one and drifted(lab, name) for name, one in before.items()}
        mark = lab.server.mark()
        predicted = ok(run(lab, "gateways", *tasks, check=True, wait=False, force_conflicts=True))
        assert lab.writes(mark) == []
        made = ok(run(lab, "gateways", *tasks, wait=False, force_conflicts=True))
        assert made["changes"] == predicted["changes"]
        changes = {change["resource"].rpartition("/")[2]: change for change in predicted["changes"]}
        for task, spec in wanted:
            as_predicted(lab, task, spec, before[task["name"]], changes.get(task["name"]))
        mark = lab.server.mark()
        assert ok(run(lab, "gateways", *tasks, wait=False, force_conflicts=True))["changes"] == []
        assert lab.writes(mark) == []


def drifted(lab: t.Any, name: str) -> Object:
    path = f"/apis/{GROUP}/namespaces/{lab.namespace}/gateways/{name}?fieldManager=somebody"
    return lab.act("PATCH", path, {"metadata": {"labels": {"theirs": "1"}}, "spec": {"gatewayClassName": "theirs"}})


def as_predicted(lab: t.Any, task: Object, spec: Object, before: Object | None, change: Object | None) -> None:
    """What is there is what was wanted, and the change is the difference to what was there."""
    live = lab.live(GROUP, "Gateway", task["name"])
    if task["state"] == "absent":
        assert live is None
        assert (change or {}).get("action") == ("delete" if before else None)
        return
    assert live["spec"] == spec
    theirs = {
        key: text for key, text in ((before or {}).get("metadata", {}).get("labels") or {}).items() if key == "theirs"
    }
    assert live["metadata"].get("labels", {}) == {**task["labels"], **theirs}
    if before is None:
        assert change is not None and change["action"] == "create"
        return
    told = ((change or {}).get("before", {}), (change or {}).get("after", {}))
    assert told == shown.differing(before, live)
