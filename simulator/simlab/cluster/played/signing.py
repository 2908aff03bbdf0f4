# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, requests and certificates of the played cert-manager: real ones."""

from __future__ import annotations

import base64
import collections.abc as c
import dataclasses
import datetime
import ipaddress
import re
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Object = t.Mapping[str, t.Any]
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
DEFAULT_DURATION = datetime.timedelta(days=90)
_CURVES: dict[int, ec.EllipticCurve] = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
_SUBJECT = (
    ("organizations", NameOID.ORGANIZATION_NAME),
    ("countries", NameOID.COUNTRY_NAME),
    ("organizationalUnits", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("localities", NameOID.LOCALITY_NAME),
    ("provinces", NameOID.STATE_OR_PROVINCE_NAME),
)
_EXTENDED = {
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
_PLAIN = {
    "digital signature": "digital_signature",
    "signing": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "data encipherment": "data_encipherment",
    "key agreement": "key_agreement",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
}
DEFAULT_USAGES = ("digital signature", "key encipherment")


@dataclasses.dataclass(frozen=True)
class Signer:
    """A certificate with its key; ``chain`` is PEM of those between it and the root, itself first."""

    certificate: x509.Certificate
    key: Key
    chain: str


def duration(text: str | None, default: datetime.timedelta) -> datetime.timedelta:
    """Go's form: ``2160h0m0s``. Raises ValueError."""
    if not text:
        return default
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", text)
    if found is None or not any(found.groups()):
        raise ValueError(f'time: invalid duration "{text}"')
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return datetime.timedelta(hours=hours, minutes=minutes, seconds=seconds)


def new_key(spec: Object) -> Key:
    """For a Certificate's spec. Raises ValueError for an algorithm or a size that there is not."""
    wanted = spec.get("privateKey") or {}
    algorithm, size = wanted.get("algorithm") or "RSA", int(wanted.get("size") or 0)
    if algorithm == "RSA" and (size or 2048) in (2048, 3072, 4096, 8192):
        return rsa.generate_private_key(65537, size or 2048)
    if algorithm == "ECDSA" and (size or 256) in _CURVES:
        return ec.generate_private_key(_CURVES[size or 256])
    if algorithm == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    raise ValueError(f"unsupported private key algorithm or size: {algorithm} {size}")


def fits(key: Key, spec: Object) -> bool:
    """Whether a key is what a Certificate asks for."""
    wanted = spec.get("privateKey") or {}
    algorithm, size = wanted.get("algorithm") or "RSA", int(wanted.get("size") or 0)
    if isinstance(key, rsa.RSAPrivateKey):
        return algorithm == "RSA" and key.key_size == (size or 2048)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return algorithm == "ECDSA" and key.curve.key_size == (size or 256)
    return bool(algorithm == "Ed25519")


def key_pem(key: Key, spec: Object) -> str:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    if (spec.get("privateKey") or {}).get("encoding") == "PKCS8" or isinstance(key, ed25519.Ed25519PrivateKey):
        form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def load_key(pem: str) -> Key:
    """Raises ValueError."""
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise ValueError("unknown private key type")
    return key


def names(spec: Object) -> list[x509.GeneralName]:
    """Subject alternative names of a Certificate's spec. Raises ValueError for an address that is none."""
    found: list[x509.GeneralName] = [x509.DNSName(str(name)) for name in spec.get("dnsNames") or ()]
    found += [x509.IPAddress(ipaddress.ip_address(str(one))) for one in spec.get("ipAddresses") or ()]
    found += [x509.UniformResourceIdentifier(str(one)) for one in spec.get("uris") or ()]
    return found + [x509.RFC822Name(str(one)) for one in spec.get("emailAddresses") or ()]


def request(key: Key, spec: Object) -> str:
    """A signing request for a Certificate's spec, PEM. Raises ValueError."""
    subject = spec.get("subject") or {}
    parts = [x509.NameAttribute(oid, str(one)) for key_, oid in _SUBJECT for one in subject.get(key_) or ()]
    if spec.get("commonName"):
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, str(spec["commonName"])))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts))
    if names(spec):
        builder = builder.add_extension(x509.SubjectAlternativeName(names(spec)), critical=not parts)
    return builder.sign(key, _hash(key)).public_bytes(serialization.Encoding.PEM).decode()


def sign(text: str, spec: Object, signer: Signer | None, own_key: Key | None = None) -> str:
    """A certificate for a signing request (PEM) by ``signer``, or by ``own_key`` when it signs itself; the chain, PEM.
    ``spec`` is the CertificateRequest's. Raises ValueError."""
    wanted = x509.load_pem_x509_csr(text.encode())
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    until = now + duration(spec.get("duration"), DEFAULT_DURATION)
    builder = (
        x509.CertificateBuilder()
        .subject_name(wanted.subject)
        .issuer_name(signer.certificate.subject if signer else wanted.subject)
        .public_key(wanted.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(until)
    )
    for extension, critical in _extensions(wanted, spec, signer):
        builder = builder.add_extension(extension, critical)
    key = signer.key if signer else own_key
    if key is None:
        raise ValueError("a self-signed certificate needs its own key")
    made = builder.sign(key, _hash(key)).public_bytes(serialization.Encoding.PEM).decode()
    intermediate = signer.chain if signer and signer.certificate.issuer != signer.certificate.subject else ""
    return made + intermediate


def _extensions(
    wanted: x509.CertificateSigningRequest, spec: Object, signer: Signer | None
) -> c.Iterator[tuple[x509.ExtensionType, bool]]:
    usages = list(spec.get("usages") or DEFAULT_USAGES) + (["cert sign"] if spec.get("isCA") else [])
    yield x509.BasicConstraints(ca=bool(spec.get("isCA")), path_length=None), True
    flags: dict[str, t.Any] = dict.fromkeys(set(_PLAIN.values()), False)
    flags |= {_PLAIN[one]: True for one in usages if one in _PLAIN}
    yield x509.KeyUsage(encipher_only=False, decipher_only=False, **flags), True
    extended = [_EXTENDED[one] for one in usages if one in _EXTENDED]
    if extended:
        yield x509.ExtendedKeyUsage(extended), False
    yield x509.SubjectKeyIdentifier.from_public_key(wanted.public_key()), False
    if signer is not None:
        yield x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), False
    for extension in wanted.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            yield extension.value, extension.critical


def _hash(key: Key) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def secret_text(secret: Object, key: str) -> str:
    """A value of a Secret, "" when it is not there. Raises ValueError when it is no text."""
    return base64.b64decode(str((secret.get("data") or {}).get(key) or "")).decode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def signer_of(secret: Object) -> Signer:
    """From a Secret with ``tls.crt`` and ``tls.key``. Raises ValueError."""
    chain = secret_text(secret, "tls.crt")
    certificate = x509.load_pem_x509_certificates(chain.encode())[0]
    key = load_key(secret_text(secret, "tls.key"))
    if key.public_key() != certificate.public_key():
        raise ValueError("the private key does not belong to the certificate")
    return Signer(certificate, key, chain)


def is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def names_of(certificate: x509.Certificate | x509.CertificateSigningRequest) -> set[str]:
    """Its alternative names, as texts that can be compared."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in found}


def common_name(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
