# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's routes to objects of the Gateway API. Pure."""

from __future__ import annotations

import re
import typing as t

from ..errors import InvalidInput
from .gateway_spec import (
    Given,
    Object,
    backend_reference,
    check_hostname,
    check_once,
    check_port,
    metadata,
    parent_reference,
    texts,
)

#: Which of the options of a rule a kind has.
OF_KIND: dict[str, frozenset[str]] = {
    "HTTPRoute": frozenset({"hostnames", "matches", "filters", "timeouts"}),
    "GRPCRoute": frozenset({"hostnames", "matches", "filters"}),
    "TLSRoute": frozenset({"hostnames"}),
    "TCPRoute": frozenset(),
    "UDPRoute": frozenset(),
}
#: Of a match, and of the filters.
OF_MATCH: dict[str, frozenset[str]] = {
    "HTTPRoute": frozenset({"path", "method", "headers", "query"}),
    "GRPCRoute": frozenset({"service", "method", "headers"}),
}
OF_FILTERS: dict[str, frozenset[str]] = {
    "HTTPRoute": frozenset({"redirect", "rewrite", "request_headers", "response_headers", "mirror", "others"}),
    "GRPCRoute": frozenset({"request_headers", "response_headers", "mirror", "others"}),
}
PATHS = {"prefix": "PathPrefix", "exact": "Exact", "regex": "RegularExpression"}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
#: GEP-2257.
DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}\Z")


def objects_of(params: Given, namespace: str) -> list[Object]:
    """The routes in the order given, without their apiVersion, those that are to be absent with nothing but their names.
    Raises :class:`InvalidInput`. ``namespace``: where none is named."""
    check_once("HTTPRoute", params["routes"], namespace)
    return [_object(one, params.get("parents") or [], namespace) for one in params["routes"]]


def _object(given: Given, parents: t.Sequence[Given], namespace: str) -> Object:
    kind = given["kind"]
    where = f"{kind} {given['name']}"
    found: Object = {"kind": kind, "metadata": metadata(where, given, namespace)}
    if given["state"] == "absent":
        return found
    _check_kind(where, given)
    own = given["parents"] if given.get("parents") is not None else parents
    if not own:
        raise InvalidInput(f"{where} has no parents", hint="Name the Gateway that is to serve it.")
    spec: Object = {"parentRefs": [parent_reference(where, one) for one in own]}
    if len({tuple(sorted(one.items())) for one in spec["parentRefs"]}) < len(own):
        raise InvalidInput(f"{where} names a parent twice")
    if given["hostnames"]:
        spec["hostnames"] = [check_hostname(where, one) for one in given["hostnames"]]
    spec["rules"] = given["rules"] if given.get("rules") is not None else [_rule(where, given)]
    return {**found, "spec": spec}


def _check_kind(where: str, given: Given) -> None:
    """What the kind does not have, and what excludes each other."""
    options = ("hostnames", "matches", "filters", "timeouts")
    for name in options:
        if given.get(name) and name not in OF_KIND[given["kind"]]:
            raise InvalidInput(f"{where}: a {given['kind']} has no {name}")
    if given["kind"] == "TLSRoute" and not given["hostnames"]:
        raise InvalidInput(f"{where} has no hostnames", hint="TLS connections are told apart by the name they ask for.")
    shorts = [name for name in ("backends", *options[1:]) if given.get(name)]
    if given.get("rules") is not None and shorts:
        raise InvalidInput(
            f"{where}: rules and {shorts[0]} exclude each other", hint="Write all of it into rules, or none."
        )
    if given.get("rules") is not None and not given["rules"]:
        raise InvalidInput(f"{where}: rules are empty")


def _rule(where: str, given: Given) -> Object:
    filters = _filters(where, given["kind"], given.get("filters") or {})
    redirects = any(one.get("type") == "RequestRedirect" for one in filters)
    if redirects and given["backends"]:
        raise InvalidInput(f"{where} has backends and a redirect", hint="What is redirected reaches no backend.")
    if not redirects and not given["backends"]:
        raise InvalidInput(f"{where} has no backends" + (", and no redirect" if given["kind"] == "HTTPRoute" else ""))
    rule: Object = {}
    if given["matches"]:
        rule["matches"] = [_match(where, given["kind"], one) for one in given["matches"]]
    elif given["kind"] == "HTTPRoute":
        rule["matches"] = [{"path": {"type": "PathPrefix", "value": "/"}}]
    if filters:
        rule["filters"] = filters
    if given["backends"]:
        rule["backendRefs"] = [backend_reference(where, one) for one in given["backends"]]
    timeouts = _timeouts(where, given.get("timeouts") or {})
    return {**rule, **({"timeouts": timeouts} if timeouts else {})}


def _match(where: str, kind: str, given: Given) -> Object:
    for name in ("path", "method", "service", "headers", "query"):
        if given.get(name) and name not in OF_MATCH[kind]:
            raise InvalidInput(f"{where}: a match of a {kind} has no {name}")
    found = _http_match(where, given) if kind == "HTTPRoute" else _grpc_match(where, given)
    for field, name in (("headers", "headers"), ("queryParams", "query")):
        if given.get(name):
            pairs = texts(f"{where}: {name}", given[name])
            found[field] = [{"type": "Exact", "name": key, "value": value} for key, value in pairs.items()]
    return found


def _http_match(where: str, given: Given) -> Object:
    path = given.get("path")
    if path is not None and not path.startswith("/") and given["path_type"] != "regex":
        raise InvalidInput(f"{where}: the path {path!r} does not begin with a slash")
    found: Object = {"path": {"type": PATHS[given["path_type"]], "value": path or "/"}}
    if given.get("method"):
        if given["method"] not in METHODS:
            raise InvalidInput(f"{where}: the method {given['method']!r} is not one of {', '.join(METHODS)}")
        found["method"] = given["method"]
    return found


def _grpc_match(where: str, given: Given) -> Object:
    wanted = {name: given[name] for name in ("service", "method") if given.get(name)}
    if not wanted and not given["headers"]:
        raise InvalidInput(f"{where}: a match of a GRPCRoute needs a service, a method or headers")
    return {"method": {"type": "Exact", **wanted}} if wanted else {}


def _filters(where: str, kind: str, given: Given) -> list[Object]:
    for name, value in given.items():
        if value and name not in OF_FILTERS[kind]:
            raise InvalidInput(f"{where}: a {kind} has no filter {name}")
    if given.get("redirect") is not None and given.get("rewrite") is not None:
        raise InvalidInput(f"{where}: the filters redirect and rewrite exclude each other")
    found: list[Object] = []
    for name, kind_of_filter, field in HEADER_FILTERS:
        if given.get(name):
            found.append({"type": kind_of_filter, field: _headers(f"{where}: {name}", given[name])})
    if given.get("redirect") is not None:
        found.append({"type": "RequestRedirect", "requestRedirect": _redirect(where, given["redirect"])})
    if given.get("rewrite") is not None:
        found.append({"type": "URLRewrite", "urlRewrite": _rewrite(where, given["rewrite"])})
    if given.get("mirror"):
        target = backend_reference(f"{where}, mirror", given["mirror"], weighted=False)
        found.append({"type": "RequestMirror", "requestMirror": {"backendRef": target}})
    return [*found, *(_other(where, one) for one in given.get("others") or [])]


HEADER_FILTERS = (
    ("request_headers", "RequestHeaderModifier", "requestHeaderModifier"),
    ("response_headers", "ResponseHeaderModifier", "responseHeaderModifier"),
)


def _other(where: str, given: Given) -> Object:
    if not isinstance(given.get("type"), str):
        raise InvalidInput(f"{where}: a filter of others has no type", hint="Write it as in the Gateway API.")
    return dict(given)


def _headers(where: str, given: Given) -> Object:
    found: Object = {}
    for name in ("set", "add"):
        if given[name]:
            pairs = texts(f"{where}.{name}", given[name])
            found[name] = [{"name": key, "value": value} for key, value in pairs.items()]
    if given["remove"]:
        found["remove"] = list(given["remove"])
    if not found:
        raise InvalidInput(f"{where} has nothing to set, add or remove")
    return found


def _redirect(where: str, given: Given) -> Object:
    found: Object = {"statusCode": given["status"]}
    if given.get("scheme"):
        found["scheme"] = given["scheme"]
    if given.get("hostname"):
        found["hostname"] = check_hostname(f"{where}: redirect", given["hostname"])
    if given.get("port") is not None:
        found["port"] = check_port(f"{where}: redirect", given["port"])
    found |= _new_path(f"{where}: redirect", given)
    if len(found) == 1:
        raise InvalidInput(f"{where}: redirect says nothing new", hint="Name a scheme, hostname, port, path or prefix.")
    return found


def _rewrite(where: str, given: Given) -> Object:
    found: Object = {}
    if given.get("hostname"):
        found["hostname"] = check_hostname(f"{where}: rewrite", given["hostname"])
    found |= _new_path(f"{where}: rewrite", given)
    if not found:
        raise InvalidInput(f"{where}: rewrite says nothing new", hint="Name a hostname, path or prefix.")
    return found


def _new_path(where: str, given: Given) -> Object:
    path, prefix = given.get("path"), given.get("prefix")
    if path is not None and prefix is not None:
        raise InvalidInput(f"{where}: path and prefix exclude each other")
    for value in (path, prefix):
        if value is not None and not value.startswith("/"):
            raise InvalidInput(f"{where}: the path {value!r} does not begin with a slash")
    if path is not None:
        return {"path": {"type": "ReplaceFullPath", "replaceFullPath": path}}
    return {} if prefix is None else {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": prefix}}


def _timeouts(where: str, given: Given) -> Object:
    found: Object = {}
    for name, field in (("request", "request"), ("backend_request", "backendRequest")):
        value = given.get(name)
        if value is None:
            continue
        if not DURATION.match(value):
            raise InvalidInput(f"{where}: the timeout {value!r} is not valid", hint="Write 10s, 500ms or 1h30m.")
        found[field] = value
    return found
