# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that stays outside of the sandbox and builds programs for the lab in it, which has no internet."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import typing as t

from . import binaries


class Builder:
    """The lab's end of the connection. One request at a time; it blocks."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._one = threading.Lock()

    def build(self, name: str) -> pathlib.Path:
        """The path of a program of :data:`simlab.binaries.PROGRAMS`. Raises :class:`simlab.binaries.BuildError`."""
        return self._ask("program", name)

    def module(self, name: str) -> pathlib.Path:
        """The folder of a Go module: see :func:`simlab.binaries.module_folder`."""
        return self._ask("module", name)

    def _ask(self, kind: str, name: str) -> pathlib.Path:
        with self._one:
            answer = self._answer(f"{kind} {name}\n")
        if "error" in answer:
            raise binaries.BuildError(str(answer["error"]))
        return pathlib.Path(answer["path"])

    def _answer(self, asked: str) -> dict[str, t.Any]:
        try:
            self._channel.sendall(asked.encode())
            return t.cast("dict[str, t.Any]", json.loads(self._line()))
        except (OSError, ValueError) as error:
            raise binaries.BuildError(f"the lab's builder does not answer: {error}") from None

    def _line(self) -> bytes:
        received = b""
        while not received.endswith(b"\n"):
            part = self._channel.recv(1 << 16)
            if not part:
                raise ValueError("it has ended")
            received += part
        return received


def leave_outside() -> Builder:
    """Fork the process that builds. Call it before the sandbox is entered, while this process has one thread. It ends
    with the last process that has the other end of its connection."""
    ours, theirs = socket.socketpair()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if os.fork() == 0:
        try:
            ours.close()
            os.dup2(2, 1)
            _serve(theirs)
        finally:
            os._exit(0)
    theirs.close()
    return Builder(ours)


def _serve(channel: socket.socket) -> None:
    with contextlib.ExitStack() as stack, channel.makefile("r", encoding="utf-8") as asked:
        for number, line in enumerate(asked):
            if number == 0:
                stack.enter_context(binaries.shared_cache())
            channel.sendall(json.dumps(_done(*line.split())).encode() + b"\n")


def _done(kind: str, name: str) -> dict[str, t.Any]:
    try:
        if kind == "module":
            return {"path": str(binaries.module_folder(name))}
        return {"path": str(binaries.PROGRAMS[name].build(_say))}
    except (binaries.BuildError, KeyError, OSError, subprocess.SubprocessError) as error:
        return {"error": str(error)}


def _say(text: str) -> None:
    print(f"rehearse: {text}", file=sys.stderr, flush=True)
