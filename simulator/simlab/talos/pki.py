# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates as Talos issues them: ed25519 or ECDSA leaves of the machine CA, a fresh CA for each maintenance boot."""

from __future__ import annotations

import base64
import collections.abc as c
import contextlib
import datetime as dt
import ipaddress
import os
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Talos writes PKCS#8 under this label; OpenSSL wants the ordinary one.
_TALOS_LABEL, _LABEL = b"ED25519 PRIVATE KEY", b"PRIVATE KEY"


class Pair(t.NamedTuple):
    """A certificate and its key, PEM; the key as OpenSSL reads it."""

    certificate: bytes
    key: bytes


def from_config(section: c.Mapping[str, t.Any]) -> Pair:
    """``{crt, key}`` of a machine config: base64 of PEM."""
    return Pair(*(base64.b64decode(section.get(part) or "") for part in ("crt", "key")))


def readable(key: bytes) -> bytes:
    return key.replace(_TALOS_LABEL, _LABEL)


def talos_key(key: bytes) -> bytes:
    """The PEM label that Talos itself writes for ed25519 keys."""
    loaded = serialization.load_pem_private_key(readable(key), None)
    return key.replace(_LABEL, _TALOS_LABEL) if isinstance(loaded, ed25519.Ed25519PrivateKey) else key


def usable(pair: Pair) -> bool:
    """Whether this is a certificate with its key (a node accepts configs in which it is not)."""
    try:
        x509.load_pem_x509_certificate(pair.certificate)
        serialization.load_pem_private_key(readable(pair.key), None)
    except (ValueError, TypeError):
        return False
    return True


def maintenance_ca() -> Pair:
    """Self-signed, no subject, for one boot; it is never sent."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(hours=24))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(os.urandom(20)), critical=False)
    )
    certificate = builder.sign(key, None)
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def server(ca: Pair, name: str, dns: c.Iterable[str], addresses: c.Iterable[str]) -> Pair:
    """A node's serving certificate: 24 hours, server authentication only."""
    names: list[x509.GeneralName] = [x509.DNSName(entry) for entry in dns]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return _issue(ca, subject, ExtendedKeyUsageOID.SERVER_AUTH, dt.timedelta(hours=24), names)


def client(ca: Pair, roles: c.Iterable[str], lifetime: dt.timedelta) -> Pair:
    """A talosconfig's certificate: one O per role, no CN, client authentication only."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, role) for role in sorted(set(roles))])
    return _issue(ca, subject, ExtendedKeyUsageOID.CLIENT_AUTH, lifetime, [])


def client_only(certificate: bytes) -> bool:
    """Whether a DER certificate may be used for client authentication and nothing else."""
    loaded = x509.load_der_x509_certificate(certificate)
    try:
        usage = loaded.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def organizations(certificate: bytes) -> frozenset[str]:
    subject = x509.load_der_x509_certificate(certificate).subject
    return frozenset(str(entry.value) for entry in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))


@contextlib.contextmanager
def in_memory(*parts: bytes) -> c.Iterator[str]:
    """A path that OpenSSL can load, without a file on any disk."""
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, b"\n".join(parts))
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


_Key = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


def _issue(
    ca: Pair,
    subject: x509.Name,
    usage: x509.ObjectIdentifier,
    lifetime: dt.timedelta,
    names: list[x509.GeneralName],
) -> Pair:
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    issuer_key = serialization.load_pem_private_key(readable(ca.key), None)
    modern = isinstance(issuer_key, ed25519.Ed25519PrivateKey)
    key: _Key = ed25519.Ed25519PrivateKey.generate() if modern else ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(os.urandom(16), "big") >> 1)
        .not_valid_before(now - dt.timedelta(seconds=10))
        .not_valid_after(now + lifetime)
        .add_extension(_signature_only(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(_authority(issuer), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(t.cast(t.Any, issuer_key), None if modern else hashes.SHA256())
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def _authority(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(t.cast(t.Any, issuer.public_key()))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _signature_only() -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, False, False, False, False)


def _pem(key: _Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
