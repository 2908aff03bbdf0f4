# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SHA-256 crypt (``$5$salt$hash``), in which Proxmox VE keeps cloud-init passwords.

Python's ``crypt`` is gone since 3.13. After Ulrich Drepper's description "Unix crypt using SHA-256 and SHA-512".
"""

from __future__ import annotations

import hashlib
import hmac
import re

_ROUNDS = 5000
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HASH = re.compile(r"\$5\$(?:rounds=(?P<rounds>\d+)\$)?(?P<salt>[^$]{0,16})\$(?P<sum>[./0-9A-Za-z]{43})")


def matches(password: str, hashed: str) -> bool:
    """Whether ``hashed`` is that of the password. False for other kinds of hashes."""
    found = _HASH.fullmatch(hashed)
    if found is None:
        return False
    rounds = min(max(int(found["rounds"] or _ROUNDS), 1000), 999_999)
    return hmac.compare_digest(_sum(password.encode(), found["salt"].encode(), rounds), found["sum"])


def is_hash(text: str) -> bool:
    """Whether a text is a hash that this module knows."""
    return _HASH.fullmatch(text) is not None


def _sum(password: bytes, salt: bytes, rounds: int) -> str:
    other = hashlib.sha256(password + salt + password).digest()
    first = password + salt + _cut(other, len(password))
    length = len(password)
    while length:
        first += other if length & 1 else password
        length >>= 1
    digest = hashlib.sha256(first).digest()
    stretched = _cut(hashlib.sha256(password * len(password)).digest(), len(password))
    salted = _cut(hashlib.sha256(salt * (16 + digest[0])).digest(), len(salt))
    for number in range(rounds):
        part = stretched if number & 1 else digest
        part += salted if number % 3 else b""
        part += stretched if number % 7 else b""
        part += digest if number & 1 else stretched
        digest = hashlib.sha256(part).digest()
    return _encoded(digest)


def _cut(block: bytes, length: int) -> bytes:
    """The block again and again, up to a length."""
    return (block * (length // len(block) + 1))[:length]


def _encoded(digest: bytes) -> str:
    """In crypt's own base 64, whose bytes are taken in an order of their own."""
    text, a, b, c = "", 0, 10, 20
    for _round in range(10):
        text += _letters(digest[a] << 16 | digest[b] << 8 | digest[c], 4)
        a, b, c = c + 1, a + 1, b + 1
    return text + _letters(digest[31] << 8 | digest[30], 3)


def _letters(number: int, count: int) -> str:
    return "".join(_ALPHABET[number >> 6 * place & 63] for place in range(count))
