# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP exchange with the API, by urllib3; connection failures sorted by what they mean for a write.

Why neither ``proxmoxer`` nor ``requests``: ``docs/design/rooms.md``.
"""

from __future__ import annotations

import threading
import typing as t
import urllib.parse

from ...web import CONNECT, connections, unreachable
from .answers import Answer
from .connection import Connection
from .multipart import Multipart

if t.TYPE_CHECKING:
    import urllib3

#: Connections that are kept open at most, and how many requests run at once where nobody says otherwise.
CONNECTIONS = 32
POOL = 8

_FORM = "application/x-www-form-urlencoded"
_AUTHORITY = "Give the authority that signed it as ca_path (on the node: /etc/pve/pve-root-ca.pem)."


class Ticket:
    """Authentication by password: a cookie, and a CSRF token for writes. A ticket lives two hours."""

    def __init__(self) -> None:
        self.ticket = ""
        self.csrf = ""

    def headers(self, method: str) -> dict[str, str]:
        if not self.ticket:
            return {}
        # The server decodes the value, so it has to be quoted.
        found = {"Cookie": f"PVEAuthCookie={urllib.parse.quote(self.ticket, safe='')}"}
        if method != "GET":
            found["CSRFPreventionToken"] = self.csrf
        return found


class _Open(t.NamedTuple):
    pool: urllib3.HTTPConnectionPool
    timeout: urllib3.Timeout
    failures: tuple[type[Exception], ...]


class Transport:
    """Sends requests. Thread-safe, as urllib3's connection pool is."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.ticket = None if connection.token else Ticket()
        self._opening = threading.Lock()
        self._opened: _Open | None = None
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": "groundwork.homelab",
        }
        if connection.token:
            self._headers["Authorization"] = f"PVEAPIToken={connection.who}={connection.token_secret}"

    def exchange(self, method: str, path: str, values: t.Mapping[str, t.Any], *, asked: str, of: str) -> Answer:
        """``values`` are the query of a GET or DELETE, else the form. Raises what :func:`web.unreachable` makes."""
        path = f"/api2/json{path}"
        if isinstance(values, Multipart):
            with values.open() as body:
                more = {"Content-Type": values.content_type, "Content-Length": str(len(body))}
                return self._send(method, path, body, more, asked, of)
        given = [(name, value) for name, value in values.items() if value is not None]
        text = urllib.parse.urlencode(given, doseq=True)  # of a list, each member is a field of the same name
        if method in ("GET", "DELETE"):
            return self._send(method, f"{path}?{text}" if text else path, None, {}, asked, of)
        return self._send(method, path, text, {"Content-Type": _FORM}, asked, of)

    def _send(self, method: str, path: str, body: t.Any, more: t.Mapping[str, str], asked: str, of: str) -> Answer:
        pool, timeout, failures = self._open()
        headers = {**self._headers, **more, **(self.ticket.headers(method) if self.ticket else {})}
        try:
            answer = pool.request(
                method, path, body=body, headers=headers, retries=False, redirect=False, timeout=timeout
            )
        except failures as error:
            seconds = self.connection.api_timeout
            raise unreachable(
                error, asked=asked, of=of, timeout=seconds, limit="api_timeout", authority=_AUTHORITY
            ) from error
        found = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status, answer.reason or "", found, answer.data)

    def _open(self) -> _Open:
        """At the first request, and once."""
        with self._opening:
            if self._opened is None:
                pool = connections(self.connection.address, self.connection.verify, CONNECTIONS)
                seconds = self.connection.api_timeout
                # There is one by now: connections() has said so otherwise.
                import urllib3

                timeout = urllib3.Timeout(connect=min(seconds, CONNECT), read=seconds)
                self._opened = _Open(pool, timeout, (urllib3.exceptions.HTTPError, UnicodeError))
            return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.pool.close()
