# SPDX-License-Identifier: GPL-3.0-or-later
"""How a node gets the programs of an image: from the cache, or built now, which is the lab's way of pulling."""

from __future__ import annotations

import asyncio
import pathlib
import typing as t

from ...binaries import BuildError, Program


class Undelivered(Exception):
    """The program cannot be had; the text says why and what to try."""


class Delivery:
    """``build`` makes a program that is not in the cache; it blocks, for minutes, and raises BuildError."""

    def __init__(self, build: t.Callable[[Program], pathlib.Path]) -> None:
        self._build = build
        self._one = asyncio.Lock()

    async def deliver(self, program: Program) -> pathlib.Path:
        """Where the program lies. Raises :class:`Undelivered`."""
        if program.path.exists():
            return program.path
        async with self._one:
            try:
                return await asyncio.to_thread(self._build, program)
            except BuildError as error:
                raise Undelivered(str(error)) from None
