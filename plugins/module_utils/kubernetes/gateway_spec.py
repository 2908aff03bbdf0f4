# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules of the Gateway API, and what holds for all of their objects. Pure."""

from __future__ import annotations

import re
import typing as t

from ..errors import InvalidInput
from . import documents, kubeconfig
from .readiness_gateway import GROUP, ROUTES

Object = dict[str, t.Any]
Given = t.Mapping[str, t.Any]
Options = dict[str, dict[str, t.Any]]

#: A host's name, perhaps with a wildcard for its first label (PreciseHostname and Hostname of the Gateway API).
HOSTNAME = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
DIGITS = re.compile(r"[0-9.]+\Z")
#: A part of an object's name: a listener, a rule.
SECTION = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")

PARENT: Options = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str"},
    "section": {"type": "str"},
    "port": {"type": "int"},
    "kind": {"type": "str", "default": "Gateway"},
    "group": {"type": "str", "default": GROUP},
}
BACKEND: Options = {
    "name": {"type": "str", "required": True},
    "port": {"type": "int"},
    "namespace": {"type": "str"},
    "weight": {"type": "int", "default": 1},
    "kind": {"type": "str", "default": "Service"},
    "group": {"type": "str", "default": ""},
}
MATCH: Options = {
    "path": {"type": "str"},
    "path_type": {"type": "str", "choices": ["prefix", "exact", "regex"], "default": "prefix"},
    "method": {"type": "str"},
    "service": {"type": "str"},
    "headers": {"type": "dict", "default": {}},
    "query": {"type": "dict", "default": {}},
}
HEADERS: Options = {
    "set": {"type": "dict", "default": {}},
    "add": {"type": "dict", "default": {}},
    "remove": {"type": "list", "elements": "str", "default": []},
}
FILTERS: Options = {
    "redirect": {
        "type": "dict",
        "options": {
            "scheme": {"type": "str", "choices": ["http", "https"]},
            "hostname": {"type": "str"},
            "port": {"type": "int"},
            "path": {"type": "str"},
            "prefix": {"type": "str"},
            "status": {"type": "int", "choices": [301, 302, 303, 307, 308], "default": 302},
        },
    },
    "rewrite": {
        "type": "dict",
        "options": {"hostname": {"type": "str"}, "path": {"type": "str"}, "prefix": {"type": "str"}},
    },
    "request_headers": {"type": "dict", "options": HEADERS},
    "response_headers": {"type": "dict", "options": HEADERS},
    "mirror": {"type": "dict", "options": BACKEND},
    "others": {"type": "list", "elements": "dict", "default": []},
}
TIMEOUTS: Options = {"request": {"type": "str"}, "backend_request": {"type": "str"}}

META: Options = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str"},
    "labels": {"type": "dict", "default": {}},
    "annotations": {"type": "dict", "default": {}},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
ROUTE: Options = {
    **META,
    "kind": {"type": "str", "choices": list(ROUTES), "default": "HTTPRoute"},
    "hostnames": {"type": "list", "elements": "str", "default": []},
    "parents": {"type": "list", "elements": "dict", "options": PARENT},
    "backends": {"type": "list", "elements": "dict", "default": [], "options": BACKEND},
    "matches": {"type": "list", "elements": "dict", "default": [], "options": MATCH},
    "filters": {"type": "dict", "options": FILTERS},
    "timeouts": {"type": "dict", "options": TIMEOUTS},
    "rules": {"type": "list", "elements": "dict"},
}
LISTENER: Options = {
    "name": {"type": "str", "required": True},
    "protocol": {"type": "str", "choices": ["HTTP", "HTTPS", "TLS", "TCP", "UDP"], "required": True},
    "port": {"type": "int"},
    "hostname": {"type": "str"},
    "certificates": {"type": "list", "elements": "str", "default": []},
    "tls_mode": {"type": "str", "choices": ["terminate", "passthrough"]},
    "tls_options": {"type": "dict", "default": {}},
    "allowed_namespaces": {"type": "str", "choices": ["same", "all", "selector"], "default": "same"},
    "allowed_namespace_labels": {"type": "dict", "default": {}},
    "allowed_routes": {"type": "list", "elements": "str", "choices": list(ROUTES), "default": []},
}
GATEWAY: Options = {
    **META,
    "class": {"type": "str"},
    "listeners": {"type": "list", "elements": "dict", "default": [], "options": LISTENER},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "infrastructure": {
        "type": "dict",
        "options": {
            "labels": {"type": "dict", "default": {}},
            "annotations": {"type": "dict", "default": {}},
            "parameters": {
                "type": "dict",
                "options": {name: {"type": "str", "required": True} for name in ("group", "kind", "name")},
            },
        },
    },
}
#: Of both modules.
COMMON: Options = {
    "namespace": {"type": "str"},
    "field_manager": {"type": "str", "default": "groundwork.homelab"},
    "force_conflicts": {"type": "bool", "default": False},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "float", "default": 120.0},
    "planned": {"type": "bool", "default": False},
}


def argument_spec(**own: t.Any) -> Options:
    return {**kubeconfig.argument_spec(), **own, **COMMON}


def check_common(params: Given) -> None:
    if not params["field_manager"] or len(params["field_manager"]) > 128:
        raise InvalidInput("field_manager must be a name of 1 to 128 characters")
    if params["wait_timeout"] < 0:
        raise InvalidInput(f"wait_timeout is {params['wait_timeout']:g}, it must not be negative")
    if params.get("namespace"):
        check_namespace("The task", params["namespace"])


def check_once(kind: str, given: t.Sequence[Given], namespace: str) -> None:
    """``kind``: of those that have none of their own."""
    seen: set[tuple[str, str, str]] = set()
    for one in given:
        key = (one.get("kind") or kind, one.get("namespace") or namespace, one["name"])
        if key in seen:
            raise InvalidInput(f"{key[0]} {key[1]}/{key[2]} is given twice")
        seen.add(key)


def metadata(where: str, given: Given, namespace: str) -> Object:
    """Name and namespace, and labels and annotations if there are any."""
    name = given["name"]
    if not (len(name) <= 253 and documents.SUBDOMAIN.match(name)):
        raise InvalidInput(
            f"{where}: the name {name!r} is not valid", hint="Names are lower case letters, digits, '-' and '.'."
        )
    chosen = given.get("namespace") or namespace
    check_namespace(where, chosen)
    found: Object = {"name": name, "namespace": chosen}
    for field in ("labels", "annotations"):
        if given.get(field):
            found[field] = texts(f"{where}: {field}", given[field])
    return found


def texts(where: str, given: t.Mapping[t.Any, t.Any]) -> dict[str, str]:
    """A map of texts: numbers are taken as such, as templates make them; anything else is refused."""
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise InvalidInput(f"{where}.{key} is not text", hint="Quote it.")
    return {str(key): str(value) for key, value in given.items()}


def check_namespace(where: str, namespace: str) -> None:
    if not (len(namespace) <= 63 and documents.LABEL.match(namespace)):
        raise InvalidInput(
            f"{where}: the namespace {namespace!r} is not valid",
            hint="Namespaces are lower case letters, digits and '-'.",
        )


def check_hostname(where: str, hostname: str) -> str:
    if len(hostname) > 253 or not HOSTNAME.match(hostname) or DIGITS.match(hostname):
        raise InvalidInput(
            f"{where}: the hostname {hostname!r} is not valid",
            hint="It is a name in lower case without scheme and port, such as web.example.com or *.example.com.",
        )
    return hostname


def check_port(where: str, port: int) -> int:
    if not 1 <= port <= 65535:
        raise InvalidInput(f"{where}: the port {port} is not between 1 and 65535")
    return port


def parent_reference(where: str, given: Given) -> Object:
    """With the defaults that the API would fill in, so that what is there can be compared."""
    found: Object = {"group": given["group"], "kind": given["kind"], "name": given["name"]}
    if not documents.SUBDOMAIN.match(given["name"]):
        raise InvalidInput(f"{where}: the parent's name {given['name']!r} is not valid")
    if given.get("namespace"):
        check_namespace(f"{where}, parent {given['name']}", given["namespace"])
        found["namespace"] = given["namespace"]
    if given.get("section"):
        if not SECTION.match(given["section"]):
            raise InvalidInput(f"{where}, parent {given['name']}: the section {given['section']!r} is not valid")
        found["sectionName"] = given["section"]
    if given.get("port") is not None:
        found["port"] = check_port(f"{where}, parent {given['name']}", given["port"])
    return found


def backend_reference(where: str, given: Given, *, weighted: bool = True) -> Object:
    """Likewise."""
    name = f"{where}, backend {given['name']}"
    if not documents.SUBDOMAIN.match(given["name"]):
        raise InvalidInput(f"{where}: the backend's name {given['name']!r} is not valid")
    found: Object = {"group": given["group"], "kind": given["kind"], "name": given["name"]}
    if given.get("namespace"):
        check_namespace(name, given["namespace"])
        found["namespace"] = given["namespace"]
    if given.get("port") is not None:
        found["port"] = check_port(name, given["port"])
    elif (given["group"], given["kind"]) == ("", "Service"):
        raise InvalidInput(f"{name} needs a port", hint="It is the Service's port, not the container's.")
    if weighted:
        if not 0 <= given["weight"] <= 1_000_000:
            raise InvalidInput(f"{name}: the weight {given['weight']} is not between 0 and 1000000")
        found["weight"] = given["weight"]
    return found
