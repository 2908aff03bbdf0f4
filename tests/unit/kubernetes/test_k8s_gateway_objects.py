# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to objects of the Gateway API; what is wrong is said before anybody is asked."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import NotFound
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import (
    gateway_objects,
    gateway_routes,
    gateway_run,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute
from ansible_collections.groundwork.homelab.plugins.modules import gateway, gateway_route

Object = dict[str, t.Any]
MODULES: dict[str, t.Any] = {"routes": gateway_route, "gateways": gateway}
PARENTS = [{"name": "lab", "namespace": "gateways"}]
BACKENDS = [{"name": "web", "port": 80}]


def validated(what: str, *given: Object, **params: t.Any) -> Object:
    spec = MODULES[what].SPEC.argument_spec
    bare = {name: {key: value for key, value in one.items() if key != "fallback"} for name, one in spec.items()}
    result = ArgumentSpecValidator(bare).validate({what: list(given), **params})
    assert not result.error_messages, result.error_messages
    return t.cast("Object", result.validated_parameters)


def route(**given: t.Any) -> Object:
    """The one object that a route of these options becomes."""
    full = {"name": "web", "parents": PARENTS, "backends": BACKENDS, **given}
    return gateway_routes.objects_of(validated("routes", full), "media")[0]


def a_gateway(*listeners: Object, **given: t.Any) -> Object:
    full = {"name": "lab", "class": "cilium", "listeners": list(listeners), **given}
    return gateway_objects.objects_of(validated("gateways", full), "gateways")[0]


PARENT = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "lab", "namespace": "gateways"}
BACKEND = {"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}
EVERY_PATH = {"path": {"type": "PathPrefix", "value": "/"}}


def test_a_plain_route_has_the_defaults_of_the_api_so_that_it_can_be_compared() -> None:
    assert route(hostnames=["web.example.com"]) == {
        "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "media"},
        "spec": {
            "parentRefs": [PARENT],
            "hostnames": ["web.example.com"],
            "rules": [{"matches": [EVERY_PATH], "backendRefs": [BACKEND]}],
        },
    }


#: Options -> what the rule has of them.
RULES: dict[str, tuple[Object, Object]] = {
    "matches": (
        {
            "matches": [
                {"path": "/api", "path_type": "exact", "method": "GET", "headers": {"x": 1}, "query": {"a": "b"}}
            ]
        },
        {
            "matches": [
                {
                    "path": {"type": "Exact", "value": "/api"},
                    "method": "GET",
                    "headers": [{"type": "Exact", "name": "x", "value": "1"}],
                    "queryParams": [{"type": "Exact", "name": "a", "value": "b"}],
                }
            ]
        },
    ),
    "redirect": (
        {"backends": [], "filters": {"redirect": {"scheme": "https", "status": 301}}},
        {"filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 301, "scheme": "https"}}]},
    ),
    "rewrite": (
        {"filters": {"rewrite": {"prefix": "/", "hostname": "in.example.com"}}},
        {
            "filters": [
                {
                    "type": "URLRewrite",
                    "urlRewrite": {
                        "hostname": "in.example.com",
                        "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"},
                    },
                }
            ]
        },
    ),
    "headers": (
        {"filters": {"request_headers": {"set": {"a": "b"}, "remove": ["c"]}, "response_headers": {"add": {"d": 1}}}},
        {
            "filters": [
                {
                    "type": "RequestHeaderModifier",
                    "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}], "remove": ["c"]},
                },
                {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "d", "value": "1"}]}},
            ]
        },
    ),
    "mirror": (
        {"filters": {"mirror": {"name": "copy", "port": 81}}},
        {
            "filters": [
                {
                    "type": "RequestMirror",
                    "requestMirror": {"backendRef": {"group": "", "kind": "Service", "name": "copy", "port": 81}},
                }
            ]
        },
    ),
    "timeouts": (
        {"timeouts": {"request": "10s", "backend_request": "1m500ms"}},
        {"timeouts": {"request": "10s", "backendRequest": "1m500ms"}},
    ),
    "grpc": (
        {"kind": "GRPCRoute", "matches": [{"service": "a.B", "method": "C"}]},
        {"matches": [{"method": {"type": "Exact", "service": "a.B", "method": "C"}}]},
    ),
}


@pytest.mark.parametrize("case", RULES)
def test_the_short_options_are_the_apis_own_form(case: str) -> None:
    given, expected = RULES[case]
    (rule,) = route(**given)["spec"]["rules"]
    assert {key: rule[key] for key in expected} == expected


def test_the_tasks_parents_are_for_routes_that_name_none() -> None:
    own = {"name": "b", "parents": [{"name": "other", "section": "https", "port": 443}], "backends": BACKENDS}
    params = validated("routes", {"name": "a", "backends": BACKENDS}, own, parents=PARENTS)
    first, second = gateway_routes.objects_of(params, "media")
    assert first["spec"]["parentRefs"] == [PARENT]
    assert second["spec"]["parentRefs"] == [
        {"group": PARENT["group"], "kind": "Gateway", "name": "other", "sectionName": "https", "port": 443}
    ]


HTTPS = {"name": "https", "protocol": "HTTPS", "hostname": "*.example.com", "certificates": ["certs/wild"]}


def test_a_gateway() -> None:
    passing = {
        "name": "tls",
        "protocol": "TLS",
        "port": 8443,
        "tls_mode": "passthrough",
        "allowed_routes": ["TLSRoute"],
    }
    chosen = {"allowed_namespaces": "selector", "allowed_namespace_labels": {"lab": "yes"}}
    made = a_gateway({**HTTPS, **chosen}, passing, addresses=["192.0.2.1", "gw.example.com"])
    assert made["spec"] == {
        "gatewayClassName": "cilium",
        "listeners": [
            {
                "name": "https",
                "protocol": "HTTPS",
                "port": 443,
                "hostname": "*.example.com",
                "tls": {
                    "mode": "Terminate",
                    "certificateRefs": [{"group": "", "kind": "Secret", "name": "wild", "namespace": "certs"}],
                },
                "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"lab": "yes"}}}},
            },
            {
                "name": "tls",
                "protocol": "TLS",
                "port": 8443,
                "tls": {"mode": "Passthrough"},
                "allowedRoutes": {
                    "namespaces": {"from": "Same"},
                    "kinds": [{"group": "gateway.networking.k8s.io", "kind": "TLSRoute"}],
                },
            },
        ],
        "addresses": [
            {"type": "IPAddress", "value": "192.0.2.1"},
            {"type": "Hostname", "value": "gw.example.com"},
        ],
    }


@pytest.mark.parametrize("protocol", ["HTTPS", "TLS"])
def test_options_of_a_controller_can_stand_for_certificates(protocol: str) -> None:
    """As the API has it: a controller may get certificates by itself."""
    options = {"lab.example.com/certificates": "own"}
    made = a_gateway({"name": "web", "protocol": protocol, "tls_options": options})
    assert made["spec"]["listeners"][0]["tls"] == {"mode": "Terminate", "options": options}


def test_what_is_to_be_absent_needs_only_its_name() -> None:
    assert "spec" not in route(state="absent", parents=None, backends=[])
    gone = validated("gateways", {"name": "lab", "state": "absent"})
    assert gateway_objects.objects_of(gone, "gateways") == [
        {"kind": "Gateway", "metadata": {"name": "lab", "namespace": "gateways"}}
    ]


BAD_ROUTES: dict[str, tuple[Object, str]] = {
    "name": ({"name": "Web_1"}, "HTTPRoute Web_1: the name 'Web_1' is not valid"),
    "namespace": ({"namespace": "a/b"}, "the namespace 'a/b' is not valid"),
    "no parents": ({"parents": []}, "HTTPRoute web has no parents. Name the Gateway"),
    "parent twice": ({"parents": PARENTS * 2}, "names a parent twice"),
    "section": ({"parents": [{"name": "a", "section": "X y"}]}, "the section 'X y' is not valid"),
    "no backends": ({"backends": []}, "HTTPRoute web has no backends, and no redirect"),
    "backend without a port": ({"backends": [{"name": "a"}]}, "backend a needs a port. It is the Service's port"),
    "port": ({"backends": [{"name": "a", "port": 70000}]}, "the port 70000 is not between 1 and 65535"),
    "weight": ({"backends": [{"name": "a", "port": 1, "weight": -1}]}, "the weight -1 is not between"),
    "hostname with a port": ({"hostnames": ["web.example.com:443"]}, "the hostname 'web.example.com:443' is not valid"),
    "hostname that is an address": ({"hostnames": ["192.0.2.1"]}, "the hostname '192.0.2.1' is not valid"),
    "hostname in capitals": ({"hostnames": ["Web.example.com"]}, "It is a name in lower case"),
    "TCP with hostnames": ({"kind": "TCPRoute", "hostnames": ["a.b"]}, "a TCPRoute has no hostnames"),
    "TLS without hostnames": ({"kind": "TLSRoute"}, "TLSRoute web has no hostnames"),
    "filters of TLS": (
        {"kind": "TLSRoute", "hostnames": ["a.b"], "filters": {"rewrite": {"path": "/"}}},
        "a TLSRoute has no filters",
    ),
    "rewrite of GRPC": (
        {"kind": "GRPCRoute", "filters": {"rewrite": {"path": "/"}}},
        "a GRPCRoute has no filter rewrite",
    ),
    "empty GRPC match": ({"kind": "GRPCRoute", "matches": [{}]}, "needs a service, a method or headers"),
    "path": ({"matches": [{"path": "api"}]}, "the path 'api' does not begin with a slash"),
    "path of GRPC": ({"kind": "GRPCRoute", "matches": [{"path": "/"}]}, "a match of a GRPCRoute has no path"),
    "method": ({"matches": [{"method": "get"}]}, "the method 'get' is not one of GET"),
    "redirect and backends": ({"filters": {"redirect": {"scheme": "https"}}}, "has backends and a redirect"),
    "redirect and rewrite": (
        {"filters": {"redirect": {"scheme": "https"}, "rewrite": {"path": "/"}}},
        "redirect and rewrite exclude each other",
    ),
    "redirect to nowhere": ({"backends": [], "filters": {"redirect": {}}}, "redirect says nothing new"),
    "path and prefix": ({"filters": {"rewrite": {"path": "/", "prefix": "/"}}}, "path and prefix exclude each other"),
    "no headers": ({"filters": {"request_headers": {}}}, "has nothing to set, add or remove"),
    "filter without type": ({"filters": {"others": [{"cors": {}}]}}, "a filter of others has no type"),
    "timeout": ({"timeouts": {"request": "10 s"}}, "the timeout '10 s' is not valid. Write 10s"),
    "rules and backends": ({"rules": [{}]}, "rules and backends exclude each other"),
    "no rules": ({"rules": [], "backends": []}, "rules are empty"),
    "label": ({"labels": {"a": True}}, "HTTPRoute web: labels.a is not text. Quote it"),
}
BAD_LISTENERS: dict[str, tuple[Object, str]] = {
    "name": ({"name": "A b"}, "the listener's name 'A b' is not valid"),
    "no port": ({"protocol": "TCP"}, "Gateway lab, listener a needs a port"),
    "port": ({"port": 0}, "the port 0 is not between 1 and 65535"),
    "no certificate": ({"protocol": "HTTPS"}, "has no certificates. Name the Secret"),
    "certificate": ({"protocol": "HTTPS", "certificates": ["/a"]}, "the certificate '/a' is not valid"),
    "certificate of HTTP": ({"certificates": ["a"]}, "the protocol HTTP has no certificates"),
    "HTTPS passed through": ({"protocol": "HTTPS", "tls_mode": "passthrough"}, "HTTPS cannot be passed through"),
    "certificate and passthrough": (
        {"protocol": "TLS", "tls_mode": "passthrough", "certificates": ["a"]},
        "what is passed through needs no certificates",
    ),
    "hostname of TCP": ({"protocol": "TCP", "port": 1, "hostname": "a.b"}, "the protocol TCP knows no hostname"),
    "hostname": ({"hostname": "https://a.b"}, "the hostname 'https://a.b' is not valid"),
    "selector without labels": ({"allowed_namespaces": "selector"}, "allowed_namespace_labels need each other"),
    "labels without selector": ({"allowed_namespace_labels": {"a": "b"}}, "allowed_namespace_labels need each other"),
}
HTTP = {"name": "a", "protocol": "HTTP"}
BAD_GATEWAYS: dict[str, tuple[Object, str]] = {
    **{f"listener: {name}": ({"listeners": [{**HTTP, **one}]}, words) for name, (one, words) in BAD_LISTENERS.items()},
    "no class": ({"class": None}, "Gateway lab has no class"),
    "class": ({"class": "A B"}, "the class 'A B' is not valid"),
    "no listeners": ({"listeners": []}, "Gateway lab has no listeners"),
    "same name": ({"listeners": [HTTP, {**HTTP, "port": 81}]}, "two listeners of the same name (a)"),
    "same port": (
        {"listeners": [HTTP, {**HTTP, "name": "b"}]},
        "two listeners of the same port and hostname (80, every hostname)",
    ),
    "address": ({"addresses": ["192.0.2.300"]}, "the hostname '192.0.2.300' is not valid"),
}
BAD_TASKS: dict[str, tuple[Object, str]] = {
    "field_manager": ({"field_manager": ""}, "field_manager must be a name"),
    "wait_timeout": ({"wait_timeout": -1}, "wait_timeout is -1, it must not be negative"),
    "namespace": ({"namespace": "A"}, "the namespace 'A' is not valid"),
}


def refused(what: str, given: Object, **params: t.Any) -> str:
    """Nobody is asked: there is no such kubeconfig."""
    task = Task(params={"kubeconfig": "/nonexistent", **validated(what, given, **params)})
    result = execute(MODULES[what].run, task)
    assert result["failed"] and not result["changed"] and result["error"]["kind"] == "InvalidInput", result
    return str(result["msg"])


@pytest.mark.parametrize("case", BAD_ROUTES)
def test_a_route_that_is_wrong_is_refused_in_words(case: str) -> None:
    given, words = BAD_ROUTES[case]
    assert words in refused("routes", {"name": "web", "parents": PARENTS, "backends": BACKENDS, **given})


@pytest.mark.parametrize("case", BAD_GATEWAYS)
def test_a_gateway_that_is_wrong_is_refused_in_words(case: str) -> None:
    given, words = BAD_GATEWAYS[case]
    assert words in refused("gateways", {"name": "lab", "class": "cilium", "listeners": [HTTP], **given})


@pytest.mark.parametrize("case", BAD_TASKS)
@pytest.mark.parametrize("what", MODULES)
def test_a_task_that_is_wrong_is_refused_in_words(what: str, case: str) -> None:
    given, words = BAD_TASKS[case]
    good = {"name": "web", "parents": PARENTS, "backends": BACKENDS} if what == "routes" else None
    assert words in refused(what, good or {"name": "lab", "class": "cilium", "listeners": [HTTP]}, **given)


def test_what_is_given_twice_is_refused() -> None:
    one = {"name": "web", "parents": PARENTS, "backends": BACKENDS}
    task = Task(params=validated("routes", one, {**one, "namespace": "default"}))
    assert execute(gateway_route.run, task)["msg"].startswith("HTTPRoute default/web is given twice")


class Discovery:
    def __init__(self, **served: list[str]) -> None:
        self.served = served

    def versions(self, _group: str, kind: str) -> list[str]:
        return [f"gateway.networking.k8s.io/{version}" for version in self.served.get(kind, [])]


class Cluster:
    of = "the cluster"

    def __init__(self, **served: list[str]) -> None:
        self.discovery = Discovery(**served)

    def kinds(self, _api_version: str) -> list[str]:
        return sorted(kind for kind, versions in self.discovery.served.items() if "v1" in versions)


def versions(cluster: Cluster, *objects: Object, check: bool = False) -> dict[str, str]:
    task = Task(params={}, check_mode=check)
    work = gateway_run.Work(task, gateway_routes.objects_of, "routes", gateway_run.shown_route, gateway_run.ACCEPTED)
    return work._versions(t.cast(t.Any, cluster), list(objects))


def test_the_newest_version_that_has_the_kind_is_used() -> None:
    cluster = Cluster(HTTPRoute=["v1", "v1beta1"], TLSRoute=["v1alpha3", "v1alpha2"])
    tls = {"kind": "TLSRoute", "spec": {}}
    assert versions(cluster, {"kind": "HTTPRoute", "spec": {}}, tls) == {"HTTPRoute": "v1", "TLSRoute": "v1alpha3"}


def test_a_kind_that_the_cluster_lacks_is_said_before_anything_is_written() -> None:
    cluster, wanted = Cluster(HTTPRoute=["v1"]), {"kind": "TCPRoute", "spec": {}}
    with pytest.raises(
        NotFound, match="v1 has HTTPRoute. Apply the CustomResourceDefinitions of the Gateway API first"
    ):
        versions(cluster, wanted)
    assert versions(cluster, wanted, check=True) == {"TCPRoute": "v1"}
    assert versions(cluster, {"kind": "TCPRoute"}) == {}
