# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP for all rooms: whom to trust, which proxy to ask, and what a connection that failed means for a write."""

from __future__ import annotations

import ipaddress
import os
import ssl
import typing as t
import urllib.parse
import urllib.request

from .errors import HomelabError, InvalidInput, MissingDependency, Unreachable
from .tls import for_threads

if t.TYPE_CHECKING:
    import urllib3

#: Where distributions keep the certificates that the machine trusts.
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

#: Seconds at most until a connection stands.
CONNECT = 10.0


class Special(HomelabError):
    """A result names the family's error; which of its kinds it was only matters to the room that raised it."""

    def as_result(self) -> dict[str, t.Any]:
        return {**super().as_result(), "kind": type(self).__bases__[0].__name__}


class AnswerLost(Unreachable, Special):
    """The request was sent, its answer never came or was unreadable: it may or may not have been done."""

    perhaps_done = True


class NeverSent(Unreachable, Special):
    """There was no connection, so nothing was done."""


def verification(validate_certs: bool, ca_path: str) -> bool | str:
    """False, or the file (or folder) with the authorities to trust; True where only the HTTP library knows one.

    The machine's own bundle goes before one that comes with Python packages: people add their lab's authority
    there. ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` are heard when no ``ca_path`` is given.
    """
    if not validate_certs:
        return False
    if ca_path:
        return ca_path
    given = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    bundles = (os.environ.get("SSL_CERT_FILE", ""), *_SYSTEM_BUNDLES)
    return given or next((bundle for bundle in bundles if bundle and os.path.isfile(bundle)), True)


def connections(address: str, verify: bool | str, size: int) -> urllib3.HTTPConnectionPool:
    """A pool of ``size`` kept connections to one server; its TLS context is made once, for all of them.

    ``address`` is ``https://host:port`` (or http), ``verify`` what :func:`verification` gives. A proxy of the environment is
    used. Raises :class:`InvalidInput` for authorities that cannot be read and for what is no address.
    """
    try:
        import urllib3
    except ImportError as error:
        raise MissingDependency("urllib3", reason=str(error)) from error
    if not verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    proxy = proxy_for(address)
    more: dict[str, t.Any] = {"maxsize": size}
    if address.startswith("https:"):
        more["ssl_context"] = _context(verify)
    try:
        if proxy:
            return _proxied(proxy, more).connection_from_url(address)
        # Larger pieces than urllib3's own, for uploads.
        return urllib3.connection_from_url(address, blocksize=1 << 17, **more)
    except urllib3.exceptions.LocationParseError as error:
        raise InvalidInput(f"{proxy or address} is no address that can be asked: {error}") from error


def _context(verify: bool | str) -> ssl.SSLContext:
    """As ``requests`` makes it: urllib3's, which takes certificates that are not made by the book of RFC 5280."""
    import urllib3

    context = for_threads(urllib3.util.ssl_.create_urllib3_context())
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    context.verify_mode = ssl.CERT_REQUIRED
    if verify is True:
        context.load_default_certs()
        return context
    folder = os.path.isdir(verify)
    try:
        context.load_verify_locations(cafile=None if folder else verify, capath=verify if folder else None)
    except (OSError, ssl.SSLError) as error:
        text = f"The authorities to trust cannot be read from {verify}: {error}"
        raise InvalidInput(text, hint="Give a PEM file with the authorities to trust.") from error
    return context


def proxy_for(address: str) -> str:
    """The proxy that the environment (or the system's settings) names for it, or nothing.

    ``NO_PROXY`` may have networks, such as ``192.168.0.0/16``, which Python's own look-up does not know.
    """
    proxies = urllib.request.getproxies()
    parts = urllib.parse.urlsplit(address)
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if not proxy or _direct(parts.hostname or "", proxies.get("no", "")) or urllib.request.proxy_bypass(parts.netloc):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _direct(host: str, exceptions: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for one in exceptions.replace(" ", "").split(","):
        try:
            if one and address in ipaddress.ip_network(one, strict=False):
                return True
        except ValueError:
            continue
    return False


def _proxied(proxy: str, more: t.Mapping[str, t.Any]) -> urllib3.PoolManager:
    import urllib3

    if not proxy.startswith("socks"):
        given = urllib3.util.parse_url(proxy).auth
        login = urllib3.util.make_headers(proxy_basic_auth=urllib.parse.unquote(given)) if given else None
        return urllib3.ProxyManager(proxy, proxy_headers=login, **more)
    try:
        from urllib3.contrib.socks import SOCKSProxyManager
    except ImportError as error:
        raise MissingDependency(
            "PySocks", reason=f"{proxy.partition(':')[0]} is asked for by the environment"
        ) from error
    return SOCKSProxyManager(proxy, **more)


def unreachable(
    error: Exception, *, asked: str, of: str, timeout: float, limit: str, authority: str
) -> Unreachable | InvalidInput:
    """The error of ours for one of ``urllib3``, also where ``requests`` raised it: was anything sent, and what to try.

    ``limit`` names the option that sets ``timeout`` (seconds), ``authority`` says how the server's own is given.
    """
    import urllib3

    kinds = urllib3.exceptions
    chain = _chain(error)
    cause = chain[-1]

    def met(*wanted: type[BaseException]) -> bool:
        return any(isinstance(one, wanted) for one in chain)

    if met(kinds.LocationValueError, UnicodeError):
        return InvalidInput(f"{of} is no address that can be asked: {error}")
    if met(kinds.SSLError, ssl.SSLError):
        return _tls(cause, asked, of, authority)
    if met(kinds.NewConnectionError, kinds.ProxyError):
        hint = "Is it switched on, and are host and port right?"
        return NeverSent(asked, of=of, answer=_words(cause), hint=_PROXY if met(kinds.ProxyError) else hint)
    if met(kinds.ConnectTimeoutError):
        text = f"no connection within {min(timeout, CONNECT):g} s"
        return NeverSent(asked, of=of, answer=text, hint="Is it switched on, and reachable from here?", again=False)
    if met(kinds.TimeoutError):
        return AnswerLost(asked, of=of, answer=f"no answer within {timeout:g} s", hint=f"{limit} is the limit.")
    return AnswerLost(asked, of=of, answer=f"the connection ended before the answer was complete: {_words(cause)}")


_PROXY = "The environment names a proxy (HTTPS_PROXY, NO_PROXY): does it answer, and should it be asked?"


def _tls(cause: BaseException, asked: str, of: str, authority: str) -> Unreachable:
    text = _words(cause)
    if isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return AnswerLost(asked, of=of, answer=f"the connection ended before the answer was complete: {text}")
    if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return NeverSent(asked, of=of, answer=f"the certificate does not verify: {text}", hint=authority, again=False)
    hint = "Does this port speak TLS?"
    return NeverSent(asked, of=of, answer=f"the TLS handshake failed: {text}", hint=hint, again=False)


def _chain(error: BaseException) -> list[BaseException]:
    """From the error to its deepest cause: the libraries wrap the error of the socket several times."""
    found = [error]
    for _depth in range(10):
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = error.__cause__ or error.__context__
        if inner is None:
            inner = next((one for one in error.args if isinstance(one, BaseException)), None)
        if inner is None or inner in found:
            break
        found.append(error := inner)
    return found


def _words(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.rpartition(">: ")[2] if ">: " in text else text
