# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and certificates: Talos's shapes, and that OpenSSL takes what is handed to it."""

from __future__ import annotations

import base64
import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import pki, tls

#: From the recordings: a maintenance certificate, and its fingerprint as the node's console shows it.
MAINTENANCE = """-----BEGIN CERTIFICATE-----
MIIBXDCCAQ6gAwIBAgIRALRnAtza71maomYL4z4eavMwBQYDK2VwMAAwHhcNMjYx
MTIxMDc0NjUwWhcNMjYxMTIyMDc0NjUwWjAoMSYwJAYDVQQDEx1tYWludGVuYW5j
ZS1zZXJ2aWNlLnRhbG9zLmRldjAqMAUGAytlcAMhAMidkZLDCo192KgRrOHEHMka
1HyOgPjibIC6um3EytSHo3UwczAOBgNVHQ8BAf8EBAMCB4AwEwYDVR0lBAwwCgYI
KwYBBQUHAwEwHwYDVR0jBBgwFoAUFqyYQKhQEvgy5Dx3r6szMcT57lkwKwYDVR0R
BCQwIoICbjGHBApNAAuHBH8AAAGHEAAAAAAAAAAAAAAAAAAAAAEwBQYDK2VwA0EA
LPxwNwmE9Lc/wdjUWszfVZ+ahk7VIB9xugl6KHrz4BAtemxnImaPYFlGr7EDr+/2
/RyUSK65CSQrSpZCVFcsCQ==
-----END CERTIFICATE-----
"""
FINGERPRINT_START = "CvW/PeE/h7"


def test_the_fingerprint_is_the_one_that_talos_shows() -> None:
    der = ssl.PEM_cert_to_DER_cert(MAINTENANCE)
    assert pki.fingerprint(der).startswith(FINGERPRINT_START)
    assert len(base64.b64decode(pki.fingerprint(der))) == 32


@pytest.mark.parametrize(
    ("kind", "key"), [("ed25519", ed25519.Ed25519PrivateKey), ("ecdsa", ec.EllipticCurvePrivateKey)]
)
def test_an_authority_has_talos_shape(kind: pki.Kind, key: type) -> None:
    pair = pki.new_ca("talos", kind)
    certificate = pki.load_certificate(pair.crt)
    assert isinstance(pki.load_key(pair.key), key)
    assert [type(extension.value).__name__ for extension in certificate.extensions] == [
        "KeyUsage",
        "ExtendedKeyUsage",
        "BasicConstraints",
        "SubjectKeyIdentifier",
    ]
    lifetime = pki.expires(pair.crt) - dt.datetime.now(dt.timezone.utc)
    assert dt.timedelta(days=3649) < lifetime <= dt.timedelta(hours=87600)


def test_an_ed25519_key_has_talos_label_and_loads_after_relabelling() -> None:
    pair = pki.new_ca("talos", "ed25519")
    assert pair.key.startswith(b"-----BEGIN ED25519 PRIVATE KEY-----")
    assert pki.openssl_key(pair.key).startswith(b"-----BEGIN PRIVATE KEY-----")


def test_the_aggregator_has_an_empty_subject() -> None:
    assert not list(pki.load_certificate(pki.new_ca(None, "ecdsa").crt).subject)


def test_a_client_certificate_is_for_clients_only_and_has_roles_sorted() -> None:
    ca = pki.new_ca("talos", "ed25519")
    pair = pki.client_certificate(ca, ["os:reader", "os:admin"])
    certificate = pki.load_certificate(pair.crt)
    roles = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert roles == ["os:admin", "os:reader"]
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert pki.issued_by(pair.crt, ca.crt)
    assert not pki.issued_by(pair.crt, pki.new_ca("talos", "ed25519").crt)


def test_a_client_certificate_follows_the_authority_s_algorithm() -> None:
    pair = pki.client_certificate(pki.new_ca("talos", "ecdsa"), ["os:admin"])
    assert isinstance(pki.load_key(pair.key), ec.EllipticCurvePrivateKey)


def test_a_client_certificate_bears_a_clock_that_is_ahead() -> None:
    pair = pki.client_certificate(pki.new_ca("talos", "ed25519"), ["os:admin"])
    start = pki.load_certificate(pair.crt).not_valid_before_utc
    assert dt.datetime.now(dt.timezone.utc) - start >= dt.timedelta(minutes=59)


def test_openssl_takes_an_identity() -> None:
    ca = pki.new_ca("talos", "ed25519")
    context = tls.Identity(ca.crt, pki.client_certificate(ca, ["os:admin"])).context()
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
    assert len(context.get_ca_certs()) == 1


def test_a_key_that_is_another_s_is_noticed() -> None:
    one, other = pki.new_ca("a", "ecdsa"), pki.new_ca("b", "ecdsa")
    assert pki.belongs(one)
    assert not pki.belongs(pki.Pair(one.crt, other.key))


def test_a_token_is_6_and_16_characters() -> None:
    first, second = pki.token().split(".")
    assert (len(first), len(second)) == (6, 16)


def test_what_is_not_base64_is_named() -> None:
    with pytest.raises(InvalidInput, match="certs.os.crt is not base64"):
        pki.decoded("%%%", "certs.os.crt")


def test_a_pair_does_not_show_its_key() -> None:
    assert "PRIVATE" not in repr(pki.new_ca("talos", "ed25519"))
