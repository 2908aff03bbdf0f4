# SPDX-License-Identifier: GPL-3.0-or-later
"""The transport against an independent gRPC server (grpclib) on loopback: calls, streams, errors, TLS and its refusals."""

from __future__ import annotations

import asyncio
import collections.abc as c
import contextlib
import dataclasses
import datetime as dt
import ipaddress
import os
import socket
import ssl
import struct
import threading
import time
import typing as t

import grpclib.const
import grpclib.server
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import channel, pki, status, tls

HOST = "127.0.0.1"


class Bytes(CodecBase):
    """Messages are bytes here: the schema is tested elsewhere."""

    __content_subtype__ = "proto"

    def encode(self, message: t.Any, message_type: t.Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: t.Any) -> t.Any:
        return data


class Services:
    """What the tests call; ``seen`` are the requests' metadata."""

    def __init__(self) -> None:
        self.deadlines: list[float] = []

    def __mapping__(self) -> dict[str, Handler]:
        unary, down, up = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM, Cardinality.STREAM_UNARY
        return {
            "/test.Test/Echo": Handler(self.echo, unary, bytes, bytes),
            "/test.Test/Fail": Handler(self.fail, unary, bytes, bytes),
            "/test.Test/Hang": Handler(self.hang, unary, bytes, bytes),
            "/test.Test/Down": Handler(self.down, down, bytes, bytes),
            "/test.Test/FailLate": Handler(self.fail_late, down, bytes, bytes),
            "/test.Test/Up": Handler(self.up, up, bytes, bytes),
        }

    async def echo(self, stream: t.Any) -> None:
        if stream.deadline:
            self.deadlines.append(stream.deadline.time_remaining())
        await stream.send_message(await stream.recv_message())

    async def fail(self, stream: t.Any) -> None:
        code, _, text = (await stream.recv_message()).decode().partition(":")
        raise GRPCError(Status[code], text)

    async def hang(self, stream: t.Any) -> None:
        await stream.recv_message()
        await asyncio.sleep(30)

    async def down(self, stream: t.Any) -> None:
        count = int(await stream.recv_message())
        for _ in range(count):
            await stream.send_message(b"x" * 32768)

    async def fail_late(self, stream: t.Any) -> None:
        await stream.recv_message()
        await stream.send_message(b"first")
        raise GRPCError(Status.NOT_FOUND, "gone")

    async def up(self, stream: t.Any) -> None:
        total = 0
        async for message in stream:
            total += len(message)
        await stream.send_message(str(total).encode())


@dataclasses.dataclass
class Server:
    port: int
    services: Services


class World:
    """A cluster's authority, and servers that run in one thread."""

    def __init__(self) -> None:
        self.ca = pki.new_ca("talos", "ed25519")
        self.loop = asyncio.new_event_loop()
        self.servers: list[grpclib.server.Server] = []
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def serve(
        self, *, maintenance: bool = False, san: str = HOST, ca: pki.Pair | None = None, **times: t.Any
    ) -> Server:
        """A node: in maintenance mode (another authority, no client certificate asked for), or configured."""
        signer = pki.new_ca(None, "ed25519") if maintenance else (ca or self.ca)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["h2"])
        if not maintenance:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=signer.crt.decode())
        with tls._memory_file(_server_certificate(signer, san, **times)) as path:
            context.load_cert_chain(path)
        services = Services()

        async def start() -> int:
            server = grpclib.server.Server([t.cast(t.Any, services)], codec=Bytes())
            await server.start(HOST, 0, ssl=context)
            self.servers.append(server)
            return int(server._server.sockets[0].getsockname()[1])  # type: ignore[union-attr]

        return Server(asyncio.run_coroutine_threadsafe(start(), self.loop).result(5), services)

    def identity(self, ca: pki.Pair | None = None, signer: pki.Pair | None = None) -> tls.Identity:
        return tls.Identity((ca or self.ca).crt, pki.client_certificate(signer or ca or self.ca, ["os:admin"]))

    def close(self) -> None:
        async def stop() -> None:
            for server in self.servers:
                server.close()
                await server.wait_closed()

        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(stop(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)


def _server_certificate(
    ca: pki.Pair, san: str, *, start: dt.timedelta = dt.timedelta(hours=-1), end: dt.timedelta = dt.timedelta(hours=1)
) -> bytes:
    now = dt.datetime.now(dt.timezone.utc)
    key = ed25519.Ed25519PrivateKey.generate()
    issuer = pki.load_certificate(ca.crt)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(san))]), critical=False)
        .sign(t.cast(t.Any, pki.load_key(ca.key)), None)
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM) + pki.openssl_key(pki.key_pem(key))


@pytest.fixture(scope="module")
def world() -> c.Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture
def node(world: World) -> Server:
    return world.serve()


def connect(port: int, context: ssl.SSLContext) -> channel.Channel:
    return channel.Channel(channel.Target(HOST, "cp1", port), context, timeout=2.0)


@pytest.fixture
def line(world: World, node: Server) -> c.Iterator[channel.Channel]:
    with connect(node.port, world.identity().context()) as made:
        yield made


def test_a_unary_call_goes_there_and_back_many_times_on_one_connection(line: channel.Channel, node: Server) -> None:
    for number in range(20):
        assert line.unary("/test.Test/Echo", b"%d" % number, timeout=5) == b"%d" % number
    assert 4 < node.services.deadlines[0] <= 5


def test_an_empty_and_a_large_message_pass(line: channel.Channel) -> None:
    assert line.unary("/test.Test/Echo", b"", timeout=5) == b""
    large = bytes(range(256)) * 4096 * 4  # more than any flow control window at the start
    assert line.unary("/test.Test/Echo", large, timeout=20) == large


def test_a_stream_down_and_a_stream_up(line: channel.Channel) -> None:
    assert sum(len(part) for part in line.stream("/test.Test/Down", [b"128"], timeout=20)) == 128 * 32768
    assert list(line.stream("/test.Test/Up", (b"y" * 1000 for _ in range(100)), timeout=20)) == [b"100000"]


KINDS = {
    "INVALID_ARGUMENT": errors.Refused,
    "NOT_FOUND": errors.NotFound,
    "ALREADY_EXISTS": errors.Conflict,
    "PERMISSION_DENIED": errors.AccessDenied,
    "UNAUTHENTICATED": errors.Unauthenticated,
    "FAILED_PRECONDITION": errors.Refused,
    "UNIMPLEMENTED": errors.Refused,
    "UNAVAILABLE": errors.Unreachable,
    "INTERNAL": errors.ServerFault,
    "UNKNOWN": errors.ServerFault,
    "RESOURCE_EXHAUSTED": errors.ServerFault,
    "ABORTED": errors.Conflict,
}


@pytest.mark.parametrize(("code", "kind"), KINDS.items())
def test_a_status_becomes_our_error_with_node_and_rpc(
    line: channel.Channel, code: str, kind: type[errors.HomelabError]
) -> None:
    with pytest.raises(kind) as caught:
        line.unary("/test.Test/Fail", f"{code}:etcd: 100% é broken".encode(), timeout=5)
    assert type(caught.value) is kind and status.code_of(caught.value) == code
    assert caught.value.message.startswith(
        f"Could not call Fail (Talos node cp1 at 127.0.0.1:{line.target.port}): {code}: etcd: 100% é broken."
    )


def test_the_connection_goes_on_after_an_error(line: channel.Channel) -> None:
    with pytest.raises(errors.NotFound):
        line.unary("/test.Test/Fail", b"NOT_FOUND:x", timeout=5)
    assert line.unary("/test.Test/Echo", b"still here", timeout=5) == b"still here"


def test_a_stream_that_fails_late_gives_what_it_gave(line: channel.Channel) -> None:
    parts = line.stream("/test.Test/FailLate", [b""], timeout=5)
    assert next(parts) == b"first"
    with pytest.raises(errors.NotFound, match="gone"):
        next(parts)


def test_an_unknown_rpc_is_unimplemented(line: channel.Channel) -> None:
    with pytest.raises(errors.Refused, match="UNIMPLEMENTED"):
        line.unary("/test.Test/Nothing", b"", timeout=5)


def test_a_deadline_ends_a_call_that_hangs(line: channel.Channel) -> None:
    start = time.monotonic()
    with pytest.raises(errors.Unreachable, match="DEADLINE_EXCEEDED"):
        line.unary("/test.Test/Hang", b"", timeout=0.3)
    assert time.monotonic() - start < 3


def test_maintenance_is_talked_to_without_a_certificate_and_its_fingerprint_is_known(world: World) -> None:
    server = world.serve(maintenance=True)
    with connect(server.port, tls.maintenance_context()) as line:
        assert line.unary("/test.Test/Echo", b"hello", timeout=5) == b"hello"
        assert len(line.fingerprint) == 44


def test_a_certificate_of_somebody_else_is_not_trusted(world: World) -> None:
    server = world.serve(maintenance=True)
    with pytest.raises(channel.UntrustedNode) as caught:
        connect(server.port, world.identity().context())
    assert caught.value.details["verify_code"] not in tls.NAME_MISMATCH


def test_a_certificate_for_another_address_says_what_to_do(world: World) -> None:
    server = world.serve(san="10.77.0.11")
    with pytest.raises(channel.UntrustedNode) as caught:
        connect(server.port, world.identity().context())
    assert caught.value.details["verify_code"] in tls.NAME_MISMATCH
    assert "Its certificate is not for 127.0.0.1: add that to cert_sans" in caught.value.message


def test_a_wrong_clock_is_named(world: World) -> None:
    server = world.serve(start=dt.timedelta(hours=1), end=dt.timedelta(hours=2))
    with pytest.raises(channel.UntrustedNode, match="Compare this machine's clock"):
        connect(server.port, world.identity().context())


def test_a_client_certificate_of_another_authority_is_refused(world: World, node: Server) -> None:
    stranger = world.identity(signer=pki.new_ca("talos", "ed25519"))
    with pytest.raises((errors.Unauthenticated, errors.Unreachable)) as caught:
        connect(node.port, stranger.context()).unary("/test.Test/Echo", b"", timeout=5)
    assert "node cp1" in caught.value.message


def test_a_node_of_ours_that_refuses_us_is_no_stranger(world: World) -> None:
    """Its clock is slow: our certificate has not begun for it. As Go does, it says so with an alert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=world.ca.crt.decode())
    with tls._memory_file(_server_certificate(world.ca, HOST)) as path:
        context.load_cert_chain(path)
    later = dt.datetime.now(dt.timezone.utc) + pki.CLOCK_SKEW + dt.timedelta(hours=1)
    identity = tls.Identity(world.ca.crt, pki.client_certificate(world.ca, ["os:admin"], now=later))
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            connection, _address = listener.accept()
            with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as wrapped:
                with contextlib.suppress(ssl.SSLError):
                    wrapped.do_handshake()
                os.read(wrapped.fileno(), 65536)  # what is not read would turn the alert into a reset

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        line = connect(listener.getsockname()[1], identity.context())
        with pytest.raises(channel.RefusedByOurs) as caught:
            line.unary("/test.Test/Echo", b"", timeout=5)
        line.close()
        thread.join(5)
    assert "another" not in caught.value.message and "Compare this machine's clock" in caught.value.message


def test_nobody_there_is_unreachable_with_a_hint() -> None:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    with pytest.raises(errors.Unreachable) as caught:
        connect(port, tls.maintenance_context())
    assert caught.value.details["refused"] and "its Talos API is not" in caught.value.message


#: What an odd server answers to a connection: (bytes, what the message says).
ODD = [
    (b"", "TLS handshake failed"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "TLS handshake failed"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", "TLS handshake failed"),
]


@pytest.mark.parametrize(("answer", "said"), ODD)
def test_what_does_not_speak_tls_is_unreachable(answer: bytes, said: str) -> None:
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            connection, _address = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(errors.Unreachable, match=said):
            connect(listener.getsockname()[1], tls.maintenance_context())
        thread.join(5)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (struct.pack(">BI", 1, 2) + b"xx", "a compressed message"),
        (struct.pack(">BI", 0, 1 << 31), "a message of 2147483648 bytes"),
    ],
)
def test_an_answer_that_is_not_grpc_is_refused(data: bytes, problem: str) -> None:
    stream = channel._Stream(1, data=bytearray(data))
    with pytest.raises(ValueError, match=problem):
        list(stream.messages())


def test_an_ipv6_address_is_written_as_urls_want_it() -> None:
    target = channel.Target("fd00::11", "cp1")
    assert (str(target), target.authority) == ("Talos node cp1 at [fd00::11]:50000", "[fd00::11]:50000")
