# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A blocking gRPC client on the standard ssl module and the pure-Python h2 package.

Not grpcio: its wheels cannot verify the ed25519 certificates that every Talos node has. One channel is one
connection that makes one call at a time; it belongs to one thread and holds none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
import struct
import time
import typing as t
import urllib.parse

from ..errors import (
    Absent,
    HomelabError,
    ServerFault,
    Unauthenticated,
    Unreachable,
)
from . import pki, status, tls

try:
    import h2.config
    import h2.connection
    import h2.errors
    import h2.events
    import h2.exceptions
    import h2.settings
except ImportError as missing:
    h2 = t.cast("t.Any", Absent("h2", missing))

PORT = 50000
#: The largest message in bytes, as Talos's own server and client have it.
LARGEST_MESSAGE = 32 * 1024 * 1024
_STREAM_WINDOW = 4 * 1024 * 1024
_CONNECTION_WINDOW = 16 * 1024 * 1024


class UntrustedNode(Unauthenticated):
    """The node's certificate is not one that our authority signed for this address. ``details['verify_code']``."""


class RefusedByOurs(Unauthenticated):
    """A node with a certificate of our authority does not take ours."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A node as errors name it, and where it listens."""

    address: str
    name: str = ""
    port: int = PORT

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"Talos node {self.name} at {host}:{self.port}" if self.name else f"Talos node {host}:{self.port}"

    @property
    def authority(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclasses.dataclass
class _Stream:
    """What has arrived of the answer to one call."""

    number: int
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    trailers: dict[str, str] = dataclasses.field(default_factory=dict)
    data: bytearray = dataclasses.field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None

    def messages(self) -> t.Iterator[bytes]:
        """Whole messages that have arrived. Raises :class:`ValueError` when they are not gRPC."""
        while len(self.data) >= 5:
            compressed, length = struct.unpack(">BI", self.data[:5])
            if compressed or length > LARGEST_MESSAGE:
                raise ValueError("a compressed message" if compressed else f"a message of {length} bytes")
            if len(self.data) < 5 + length:
                return
            message = bytes(self.data[5 : 5 + length])
            del self.data[: 5 + length]
            yield message


class Channel:
    """A connection to one node. Use it as a context manager; every error of it is one of :mod:`errors`."""

    def __init__(self, target: Target, context: ssl.SSLContext, *, timeout: float) -> None:
        self.target = target
        #: Whether the node has said anything: it then took our certificate.
        self._answered = False
        self._trusted = context.verify_mode is ssl.CERT_REQUIRED
        self._socket = _connect(target, context, timeout)
        der = self._socket.getpeercert(binary_form=True)
        #: Of the node's certificate, to compare with what its console shows.
        self.fingerprint = pki.fingerprint(der) if der else ""
        configuration = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._http = h2.connection.H2Connection(configuration)
        code = h2.settings.SettingCodes
        self._http.local_settings = h2.settings.Settings(
            client=True,
            initial_values={code.ENABLE_PUSH: 0, code.INITIAL_WINDOW_SIZE: _STREAM_WINDOW},
        )
        self._http.initiate_connection()
        self._http.increment_flow_control_window(_CONNECTION_WINDOW)
        with self._errors("connect"):
            self._flush()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            self._http.close_connection()
            self._flush()
        with contextlib.suppress(OSError):
            self._socket.close()

    def unary(self, path: str, request: bytes, *, timeout: float) -> bytes:
        """One message there, one back. ``timeout`` in seconds goes to the node too."""
        answers = list(self.stream(path, [request], timeout=timeout))
        if len(answers) != 1:
            raise self._fault(path, f"{len(answers)} messages where one was due")
        return answers[0]

    def stream(self, path: str, requests: t.Iterable[bytes], *, timeout: float) -> t.Iterator[bytes]:
        """Any number of messages there and back; ends with an error if the call does."""
        rpc = _rpc_name(path)
        deadline = time.monotonic() + timeout
        with self._errors(rpc):
            stream = self._open(path, timeout)
            for request in requests:
                self._send(stream, request, deadline, rpc)
            if not stream.ended:
                self._http.end_stream(stream.number)
                self._flush()
        while True:
            try:
                yield from stream.messages()
            except ValueError as error:
                raise self._fault(path, str(error)) from error
            if stream.ended:
                break
            with self._errors(rpc):
                self._receive(stream, deadline, rpc)
        self._conclude(stream, rpc)

    def _open(self, path: str, timeout: float) -> _Stream:
        number = self._http.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", path),
            (":authority", self.target.authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "groundwork-homelab"),
            ("grpc-timeout", f"{max(1, min(int(timeout * 1000), 99_999_999))}m"),
        ]
        self._http.send_headers(number, headers)
        self._flush()
        return _Stream(number)

    def _send(self, stream: _Stream, message: bytes, deadline: float, rpc: str) -> None:
        frame = memoryview(struct.pack(">BI", 0, len(message)) + message)
        while frame and not stream.ended:
            room = min(self._http.local_flow_control_window(stream.number), self._http.max_outbound_frame_size)
            if room <= 0:
                self._receive(stream, deadline, rpc)
                continue
            self._http.send_data(stream.number, frame[:room].tobytes())
            frame = frame[room:]
            self._flush()

    def _receive(self, stream: _Stream, deadline: float, rpc: str) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._late(rpc)
        self._socket.settimeout(left)
        try:
            data = self._socket.recv(65536)
        except TimeoutError as error:
            raise self._late(rpc) from error
        if not data:
            raise ConnectionResetError("the node closed the connection")
        self._answered = True
        for event in self._http.receive_data(data):
            self._handle(event, stream)
        self._flush()

    def _handle(self, event: h2.events.Event, stream: _Stream) -> None:
        if isinstance(event, h2.events.ConnectionTerminated) and not stream.ended:
            raise ConnectionResetError(f"the node ended the connection (GOAWAY {event.error_code})")
        if getattr(event, "stream_id", None) != stream.number:
            return
        if isinstance(event, h2.events.ResponseReceived):
            stream.headers = _headers(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = _headers(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            stream.data += event.data or b""
            self._http.acknowledge_received_data(event.flow_controlled_length or 0, stream.number)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.ended, stream.reset = True, int(event.error_code or 0)

    def _conclude(self, stream: _Stream, rpc: str) -> None:
        trailers = stream.trailers or stream.headers
        number = trailers.get("grpc-status")
        if number == "0":
            if stream.data:
                raise self._fault(rpc, "the answer ends in the middle of a message")
            return
        if number is not None:
            message = urllib.parse.unquote(trailers.get("grpc-message", ""))
            raise status.error(status.code_name(number), message, rpc=rpc, of=str(self.target))
        if stream.reset is not None:
            raise status.error("UNAVAILABLE", f"the stream was reset ({stream.reset})", rpc=rpc, of=str(self.target))
        http = stream.headers.get(":status", "none")
        code = status.HTTP_STATUS.get(http, "UNAVAILABLE")
        raise status.error(code, f"no gRPC answer (HTTP status {http})", rpc=rpc, of=str(self.target))

    def _flush(self) -> None:
        data = self._http.data_to_send()
        if not data:
            return
        try:
            self._socket.sendall(data)
        except ConnectionError:
            self._socket.recv(1)  # a node that has ended the connection may have said why: raises that alert
            raise

    @contextlib.contextmanager
    def _errors(self, rpc: str) -> t.Iterator[None]:
        """What the socket and HTTP/2 raise, as errors of ours."""
        try:
            yield
        except HomelabError:
            raise
        except TimeoutError as error:
            raise self._late(rpc) from error
        except (OSError, h2.exceptions.ProtocolError) as error:
            if _is_alert(error) or (isinstance(error, ssl.SSLEOFError) and not self._answered):
                raise _refused_certificate(self.target, rpc, error, trusted=self._trusted) from error
            raise self._lost(rpc, error) from error

    def _lost(self, rpc: str, error: Exception) -> HomelabError:
        """``details['connected']``: somebody was there. One who never says a word may not have taken our certificate."""
        why = f"connection lost: {error}"
        if self._trusted and not self._answered:
            why += " before it said anything, as when its clock is wrong and our certificate is of another time for it"
        failure = status.error("UNAVAILABLE", why, rpc=rpc, of=str(self.target))
        failure.details["connected"] = True
        return failure

    def _late(self, rpc: str) -> HomelabError:
        return status.error("DEADLINE_EXCEEDED", "no answer in time", rpc=rpc, of=str(self.target))

    def _fault(self, path: str, answer: str) -> ServerFault:
        return ServerFault(f"understand the answer to {_rpc_name(path)}", of=str(self.target), answer=answer)


def _connect(target: Target, context: ssl.SSLContext, timeout: float) -> ssl.SSLSocket:
    of = str(target)
    try:
        raw = socket.create_connection((target.address, target.port), timeout)
    except OSError as error:
        reason = "connection timed out" if isinstance(error, TimeoutError) else str(error)
        raise Unreachable(
            "connect",
            of=of,
            answer=reason,
            hint=_connect_hint(error),
            refused=isinstance(error, ConnectionRefusedError),
        ) from error
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wrapped = context.wrap_socket(raw, server_hostname=target.address)
    except ssl.SSLCertVerificationError as error:
        raw.close()
        raise _untrusted(target, error) from error
    except OSError as error:
        raw.close()
        if _is_alert(error):
            # An older TLS: the node's own certificate may not have been looked at.
            raise _refused_certificate(target, "connect", error, trusted=False) from error
        raise Unreachable("connect", of=of, answer=f"TLS handshake failed: {error}") from error
    if wrapped.selected_alpn_protocol() != "h2":
        wrapped.close()
        raise Unreachable("connect", of=of, answer="what listens there does not speak HTTP/2", hint="Is it Talos?")
    return wrapped


def _connect_hint(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "The machine is up but its Talos API is not: it boots, or is a worker whose control plane is not up."
    if isinstance(error, TimeoutError):
        return "Is the machine on, on the right VLAN, and is this its address?"
    return ""


def _untrusted(target: Target, error: ssl.SSLCertVerificationError) -> UntrustedNode:
    code = error.verify_code
    if code in tls.NAME_MISMATCH:
        hint = f"Its certificate is not for {target.address}: add that to cert_sans, or use an address of the node."
    elif code in tls.OTHER_TIME:
        hint = "Compare this machine's clock with the node's. A node that reaches no time server (machine.time) keeps its own."
    else:
        hint = ""
    return UntrustedNode(
        "trust the node", of=str(target), answer=error.verify_message or str(error), hint=hint, verify_code=code
    )


def _is_alert(error: Exception) -> bool:
    """TLS 1.3 shows the refusal of a client certificate at the first read: as an alert, or as a bare end of file."""
    return isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")


def _refused_certificate(target: Target, rpc: str, error: Exception, *, trusted: bool) -> Unauthenticated:
    """``trusted``: the node's own certificate is of our authority, so it is no other cluster's."""
    kind, hint = Unauthenticated, "It belongs to another cluster, or this is the secrets bundle of another one."
    if trusted:
        kind, hint = (
            RefusedByOurs,
            (
                "The node's own certificate is this cluster's. Compare this machine's clock with the node's: a node whose "
                "clock is wrong holds ours for one that has ended, or has not begun."
            ),
        )
    return kind(
        f"call {rpc}" if rpc != "connect" else "connect",
        of=str(target),
        answer=f"the node refused our client certificate ({error})",
        hint=hint,
    )


def _headers(pairs: t.Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in pairs or ()}


def _rpc_name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
