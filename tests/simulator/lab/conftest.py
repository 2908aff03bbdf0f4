# SPDX-License-Identifier: GPL-3.0-or-later
"""Running pieces of a lab in a sandbox, as root and as a plain user."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import typing as t

import pytest
from lab_users import SIMULATOR, as_nobody

_PROLOGUE = """
import asyncio, json, os, sys, time
from simlab import sandbox
from simlab.contracts import Nic
from simlab.network import Network, Segment

async def timed(coroutine):
    start = time.monotonic()
    try:
        sock = await coroutine
        sock.close()
        return ["connected", time.monotonic() - start]
    except Exception as error:
        return [type(error).__name__, time.monotonic() - start]
"""
_EPILOGUE = """
def lab(outer):
    print(json.dumps(asyncio.run(main())), flush=True)
    return 0

sys.exit(sandbox.enter(lab))
"""


@pytest.fixture
def tmp_path() -> t.Iterator[pathlib.Path]:
    """Not below pytest's own folder: every session of pytest closes that to other users again."""
    with tempfile.TemporaryDirectory(prefix="simlab-test-") as folder:
        path = pathlib.Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture(params=["root", "plain user"])
def user(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> list[str]:
    """The command prefix of each kind of user that a lab must work for."""
    if request.param == "root":
        if os.geteuid() != 0:
            pytest.skip("not root")
        return []
    return as_nobody(tmp_path)


@pytest.fixture
def in_sandbox() -> t.Callable[..., t.Any]:
    """``in_sandbox(source, prefix)``: run ``async def main()`` of the source in a sandbox; what it returned."""

    def run(source: str, prefix: t.Sequence[str] = ()) -> t.Any:
        program = _PROLOGUE + textwrap.dedent(source) + _EPILOGUE
        environment = {**os.environ, "PYTHONPATH": str(SIMULATOR), "PYTHONDONTWRITEBYTECODE": "1"}
        finished = subprocess.run(
            [*prefix, sys.executable, "-c", program],
            capture_output=True, text=True, timeout=60, env=environment, check=False,
        )  # fmt: skip
        if finished.returncode != 0:
            raise AssertionError(finished.stderr)
        return json.loads(finished.stdout)

    return run


@pytest.fixture
def inventory(tmp_path: pathlib.Path) -> pathlib.Path:
    """A small lab: one hypervisor, one machine, one VLAN."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "hosts.yml").write_text(
        textwrap.dedent("""
        all:
          vars:
            lab_name: small
            lab_domain: small.test
            lab_networks:
              home: {subnet: 192.168.30.0/24, gateway: 192.168.30.1, vlan: 30, nameservers: [192.168.30.45]}
          children:
            proxmox:
              hosts:
                pve1: {ansible_host: 192.168.30.10}
            talos_control_planes:
              hosts:
                cp1: {machine_vmid: 200, machine_address: 192.168.30.50}
        """)
    )
    return folder
