# SPDX-License-Identifier: GPL-3.0-or-later
"""How a node gets the programs of an image: from the cache, or built now, which is the lab's way of pulling."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import socket
import typing as t

from ... import binaries
from ...binaries import BuildError, Program

Say = t.Callable[[str], None]


class Undelivered(Exception):
    """The program cannot be had; the text says why and what to try."""


class Delivery(t.Protocol):
    async def deliver(self, program: Program) -> pathlib.Path:
        """Raises :class:`Undelivered`."""


class LocalDelivery:
    """Builds in a thread of this process."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._one = asyncio.Lock()

    async def deliver(self, program: Program) -> pathlib.Path:
        if program.path.exists():
            return program.path
        async with self._one:
            try:
                return await asyncio.to_thread(program.build, self._say)
            except BuildError as error:
                raise Undelivered(str(error)) from None


class OutsideDelivery:
    """Asks the builder that was left outside of the sandbox (:func:`leave_builder`): in it there is no internet."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._one = asyncio.Lock()

    async def deliver(self, program: Program) -> pathlib.Path:
        if program.path.exists():
            return program.path
        async with self._one:
            try:
                answer = await asyncio.to_thread(self._ask, program.name)
            except (OSError, ValueError) as error:
                raise Undelivered(f"the lab's builder does not answer: {error}") from None
        if "error" in answer:
            raise Undelivered(str(answer["error"]))
        return pathlib.Path(answer["path"])

    def _ask(self, name: str) -> dict[str, t.Any]:
        self._channel.sendall(f"{name}\n".encode())
        received = b""
        while not received.endswith(b"\n"):
            part = self._channel.recv(65536)
            if not part:
                raise ValueError("it has ended")
            received += part
        return t.cast("dict[str, t.Any]", json.loads(received))


def leave_builder(say: Say) -> socket.socket:
    """Fork a process that builds programs by name, for as long as the other end of its socket is open. Call it before
    the sandbox is entered, while the process has one thread."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        status = 1
        try:
            ours.close()
            _serve(theirs, say)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    ours.set_inheritable(True)
    return ours


def _serve(channel: socket.socket, say: Say) -> None:
    with binaries.shared_cache(), channel.makefile("r", encoding="utf-8") as asked:
        for line in asked:
            try:
                path = binaries.PROGRAMS[line.strip()].build(say)
                answer = {"path": str(path)}
            except (BuildError, KeyError, OSError) as error:
                answer = {"error": str(error)}
            channel.sendall(json.dumps(answer).encode() + b"\n")
