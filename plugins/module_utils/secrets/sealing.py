# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The envelope of sealed-secrets: what ``kubeseal`` writes for a value and its controller opens.

``length (2 bytes) || RSA-OAEP(SHA-256, label) of a session key || AES-256-GCM of the value under a zero nonce``; the label
is the scope: ``namespace/name``, ``namespace``, or nothing.

With a sealing key (32 bytes that never leave the machine) the session key and the padding's seed are not drawn by chance
but are HMACs of the value and of everything that it is sealed for. So the same value yields the same text, which is how it is
known, without opening anything, that it is unchanged; and without the key nobody can tell or guess. A session key is
never used for two values, as the zero nonce demands.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import hmac
import os
import typing as t

from ..errors import Absent, InvalidInput
from . import secret_forms

try:
    from cryptography import exceptions, x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError as missing:
    exceptions = x509 = hashes = serialization = t.cast("t.Any", Absent("cryptography", missing))
    padding = rsa = AESGCM = t.cast("t.Any", Absent("cryptography", missing))

STRICT, NAMESPACE_WIDE, CLUSTER_WIDE = SCOPES = ("strict", "namespace-wide", "cluster-wide")

_SESSION_KEY = 32
_DIGEST = hashlib.sha256().digest_size
_ZERO_NONCE = bytes(12)


@dataclasses.dataclass(frozen=True)
class Target:
    """What a value is sealed for: only there does it open."""

    namespace: str
    name: str
    scope: str = STRICT

    @property
    def label(self) -> bytes:
        texts = {STRICT: f"{self.namespace}/{self.name}", NAMESPACE_WIDE: self.namespace, CLUSTER_WIDE: ""}
        return texts[self.scope].encode()


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A controller's certificate, for which values are sealed."""

    modulus: int
    exponent: int
    fingerprint: str
    not_before: datetime.datetime
    not_after: datetime.datetime

    @classmethod
    def parse(cls, pem: str, where: str) -> Certificate:
        """The first one of a file. Raises InvalidInput."""
        if "PRIVATE KEY" in pem:
            raise InvalidInput(f"{where} holds a private key", hint="Give the certificate, which may be public.")
        try:
            found = x509.load_pem_x509_certificates(pem.encode())[0]
        except ValueError:
            raise InvalidInput(f"{where} holds no certificate in PEM", hint=_CERTIFICATE) from None
        return cls.of(found, where)

    @classmethod
    def of(cls, found: x509.Certificate, where: str) -> Certificate:
        key = found.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise InvalidInput(f"The certificate of {where} has no RSA key, which sealed-secrets needs")
        if key.key_size < 2048:
            raise InvalidInput(f"The certificate of {where} has a key of {key.key_size} bits, which is too short")
        numbers = key.public_numbers()
        return cls(numbers.n, numbers.e, fingerprint(key), found.not_valid_before_utc, found.not_valid_after_utc)

    def check_time(self, now: datetime.datetime, where: str) -> None:
        """Raises InvalidInput for a certificate that kubeseal would refuse: one that has expired."""
        if now > self.not_after:
            raise InvalidInput(
                f"The certificate of {where} expired on {self.not_after:%Y-%m-%d}",
                hint="Fetch the controller's current one, or rotate its key with groundwork.homelab.sealed_secrets_key.",
            )


_CERTIFICATE = "kubeseal --fetch-cert prints the controller's; groundwork.homelab.sealed_secrets_key makes one."


def fingerprint(key: rsa.RSAPublicKey) -> str:
    """``SHA256:…`` as ssh-keygen prints it; the controller names its keys so in its log."""
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).split()[1]
    digest = hashlib.sha256(base64.b64decode(line)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def seal(value: bytes, target: Target, certificate: Certificate, *, name: str = "", sealing_key: bytes = b"") -> str:
    """The text that stands in ``spec.encryptedData``. ``name``: of the value, part of what its text is derived from."""
    session, seed = os.urandom(_SESSION_KEY), os.urandom(_DIGEST)
    if sealing_key:
        parts = (certificate.fingerprint.encode(), target.label, target.scope.encode(), name.encode(), value)
        session, seed = (_derived(sealing_key, use, *parts) for use in (b"session key", b"padding"))
    block = _oaep(session, target.label, seed, (certificate.modulus.bit_length() + 7) // 8)
    wrapped = pow(int.from_bytes(block, "big"), certificate.exponent, certificate.modulus).to_bytes(len(block), "big")
    sealed = len(wrapped).to_bytes(2, "big") + wrapped + AESGCM(session).encrypt(_ZERO_NONCE, value, None)
    return base64.b64encode(sealed).decode()


class DoesNotOpen(ValueError):
    """Why a sealed value does not open; holds nothing secret."""


def unseal(text: str, target: Target, keys: t.Iterable[rsa.RSAPrivateKey]) -> bytes:
    """The value. Raises DoesNotOpen."""
    try:
        data = secret_forms.decoded(text)  # also in several lines, as in the controller
    except ValueError:
        raise DoesNotOpen("it is not base64") from None
    length = int.from_bytes(data[:2], "big")
    if len(data) < 2 + length + 16:
        raise DoesNotOpen("it is cut off")
    for key in keys:
        try:
            session = key.decrypt(data[2 : 2 + length], _scheme(target.label))
            return AESGCM(session).decrypt(_ZERO_NONCE, data[2 + length :], None)
        except (ValueError, exceptions.InvalidTag):
            continue
    raise DoesNotOpen("no key opens it, so it was sealed for another certificate, name, namespace or scope")


def _scheme(label: bytes) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label)


# -- RSA-OAEP (RFC 8017, 7.1.1) with a seed that is given: the library draws its own --------------------------------------


def _oaep(message: bytes, label: bytes, seed: bytes, size: int) -> bytes:
    padded = hashlib.sha256(label).digest() + bytes(size - len(message) - 2 * _DIGEST - 2) + b"\1" + message
    masked = _xor(padded, _mask(seed, len(padded)))
    return b"\0" + _xor(seed, _mask(masked, _DIGEST)) + masked


def _mask(seed: bytes, length: int) -> bytes:
    """MGF1 with SHA-256."""
    count = -(-length // _DIGEST)
    return b"".join(hashlib.sha256(seed + number.to_bytes(4, "big")).digest() for number in range(count))[:length]


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")


def _derived(key: bytes, use: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 over parts that are told apart by their lengths."""
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in (use, *parts))
    return hmac.new(key, framed, hashlib.sha256).digest()
