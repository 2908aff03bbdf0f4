# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's name server: A and PTR records of one table, over UDP and TCP."""

from __future__ import annotations

import asyncio
import socket
import typing as t

import dnslib


class NameServer:
    """``records`` maps lower-case names to addresses and may change at any time. Other names do not exist."""

    def __init__(self, records: t.MutableMapping[str, list[str]]) -> None:
        self.records = records
        self._closers: list[t.Callable[[], None]] = []

    async def listen(self, udp: socket.socket, tcp: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
        server = await asyncio.start_server(self._stream, sock=tcp)
        self._closers += [transport.close, server.close]

    def stop(self) -> None:
        for close in self._closers:
            close()

    def addresses(self, name: str) -> list[str]:
        """IPv4 addresses of the name, none when there is no such name."""
        return list(self.records.get(name.rstrip(".").lower(), ()))

    def answer(self, packet: bytes) -> bytes | None:
        """The reply to a query, None for what is not one."""
        try:
            query = dnslib.DNSRecord.parse(packet)
        except (dnslib.DNSError, ValueError):
            return None
        if query.header.qr or not query.questions:
            return None
        reply = query.reply(ra=1, aa=1)
        name, kind = str(query.q.qname), dnslib.QTYPE.get(query.q.qtype, "")
        answers = self._lookup(name, kind)
        if answers is None:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        for data in answers or ():
            reply.add_answer(dnslib.RR(query.q.qname, query.q.qtype, ttl=5, rdata=data))
        return bytes(reply.pack())

    def _lookup(self, name: str, kind: str) -> list[t.Any] | None:
        """Record data; empty when the name exists without such a record, None when it does not exist."""
        if name.endswith(".in-addr.arpa."):
            address = ".".join(reversed(name.removesuffix(".in-addr.arpa.").split(".")))
            names = [known for known, addresses in self.records.items() if address in addresses]
            return [dnslib.PTR(known) for known in names] if kind == "PTR" and names else None
        addresses = self.addresses(name)
        if not addresses:
            return None
        return [dnslib.A(address) for address in addresses] if kind == "A" else []

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 10), "big")
                answer = self.answer(await asyncio.wait_for(reader.readexactly(size), 10))
                if answer is None:
                    break
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: t.Any) -> None:
        answer = self._server.answer(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)
