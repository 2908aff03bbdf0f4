# SPDX-License-Identifier: GPL-3.0-or-later
"""Listeners of a Gateway: what is wrong with each, as the Gateway API's conditions say it."""

from __future__ import annotations

import base64
import collections.abc as c
import dataclasses
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from .conditions import Condition, condition
from .gateway_refs import GROUP, is_secret, meet, permitted
from .selectors import matches

Object = t.Mapping[str, t.Any]
#: What a protocol's listener can take.
KINDS = {
    "HTTP": ("HTTPRoute", "GRPCRoute"),
    "HTTPS": ("HTTPRoute", "GRPCRoute"),
    "TLS": ("TLSRoute",),
    "TCP": ("TCPRoute",),
    "UDP": ("UDPRoute",),
}
_PLAIN = ("TCP", "UDP")


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What listeners and routes refer to."""

    grants: c.Sequence[Object] = ()
    #: (namespace, name) to Secret, Service; namespace to labels.
    secrets: t.Mapping[tuple[str, str], Object] = dataclasses.field(default_factory=dict)
    services: t.Mapping[tuple[str, str], Object] = dataclasses.field(default_factory=dict)
    namespaces: t.Mapping[str, t.Mapping[str, str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Judged:
    """A listener's ``conditions``, all but Programmed; ``kinds`` that it takes; ``reason`` is "" when it is valid."""

    name: str
    kinds: list[dict[str, str]]
    conditions: list[Condition]
    reason: str = ""

    @property
    def valid(self) -> bool:
        return not self.reason


def judge(gateway: Object, around: Surroundings) -> list[Judged]:
    """All listeners of a Gateway, in their order."""
    listeners = gateway["spec"].get("listeners") or ()
    clashes = _clashes(listeners)
    return [_judge(gateway, listener, clashes.get(listener["name"]), around) for listener in listeners]


def _judge(gateway: Object, listener: Object, clash: tuple[str, str] | None, around: Surroundings) -> Judged:
    seen = int(gateway["metadata"].get("generation") or 0)
    kinds, wrong, told = _kinds(listener, seen)
    reason = "" if not wrong else "UnsupportedProtocol" if listener["protocol"] not in KINDS else "Invalid"
    if clash is not None:
        told.append(condition("Conflicted", True, clash[0], clash[1], seen))
        wrong.insert(0, clash[1])
        reason = reason or "Invalid"
    refused = _certificates(gateway, listener, around)
    if refused is not None:
        told = [one for one in told if one["type"] != "ResolvedRefs"]
        told.append(condition("ResolvedRefs", False, refused[0], refused[1], seen))
        wrong.append(refused[2])
        reason = reason or "Invalid"
    if listener["protocol"] == "TLS" and (listener.get("tls") or {}).get("mode", "Terminate") == "Terminate":
        kinds, reason = [], "UnsupportedValue"
        wrong.append("Using TLSRoute with TLS.mode Terminate is unsupported.")
    if not any(one["type"] == "ResolvedRefs" for one in told) and not reason:
        told.append(condition("ResolvedRefs", True, "ResolvedRefs", "Resolved Refs", seen))
    if reason:
        told.append(condition("Accepted", False, reason, "Listener not valid. " + " ".join(wrong), seen))
    else:
        told.append(condition("Accepted", True, "Accepted", "Listener Accepted", seen))
    return Judged(listener["name"], kinds, told, reason)


def _kinds(listener: Object, seen: int) -> tuple[list[dict[str, str]], list[str], list[Condition]]:
    """The kinds of routes that it takes, what is wrong with them, conditions."""
    possible = KINDS.get(listener["protocol"], ())
    if not possible:
        return [], ["Unsupported Listener Protocol."], []
    allowed = (listener.get("allowedRoutes") or {}).get("kinds") or ()
    if not allowed:
        return [{"group": GROUP, "kind": kind} for kind in possible], [], []
    named = [one["kind"] for one in allowed if one.get("group", GROUP) == GROUP]
    found = [{"group": GROUP, "kind": kind} for kind in possible if kind in named]
    if len(found) == len(allowed):
        return found, [], []
    told = [
        condition("ResolvedRefs", False, "InvalidRouteKinds", "Unsupported Route Kinds in allowedRoutes.kinds", seen)
    ]
    return found, [] if found else ["None of the Allowed Route Kinds are supported."], told


def _certificates(gateway: Object, listener: Object, around: Surroundings) -> tuple[str, str, str] | None:
    """Reason and message of ResolvedRefs, and the message for Accepted; None when all certificates are there."""
    own = gateway["metadata"]["namespace"]
    for reference in (listener.get("tls") or {}).get("certificateRefs") or ():
        namespace, name = reference.get("namespace") or own, reference["name"]
        if not is_secret(reference):
            text = "Invalid CertificateRef, must be a Secret."
            return "InvalidCertificateRef", "Invalid CertificateRef", text
        if not permitted(around.grants, (GROUP, "Gateway", own), "", "Secret", namespace, name):
            text = "Invalid CertificateRef, not permitted."
            return "RefNotPermitted", "CertificateRef is not permitted", text
        wrong = _bad_secret(around.secrets.get((namespace, name)), name)
        if wrong:
            return "InvalidCertificateRef", "Invalid CertificateRef", f"Invalid CertificateRef, {wrong}"
    return None


def _bad_secret(secret: Object | None, name: str) -> str:
    if secret is None:
        return f'Secret "{name}" not found'
    data = secret.get("data") or {}
    try:
        x509.load_pem_x509_certificates(base64.b64decode(data.get("tls.crt") or ""))
    except ValueError:
        return "PEM format error in TLS Certificate"
    try:
        load_pem_private_key(base64.b64decode(data.get("tls.key") or ""), None)
    except (ValueError, TypeError):
        return "PEM format error in TLS Key"
    return ""


def _clashes(listeners: c.Sequence[Object]) -> dict[str, tuple[str, str]]:
    """Listeners that cannot stand beside each other: reason and message, for both of them."""
    found: dict[str, tuple[str, str]] = {}
    for place, one in enumerate(listeners):
        for other in listeners[place + 1 :]:
            clash = _clash(one, other)
            if clash:
                for mine, theirs in ((one, other), (other, one)):
                    text = (
                        f'Listener conflicts with listener "{theirs["name"]}": same port {mine["port"]} has {clash[1]}.'
                    )
                    found[mine["name"]] = (clash[0], text)
    return found


def _clash(one: Object, other: Object) -> tuple[str, str] | None:
    if one["port"] != other["port"]:
        return None
    protocols = {one["protocol"], other["protocol"]}
    if protocols & set(_PLAIN):
        return None if protocols == set(_PLAIN) else ("ProtocolConflict", "incompatible protocols")
    names = [listener.get("hostname") or "" for listener in (one, other)]
    if len(protocols) == 1:
        return ("HostnameConflict", "overlapping hostnames") if names[0] == names[1] else None
    if protocols == {"HTTPS", "TLS"}:
        overlap = not names[1] or meet(names[0], names[1])
        return ("ProtocolConflict", "overlapping HTTPS and TLS passthrough hostnames") if overlap else None
    return ("ProtocolConflict", "incompatible protocols") if "HTTP" in protocols else None


def allows(listener: Object, kind: str, namespace: str, gateway_namespace: str, around: Surroundings) -> str:
    """Why a route may not attach to a listener ("kind", "namespace"); "" when it may."""
    allowed = listener.get("allowedRoutes") or {}
    kinds = [one["kind"] for one in allowed.get("kinds") or () if one.get("group", GROUP) == GROUP]
    if kind not in (kinds if allowed.get("kinds") else KINDS.get(listener["protocol"], ())):
        return "kind"
    wanted = allowed.get("namespaces") or {}
    source = wanted.get("from") or ("Selector" if wanted.get("selector") else "Same")
    if source == "All" or (source == "Same" and namespace == gateway_namespace):
        return ""
    try:
        if source == "Selector" and matches(wanted.get("selector"), around.namespaces.get(namespace, {})):
            return ""
    except ValueError:
        pass
    return "namespace"
