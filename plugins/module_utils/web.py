# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP by ``requests``, for all rooms: whom to trust, and what a connection that failed means for a write."""

from __future__ import annotations

import os
import ssl
import typing as t

from .errors import HomelabError, InvalidInput, Unreachable

#: Where distributions keep the certificates that the machine trusts.
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Special(HomelabError):
    """A result names the family's error; which of its kinds it was only matters to the room that raised it."""

    def as_result(self) -> dict[str, t.Any]:
        return {**super().as_result(), "kind": type(self).__bases__[0].__name__}


class AnswerLost(Unreachable, Special):
    """The request was sent, its answer never came or was unreadable: it may or may not have been done."""


class NeverSent(Unreachable, Special):
    """There was no connection, so nothing was done."""


def verification(validate_certs: bool, ca_path: str) -> bool | str:
    """False, or the file with the authorities to trust; True where only ``requests`` knows one.

    The machine's own bundle goes before the one that comes with ``requests``: people add their lab's
    authority there. ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` are heard when no ``ca_path`` is given.
    """
    if not validate_certs:
        return False
    if ca_path:
        return ca_path
    if os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE"):
        return True
    bundles = (os.environ.get("SSL_CERT_FILE", ""), *_SYSTEM_BUNDLES)
    return next((bundle for bundle in bundles if bundle and os.path.isfile(bundle)), True)


def unreachable(
    error: Exception, *, asked: str, of: str, timeout: float, limit: str, authority: str
) -> Unreachable | InvalidInput:
    """The error of ours for one of ``requests``: was anything sent, and what to try.

    ``limit`` names the option that sets ``timeout`` (seconds), ``authority`` says how the server's own is given.
    """
    import requests

    kinds = requests.exceptions
    cause = _root(error)
    if isinstance(error, (kinds.InvalidURL, kinds.InvalidSchema, kinds.MissingSchema)):
        return InvalidInput(f"{of} is no address that can be asked: {error}")
    if isinstance(error, kinds.SSLError) or isinstance(cause, ssl.SSLError):
        return _tls(cause, asked, of, authority)
    if isinstance(error, kinds.ConnectTimeout):
        text = f"no connection within {min(timeout, 10.0):g} s"
        return NeverSent(asked, of=of, answer=text, hint="Is it switched on, and reachable from here?", again=False)
    if isinstance(error, kinds.Timeout):
        return AnswerLost(asked, of=of, answer=f"no answer within {timeout:g} s", hint=f"{limit} is the limit.")
    if "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error):
        return NeverSent(asked, of=of, answer=_words(cause), hint="Is it switched on, and are host and port right?")
    return AnswerLost(asked, of=of, answer=f"the connection ended before the answer was complete: {_words(cause)}")


def _tls(cause: BaseException, asked: str, of: str, authority: str) -> Unreachable:
    text = _words(cause)
    if isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return AnswerLost(asked, of=of, answer=f"the connection ended before the answer was complete: {text}")
    if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return NeverSent(asked, of=of, answer=f"the certificate does not verify: {text}", hint=authority, again=False)
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
