# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files encrypted with age (age-encryption.org/v1) for X25519 keys, as the programs ``age`` and ``sops`` write and read them.

Recipients are ``age1…``, identities ``AGE-SECRET-KEY-1…``. No passphrases, no plugins, no SSH keys: who meets one is told.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import os
import re
import typing as t

from ..errors import Absent, HomelabError, InvalidInput
from . import bech32

try:
    from cryptography import exceptions
    from cryptography.hazmat.primitives.asymmetric import x25519
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
except ImportError as missing:
    exceptions = x25519 = ChaCha20Poly1305 = t.cast("t.Any", Absent("cryptography", missing))

_MAGIC = b"age-encryption.org/v1"
_BEGIN, _END = "-----BEGIN AGE ENCRYPTED FILE-----", "-----END AGE ENCRYPTED FILE-----"
_CHUNK = 64 * 1024
_TAG = 16


class NotForUs(HomelabError):
    """None of the identities opens it."""


@dataclasses.dataclass(frozen=True)
class Stanza:
    """One recipient's entry in a file's header."""

    kind: str
    arguments: tuple[str, ...]
    body: bytes

    def encode(self) -> bytes:
        text = base64.b64encode(self.body).rstrip(b"=")
        # A last line of less than 64 characters ends the body, so a full one is followed by an empty one.
        lines = [text[start : start + 64] for start in range(0, len(text) + 1, 64)]
        return b"\n".join([" ".join(["->", self.kind, *self.arguments]).encode(), *lines]) + b"\n"


@dataclasses.dataclass(frozen=True)
class Identity:
    """A private key; never shown."""

    secret: bytes = dataclasses.field(repr=False)

    @classmethod
    def generate(cls) -> Identity:
        return cls(os.urandom(32))

    @classmethod
    def parse(cls, text: str) -> Identity:
        """From ``AGE-SECRET-KEY-1…``. Raises InvalidInput, which never quotes it."""
        try:
            prefix, data = bech32.decode(text.strip())
        except ValueError as error:
            raise InvalidInput(f"This is not an age identity: {error}", hint=_IDENTITY) from None
        if prefix != "age-secret-key-" or len(data) != 32:
            raise InvalidInput("This is not an age identity of the kind X25519", hint=_IDENTITY)
        return cls(data)

    @property
    def text(self) -> str:
        return bech32.encode("age-secret-key-", self.secret).upper()

    @property
    def recipient(self) -> str:
        return bech32.encode("age", self.public)

    @property
    def public(self) -> bytes:
        return x25519.X25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw()

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key, if the stanza is for this identity. Raises ValueError for one that is malformed."""
        if stanza.kind != "X25519":
            return None
        if len(stanza.arguments) != 1 or len(stanza.body) != 16 + _TAG:
            raise ValueError("a recipient's entry is malformed")
        share = _unpadded(stanza.arguments[0])
        if len(share) != 32:
            raise ValueError("a recipient's entry has a share of the wrong length")
        shared = _agree(self.secret, share)
        try:
            return ChaCha20Poly1305(_wrapping_key(shared, share, self.public)).decrypt(bytes(12), stanza.body, None)
        except exceptions.InvalidTag:
            return None


_IDENTITY = "An identity looks like AGE-SECRET-KEY-1…; age-keygen makes one."
_RECIPIENT = "A recipient looks like age1…; age-keygen -y prints the one of an identity."


#: Identities of hardware and of post-quantum keys. A file of keys may have them beside those that are read here.
_OTHERS = ("AGE-PLUGIN-", "AGE-SECRET-KEY-PQ-")


def identities(text: str) -> list[Identity]:
    """Those of a key file: one a line, with ``#`` comments. Raises InvalidInput with the line's number, and for a file that
    has identities of other kinds only."""
    found, others = [], 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line.lstrip().upper().startswith(_OTHERS):
            others = others or number
            continue
        try:
            found.append(Identity.parse(line))
        except InvalidInput as error:
            raise InvalidInput(
                f"Line {number} of the age key file is wrong. {error.problem}", hint=error.hint
            ) from None
    if others and not found:
        problem = f"The identity in line {others} of the age key file is one of a plugin or of a post-quantum key"
        raise InvalidInput(f"{problem}; only the kind X25519 is supported", hint=_IDENTITY)
    return found


def parse_recipient(text: str) -> bytes:
    """The public key of ``age1…``. Raises InvalidInput."""
    if text.strip().startswith("ssh-"):
        raise InvalidInput(f"{text!r} is not an age recipient: keys of SSH are not supported", hint=_RECIPIENT)
    try:
        prefix, data = bech32.decode(text.strip())
    except ValueError as error:
        raise InvalidInput(f"{text!r} is not an age recipient: {error}", hint=_RECIPIENT) from None
    if prefix != "age" or len(data) != 32:
        what = "it is a private key" if prefix == "age-secret-key-" else "only keys of the kind X25519 are supported"
        shown = "What was given" if prefix == "age-secret-key-" else repr(text)
        raise InvalidInput(f"{shown} is not an age recipient: {what}", hint=_RECIPIENT)
    return data


def encrypt(plain: bytes, recipients: t.Sequence[str]) -> bytes:
    """The file, binary. Raises InvalidInput for recipients that are none."""
    keys = [parse_recipient(recipient) for recipient in recipients]
    if not keys:
        raise InvalidInput("There is no recipient to encrypt for", hint=_RECIPIENT)
    file_key = os.urandom(16)
    header = _MAGIC + b"\n" + b"".join(_wrap(file_key, key).encode() for key in keys) + b"---"
    mac = base64.b64encode(_header_mac(file_key, header)).rstrip(b"=")
    nonce = os.urandom(16)
    return header + b" " + mac + b"\n" + nonce + _sealed(_derived(file_key, nonce, b"payload"), plain)


def decrypt(data: bytes, keys: t.Sequence[Identity]) -> bytes:
    """What was encrypted; armored or binary. Raises InvalidInput for what is no whole age file, NotForUs."""
    if data.lstrip().startswith(_BEGIN.encode()):
        data = unarmored(data.decode("ascii", "replace"))
    try:
        header, stanzas, mac, payload = _parsed(data)
        file_key = _file_key(stanzas, keys)
        if file_key is None:
            raise _not_for_us(stanzas)
        if not hmac.compare_digest(_header_mac(file_key, header), mac):
            raise ValueError("its header was changed")
        return _opened(_derived(file_key, payload[:16], b"payload"), payload[16:])
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(f"This is not a whole age file: {error}", hint="Restore it from a backup.") from None


def is_age_file(data: bytes) -> bool:
    """Whether it says of itself that it is one; armored or binary."""
    return data.startswith(_MAGIC) or data.lstrip().startswith(_BEGIN.encode())


def armored(data: bytes) -> str:
    """As text, the way sops keeps it."""
    text = base64.b64encode(data).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([_BEGIN, *lines, _END]) + "\n"


def unarmored(text: str) -> bytes:
    lines = [line.removesuffix("\r") for line in text.strip().split("\n")]
    if lines[0] != _BEGIN or lines[-1] != _END or len(lines) < 3:
        raise InvalidInput("This is not an armored age file: its first or last line is missing")
    body = lines[1:-1]
    if any(len(line) != 64 for line in body[:-1]) or not 0 < len(body[-1]) <= 64:
        raise InvalidInput("This is not an armored age file: its lines are not of 64 characters")
    try:
        data = base64.b64decode("".join(body), validate=True)
    except binascii.Error:
        data = b""
    if base64.b64encode(data).decode() != "".join(body):
        raise InvalidInput("This is not an armored age file: it is not base64")
    return data


# -- the format ------------------------------------------------------------------------------------------------------


def _parsed(data: bytes) -> tuple[bytes, list[Stanza], bytes, bytes]:
    """Header up to ``---``, stanzas, MAC, payload with its nonce. Raises ValueError."""
    if not data.startswith(_MAGIC + b"\n"):
        raise ValueError("it does not begin with age-encryption.org/v1")
    end = re.search(rb"\n---( [A-Za-z0-9+/]+)?\n", data)
    if end is None or end[1] is None:
        raise ValueError("its header has no end")
    stanzas = list(_stanzas(data[len(_MAGIC) + 1 : end.start() + 1].decode("ascii").split("\n")[:-1]))
    payload = data[end.end() :]
    if len(payload) < 16 + _TAG:
        raise ValueError("it is cut off")
    return data[: end.start() + 4], stanzas, _unpadded(end[1][1:].decode()), payload


def _stanzas(lines: list[str]) -> t.Iterator[Stanza]:
    place = 0
    while place < len(lines):
        words = lines[place].split(" ")
        if words[0] != "->" or len(words) < 2 or not all(words):
            raise ValueError("its header is malformed")
        body, place = "", place + 1
        while True:
            if place >= len(lines) or len(lines[place]) > 64:
                raise ValueError("its header is malformed")
            body, place = body + lines[place], place + 1
            if len(lines[place - 1]) < 64:
                break
        yield Stanza(words[1], tuple(words[2:]), _unpadded(body))


def _unpadded(text: str) -> bytes:
    """Canonical base64 without padding. Raises ValueError."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if base64.b64encode(data).decode().rstrip("=") != text:
        raise ValueError("its base64 is not canonical")
    return data


def _file_key(stanzas: list[Stanza], keys: t.Sequence[Identity]) -> bytes | None:
    found = (key.unwrap(stanza) for stanza in stanzas for key in keys)
    return next((file_key for file_key in found if file_key is not None), None)


def _not_for_us(stanzas: list[Stanza]) -> NotForUs:
    kinds = sorted({stanza.kind for stanza in stanzas})
    hint = "Give the identity of one of its recipients."
    if "X25519" not in kinds:
        hint = f"It is encrypted for {', '.join(kinds)}; only X25519 keys (age1…) are supported."
    return NotForUs("decrypt an age file", answer="none of the identities opens it", hint=hint)


def _wrap(file_key: bytes, recipient: bytes) -> Stanza:
    ephemeral = Identity.generate()
    shared = _agree(ephemeral.secret, recipient)
    body = ChaCha20Poly1305(_wrapping_key(shared, ephemeral.public, recipient)).encrypt(bytes(12), file_key, None)
    return Stanza("X25519", (base64.b64encode(ephemeral.public).decode().rstrip("="),), body)


def _sealed(key: bytes, plain: bytes) -> bytes:
    """STREAM: chunks of 64 KiB, each numbered, the last one marked."""
    seal, count = ChaCha20Poly1305(key), max(1, -(-len(plain) // _CHUNK))
    return b"".join(
        seal.encrypt(_nonce(number, number == count - 1), plain[number * _CHUNK : (number + 1) * _CHUNK], None)
        for number in range(count)
    )


def _opened(key: bytes, payload: bytes) -> bytes:
    seal, size = ChaCha20Poly1305(key), _CHUNK + _TAG
    count = max(1, -(-len(payload) // size))
    try:
        plain = [
            seal.decrypt(_nonce(number, number == count - 1), payload[number * size : (number + 1) * size], None)
            for number in range(count)
        ]
    except exceptions.InvalidTag:
        raise ValueError("it was changed or cut off") from None
    if count > 1 and not plain[-1]:
        raise ValueError("its last part is empty")
    return b"".join(plain)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


# -- the cryptography ------------------------------------------------------------------------------------------------


def _agree(secret: bytes, public: bytes) -> bytes:
    """Raises ValueError for a public key of low order."""
    key = x25519.X25519PrivateKey.from_private_bytes(secret)
    return key.exchange(x25519.X25519PublicKey.from_public_bytes(public))


def _wrapping_key(shared: bytes, share: bytes, recipient: bytes) -> bytes:
    return _derived(shared, share + recipient, b"age-encryption.org/v1/X25519")


def _header_mac(file_key: bytes, header: bytes) -> bytes:
    return hmac.new(_derived(file_key, b"", b"header"), header, hashlib.sha256).digest()


def _derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 of 32 bytes: one block, so it is two lines."""
    extracted = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\1", hashlib.sha256).digest()
