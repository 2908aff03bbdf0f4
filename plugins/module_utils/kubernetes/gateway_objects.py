# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's Gateways to objects of the Gateway API. Pure."""

from __future__ import annotations

import ipaddress
import typing as t

from ..errors import InvalidInput
from . import documents
from .gateway_spec import (
    SECTION,
    Given,
    Object,
    check_hostname,
    check_namespace,
    check_once,
    check_port,
    metadata,
    texts,
)
from .readiness_gateway import GROUP

PORTS = {"HTTP": 80, "HTTPS": 443, "TLS": 443}
MODES = {"terminate": "Terminate", "passthrough": "Passthrough"}
FROM = {"same": "Same", "all": "All", "selector": "Selector"}


def objects_of(params: Given, namespace: str) -> list[Object]:
    """The Gateways in the order given, without their apiVersion, those that are to be absent with nothing but their names.
    Raises :class:`InvalidInput`. ``namespace``: where none is named."""
    check_once("Gateway", params["gateways"], namespace)
    return [_object(one, namespace) for one in params["gateways"]]


def _object(given: Given, namespace: str) -> Object:
    where = f"Gateway {given['name']}"
    found: Object = {"kind": "Gateway", "metadata": metadata(where, given, namespace)}
    if given["state"] == "absent":
        return found
    if not given.get("class"):
        raise InvalidInput(f"{where} has no class", hint="Name the GatewayClass of its controller, such as cilium.")
    if not documents.SUBDOMAIN.match(given["class"]):
        raise InvalidInput(f"{where}: the class {given['class']!r} is not valid")
    if not given["listeners"]:
        raise InvalidInput(f"{where} has no listeners")
    listeners = [_listener(where, one) for one in given["listeners"]]
    _check_listeners(where, listeners)
    spec: Object = {"gatewayClassName": given["class"], "listeners": listeners}
    if given["addresses"]:
        spec["addresses"] = [_address(where, one) for one in given["addresses"]]
    infrastructure = _infrastructure(where, given.get("infrastructure") or {})
    return {**found, "spec": {**spec, **({"infrastructure": infrastructure} if infrastructure else {})}}


def _check_listeners(where: str, listeners: t.Sequence[Object]) -> None:
    """Names are unique, and so is what they listen for: the controller would call the latter a conflict."""
    names = [one["name"] for one in listeners]
    heard = [(one["port"], _layer(one["protocol"]), one.get("hostname", "")) for one in listeners]
    for kind, found in (("name", names), ("port and hostname", heard)):
        twice = next((one for one in found if found.count(one) > 1), None)
        if twice is not None:
            shown = twice if isinstance(twice, str) else f"{twice[0]}, {twice[2] or 'every hostname'}"
            raise InvalidInput(f"{where} has two listeners of the same {kind} ({shown})")


def _layer(protocol: str) -> str:
    return "UDP" if protocol == "UDP" else "TCP"


def _listener(gateway: str, given: Given) -> Object:
    where = f"{gateway}, listener {given['name']}"
    if not SECTION.match(given["name"]):
        raise InvalidInput(f"{gateway}: the listener's name {given['name']!r} is not valid")
    protocol = given["protocol"]
    port = given["port"] if given.get("port") is not None else PORTS.get(protocol)
    if port is None:
        raise InvalidInput(f"{where} needs a port")
    found: Object = {"name": given["name"], "protocol": protocol, "port": check_port(where, port)}
    if given.get("hostname"):
        if protocol in ("TCP", "UDP"):
            raise InvalidInput(f"{where}: the protocol {protocol} knows no hostname")
        found["hostname"] = check_hostname(where, given["hostname"])
    tls = _tls(where, given)
    return {**found, **({"tls": tls} if tls else {}), "allowedRoutes": _allowed(where, given)}


def _tls(where: str, given: Given) -> Object:
    protocol, mode = given["protocol"], given.get("tls_mode")
    used = [name for name in ("certificates", "tls_mode", "tls_options") if given.get(name)]
    if protocol not in ("HTTPS", "TLS"):
        if used:
            raise InvalidInput(f"{where}: the protocol {protocol} has no {used[0]}")
        return {}
    if protocol == "HTTPS" and mode == "passthrough":
        raise InvalidInput(f"{where}: HTTPS cannot be passed through", hint="Use the protocol TLS for that.")
    passes = mode == "passthrough"
    if passes and given["certificates"]:
        raise InvalidInput(f"{where}: what is passed through needs no certificates, the backend has them")
    if not passes and not given["certificates"] and not given["tls_options"]:
        raise InvalidInput(
            f"{where} has no certificates", hint="Name the Secret that holds the certificate and its key."
        )
    found: Object = {"mode": MODES[mode or "terminate"]}
    if given["certificates"]:
        found["certificateRefs"] = [_certificate(where, one) for one in given["certificates"]]
    if given["tls_options"]:
        found["options"] = texts(f"{where}: tls_options", given["tls_options"])
    return found


def _certificate(where: str, given: str) -> Object:
    """``name`` of a Secret, or ``namespace/name``."""
    namespace, slash, name = given.rpartition("/")
    if not documents.SUBDOMAIN.match(name) or (slash and not namespace):
        raise InvalidInput(f"{where}: the certificate {given!r} is not valid", hint="Write name, or namespace/name.")
    found: Object = {"group": "", "kind": "Secret", "name": name}
    if namespace:
        check_namespace(f"{where}, certificate {name}", namespace)
        found["namespace"] = namespace
    return found


def _allowed(where: str, given: Given) -> Object:
    selects = given["allowed_namespaces"] == "selector"
    if selects != bool(given["allowed_namespace_labels"]):
        raise InvalidInput(f"{where}: allowed_namespaces: selector and allowed_namespace_labels need each other")
    namespaces: Object = {"from": FROM[given["allowed_namespaces"]]}
    if selects:
        labels = texts(f"{where}: allowed_namespace_labels", given["allowed_namespace_labels"])
        namespaces["selector"] = {"matchLabels": labels}
    kinds = [{"group": GROUP, "kind": kind} for kind in given["allowed_routes"]]
    return {"namespaces": namespaces, **({"kinds": kinds} if kinds else {})}


def _address(where: str, given: str) -> Object:
    try:
        return {"type": "IPAddress", "value": str(ipaddress.ip_address(given))}
    except ValueError:
        return {"type": "Hostname", "value": check_hostname(f"{where}: addresses", given)}


def _infrastructure(where: str, given: Given) -> Object:
    found: Object = {}
    for name in ("labels", "annotations"):
        if given.get(name):
            found[name] = texts(f"{where}: infrastructure.{name}", given[name])
    if given.get("parameters"):
        found["parametersRef"] = {name: given["parameters"][name] for name in ("group", "kind", "name")}
    return found
