# SPDX-License-Identifier: GPL-3.0-or-later
"""One played control plane node with real etcd and Kubernetes in a network namespace, and talosctl in the same namespace."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import os
import pathlib
import signal
import sys
import typing as t

import yaml

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "simulator" / "talos"), str(TESTS / "simulator" / "cluster")]

from netlab import NetNamespace, program
from talos_support import FakeMachine, Lab, client_pair, config, text, until

from simlab.binaries import Program
from simlab.talos import Registry, Settings

TALOSCTL = Program("talosctl", pathlib.Path(__file__).parent / "talosctl", packages=1400)
ADDRESS = "10.77.0.11"


class InsideMachine(FakeMachine):
    async def set_addresses(self, nic: t.Any, addresses: t.Sequence[str], gateway: str | None) -> None:
        await super().set_addresses(nic, addresses, gateway)
        for address in addresses:
            self.namespace.ip("addr", "replace", address, "dev", "lo")  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"rc={self.code}\n{self.out}{self.err}"


class Playground:
    """``await lab.talosctl("services")``; the node is powered on, in maintenance."""

    def __init__(self, path: pathlib.Path, secrets: dict[str, t.Any], inside: NetNamespace) -> None:
        self.path, self.secrets, self.inside = path, secrets, inside
        (path / "run").mkdir()
        self.lab = Lab(path, Settings(registry=Registry(), program=program(), runtime=path / "run"))
        self.node = self.lab.node(ADDRESS)
        self.node.machine = t.cast(t.Any, InsideMachine(self.node.machine.guest, t.cast(t.Any, inside)))
        self.node.machine.time_scale = 0.02
        self.program = TALOSCTL.build()
        self.document = config(secrets)
        self.document["cluster"]["network"]["cni"] = {"name": "flannel"}
        self.file("cp1.yaml", text(self.document, "cp1").decode())
        self.file("talosconfig", self._talosconfig())

    def file(self, name: str, content: str) -> pathlib.Path:
        path = self.path / name
        path.write_text(content, encoding="utf-8")
        path.chmod(0o600)
        return path

    def _talosconfig(self) -> str:
        pair = client_pair(self.secrets["os"], ["os:admin"])
        crt, mark, key = pair.partition(b"-----BEGIN PRIVATE KEY")
        parts = {"ca": self.secrets["os"]["crt"], "crt": _base64(crt), "key": _base64(mark + key)}
        context = {"endpoints": [ADDRESS], "nodes": [ADDRESS], **parts}
        return yaml.safe_dump({"context": "lab", "contexts": {"lab": context}})

    async def talosctl(self, *words: str, timeout: float = 60) -> Said:
        """What it printed. ``{…}`` in words are files of the lab."""
        files = [word.replace("{}", str(self.path)) for word in words]
        environment = {**os.environ, "TALOSCONFIG": str(self.path / "talosconfig"), "HOME": str(self.path)}
        out, err = (
            self.path / "talosctl.out",
            self.path / "talosctl.err",
        )  # a pipe would lose what a time limit cuts off
        with out.open("w") as stdout, err.open("w") as stderr:
            pipes = {"stdin": asyncio.subprocess.DEVNULL, "stdout": stdout, "stderr": stderr}
            process = await self.inside.spawn([str(self.program), *files], env=environment, **pipes)
            late = ""
            try:
                await asyncio.wait_for(process.wait(), timeout)
            except TimeoutError:
                process.send_signal(signal.SIGINT)
                await asyncio.wait_for(process.wait(), 20)
                late = f"no end in {timeout:.0f} s"
        code = -1 if late else t.cast(int, process.returncode)
        return Said(code, out.read_text(), err.read_text() + late)

    async def until_ready(self, seconds: float = 120) -> None:
        await until(lambda: self.node.serving and self.node.runtime.stage == "running", seconds)
        await until(lambda: not self.node.runtime.unmet(), seconds)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@contextlib.asynccontextmanager
async def playground(path: pathlib.Path, secrets: dict[str, t.Any]) -> t.AsyncIterator[Playground]:
    inside = NetNamespace("cp1")
    try:
        made = Playground(path, secrets, inside)
        await made.node.boot()
        await until(lambda: made.node.describe()["stage"] == "maintenance")
        yield made
    finally:
        with contextlib.suppress(Exception):
            await made.lab.close()
        inside.close()
