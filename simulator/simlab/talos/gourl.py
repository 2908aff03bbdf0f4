# SPDX-License-Identifier: GPL-3.0-or-later
"""URLs as Go reads them: what it takes, and its words for what it does not take."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import urllib.parse

from .problems import quote

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
#: Printable ASCII that may not stand in a host as it is.
_NOT_IN_HOST = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,;=:\[\]<>\"%\x80-\U0010ffff]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_PORT = re.compile(r"(:[0-9]*)?\Z")


class GoUrlError(ValueError):
    """Go's words, with ``parse "…": `` before them."""


@dataclasses.dataclass(frozen=True)
class Url:
    scheme: str = ""
    opaque: str = ""
    host: str = ""  # with the port
    path: str = ""

    @property
    def hostname(self) -> str:
        if self.host.startswith("["):
            return self.host[1:].partition("]")[0]
        return self.host.partition(":")[0]

    @property
    def port(self) -> str:
        rest = self.host.rpartition("]")[2]
        return rest.rpartition(":")[2] if ":" in rest else ""


def parse(text: str, *, of_request: bool = False) -> Url:
    """Raises :class:`GoUrlError`. ``of_request``: it must be absolute, or a path from the root."""
    try:
        return _parse(text, of_request)
    except GoUrlError as error:
        raise GoUrlError(f"parse {quote(text)}: {error}") from None


def printed(text: str) -> str:
    """A URL that Go has read and prints again: a path is escaped."""
    return text if "://" in text else urllib.parse.quote(text, safe="/:%")


def _parse(text: str, of_request: bool) -> Url:
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
        raise GoUrlError("net/url: invalid control character in URL")
    if not text and of_request:
        raise GoUrlError("empty url")
    if text.startswith(":"):
        raise GoUrlError("missing protocol scheme")
    found = _SCHEME.match(text)
    scheme, rest = (found[1].lower(), text[found.end() :]) if found else ("", text)
    rest = rest.partition("?")[0].partition("#")[0]
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, opaque=rest)
        if of_request:
            raise GoUrlError("invalid URI for request")
        if ":" in rest.partition("/")[0]:
            raise GoUrlError("first path segment in URL cannot contain colon")
    host, path = "", rest
    if rest.startswith("//") and (scheme or (not of_request and not rest.startswith("///"))):
        authority, slash, below = rest[2:].partition("/")
        host, path = _host(scheme, authority.rpartition("@")[2]), slash + below
    _unescaped(path)
    return Url(scheme, "", host, path)


def _host(scheme: str, host: str) -> str:
    if host.rfind("[") > 0:
        raise GoUrlError("invalid IP-literal")
    if host.startswith("["):
        if "]" not in host:
            raise GoUrlError("missing ']' in host")
        inside, _, port = host[1:].rpartition("]")
        _check_port(port)
        try:
            if ipaddress.ip_address(inside).version == 4:
                raise GoUrlError("invalid IP-literal")
        except ipaddress.AddressValueError as error:
            raise GoUrlError(f"invalid host: {error}") from None
        except ValueError:
            raise GoUrlError(f"invalid host: ParseAddr({quote(inside)}): unable to parse IP") from None
        return host
    colon = host.find(":") if scheme in ("http", "https") else host.rfind(":")
    if colon >= 0:
        _check_port(host[colon:])
    wrong = _NOT_IN_HOST.search(host)
    if wrong:
        raise GoUrlError(f"invalid character {quote(wrong[0])} in host name")
    _unescaped(host)
    return host


def _check_port(port: str) -> None:
    if not _PORT.match(port):
        raise GoUrlError(f"invalid port {quote(port)} after host")


def _unescaped(text: str) -> None:
    wrong = _BAD_ESCAPE.search(text)
    if wrong:
        raise GoUrlError(f"invalid URL escape {quote(wrong[0])}")


def endpoint_problem(text: str) -> str:
    """What is wrong with the URL of an endpoint; empty if nothing is."""
    try:
        url = parse(text)
    except GoUrlError as error:
        return str(error)
    if url.host.count(":") > 2 and not ("[" in url.host and "]" in url.host):
        return "IPv6 addresses MUST be enclosed by square brackets"
    if not url.hostname:
        return "hostname must not be blank"
    if url.port and not 1 <= int(url.port) <= 65535:
        return "port number must be between 1 and 65535"
    return ""
