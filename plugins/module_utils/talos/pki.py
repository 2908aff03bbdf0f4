# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and certificates in the shapes that Talos makes and expects.

A certificate authority is valid for ten years; Talos's own is ed25519, Kubernetes' and etcd's are ECDSA P-256. PEM
labels are those of Go, with Talos's own ``ED25519 PRIVATE KEY`` (PKCS#8 inside), which OpenSSL does not know: see
:func:`openssl_key`.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import hashlib
import os
import secrets
import string
import typing as t

from ..errors import Absent, InvalidInput

try:
    from cryptography import exceptions, x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
except ImportError as missing:
    exceptions = x509 = hashes = serialization = ec = ed25519 = rsa = t.cast("t.Any", Absent("cryptography", missing))

if t.TYPE_CHECKING:
    PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Kind = t.Literal["ed25519", "ecdsa"]

CA_LIFETIME = dt.timedelta(hours=87600)
#: A controller whose clock is ahead of the node's must not make certificates that are not valid yet.
CLOCK_SKEW = dt.timedelta(hours=24)

_TALOS_LABEL = b"ED25519 PRIVATE KEY"
_OPENSSL_LABEL = b"PRIVATE KEY"
_TOKEN_ALPHABET = string.digits + string.ascii_lowercase


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM."""

    crt: bytes
    key: bytes = dataclasses.field(repr=False)


def openssl_key(pem: bytes) -> bytes:
    """Talos's PEM of a private key as OpenSSL reads it."""
    return pem.replace(_TALOS_LABEL, _OPENSSL_LABEL)


def load_key(pem: bytes) -> PrivateKey:
    """Raises :class:`ValueError` when it is not one of the kinds that Talos uses.

    The primes of an RSA key are not tested: that takes longer than all the rest of a task, and proves nothing about
    a file that only its owner can write.
    """
    key = serialization.load_pem_private_key(openssl_key(pem), None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise ValueError(f"a key of the kind {type(key).__name__}")
    return key


def load_certificate(pem: bytes) -> x509.Certificate:
    """Raises :class:`ValueError` when it is not a certificate in PEM."""
    return x509.load_pem_x509_certificate(pem)


def key_pem(key: PrivateKey) -> bytes:
    """A private key with the label that Talos gives it."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem.replace(_OPENSSL_LABEL, _TALOS_LABEL)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def fingerprint(der: bytes) -> str:
    """Base64 of the SHA-256 of the public key, as ``talosctl --cert-fingerprint`` and the node's console show it."""
    public = x509.load_der_x509_certificate(der).public_key()
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def expires(crt: bytes) -> dt.datetime:
    """When a certificate (PEM) ends, in UTC."""
    certificate = load_certificate(crt)
    try:
        return certificate.not_valid_after_utc
    except AttributeError:  # cryptography before 42
        return certificate.not_valid_after.replace(tzinfo=dt.UTC)


def begins(crt: bytes) -> dt.datetime:
    """From when on a certificate (PEM) is valid, in UTC."""
    certificate = load_certificate(crt)
    try:
        return certificate.not_valid_before_utc
    except AttributeError:  # cryptography before 42
        return certificate.not_valid_before.replace(tzinfo=dt.UTC)


def roles(crt: bytes) -> list[str]:
    """The Talos roles of a client certificate: its organizations."""
    found = load_certificate(crt).subject.get_attributes_for_oid(x509.oid.NameOID.ORGANIZATION_NAME)
    return sorted(str(attribute.value) for attribute in found)


def issued_by(crt: bytes, ca: bytes) -> bool:
    """Whether this authority signed this certificate."""
    try:
        load_certificate(crt).verify_directly_issued_by(load_certificate(ca))
    except (
        ValueError,
        TypeError,
        exceptions.InvalidSignature,
    ):  # the package raises one of several kinds: each means no
        return False
    return True


def belongs(pair: Pair) -> bool:
    """Whether the key is the certificate's. Raises :class:`ValueError` when one of them is broken."""
    encoding = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    of_key = load_key(pair.key).public_key().public_bytes(*encoding)
    return of_key == load_certificate(pair.crt).public_key().public_bytes(*encoding)


def token() -> str:
    """A token as kubeadm and trustd know it: 6 characters, a dot, 16 characters."""
    return ".".join("".join(secrets.choice(_TOKEN_ALPHABET) for number in range(length)) for length in (6, 16))


def service_account_key() -> bytes:
    """RSA 4096 in PKCS#1, as Talos makes it since contract 1.7."""
    return key_pem(rsa.generate_private_key(65537, 4096))


def new_ca(organization: str | None, kind: Kind, *, now: dt.datetime | None = None) -> Pair:
    """A certificate authority. The aggregator's has an empty subject, as Talos's generator gives it."""
    start = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    key = _new_key(kind)
    attributes = [x509.NameAttribute(x509.oid.NameOID.ORGANIZATION_NAME, organization)] if organization else []
    name = x509.Name(attributes)
    builder = (
        _builder(name, name, key, start, start + CA_LIFETIME)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH, x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(os.urandom(20)), critical=False)
    )
    return Pair(_signed(builder, key), key_pem(key))


def client_certificate(
    ca: Pair,
    organizations: t.Sequence[str],
    *,
    common_name: str | None = None,
    lifetime: dt.timedelta = dt.timedelta(hours=12),
    now: dt.datetime | None = None,
) -> Pair:
    """A client certificate: roles are organizations; the only extended key usage is clientAuth, or apid refuses it."""
    authority, ca_key = load_certificate(ca.crt), load_key(ca.key)
    moment = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    key = _new_key("ed25519" if isinstance(ca_key, ed25519.Ed25519PrivateKey) else "ecdsa")
    attributes = [x509.NameAttribute(x509.oid.NameOID.ORGANIZATION_NAME, name) for name in sorted(organizations)]
    if common_name:
        attributes.append(x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common_name))
    builder = (
        _builder(x509.Name(attributes), authority.subject, key, moment - CLOCK_SKEW, moment + lifetime)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    identifier = _key_identifier(authority)
    if identifier is not None:
        builder = builder.add_extension(identifier, critical=False)
    return Pair(_signed(builder, ca_key), key_pem(key))


def decoded(value: t.Any, where: str) -> bytes:
    """Base64 of PEM, as secrets bundles, configs and kubeconfigs carry it."""
    try:
        return base64.b64decode(value, validate=True)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{where} is not base64") from error


def _new_key(kind: Kind) -> PrivateKey:
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, start: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(127) | 1)
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _signed(builder: x509.CertificateBuilder, key: PrivateKey) -> bytes:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier | None:
    try:
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:  # an authority that the user made
        return None
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
