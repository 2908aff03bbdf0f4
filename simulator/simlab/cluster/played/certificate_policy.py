# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a Certificate's Secret is what it asks for: cert-manager's checks, in its order and words."""

from __future__ import annotations

import datetime
import typing as t

from cryptography import x509

from .signing import Key, common_name, duration, fits, load_key, names, names_of, secret_text

Object = t.Mapping[str, t.Any]
GROUP = "cert-manager.io"
NAME, ISSUER_NAME = f"{GROUP}/certificate-name", f"{GROUP}/issuer-name"
ISSUER_KIND, ISSUER_GROUP = f"{GROUP}/issuer-kind", f"{GROUP}/issuer-group"


def issuer_of(spec: Object) -> tuple[str, str, str]:
    """Name, kind, group."""
    reference = spec.get("issuerRef") or {}
    return str(reference.get("name")), str(reference.get("kind") or "Issuer"), str(reference.get("group") or GROUP)


def violation(certificate: Object, secret: Object | None) -> tuple[str, str] | None:
    """Reason and message of what is wrong with the Secret, None when nothing is."""
    if secret is None:
        return "DoesNotExist", "Issuing certificate as Secret does not exist"
    data = secret.get("data") or {}
    if not data:
        return "MissingData", "Issuing certificate as Secret does not contain any data"
    for key, what in (("tls.key", "private key"), ("tls.crt", "certificate")):
        if not data.get(key):
            return "MissingData", f"Issuing certificate as Secret does not contain a {what}"
    try:
        key_ = load_key(secret_text(secret, "tls.key"))
    except (ValueError, TypeError) as error:
        return "InvalidKeyPair", f"Issuing certificate as Secret contains invalid private key data: {error}"
    try:
        found = x509.load_pem_x509_certificates(secret_text(secret, "tls.crt").encode())[0]
    except (ValueError, IndexError) as error:
        return "InvalidCertificate", f"Issuing certificate as Secret contains an invalid certificate: {error}"
    return _mismatch(certificate, secret, key_, found) or _late(certificate, found)


def _mismatch(certificate: Object, secret: Object, key: Key, found: x509.Certificate) -> tuple[str, str] | None:
    spec, notes = certificate["spec"], secret["metadata"].get("annotations") or {}
    if key.public_key() != found.public_key():
        text = "Issuing certificate as Secret contains a private key that does not match the certificate"
        return "InvalidKeyPair", text
    if not fits(key, spec):
        return "SecretMismatch", "Existing private key is not up to date for spec: [spec.privateKey]"
    name, kind, group = issuer_of(spec)
    issued = (notes.get(ISSUER_NAME), notes.get(ISSUER_KIND, "Issuer"), notes.get(ISSUER_GROUP, GROUP))
    if issued != (name, kind, group):
        text = f'Issuing certificate as Secret was previously issued by "{issued[1]}.{issued[2]}/{issued[0]}"'
        return "IncorrectIssuer", text
    if notes.get(NAME) not in (None, certificate["metadata"]["name"]):
        return "IncorrectCertificate", (
            f'Secret was issued for "{notes[NAME]}". If this message is not transient, you might have two conflicting '
            "Certificates pointing to the same secret."
        )
    wrong = differences(spec, found)
    if wrong:
        text = f"Issuing certificate as Existing issued Secret is not up to date for spec: [{' '.join(wrong)}]"
        return "SecretMismatch", text
    return None


def differences(spec: Object, found: x509.Certificate | x509.CertificateSigningRequest) -> list[str]:
    """Fields of the spec that a certificate or a request does not have as they are."""
    wrong = []
    if common_name(found) != str(spec.get("commonName") or ""):
        wrong.append("spec.commonName")
    if names_of(found) != {str(name.value) for name in names(spec)}:
        wrong.append("spec.dnsNames")
    return wrong


def renewal(certificate: Object, found: x509.Certificate) -> datetime.datetime:
    """When it is to be renewed: a third of its life before its end, or as the spec says."""
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    spec = certificate["spec"]
    before = duration(spec.get("renewBefore"), (end - begin) / 3)
    if spec.get("renewBeforePercentage"):
        before = (end - begin) * (int(spec["renewBeforePercentage"]) / 100)
    return end - (before if before < end - begin else (end - begin) / 3)


def _late(certificate: Object, found: x509.Certificate) -> tuple[str, str] | None:
    now = datetime.datetime.now(datetime.timezone.utc)
    if now >= found.not_valid_after_utc:
        return "Expired", f"Certificate expired on {found.not_valid_after_utc:%a, %d %b %Y %H:%M:%S UTC}"
    when = renewal(certificate, found)
    if now >= when:
        return "Renewing", f"Renewing certificate as renewal was scheduled at {when:%Y-%m-%d %H:%M:%S} +0000 UTC"
    return None
