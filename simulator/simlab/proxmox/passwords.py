# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords of guests, as the configuration keeps them: SHA-256 crypt, as glibc's ``crypt`` makes it."""

from __future__ import annotations

import hashlib
import itertools
import re
import secrets

_HASH = re.compile(r"\$(?:[156]|2[ay])(?:\$.+){2}")
_LETTERS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS = 5000
#: The order in which crypt takes the 32 bytes of a digest; the last two make three letters.
_ORDER = (
    (0, 10, 20), (21, 1, 11), (12, 22, 2), (3, 13, 23), (24, 4, 14), (15, 25, 5), (6, 16, 26), (27, 7, 17), (18, 28, 8),
    (9, 19, 29),
)  # fmt: skip


def hashed(password: str) -> str:
    """A salted hash; what is one already stays."""
    if _HASH.match(password):
        return password
    salt = secrets.token_hex(4)
    return f"$5${salt}${_crypt(password.encode(), salt.encode())}"


def _crypt(password: bytes, salt: bytes) -> str:
    alternate = _sha(password, salt, password)
    start = hashlib.sha256(password + salt + _filled(alternate, len(password)))
    bits = len(password)
    while bits > 0:
        start.update(alternate if bits % 2 else password)
        bits //= 2
    result = start.digest()
    p = _filled(_sha(*[password] * len(password)), len(password))
    s = _filled(_sha(*[salt] * (16 + result[0])), len(salt))
    for turn in range(_ROUNDS):
        odd = turn % 2 == 1
        result = _sha(p if odd else result, s if turn % 3 else b"", p if turn % 7 else b"", result if odd else p)
    letters = [_four(result[a], result[b], result[c]) for a, b, c in _ORDER]
    return "".join(letters) + _four(0, result[31], result[30])[:3]


def _sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def _filled(block: bytes, length: int) -> bytes:
    return bytes(itertools.islice(itertools.cycle(block), length))


def _four(high: int, middle: int, low: int) -> str:
    number = (high * 256 + middle) * 256 + low
    return "".join(_LETTERS[number // 64**place % 64] for place in range(4))
