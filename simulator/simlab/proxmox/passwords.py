# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords of guests, as the configuration keeps them."""

from __future__ import annotations

import hashlib
import re
import secrets

_HASH = re.compile(r"\$(?:[156]|2[ay])(?:\$.+){2}")


def hashed(password: str) -> str:
    """A salted hash; what is one already stays. (Not crypt(3): nobody logs in with it.)"""
    if _HASH.match(password):
        return password
    salt = secrets.token_hex(4)
    digest = hashlib.sha256(f"{salt}{password}".encode()).hexdigest()
    return f"$5${salt}${digest[:43]}"
