# SPDX-License-Identifier: GPL-3.0-or-later
"""The Talos modules against played nodes: loopback addresses of their own, port 50000, in a thread of this process."""

from __future__ import annotations

import asyncio
import collections.abc as c
import os
import pathlib
import sys
import typing as t

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(_ROOT / part) for part in ("simulator", "tests/simulator/talos", "tests/conformance")]

import judgement
from talos_lab import PlayedLab, running_loop
from talos_nodes import Nodes, of_a_lab, of_ones_own

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import secrets_bundle

_OUTCOMES = pytest.StashKey[dict[str, tuple[str, str]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_OUTCOMES] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> t.Generator[None, t.Any, None]:
    report = (yield).get_result()
    if call.when == "call" or report.outcome != "passed":
        item.config.stash[_OUTCOMES][item.nodeid] = (report.outcome, report.longreprtext)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("TALOS"):
        judge = f"Talos nodes {os.environ['TALOS']}"
        judgement.of_a_real_one("talos", judge, session.config.stash[_OUTCOMES]).write()


@pytest.fixture
def loop() -> c.Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as made:
        yield made


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


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, secrets_text: str) -> c.Iterator[Nodes]:
    """A cluster for a whole file: that of ``TALOS``, or a played one."""
    path = tmp_path_factory.mktemp("nodes")
    if os.environ.get("TALOS"):
        yield of_ones_own(os.environ, path)
        return
    with running_loop() as loop:
        lab = PlayedLab(path, loop, f"127.{64 + os.getpid() % 128}.251")
        private_files.replace(lab.secrets_path, secrets_text)
        yield of_a_lab(lab)
        lab.close()
