# SPDX-License-Identifier: GPL-3.0-or-later
"""How a node gets files from the internet. The lab gives a fetch of its own that connects from the node's network."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import os
import socket
import ssl
import typing as t
import urllib.parse

import aiohttp


class FetchError(Exception):
    """``status`` 0: no connection; ``text`` says why (``Connection refused``), ``kind`` what failed."""

    def __init__(self, status: int, text: str, kind: t.Literal["answer", "connect", "name", "certificate"]) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.kind = kind


@dataclasses.dataclass(frozen=True)
class Fetched:
    """An answer of 200: its headers (names in lower case), the URL after redirects and the content."""

    headers: t.Mapping[str, str]
    url: str
    chunks: t.AsyncIterator[bytes]


#: ``async with fetch(method, url) as fetched``, method ``GET`` or ``HEAD``, or one of them with ``-INSECURE`` (no check
#: of the certificate): raises FetchError.
Fetch = t.Callable[[str, str], contextlib.AbstractAsyncContextManager[Fetched]]


def fetcher(socket_factory: t.Callable[[t.Any], socket.socket] | None = None) -> Fetch:
    """A fetch by aiohttp. ``socket_factory`` gets an entry of ``getaddrinfo`` and makes the socket to connect with:
    so the lab puts it into a node's network namespace.
    """

    @contextlib.asynccontextmanager
    async def fetch(method: str, url: str) -> collections.abc.AsyncIterator[Fetched]:
        verb, _, insecure = method.partition("-")
        timeout = aiohttp.ClientTimeout(total=600, connect=30)
        connector = aiohttp.TCPConnector(ssl=_context(bool(insecure)), socket_factory=socket_factory)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False, connector=connector) as session:
            response = await _request(session, verb, url)
            async with response:
                if response.status != 200:
                    raise FetchError(response.status, response.reason or "", "answer")
                headers = {name.lower(): value for name, value in response.headers.items()}
                yield Fetched(headers, str(response.url), response.content.iter_chunked(1 << 20))

    return fetch


def _context(insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _request(session: aiohttp.ClientSession, verb: str, url: str) -> aiohttp.ClientResponse:
    try:
        return await session.request(verb, url, allow_redirects=True)
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
        raise FetchError(0, str(error), "certificate") from error
    except aiohttp.ClientConnectorDNSError as error:
        raise FetchError(0, str(error), "name") from error
    except aiohttp.ClientConnectorError as error:
        text = os.strerror(error.os_error.errno) if error.os_error.errno else str(error)
        raise FetchError(0, text, "connect") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise FetchError(0, str(error) or "Connection timed out", "connect") from error


def host_of(url: str) -> str:
    """``127.0.0.1:9000``, as wget names it."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
