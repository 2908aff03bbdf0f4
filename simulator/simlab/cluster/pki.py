# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, issued from the authorities that a machine config carries."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import ipaddress
import os
import pathlib
import ssl
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
YEAR = datetime.timedelta(days=365)


@dataclasses.dataclass(frozen=True)
class KeyPair:
    """PEM texts."""

    certificate: str
    key: str

    def write(self, directory: pathlib.Path, name: str) -> None:
        """``<name>.crt`` and ``<name>.key``, both readable for the owner only."""
        private_file(directory / f"{name}.crt", self.certificate)
        private_file(directory / f"{name}.key", self.key)


class Authority:
    """A certificate authority from a machine config's ``{crt, key}`` (base64 of PEM)."""

    def __init__(self, section: t.Mapping[str, t.Any] | None, name: str) -> None:
        self.name = name
        section = section or {}
        self.certificate_pem = decoded(section.get("crt"))
        self.key_pem = decoded(section.get("key"))

    def issue(
        self,
        common_name: str = "",
        organization: str = "",
        *,
        sans: t.Iterable[str] = (),
        usages: t.Sequence[x509.ObjectIdentifier] = (CLIENT,),
        lifetime: datetime.timedelta = YEAR,
    ) -> KeyPair:
        """A new P-256 key and its certificate. ``sans`` are addresses and names. Raises ValueError when the
        configuration has no usable certificate and key for this authority."""
        issuer, issuer_key = self._loaded()
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name, organization))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(seconds=10))
            .not_valid_after(now + lifetime)
            .add_extension(_key_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_authority_key(issuer), critical=False)
        )
        names = [_general_name(san) for san in dict.fromkeys(sans)]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        algorithm = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        signed = builder.sign(t.cast("ec.EllipticCurvePrivateKey", issuer_key), algorithm)
        return KeyPair(signed.public_bytes(serialization.Encoding.PEM).decode(), private_pem(key))

    def _loaded(self) -> tuple[x509.Certificate, t.Any]:
        if not self.certificate_pem or not self.key_pem:
            raise ValueError(f"the machine config has no certificate and key in {self.name}")
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate_pem.encode())
            text = self.key_pem.replace("ED25519 PRIVATE KEY", "PRIVATE KEY")
            return certificate, serialization.load_pem_private_key(text.encode(), None)
        except ValueError as error:
            raise ValueError(f"{self.name} of the machine config cannot be used: {error}") from None


def decoded(text: t.Any) -> str:
    """A machine config's base64 field as text, empty when it is missing or not base64."""
    try:
        return base64.b64decode(str(text or ""), validate=True).decode()
    except ValueError:
        return ""


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def public_key_pem(private_key_pem: str) -> str:
    """The public half of a service account's key, as the API server reads it."""
    key = serialization.load_pem_private_key(private_key_pem.encode(), None)
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def private_file(path: pathlib.Path, text: str) -> pathlib.Path:
    """Write a file that only its owner can read, at once as a whole. Unchanged content is left alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.read_text() == text:
        return path
    temporary = path.with_name(f".{path.name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)
    return path


def client_context(ca_pem: str, pair: KeyPair | None, directory: pathlib.Path) -> ssl.SSLContext:
    """TLS for a client that trusts ``ca_pem`` and shows ``pair``. Python reads keys from files only: it is written to
    ``directory`` for the moment of loading."""
    context = ssl.create_default_context(cadata=ca_pem)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # a user's own authority need not follow RFC 5280 to the letter
    if pair is not None:
        path = private_file(directory / f".client-{os.getpid()}-{id(context)}.pem", pair.certificate + pair.key)
        try:
            context.load_cert_chain(path)
        finally:
            path.unlink()
    return context


def _name(common_name: str, organization: str) -> x509.Name:
    parts = ((NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts if text])


def _general_name(san: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(san))
    except ValueError:
        return x509.DNSName(san)


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(t.cast("t.Any", issuer.public_key()))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)


def _key_usage() -> x509.KeyUsage:
    off = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"), False
    )
    return x509.KeyUsage(digital_signature=True, key_encipherment=True, encipher_only=False, decipher_only=False, **off)
