# SPDX-License-Identifier: GPL-3.0-or-later
"""A played Proxmox VE for the tests of this folder."""

from __future__ import annotations

import asyncio
import pathlib
import typing as t

import asked
import pytest
from played_proxmox import Client, proxmox


@pytest.fixture
def run(tmp_path: pathlib.Path) -> t.Callable[[t.Callable[[Client], t.Awaitable[None]]], None]:
    """Runs a test's coroutine with a client, for 30 seconds at most."""

    def run_(test: t.Callable[[Client], t.Awaitable[None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30), proxmox(tmp_path) as client:
                await test(client)

        asyncio.run(bounded())

    return run_


@pytest.fixture(scope="module")
def asked_server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[asked.Asked]:
    with asked.listening(tmp_path_factory.mktemp("proxmox")) as port:
        yield asked.Asked(port)
