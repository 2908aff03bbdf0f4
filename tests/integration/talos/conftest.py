# SPDX-License-Identifier: GPL-3.0-or-later
"""The Talos modules against played nodes: loopback addresses of their own, port 50000, in a thread of this process."""

from __future__ import annotations

import asyncio
import collections.abc as c
import os
import pathlib
import sys
import threading
import typing as t

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(_ROOT / "simulator"), str(_ROOT / "tests" / "simulator" / "talos")]

from talos_lab import PlayedLab

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import secrets_bundle


@pytest.fixture
def loop() -> c.Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever, daemon=True)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join(5)


@pytest.fixture(scope="session")
def secrets_text() -> str:
    """A bundle for all tests: its RSA key takes long on a busy machine."""
    return secrets_bundle.dump(secrets_bundle.generate())


@pytest.fixture
def lab(
    tmp_path: pathlib.Path, loop: asyncio.AbstractEventLoop, request: t.Any, secrets_text: str
) -> c.Iterator[PlayedLab]:
    #: One subnet of loopback a test and process, so that tests of several people do not meet.
    subnet = f"127.{64 + os.getpid() % 128}.{abs(hash(request.node.name)) % 250}"
    made = PlayedLab(tmp_path, loop, subnet)
    private_files.replace(made.secrets_path, secrets_text)
    yield made
    made.close()
