# SPDX-License-Identifier: GPL-3.0-or-later
"""What cert-manager's webhook refuses, in its words: the mistakes that its users make."""

from __future__ import annotations

import datetime
import ipaddress
import json
import typing as t

from . import issuers
from .signing import DEFAULT_DURATION, duration

Object = t.Mapping[str, t.Any]
_NAMES = ("commonName", "literalSubject", "dnsNames", "emailAddresses", "ipAddresses", "otherNames", "uris")
_HOUR, _MINUTES = datetime.timedelta(hours=1), datetime.timedelta(minutes=5)


def problems(found: Object) -> list[str]:
    """Of a Certificate, an Issuer or a ClusterIssuer; empty for what is right and for other kinds."""
    kind, spec = found.get("kind"), found.get("spec") or {}
    if kind == "Certificate":
        return [*_names(spec), *_reference(spec), *_key(spec), *_times(spec), *_template(spec)]
    return _issuer(spec) if kind in ("Issuer", "ClusterIssuer") else []


def _names(spec: Object) -> t.Iterator[str]:
    if not spec.get("secretName"):
        yield "spec.secretName: Required value: must be specified"
    if not any(spec.get(name) for name in _NAMES):
        yield (
            'spec: Invalid value: "": at least one of commonName (from the commonName field or from a literalSubject), '
            "dnsNames, emailSANs, ipAddresses, otherNames, or uriSANs must be set"
        )
    if len(str(spec.get("commonName") or "")) > 64:
        yield f"spec.commonName: Too long: may not be more than 64 bytes: {spec['commonName']}"
    for place, address in enumerate(spec.get("ipAddresses") or ()):
        try:
            ipaddress.ip_address(str(address))
        except ValueError:
            yield f'spec.ipAddresses[{place}]: Invalid value: "{address}": invalid IP address'


def _reference(spec: Object) -> t.Iterator[str]:
    reference = spec.get("issuerRef") or {}
    if not reference.get("name"):
        yield "spec.issuerRef.name: Required value: must be specified"
    kind, group = reference.get("kind") or "Issuer", reference.get("group") or "cert-manager.io"
    if group == "cert-manager.io" and kind not in ("Issuer", "ClusterIssuer"):
        yield f'spec.issuerRef.kind: Invalid value: "{kind}": must be one of Issuer or ClusterIssuer'


def _key(spec: Object) -> t.Iterator[str]:
    wanted = spec.get("privateKey") or {}
    size, algorithm = int(wanted.get("size") or 0), wanted.get("algorithm") or "RSA"
    if size and algorithm == "RSA" and not 2048 <= size <= 8192:
        yield f"spec.privateKey.size: Invalid value: {size}: must be between 2048 and 8192 for rsa keyAlgorithm"
    if size and algorithm == "ECDSA" and size not in (256, 384, 521):
        yield f'spec.privateKey.size: Unsupported value: {size}: supported values: "256", "384", "521"'


def _times(spec: Object) -> t.Iterator[str]:
    try:
        whole = duration(spec.get("duration"), DEFAULT_DURATION)
        before = duration(spec.get("renewBefore"), datetime.timedelta())
    except ValueError as error:
        yield f"spec.duration: Invalid value: {error}"
        return
    if whole < _HOUR:
        yield f'spec.duration: Invalid value: "{spec["duration"]}": certificate duration must be greater than 1h0m0s'
    if spec.get("renewBefore") and spec.get("renewBeforePercentage"):
        text = "renewBefore and renewBeforePercentage are mutually exclusive and cannot both be set"
        yield f'spec.renewBefore: Invalid value: "{spec["renewBefore"]}": {text}'
    elif spec.get("renewBefore"):
        wrong = f'spec.renewBefore: Invalid value: "{spec["renewBefore"]}": certificate '
        if before < _MINUTES:
            yield wrong + "renewBefore must be greater than 5m0s"
        elif before >= whole:
            yield wrong + f"duration {whole} must be greater than renewBefore {before}"


def _template(spec: Object) -> t.Iterator[str]:
    for name in (spec.get("secretTemplate") or {}).get("annotations") or {}:
        if name.startswith("cert-manager.io/") and name != "cert-manager.io/allow-direct-injection":
            text = "cert-manager.io/* annotations are not allowed"
            yield f'spec.secretTemplate.annotations: Invalid value: "{name}": {text}'


def _issuer(spec: Object) -> list[str]:
    given = [kind for kind in issuers.KINDS if spec.get(kind) is not None]
    if not given:
        return ["spec: Required value: at least one issuer must be configured"]
    found = [f"spec.{kind}: Forbidden: may not specify more than one issuer type" for kind in given[1:]]
    acme = spec.get("acme") or {}
    if given[0] == "acme" and not (acme.get("privateKeySecretRef") or {}).get("name"):
        found.append("spec.acme.privateKeySecretRef: Required value: private key secret name is a required field")
    if given[0] == "acme" and not acme.get("server"):
        found.append("spec.acme.server: Required value: acme server URL is a required field")
    for place, solver in enumerate(acme.get("solvers") or ()):
        if not {"dns01", "http01"} & solver.keys():
            found.append(f"spec.acme.solvers[{place}]: Required value: no solver type configured")
    if given[0] == "ca" and not spec["ca"].get("secretName"):
        found.append("spec.ca.secretName: Required value")
    return found


def answer(review: Object) -> Object:
    """To an AdmissionReview of the API server."""
    asked = review["request"]
    wrong = problems(asked.get("object") or {}) if asked.get("operation") in ("CREATE", "UPDATE") else []
    response: dict[str, t.Any] = {"uid": asked["uid"], "allowed": not wrong}
    if wrong:
        text = wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]"
        response["status"] = {"status": "Failure", "message": text, "reason": "NotAcceptable", "code": 406}
    return {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}


def answered(body: bytes) -> str:
    """Raises ValueError, KeyError, TypeError for what is no review."""
    return json.dumps(answer(json.loads(body)))
