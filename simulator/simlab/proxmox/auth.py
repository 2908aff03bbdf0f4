# SPDX-License-Identifier: GPL-3.0-or-later
"""Who sends a request: password tickets with their CSRF token, API tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
import typing as t
import urllib.parse

from .access import Access, Caller

_TOKEN = re.compile(r"PVEAPIToken=([^!]+@[^!@]+)!([^=]+)=(.+)")
_TICKET = re.compile(r"PVE:([^:]+):([0-9A-F]{8})::(.+)")
_CONSOLE_TICKET = re.compile(r"(PVEVNC:([0-9A-F]{8}))::(.+)")
_LIFETIME = 7200


class Unauthorized(Exception):
    """401 with this text in the status line."""


class Authentication:
    def __init__(self, access: Access, clock: t.Callable[[], float] = time.time) -> None:
        self._access = access
        self._key = secrets.token_bytes(32)
        self._clock = clock

    # -- tickets ------------------------------------------------------------------------------------------

    def ticket(self, user: str) -> str:
        plain = f"PVE:{user}:{int(self._clock()):08X}"
        return f"{plain}::{self._sign(plain)}"

    def console_ticket(self, caller: str, path: str) -> str:
        """For the websocket of a console, for less than a minute; the caller and the path are signed, not named."""
        plain = f"PVEVNC:{int(self._clock()):08X}"
        return f"{plain}::{self._sign(f'{plain}:{caller}:{path}')}"

    def check_console_ticket(self, ticket: str, caller: str, path: str) -> bool:
        match = _CONSOLE_TICKET.fullmatch(ticket)
        if match is None or not hmac.compare_digest(self._sign(f"{match[1]}:{caller}:{path}"), match[3]):
            return False
        return -20 < self._clock() - int(match[2], 16) < 40

    def csrf(self, user: str) -> str:
        now = f"{int(self._clock()):08X}"
        digest = hmac.new(self._key, f"{now}:{user}".encode(), hashlib.sha256).digest()
        return f"{now}:{base64.b64encode(digest).decode().rstrip('=')}"

    def check_password(self, user: str, password: str) -> bool:
        """Whether the password is right, or is a valid ticket of that user."""
        known = self._access.users.get(user)
        if known is None or not known.enable or (known.expire and known.expire < self._clock()):
            return False
        if user.rpartition("@")[2] not in self._access.realms:
            return False
        if password.startswith("PVE:"):
            return self._user_of(password) == user
        return bool(known.password) and hmac.compare_digest(known.password or "", password)

    def _sign(self, plain: str) -> str:
        return base64.b64encode(hmac.new(self._key, plain.encode(), hashlib.sha512).digest()).decode()

    def _user_of(self, ticket: str) -> str | None:
        match = _TICKET.fullmatch(ticket)
        if match is None or not hmac.compare_digest(self._sign(ticket.rpartition("::")[0]), match[3]):
            return None
        if not -300 < self._clock() - int(match[2], 16) < _LIFETIME:
            return None
        user = self._access.users.get(match[1])
        return match[1] if user and user.enable else None

    # -- requests -----------------------------------------------------------------------------------------

    def caller(self, method: str, headers: t.Mapping[str, str]) -> Caller:
        """Raises Unauthorized."""
        authorization = headers.get("Authorization", "")
        if authorization.startswith("PVEAPIToken"):
            return self._token_caller(authorization)
        ticket = _cookie(headers.get("Cookie", ""))
        if ticket is None:
            raise Unauthorized("No ticket")
        user = self._user_of(ticket)
        if user is None:
            raise Unauthorized("Authentication failed!")
        if method != "GET" and not self._right_csrf(user, headers.get("CSRFPreventionToken", "")):
            raise Unauthorized("Permission denied - invalid csrf token")
        return Caller(user)

    def _token_caller(self, authorization: str) -> Caller:
        match = _TOKEN.fullmatch(authorization)
        user = self._access.users.get(match[1]) if match else None
        token = user.tokens.get(match[2]) if match and user else None
        if match is None or user is None or token is None or not user.enable:
            raise Unauthorized("Authentication failed!")
        expired = any(int(when) and int(when) < self._clock() for when in (user.expire, token.expire))
        if expired or not hmac.compare_digest(token.secret, match[3]):
            raise Unauthorized("Authentication failed!")
        return Caller(f"{match[1]}!{match[2]}")

    def _right_csrf(self, user: str, sent: str) -> bool:
        when, _, digest = sent.partition(":")
        if not re.fullmatch("[0-9A-F]{8}", when) or self._clock() - int(when, 16) > _LIFETIME:
            return False
        right = hmac.new(self._key, f"{when}:{user}".encode(), hashlib.sha256).digest()
        return hmac.compare_digest(base64.b64encode(right).decode().rstrip("="), digest.rstrip("="))


def _cookie(header: str) -> str | None:
    for part in header.split(";"):
        name, equals, value = part.strip().partition("=")
        if equals and name == "PVEAuthCookie":
            return urllib.parse.unquote(value)
    return None
