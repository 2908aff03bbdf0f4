# SPDX-License-Identifier: GPL-3.0-or-later
"""A real API server behind a connection that is slower, and programs that are measured against it.

The server, etcd and the controller manager are processes of their own. The delay is added to what a client sends, so to each
request; what is sent while another request is on its way is not delayed twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import importlib.util
import json
import os
import pathlib
import resource
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import typing as t

import yaml
from rows import Cost, Json

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELPERS = ROOT / "tests/integration/kubernetes"
sys.path.append(str(HELPERS))

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kubeconfig import load

SITE = sysconfig.get_path("purelib")
#: A program that takes longer is stopped: nothing here does on a machine that is not overloaded.
PATIENCE = 600
#: How the audit log tells what is measured from those who play their part.
PLAYER = "bench-player"


def _helpers() -> t.Any:
    """The tests' own way to start an API server."""
    spec = importlib.util.spec_from_file_location("kubernetes_helpers", HELPERS / "conftest.py")
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{HELPERS}/conftest.py is not there")
    module = importlib.util.module_from_spec(spec)
    sys.modules["kubernetes_helpers"] = module
    spec.loader.exec_module(module)
    return module


@dataclasses.dataclass(frozen=True)
class Ran:
    """``ended`` is when its last task, or the program, ended, in seconds since 1970."""

    cost: Cost
    ended: float
    results: list[Json]


class Slower:
    """A port of this machine that leads to another, with a delay in one direction."""

    def __init__(self, port: int, milliseconds: int) -> None:
        self._to, self._delay = port, milliseconds / 1000
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, "127.0.0.1", 0), self._loop
        ).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there, onward = await asyncio.open_connection("127.0.0.1", self._to)
            await asyncio.gather(self._pass(reader, onward, self._delay), self._pass(there, writer, 0.0))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, raw = await queue.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if not raw:
                    writer.close()
                    return
                writer.write(raw)
                await writer.drain()

        async def collect() -> None:
            raw = b"-"
            while raw:
                try:
                    raw = await reader.read(65536)
                except OSError:
                    raw = b""
                queue.put_nowait((self._loop.time() + delay, raw))

        with contextlib.suppress(OSError):
            await asyncio.gather(collect(), deliver())


class Cluster:
    """``kubeconfig`` leads over the slower way; ``player`` is a client of the benchmark's own, which does not count."""

    def __init__(self, milliseconds: int = 0) -> None:
        self.milliseconds = milliseconds

    def __enter__(self) -> t.Self:
        with contextlib.ExitStack() as stack:
            self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            helpers = _helpers()
            self.server = helpers.ApiServer(helpers.binary(), self.folder)
            stack.callback(self.server.stop)
            self.server.start()
            slower = Slower(self.server.port, self.milliseconds)
            stack.callback(slower.close)
            self.kubeconfig = self.folder / "kubeconfig-slower"
            self.server.write_kubeconfig(self.kubeconfig, "admin", server=f"https://127.0.0.1:{slower.port}")
            access = load(str(self.server.kubeconfig), None)
            self.player = Client(dataclasses.replace(access, headers={**access.headers, "user-agent": PLAYER}))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def act(self, method: str, path: str, body: t.Any, kind: str = "application/merge-patch+json") -> Json:
        """As whoever the benchmark plays. Raises RuntimeError."""
        answer = self.player.transport.send(method, path, "play", body=body, content_type=kind)
        if answer.status >= 300:
            raise RuntimeError(str(answer.body))
        return answer.body

    def play(self, tasks: list[Json], **variables: t.Any) -> Ran:
        """A playbook with these tasks. Raises RuntimeError when it fails."""
        page = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}
        book = self.folder / "play.yml"
        book.write_text(yaml.safe_dump([page]))
        more = {
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_COLLECTIONS_PATH": f"{ROOT / '.cache/collections'}:{SITE}",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }
        done = self.run([sys.executable, "-m", "ansible.cli.playbook", "-i", "localhost,", str(book)], **more)
        text = done.results[0]["stdout"]
        report = json.loads(text[text.index("{") :])["plays"][0]["tasks"]
        ends = [_time(task["task"]["duration"]["end"]) for task in report]
        seconds = sum(
            _time(task["task"]["duration"]["end"]) - _time(task["task"]["duration"]["start"]) for task in report
        )
        cost = dataclasses.replace(done.cost, seconds=round(seconds, 3))
        return Ran(cost, max(ends), [task["hosts"]["localhost"] for task in report])

    def run(self, command: list[str], **variables: str) -> Ran:
        """A program, with its output as its one result. Raises RuntimeError when it fails."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "K8S_AUTH_"))}
        environment = {**kept, "KUBECONFIG": str(self.kubeconfig), "K8S_AUTH_KUBECONFIG": str(self.kubeconfig)}
        mark, before, started = self.server.mark(), _cpu(), time.monotonic()
        done = subprocess.run(
            command,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        ended, whole, cpu = time.time(), time.monotonic() - started, _cpu() - before
        if done.returncode:
            text = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{text}")
        reads, writes = self.requests(mark)
        cost = Cost(round(whole, 3), round(whole, 3), round(cpu, 3), reads, writes)
        return Ran(cost, ended, [{"stdout": done.stdout}])

    def requests(self, mark: int) -> tuple[int, int]:
        """What was asked since a mark, but for those who play their part: these have other names, or are the system's."""
        lines = self.server.audit.read_text().splitlines()[mark:]
        mine = [one for one in map(json.loads, lines) if not _is_of_others(one.get("userAgent", ""))]
        once = {one["auditID"]: one["verb"] for one in mine}
        reads = sum(verb in ("get", "list", "watch") for verb in once.values())
        return reads, len(once) - reads


def _is_of_others(agent: str) -> bool:
    return agent.startswith((PLAYER, "controlplane", "kube-controller-manager"))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _time(text: str) -> float:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
