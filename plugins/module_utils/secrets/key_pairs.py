# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key pairs of a sealed-secrets controller: PEM, Secret manifests, or either encrypted with age."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import pathlib
import re
import typing as t

from .. import private_files
from ..errors import Absent, InvalidInput
from ..sops import age
from . import sealing, secret_forms, yaml_text

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
except ImportError as missing:
    x509 = hashes = serialization = rsa = t.cast("t.Any", Absent("cryptography", missing))

#: By which the controller finds its keys when it starts. It leaves alone those with another value, such as ``compromised``.
LABEL = "sealedsecrets.bitnami.com/sealed-secrets-key"
ACTIVE = "active"

_PRIVATE = re.compile(r"-----BEGIN (?:RSA )?PRIVATE KEY-----.*?-----END (?:RSA )?PRIVATE KEY-----", re.DOTALL)
_PASSPHRASE = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class KeyPair:
    """One key of a controller. ``certificate_pem`` is empty when only the private key was given."""

    key: rsa.RSAPrivateKey = dataclasses.field(repr=False)
    certificate_pem: str = ""
    name: str = ""
    namespace: str = ""
    state: str = ACTIVE

    @property
    def active(self) -> bool:
        """Whether the controller would use it."""
        return self.state == ACTIVE

    @property
    def fingerprint(self) -> str:
        return sealing.fingerprint(self.key.public_key())

    @property
    def certificate(self) -> sealing.Certificate:
        return sealing.Certificate.parse(self.certificate_pem, f"the key {self.name}")

    @property
    def first_certificate(self) -> str:
        """That of the key itself: what follows it, if anything, is of others."""
        return "".join(f"{one}\n" for one in _CERTIFICATE.findall(self.certificate_pem)[:1])

    @property
    def private_pem(self) -> str:
        form = serialization.PrivateFormat.TraditionalOpenSSL
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()

    def manifest(self) -> dict[str, t.Any]:
        """The Secret, as the controller itself would have made it."""
        pieces = {"tls.crt": self.certificate_pem, "tls.key": self.private_pem}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": {LABEL: self.state}},
            "type": "kubernetes.io/tls",
            "data": {name: base64.b64encode(text.encode()).decode() for name, text in pieces.items()},
        }


def generate(name: str, namespace: str, size: int, days: int, now: datetime.datetime) -> KeyPair:
    """A new one, as the controller makes its own: self-signed, without a name, for ``days``."""
    key = rsa.generate_private_key(65537, size)
    nobody = x509.Name([])
    usage = dict.fromkeys(_USAGES, False) | {"key_agreement": True, "encipher_only": True}
    certificate = (
        x509.CertificateBuilder()
        .subject_name(nobody)
        .issuer_name(nobody)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(key, certificate.public_bytes(serialization.Encoding.PEM).decode(), name, namespace)


_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def is_encrypted(path: pathlib.Path) -> bool:
    """Whether a file that is there is an age file. Raises InvalidInput when it cannot be read."""
    return age.is_age_file(private_files.read_bytes(path, "key file"))


def load(path: pathlib.Path, identities: t.Sequence[age.Identity]) -> list[KeyPair]:
    """All that a file holds. Raises InvalidInput, also for a file with private keys that others can read."""
    data = private_files.read_bytes(path, "key file")
    if age.is_age_file(data):
        if not identities:
            raise InvalidInput(f"{path} is encrypted with age", hint="Give age_key_file.")
        data = age.decrypt(data, identities)
    else:
        private_files.refuse_open(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not text in UTF-8, nor an age file") from None
    pem = "-----BEGIN" in text and "apiVersion" not in text
    found = [_of_pem(text, path)] if pem else _of_manifests(text, path)
    if not found:
        raise InvalidInput(f"{path} holds no key of a sealed-secrets controller", hint=_KEYS)
    return found


_KEYS = "Give a private key in PEM, or the Secrets of type kubernetes.io/tls that the controller keeps its keys in."


def _of_pem(text: str, path: pathlib.Path) -> KeyPair:
    if _PASSPHRASE.search(text):
        raise InvalidInput(f"The private key in {path} has a passphrase", hint="Take it off: openssl pkey -in … -out …")
    private = _PRIVATE.findall(text)
    if len(private) != 1:
        raise InvalidInput(f"{path} holds {len(private)} private keys in PEM, one was expected", hint=_KEYS)
    try:
        key = serialization.load_pem_private_key(private[0].encode(), None)
    except (ValueError, TypeError):
        raise InvalidInput(f"The private key in {path} cannot be read", hint="Restore it from a backup.") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InvalidInput(f"The private key in {path} is no RSA key, which sealed-secrets needs")
    pair = KeyPair(key, "".join(f"{one}\n" for one in _CERTIFICATE.findall(text)))
    if pair.certificate_pem and pair.certificate.fingerprint != pair.fingerprint:
        raise InvalidInput(f"The certificate in {path} does not belong to the private key beside it")
    return pair


def _of_manifests(text: str, path: pathlib.Path) -> list[KeyPair]:
    """Where some have the controller's label, those without it are other Secrets, with certificates of web servers perhaps."""
    secrets = [
        one for one in yaml_text.documents(text, str(path)) if one.get("kind") == "Secret" and "tls.key" in _data(one)
    ]
    labelled = [one for one in secrets if LABEL in _mapping(_mapping(one, "metadata"), "labels")]
    return [_of_secret(one, path) for one in labelled or secrets]


def _of_secret(secret: dict[str, t.Any], path: pathlib.Path) -> KeyPair:
    meta, data = _mapping(secret, "metadata"), _data(secret)
    try:
        pieces = [secret_forms.decoded(data.get(name) or "").decode() for name in ("tls.key", "tls.crt")]
    except ValueError:
        raise InvalidInput(f"The data of Secret {meta.get('name')} in {path} is not base64 of text") from None
    state = str(_mapping(meta, "labels").get(LABEL, ACTIVE))
    name, namespace = (str(meta.get(field) or "") for field in ("name", "namespace"))
    return dataclasses.replace(_of_pem("\n".join(pieces), path), name=name, namespace=namespace, state=state)


def _data(secret: dict[str, t.Any]) -> dict[str, t.Any]:
    texts = {name: base64.b64encode(str(text).encode()) for name, text in _mapping(secret, "stringData").items()}
    return _mapping(secret, "data") | texts


def _mapping(of: dict[str, t.Any], name: str) -> dict[str, t.Any]:
    value = of.get(name)
    return value if isinstance(value, dict) else {}
