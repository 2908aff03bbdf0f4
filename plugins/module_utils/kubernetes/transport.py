# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to one API server: a pool of connections, JSON in and out, network failures as errors of ours."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import typing as t
import urllib.parse

from ..errors import HomelabError, MissingDependency, ServerFault, Unreachable
from .kubeconfig import Access

JSON_TYPE = "application/json"

#: How the server's audit log names us.
AGENT = "groundwork.homelab"

#: Connections, and so requests at the same time. With a server that is 20 ms away a hundred applied objects took 0.3 s less
#: than with 8; more would only wait for the server's processors, and for the share of an ordinary user.
POOL = 16
#: Answers that are read as they come (watches) at the same time, on connections of their own.
STREAMS = 32


#: Seconds for which credentials that were asked for anew in vain are not asked for once more: a program may take its time, and
#: many requests are refused at the same time.
IN_VAIN = 10.0
#: A warning in a header of RFC 7234, of the one code that the server uses.
WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


class Untrusted(Unreachable):
    """The server's certificate does not verify, or it does not accept ours: asking again changes nothing."""

    retryable = False


class Answer(t.NamedTuple):
    """``warnings``: what the server has to say although it did what was asked, as kubectl shows it."""

    status: int
    body: dict[str, t.Any]
    retry_after: float
    warnings: tuple[str, ...] = ()


class _Request(t.NamedTuple):
    method: str
    url: str
    asked: str
    headers: dict[str, str]
    data: bytes | None
    timeout: float
    streamed: bool = False


class Stream:
    """An answer that is read line by line as it comes. :meth:`interrupt` is for another thread."""

    def __init__(self, response: t.Any, asked: str, of: str) -> None:
        self._response, self._asked, self._of = response, asked, of
        self.status = int(response.status)
        #: Seconds after which the server wants to be asked again.
        self.retry_after = _seconds(response.headers.get("retry-after"))

    def lines(self) -> t.Iterator[bytes]:
        """Whole lines until the server, or :meth:`interrupt`, ends it. Raises :class:`Unreachable` if it is cut off."""
        rest = b""
        for chunk in self._chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def whole(self) -> bytes:
        """All of it, for an answer that is an error."""
        return b"".join(self._chunks())

    def interrupt(self) -> None:
        """End a read that waits in another thread."""
        channel = getattr(self._response.connection, "sock", None)
        if channel is not None:
            try:
                # Not the TLS socket's own shutdown, which would take the session away from the thread that reads.
                socket.socket.shutdown(channel, socket.SHUT_RDWR)
            except OSError:
                return

    def close(self) -> None:
        """Give its connection back: one that has been read to its end can be used again, another is closed."""
        self._response.close()
        self._response.release_conn()

    def _chunks(self) -> t.Iterator[bytes]:
        import urllib3

        try:
            yield from self._response.stream(65536)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(self._asked, of=self._of, answer=f"cut off: {_core(str(error))}") from None


class Transport:
    """One API server. Thread-safe. ``timeout`` is for one answer, in seconds."""

    def __init__(self, access: Access, timeout: float) -> None:
        self.access = access
        self.server = access.server
        self.timeout = timeout
        self._pool = _pool(access, POOL)
        self._streams: t.Any = None
        self._renewing = threading.Lock()
        self._not_before = 0.0
        #: What comes before the path in a request: all of the address where a proxy passes on requests in the clear.
        whole = access.proxy and access.tls is None
        self._prefix = self.server if whole else urllib.parse.urlsplit(self.server).path

    @property
    def of(self) -> str:
        return f"Kubernetes API at {self.server}"

    def send(
        self,
        method: str,
        path: str,
        asked: str,
        *,
        query: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        content_type: str = JSON_TYPE,
        accept: str = JSON_TYPE,
        timeout: float | None = None,
    ) -> Answer:
        """One request, one answer of any status. Raises :class:`Unreachable`, or ServerFault for a broken answer."""
        url = path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        headers = {"accept": accept}
        data = None
        if body is not None:
            headers["content-type"] = content_type
            data = json.dumps(body).encode()
        response = self._send(_Request(method, url, asked, headers, data, timeout or self.timeout))
        body_found = self._parsed(response.data, response.status, asked)
        headers = response.headers
        return Answer(response.status, body_found, _seconds(headers.get("retry-after")), _warnings(headers))

    def text(self, path: str, asked: str, *, query: t.Mapping[str, str], timeout: float) -> str | None:
        """A plain text answer, such as a log; nothing when the server says no."""
        url = f"{path}?{urllib.parse.urlencode(query)}"
        response = self._send(_Request("GET", url, asked, {}, None, timeout))
        return str(response.data.decode("utf-8", "replace")) if response.status == 200 else None

    def stream(self, path: str, asked: str, *, query: t.Mapping[str, str], timeout: float) -> Stream:
        """A GET whose answer is read as it comes; ``timeout`` is the longest silence, in seconds."""
        url = f"{path}?{urllib.parse.urlencode(query)}"
        request = _Request("GET", url, asked, {"accept": JSON_TYPE}, None, timeout, streamed=True)
        return Stream(self._send(request), asked, self.of)

    def ended(self, stream: Stream, asked: str) -> Answer:
        """A stream that is an error, as an answer."""
        try:
            raw = stream.whole()
        finally:
            stream.close()
        return Answer(stream.status, self._parsed(raw, stream.status, asked), stream.retry_after)

    def _send(self, request: _Request) -> t.Any:
        """With credentials that are had anew when the server no longer takes them."""
        access = self.access
        response = self._once(access, request)
        if response.status == 401 and self._renewed(access):
            response.close()
            response.release_conn()
            response = self._once(self.access, request)
        return response

    def _renewed(self, old: Access) -> bool:
        """Whether there are other credentials by now. The first who asks gets them for all."""
        with self._renewing:
            if self.access is not old or old.again is None or time.monotonic() < self._not_before:
                return self.access is not old
            new = _other(old, old.again)
            if new is None:
                self._not_before = time.monotonic() + IN_VAIN
                return False
            self.access, self._pool, self._streams = new, _pool(new, POOL), None
            return True

    def _connections(self, streamed: bool) -> t.Any:
        with self._renewing:
            if streamed and self._streams is None:
                self._streams = _pool(self.access, STREAMS)
            return self._streams if streamed else self._pool

    def _once(self, access: Access, request: _Request) -> t.Any:
        import urllib3

        sent: t.Any = {"user-agent": AGENT, **request.headers, **access.headers}
        if access.acting_as:
            sent = urllib3.HTTPHeaderDict(sent)
            for name, value in access.acting_as:
                sent.add(name, value)
        asked = request.asked
        try:
            return self._connections(request.streamed).request(
                request.method,
                self._prefix + request.url,
                body=request.data,
                headers=sent,
                timeout=urllib3.Timeout(connect=min(request.timeout, 10.0), read=request.timeout),
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=not request.streamed,
            )
        except urllib3.exceptions.SSLError as error:
            raise self._untrusted(asked, str(error)) from None
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(asked, error) from None

    def _parsed(self, raw: bytes, status: int, asked: str) -> dict[str, t.Any]:
        try:
            found = json.loads(raw) if raw else {}
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        shown = raw[:200].decode("utf-8", "replace").strip()
        if status >= 300:
            return {"message": shown, "reason": ""}
        raise ServerFault(
            asked, of=self.of, answer=f"not JSON: {shown}", hint="Is there something else at this address?"
        )

    def _untrusted(self, asked: str, text: str) -> Untrusted:
        if "CERTIFICATE_VERIFY_FAILED" in text:
            hint = "The kubeconfig's certificate-authority-data must be the one that signed this server's certificate."
        elif "ALERT" in text.upper():
            hint = "The server refused the kubeconfig's client certificate: is it expired, or of another cluster?"
        else:
            hint = "Is there really a Kubernetes API with TLS at this address?"
        return Untrusted(asked, of=self.of, answer=_core(text), hint=hint)

    def _unreachable(self, asked: str, error: Exception) -> Unreachable:
        text = _core(str(error))
        if "ALERT" in text.upper():
            return self._untrusted(asked, text)
        hint = "Is the cluster's endpoint up, and reachable from here? The address comes from the kubeconfig."
        if self.access.proxy:
            hint += " The way to it is a proxy, of the kubeconfig or of the environment."
        return Unreachable(asked, of=self.of, answer=text, hint=hint)


def _other(old: Access, again: t.Callable[[], Access]) -> Access | None:
    """Credentials that are had anew, if they are others than the old ones."""
    try:
        new = again()
    except HomelabError:  # What the server said is what is told.
        return None
    return None if new.headers == old.headers and new.certificate == old.certificate else new


def _pool(access: Access, size: int) -> t.Any:
    """urllib3's connections to this one server. Its manager of many servers would cost each request a third more."""
    try:
        import urllib3
    except ImportError as error:
        raise MissingDependency("urllib3", reason=str(error)) from None
    options: dict[str, t.Any] = {"maxsize": size, "block": True}
    if access.tls is not None:
        options["ssl_context"] = access.tls
        if not access.tls.check_hostname:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            options["assert_hostname"] = False
        if access.server_name:
            options.update(server_hostname=access.server_name, assert_hostname=access.server_name)
    manager = _through(access.proxy, options) if access.proxy else urllib3.PoolManager(**options)
    return manager.connection_from_url(access.server)


def _through(proxy: str, options: dict[str, t.Any]) -> t.Any:
    """Connections through a proxy. urllib3 does not look at the name and password in its address."""
    import urllib3

    parts = urllib.parse.urlsplit(proxy)
    if parts.username is not None:
        words = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=words)
        proxy = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return urllib3.ProxyManager(proxy, **options)


def _core(text: str) -> str:
    """What urllib3 says, without the connection object's address in memory in front of it."""
    if "object at 0x" in text:
        text = text.split(">: ", 1)[-1].split("): ", 1)[-1]
    return text.strip("()'\" ,")


def _seconds(value: str | None) -> float:
    try:
        return min(float(value or 0), 30.0)
    except ValueError:
        return 0.0


def _warnings(headers: t.Any) -> tuple[str, ...]:
    found = [text for line in headers.getlist("warning") for text in WARNING.findall(line)]
    return tuple(re.sub(r"\\(.)", r"\1", text) for text in found)
