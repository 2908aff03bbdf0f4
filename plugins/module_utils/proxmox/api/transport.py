# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP exchange with the API, on proxmoxer's session; connection failures sorted by what they mean for a write.

proxmoxer's resource objects are not used: they drop the ``message`` of an answer, follow redirects, give back a
body that is not JSON as data, and log in with an error of their own.
"""

from __future__ import annotations

import ssl
import typing as t
import urllib.parse

from ...errors import InvalidInput, MissingDependency, Unreachable
from .answers import Answer, AnswerLost, NeverSent
from .connection import Connection
from .multipart import Multipart

if t.TYPE_CHECKING:
    import requests

#: Connections that are kept open: as many as requests run at once.
POOL = 8


class Ticket:
    """Authentication by password: cookie and CSRF token, in the form that proxmoxer's session asks for.

    A ticket lives two hours. The session sets a new one when the server no longer knows this one.
    """

    def __init__(self, connection: Connection) -> None:
        self.timeout = connection.api_timeout
        self.verify_ssl = connection.verify
        self.ticket = ""
        self.csrf = ""

    def __call__(self, request: t.Any) -> t.Any:
        if self.ticket and request.method != "GET":
            request.headers["CSRFPreventionToken"] = self.csrf
        return request

    def get_cookies(self) -> dict[str, str]:
        # The server decodes the value, so it has to be quoted.
        return {"PVEAuthCookie": urllib.parse.quote(self.ticket, safe="")} if self.ticket else {}


class Transport:
    """Sends requests. Thread-safe, as ``requests``' connection pool is."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.base = f"{connection.address}/api2/json"
        https, library = _libraries()
        self.ticket = None if connection.token else Ticket(connection)
        self._http: requests.Session = https.ProxmoxHttpSession()
        self._http.auth = self.ticket or https.ProxmoxHTTPApiTokenAuth(
            connection.user,
            connection.token,
            connection.token_secret,
            verify_ssl=connection.verify,
            timeout=connection.api_timeout,
        )
        self._http.headers["Accept"] = "application/json"
        self._http.mount("https://", library.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=POOL))

    def exchange(self, method: str, path: str, values: t.Mapping[str, t.Any], *, asked: str, of: str) -> Answer:
        """``values`` are the query of a GET or DELETE, else the form. Raises what :func:`unreachable` makes."""
        import requests

        timeout = self.connection.api_timeout
        common: dict[str, t.Any] = {
            "timeout": (min(timeout, 10.0), timeout),
            "verify": self.connection.verify,
            "allow_redirects": False,
        }
        try:
            if isinstance(values, Multipart):
                answer = self._upload(method, path, values, common)
            elif method in ("GET", "DELETE"):
                answer = self._http.request(method, self.base + path, params=values, **common)
            else:
                answer = self._http.request(method, self.base + path, data=values, **common)
            body = answer.content
        except requests.exceptions.RequestException as error:
            raise unreachable(error, asked=asked, of=of, timeout=timeout) from error
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, answer.reason or "", headers, body)

    def _upload(self, method: str, path: str, form: Multipart, common: t.Mapping[str, t.Any]) -> requests.Response:
        """Past proxmoxer's session, which would take the form apart and read the file into memory."""
        import requests

        body = form.open()
        try:
            return requests.Session.request(
                self._http,
                method,
                self.base + path,
                data=body,
                headers={"Content-Type": form.content_type},
                cookies=self.ticket.get_cookies() if self.ticket else None,
                **common,
            )
        finally:
            body.close()

    def close(self) -> None:
        self._http.close()


def unreachable(error: Exception, *, asked: str, of: str, timeout: float) -> Unreachable | InvalidInput:
    """The error of ours for one of ``requests``: was anything sent, and what to try."""
    import requests

    kinds = requests.exceptions
    cause = _root(error)
    if isinstance(error, (kinds.InvalidURL, kinds.InvalidSchema, kinds.MissingSchema)):
        return InvalidInput(f"{of} is no address that can be asked: {error}")
    if isinstance(error, kinds.SSLError) or isinstance(cause, ssl.SSLError):
        return _tls(cause, asked, of)
    if isinstance(error, kinds.ConnectTimeout):
        text = f"no connection within {min(timeout, 10.0):g} s"
        return NeverSent(asked, of=of, answer=text, hint="Is it switched on, and reachable from here?", again=False)
    if isinstance(error, kinds.Timeout):
        return AnswerLost(asked, of=of, answer=f"no answer within {timeout:g} s", hint="api_timeout is the limit.")
    if "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error):
        return NeverSent(asked, of=of, answer=_words(cause), hint="Is it switched on, and are host and port right?")
    return AnswerLost(asked, of=of, answer=f"the connection ended before the answer was complete: {_words(cause)}")


def _tls(cause: BaseException, asked: str, of: str) -> Unreachable:
    text = _words(cause)
    if isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return AnswerLost(asked, of=of, answer=f"the connection ended before the answer was complete: {text}")
    if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in text:
        hint = "Give the authority that signed it as ca_path (on the node: /etc/pve/pve-root-ca.pem)."
        return NeverSent(asked, of=of, answer=f"the certificate does not verify: {text}", hint=hint, again=False)
    hint = "Does this port speak TLS?"
    return NeverSent(asked, of=of, answer=f"the TLS handshake failed: {text}", hint=hint, again=False)


def _root(error: BaseException) -> BaseException:
    """The deepest cause: ``requests`` and ``urllib3`` wrap the error of the socket several times."""
    for _depth in range(10):
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = error.__cause__ or error.__context__
        if inner is None and error.args and isinstance(error.args[0], BaseException):
            inner = error.args[0]
        if inner is None:
            return error
        error = inner
    return error


def _words(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.rpartition(">: ")[2] if ">: " in text else text


def _libraries() -> tuple[t.Any, t.Any]:
    try:
        import requests
        from proxmoxer.backends import https
    except ImportError as error:
        raise MissingDependency("proxmoxer" if "proxmoxer" in str(error) else "requests", reason=str(error)) from error
    return https, requests
