# SPDX-License-Identifier: GPL-3.0-or-later
"""age files and keys: what goes in comes out, and everything else is refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age, bech32

KEY = age.Identity(bytes(range(32)))
FILE = age.encrypt(b"plain", [KEY.recipient])
ARMORED = age.armored(FILE)


@given(st.binary(max_size=80), st.text(alphabet="abcdefghijklmnopqrstuvwxyz-0123456789", min_size=1, max_size=20))
def test_bech32_reads_what_it_wrote(data: bytes, prefix: str) -> None:
    assert bech32.decode(bech32.encode(prefix, data)) == (prefix, data)
    assert bech32.decode(bech32.encode(prefix, data).upper()) == (prefix, data)


# BIP 173's own, as far as they hold whole bytes.
@pytest.mark.parametrize(
    "text", ["A12UEL5L", "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs"]
)
def test_bech32_reads_the_standards_examples(text: str) -> None:
    assert bech32.decode(text) == (text.lower().rpartition("1")[0], b"")


@settings(max_examples=50)
@given(st.binary(max_size=300), st.booleans())
def test_what_is_encrypted_is_decrypted(plain: bytes, armor: bool) -> None:
    other = age.Identity.generate()
    data = age.encrypt(plain, [other.recipient, KEY.recipient])
    data = age.armored(data).encode() if armor else data
    assert age.decrypt(data, [KEY]) == plain


def test_a_key_file_has_comments_and_several_keys() -> None:
    other = age.Identity.generate()
    text = f"# created: today\n# public key: {KEY.recipient}\n{KEY.text}\n\n  {other.text}\n"
    assert age.identities(text) == [KEY, other]


def test_a_private_key_is_never_shown() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert "secret" not in repr(KEY)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "too short"),
        ("age", "too short"),
        ("age1qqqb", "too short"),
        (KEY.recipient[:-1], "checksum"),
        (KEY.recipient[:-1].upper() + "q", "mixed"),
        (KEY.recipient.replace("q", "b", 1), "letters|checksum"),
        (bech32.encode("age", b"short"), "X25519"),
        (bech32.encode("age1pq", bytes(32)), "X25519"),
        ("ssh-ed25519 AAAA", "not an age recipient"),
    ],
)
def test_what_is_no_recipient_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        age.encrypt(b"", [text])


def test_a_private_key_in_place_of_a_recipient_is_not_quoted() -> None:
    with pytest.raises(InvalidInput, match="private key") as caught:
        age.encrypt(b"", [KEY.text])
    assert KEY.text not in str(caught.value)


def test_no_recipient_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="no recipient"):
        age.encrypt(b"", [])


def test_a_wrong_line_of_a_key_file_is_named_and_not_quoted() -> None:
    wrong = KEY.text[:-1] + "Q"
    with pytest.raises(InvalidInput, match="Line 2 of the age key file") as caught:
        age.identities(f"# mine\n{wrong}\n")
    assert wrong not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "age-encryption.org/v1"),
        (b"age-encryption.org/v2\n", "age-encryption.org/v1"),
        (FILE[:40], "no end"),
        (FILE[:-20], "cut off"),
        (FILE[:-1], "changed or cut off"),
        (FILE + b"x", "changed or cut off"),
        (FILE.replace(b"-> X25519", b"->  X25519"), "malformed"),
        (ARMORED.replace("-----END", "----END").encode(), "last line is missing"),
        (ARMORED.replace("\n", "\nA", 1).encode(), "64 characters"),
        (ARMORED.replace("YWdl", "YW!l").encode(), "not base64"),
    ],
    ids=range(10),  # not by what differs from run to run: workers must agree on the tests
)
def test_what_is_no_whole_file_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        age.decrypt(data, [KEY])


def test_who_is_not_a_recipient_is_told() -> None:
    with pytest.raises(age.NotForUs, match="none of the identities"):
        age.decrypt(FILE, [age.Identity.generate()])
    with pytest.raises(age.NotForUs, match="scrypt"):
        age.decrypt(FILE.replace(b"X25519 ", b"scrypt "), [KEY])
