# SPDX-License-Identifier: GPL-3.0-or-later
"""apid: the listener on port 50000, its certificates, and who may connect."""

from __future__ import annotations

import asyncio
import collections.abc as c
import contextlib
import socket
import ssl
import typing as t

import grpclib.server
from grpclib.config import Configuration
from grpclib.protocol import H2Protocol

from . import pki

_MAXIMUM_MESSAGE = 32 * 1024 * 1024


def maintenance_context(leaf: pki.Pair) -> ssl.SSLContext:
    """Serve the leaf alone (its CA is never sent) and ask for no client certificate."""
    context = _context(leaf)
    context.verify_mode = ssl.CERT_NONE
    return context


def mutual_context(leaf: pki.Pair, accepted: c.Iterable[bytes]) -> ssl.SSLContext:
    """Serve the leaf and require a client certificate of one of these CAs (PEM)."""
    context = _context(leaf)
    context.verify_mode = ssl.CERT_REQUIRED
    _load(context, leaf, accepted)
    return context


def _load(context: ssl.SSLContext, leaf: pki.Pair, accepted: c.Iterable[bytes]) -> None:
    with pki.in_memory(leaf.certificate, pki.readable(leaf.key)) as path:
        context.load_cert_chain(path)
    for certificate in accepted:
        with contextlib.suppress(ssl.SSLError, ValueError):
            context.load_verify_locations(cadata=certificate.decode())


def _context(leaf: pki.Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.set_alpn_protocols(["h2"])
    with pki.in_memory(leaf.certificate, pki.readable(leaf.key)) as path:
        context.load_cert_chain(path)
    return context


class _Protocol(H2Protocol):
    """A connection that can be cut, and that is refused when its certificate is not for clients only."""

    connections: set[asyncio.Transport]
    mutual: bool
    _kept: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._kept = t.cast(asyncio.Transport, transport)
        self.connections.add(self._kept)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None and self.mutual else None
        if self.mutual and (certificate is None or not pki.client_only(certificate)):
            self._kept.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._kept is not None:
            self.connections.discard(self._kept)
        super().connection_lost(exc)


class ApiServer(grpclib.server.Server):
    """A gRPC server on a socket that somebody else has made. Closing it cuts every connection."""

    def __init__(self, router: t.Any, *, mutual: bool) -> None:
        # Windows large enough for snapshots; the default of 64 KiB makes every chunk wait for an acknowledgement.
        super().__init__(
            [router],
            config=Configuration(http2_connection_window_size=_MAXIMUM_MESSAGE),
        )
        self._connections: set[asyncio.Transport] = set()
        self.mutual = mutual
        self._context: ssl.SSLContext | None = None

    def _protocol_factory(self) -> H2Protocol:
        made = super()._protocol_factory()
        protocol = _Protocol(made.handler, self._config, self._h2_config)
        protocol.connections, protocol.mutual = self._connections, self.mutual
        return protocol

    async def serve(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        listener.setblocking(False)
        self._context = context
        await self.start(sock=listener, ssl=context)

    def renew(self, leaf: pki.Pair, accepted: c.Iterable[bytes]) -> None:
        """Another certificate and other accepted CAs, for connections from now on."""
        if self._context is not None:
            _load(self._context, leaf, accepted)

    async def stop(self, *, at_once: bool) -> None:
        """Close the listener, then the connections: cut (power loss), or after what is in flight was sent."""
        if self._server is None:
            return
        self._server.close()
        for transport in list(self._connections):
            transport.abort() if at_once else transport.close()
        self.close()
