# SPDX-License-Identifier: GPL-3.0-or-later
"""``gateway`` and ``gateway_route`` on a real API server with the published definitions; the lab plays Cilium's controllers."""

from __future__ import annotations

import base64
import pathlib
import threading
import time
import typing as t

import pytest
import yaml
from addon_lab import named
from gateway_lab import until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import readiness_gateway
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute
from ansible_collections.groundwork.homelab.plugins.modules import gateway, gateway_route

pytestmark = pytest.mark.usefixtures("gateway_api")

Object = dict[str, t.Any]
MODULES: dict[str, t.Any] = {"routes": gateway_route, "gateways": gateway}
GROUP = "gateway.networking.k8s.io/v1"


def run(lab: t.Any, what: str, *given: Object, check: bool = False, **params: t.Any) -> Object:
    module = MODULES[what]
    defaults = {name: option.get("default") for name, option in module.SPEC.argument_spec.items()}
    base = {"kubeconfig": str(lab.server.kubeconfig), "namespace": lab.namespace, "wait_timeout": 30.0}
    task = Task(
        params=filled(module.SPEC.argument_spec, {**defaults, **base, what: list(given), **params}),
        check_mode=check,
        diff_mode=True,
        warn=lab.warnings.append,
        progress=lab.progress.append,
        secrets=lab.secrets,
    )
    return execute(module.run, task)


def filled(spec: Object, given: Object) -> Object:
    """With the defaults of all suboptions, as Ansible passes them."""
    found = {}
    for name, option in spec.items():
        value = given.get(name, option.get("default"))
        inner = option.get("options")
        if inner and isinstance(value, dict):
            value = filled(inner, value)
        elif inner and isinstance(value, list):
            value = [filled(inner, one) for one in value]
        found[name] = value
    return found


def ok(result: Object) -> Object:
    assert "msg" not in result, result["msg"]
    return result


HTTP = {"name": "http", "protocol": "HTTP"}


def listens(*listeners: Object, name: str = "lab", **more: t.Any) -> Object:
    return {"name": name, "class": "cilium", "listeners": list(listeners or [HTTP]), **more}


def a_route(name: str = "web", **more: t.Any) -> Object:
    return {"name": name, "parents": [{"name": "lab"}], "backends": [{"name": "web", "port": 80}], **more}


def a_service(name: str = "web", **meta: t.Any) -> Object:
    return named("Service", name, {"ports": [{"name": "http", "port": 80}, {"name": "tcp", "port": 5432}]}, **meta)


def a_certificate(name: str) -> Object:
    """A Secret that the controller takes for one: it looks whether it is there and holds PEM."""
    pem = certificate()
    data = {field: base64.b64encode(text.encode()).decode() for field, text in pem.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/tls"}
    return {**secret, "data": data}


def certificate() -> dict[str, str]:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    return {"tls.crt": signed.public_bytes(encoding).decode(), "tls.key": private.decode()}


def asked_since(lab: t.Any, mark: int) -> list[tuple[str, str]]:
    """Without watches: the log has these when they end, which may be that of the run before."""
    return [one for one in lab.server.requests(mark) if one[0] != "watch"]


def later(seconds: float, act: t.Callable[[], t.Any]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def test_a_gateway_is_made_waited_for_and_not_written_again(lab: t.Any) -> None:
    ok(lab.run([a_certificate("wild")]))
    wanted = listens(HTTP, {"name": "https", "protocol": "HTTPS", "hostname": "*.a.test", "certificates": ["wild"]})
    predicted = ok(run(lab, "gateways", wanted, check=True))
    assert lab.live(GROUP, "Gateway", "lab") is None
    made = ok(run(lab, "gateways", wanted))
    assert made["changes"] == predicted["changes"] and made["diff"] == predicted["diff"]
    (shown,) = made["gateways"]
    assert shown["resource"] == f"Gateway/{lab.namespace}/lab" and shown["api_version"] == GROUP
    assert shown["listeners"] == ["http", "https"] and len(shown["addresses"]) == 1
    mark = lab.server.mark()
    again = ok(run(lab, "gateways", wanted))
    assert again["changed"] is False and again["gateways"] == made["gateways"]
    asked = asked_since(lab, mark)
    assert {verb for verb, _ in asked} <= {"get", "list"} and len(asked) <= 4, asked
    looked = ok(run(lab, "gateways", wanted, check=True))
    assert looked["gateways"] == made["gateways"] and not looked["changed"]
    gone = ok(run(lab, "gateways", {"name": "lab", "state": "absent"}))
    assert [one["action"] for one in gone["changes"]] == ["delete"]
    assert lab.live(GROUP, "Gateway", "lab") is None
    assert ok(run(lab, "gateways", {"name": "lab", "state": "absent"}))["changed"] is False


def test_routes_are_made_accepted_changed_and_removed(lab: t.Any) -> None:
    ok(lab.run([a_service()]))
    ok(run(lab, "gateways", listens(HTTP, {"name": "tcp", "protocol": "TCP", "port": 5432})))
    to_https = {"name": "to-https", "filters": {"redirect": {"scheme": "https", "status": 301}}, "backends": []}
    tcp = a_route("db", kind="TCPRoute", parents=[{"name": "lab", "section": "tcp"}])
    tcp["backends"] = [{"name": "web", "port": 5432}]
    grpc = a_route("grpc", kind="GRPCRoute", hostnames=["grpc.a.test"], matches=[{"service": "a.B"}])
    some = [a_route(hostnames=["web.a.test"]), {**a_route(), **to_https}, grpc, tcp]
    predicted = ok(run(lab, "routes", *some, check=True))
    made = ok(run(lab, "routes", *some))
    assert made["changes"] == predicted["changes"] and len(made["changes"]) == 4
    assert made["routes"] == predicted["routes"]
    assert made["routes"][3]["parents"] == [f"Gateway {lab.namespace}/lab, listener tcp"]
    mark = lab.server.mark()
    assert ok(run(lab, "routes", *some))["changed"] is False
    asked = asked_since(lab, mark)
    assert {verb for verb, _ in asked} <= {"get", "list"} and len(asked) <= 8, asked
    changed = [a_route(hostnames=["new.a.test"]), {"name": "to-https", "state": "absent"}, *some[2:]]
    predicted = ok(run(lab, "routes", *changed, check=True))
    made = ok(run(lab, "routes", *changed))
    assert made["changes"] == predicted["changes"]
    assert [(one["resource"].rpartition("/")[2], one["action"]) for one in made["changes"]] == [
        ("web", "update"),
        ("to-https", "delete"),
    ]
    assert made["changes"][0]["after"] == {"spec.hostnames": ["new.a.test"]}
    assert lab.live(GROUP, "HTTPRoute", "to-https") is None


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stays refused for a second counts as refused."""
    monkeypatch.setattr(readiness_gateway, "JUDGED", dict.fromkeys(readiness_gateway.JUDGED, 1.0))


ELSEWHERE: Object = {"name": "elsewhere", "namespace": "default"}

#: What the route, or the gateway's listener, is like -> the controller's reason, and whether it is a judgement that stays.
REFUSED: dict[str, tuple[Object, Object, str]] = {
    "no listener allows it": ({}, {**HTTP, "allowed_routes": ["GRPCRoute"]}, "NotAllowedByListeners"),
    "no such hostname": ({"hostnames": ["a.other"]}, {**HTTP, "hostname": "*.a.test"}, "NoMatchingListenerHostname"),
    "no such listener": ({"parents": [{"name": "lab", "section": "https"}]}, HTTP, "NoMatchingParent"),
    "not granted": ({"backends": [{"name": "far", "namespace": "default", "port": 80}]}, HTTP, "RefNotPermitted"),
    "kind of backend": (
        {"backends": [{"name": "a", "kind": "Thing", "group": "example.com", "port": 80}]},
        HTTP,
        "InvalidKind",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_judgement_that_stays_ends_the_wait_in_the_controllers_words(case: str, lab: t.Any, impatient: None) -> None:
    of_route, listener, reason = REFUSED[case]
    ok(lab.run([a_service(), a_service("far", namespace="default")]))
    ok(run(lab, "gateways", listens(listener)))
    begun = time.monotonic()
    failed = run(lab, "routes", a_route(**of_route), wait_timeout=60.0)
    assert failed["error"]["kind"] == "TaskFailed" and time.monotonic() - begun < 15, failed
    assert f"Could not see HTTPRoute {lab.namespace}/web accepted by its parents" in failed["msg"]
    live = lab.live(GROUP, "HTTPRoute", "web")
    told = {one["reason"]: one["message"] for parent in live["status"]["parents"] for one in parent["conditions"]}
    assert f"{reason}: {told[reason]}" in failed["msg"]
    assert failed["changed"] and [one["action"] for one in failed["changes"]] == ["create"]
    check = ok(run(lab, "routes", a_route(**of_route), check=True))
    assert not check["changed"] and any(reason in line for line in lab.warnings)


def test_a_parent_that_is_not_there_is_named(lab: t.Any) -> None:
    ok(lab.run([a_service()]))
    late = run(lab, "routes", a_route(), wait_timeout=1.0)
    assert late["error"]["kind"] == "WaitTimeout"
    expected = (
        f"no controller has answered for Gateway {lab.namespace}/lab yet; there is no Gateway {lab.namespace}/lab"
    )
    assert expected in late["msg"]
    later(0.5, lambda: run(lab, "gateways", listens(), wait=False))
    assert ok(run(lab, "routes", a_route()))["changed"] is False


def test_a_backend_that_comes_later_is_waited_for(lab: t.Any) -> None:
    ok(run(lab, "gateways", listens()))
    late = run(lab, "routes", a_route(), wait_timeout=1.5)
    assert late["error"]["kind"] == "WaitTimeout" and "BackendNotFound" in late["msg"]
    later(0.5, lambda: lab.run([a_service()]))
    assert ok(run(lab, "routes", a_route()))["changed"] is False


def test_a_reference_is_granted(lab: t.Any) -> None:
    ok(lab.run([a_service("far", namespace="default")]))
    ok(run(lab, "gateways", listens()))
    grant = {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": lab.namespace, "namespace": "default"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": lab.namespace}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }
    later(1.0, lambda: lab.run([grant]))
    ok(run(lab, "routes", a_route(backends=[{"name": "far", "namespace": "default", "port": 80}])))


def test_a_gateway_without_its_certificate_waits_for_it(lab: t.Any) -> None:
    wanted = listens({"name": "https", "protocol": "HTTPS", "certificates": ["wild"]})
    late = run(lab, "gateways", wanted, wait_timeout=1.5)
    assert late["error"]["kind"] == "WaitTimeout"
    assert "listener https: " in late["msg"] and 'Secret "wild" not found' in late["msg"]
    later(0.5, lambda: lab.run([a_certificate("wild")]))
    assert ok(run(lab, "gateways", wanted))["changed"] is False


def test_a_class_that_is_not_there_is_named(lab: t.Any) -> None:
    late = run(lab, "gateways", listens(name="other") | {"class": "nginx"}, wait_timeout=1.0)
    assert late["error"]["kind"] == "WaitTimeout" and "there is no GatewayClass nginx" in late["msg"]


def test_what_the_server_refuses_is_said_in_check_mode_and_nothing_is_written(lab: t.Any) -> None:
    wrong = a_route(backends=[], rules=[{"matches": [{"path": {"type": "Prefix", "value": "/"}}]}])
    good = a_route("good")
    for check in (True, False):
        mark = lab.server.mark()
        failed = run(lab, "routes", good, wrong, check=check)
        assert "spec.rules[0].matches[0].path.type" in failed["msg"] and not failed["changed"]
        assert lab.writes(mark) == []
    unknown = run(lab, "routes", a_route(backends=[], rules=[{"backendRef": []}]), check=True)
    assert "backendRef" in unknown["msg"]


def test_a_right_that_is_missing_is_said_at_plan_time(lab: t.Any, tmp_path: pathlib.Path) -> None:
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": ["gateway.networking.k8s.io"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "look"}, "rules": rules}
    subjects = [{"kind": "User", "name": "reader", "apiGroup": group}]
    binding = {
        **{key: role[key] for key in ("apiVersion", "metadata")},
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "look"},
        "subjects": subjects,
    }
    ok(lab.run([role, binding]))
    reader = str(lab.server.write_kubeconfig(tmp_path / "reader", "reader"))
    failed = run(lab, "routes", a_route(), kubeconfig=reader, check=True)
    assert 'User "reader" cannot patch resource "httproutes"' in failed["msg"]


def test_fields_of_others_are_named_and_can_be_taken_over(lab: t.Any) -> None:
    ok(run(lab, "routes", a_route(hostnames=["a.test"]), wait=False))
    other = {**a_route(hostnames=["b.test"])}
    ok(run(lab, "routes", other, wait=False, field_manager="somebody", force_conflicts=True))
    failed = run(lab, "routes", a_route(hostnames=["a.test"]), wait=False)
    assert "conflict" in failed["msg"].lower() or "other managers set these fields" in failed["msg"]
    assert ok(run(lab, "routes", a_route(hostnames=["a.test"]), wait=False, force_conflicts=True))["changed"]


def test_a_planned_cluster_is_not_asked(lab: t.Any) -> None:
    predicted = ok(run(lab, "routes", a_route(), check=True, planned=True, kubeconfig="/nonexistent"))
    assert [one["action"] for one in predicted["changes"]] == ["create"]
    made = ok(run(lab, "routes", a_route(), wait=False))
    assert made["changes"] == predicted["changes"]


PATHS = st.sampled_from(["/", "/api", "/api/v2"])
ROUTES = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "c"]),
        "kind": st.sampled_from(["HTTPRoute", "GRPCRoute"]),
        "state": st.sampled_from(["present", "present", "absent"]),
        "hostnames": st.lists(st.sampled_from(["a.test", "b.test", "*.c.test"]), unique=True, max_size=2),
        "paths": st.lists(PATHS, unique=True, max_size=2),
        "weight": st.integers(0, 3),
        "section": st.sampled_from([None, "http"]),
        "header": st.booleans(),
        "timeout": st.sampled_from([None, "10s", "1m"]),
    }
)
SETS = st.lists(ROUTES, max_size=4, unique_by=lambda one: (one["name"], one["kind"]))


def drawn(one: Object) -> Object:
    http = one["kind"] == "HTTPRoute"
    more: Object = {"matches": [{"path": path} for path in one["paths"]]} if http else {}
    if http and one["timeout"]:
        more["timeouts"] = {"request": one["timeout"]}
    if one["header"]:
        more["filters"] = {"request_headers": {"set": {"x": "y"}}}
    parents = [{"name": "nobody", "section": one["section"]}]
    backends = [{"name": "web", "port": 80, "weight": one["weight"]}]
    return {
        **{key: one[key] for key in ("name", "kind", "state", "hostnames")},
        "parents": parents,
        "backends": backends,
        **more,
    }


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(first=SETS, second=SETS)
def test_whatever_the_routes_the_prediction_is_what_happens_and_a_second_run_writes_nothing(
    first: list[Object], second: list[Object], lab: t.Any
) -> None:
    for wanted in ([drawn(one) for one in first], [drawn(one) for one in second]):
        predicted = ok(run(lab, "routes", *wanted, check=True, wait=False))
        made = ok(run(lab, "routes", *wanted, wait=False))
        assert made["changes"] == predicted["changes"] and made["routes"] == predicted["routes"]
        for one in wanted:
            live = lab.live(GROUP, one["kind"], one["name"])
            assert (live is None) == (one["state"] == "absent")
            if live is not None:
                assert live["spec"].get("hostnames", []) == one["hostnames"]
                assert live["spec"]["rules"][0]["backendRefs"][0]["weight"] == one["backends"][0]["weight"]
        mark = lab.server.mark()
        assert ok(run(lab, "routes", *wanted, wait=False))["changed"] is False
        assert [one for one in asked_since(lab, mark) if one[0] not in ("get", "list")] == []


def test_the_documented_examples_run_and_both_ways_give_the_same(
    play: t.Callable[..., tuple[str, list[t.Any]]], lab: t.Any
) -> None:
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("gateways", "media")]
    services = [("jellyfin", 8096), ("photos", 80), ("vault", 8200), ("postgres", 5432)]
    backends = [named("Service", name, {"ports": [{"port": port}]}, namespace="media") for name, port in services]
    secret = a_certificate("lab-wildcard")
    secret["metadata"]["namespace"] = "gateways"
    ok(lab.run([*spaces, *backends, secret]))
    examples = [*yaml.safe_load(gateway.EXAMPLES), *yaml.safe_load(gateway_route.EXAMPLES)]
    text, predicted = play(examples[:1], "--check", "--diff", here=True)
    assert predicted and not any(one.get("failed") for one in predicted), text
    text, made = play(examples, here=True)
    assert not any(one.get("failed") for one in made), text
    assert made[0]["changes"] == predicted[0]["changes"]
    until(lambda: lab.server.audit.exists())
    kept = [examples[0], examples[3], examples[4], examples[5]]
    kept[1]["groundwork.homelab.gateway_route"]["routes"].pop(1)
    text, here = play(kept, here=True)
    assert [one["changed"] for one in here] == [False] * 4, text
    text, there = play(kept, here=False)
    shown = ("changed", "changes", "gateways", "routes")
    for one, other in zip(here, there, strict=True):
        assert {key: one.get(key) for key in shown} == {key: other.get(key) for key in shown}, text
