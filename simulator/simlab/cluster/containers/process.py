# SPDX-License-Identifier: GPL-3.0-or-later
"""One container's process: its log, its end, its readiness."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import signal
import typing as t

import aiohttp

from ...contracts import Namespace

Spec = t.Mapping[str, t.Any]
#: Real seconds between two looks at a process that is not ready yet, and at one that is.
EAGER, CALM = 0.2, 5.0
_LINES = 2000


class ContainerProcess:
    """A process that has been started. ``lines`` are the last of its output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: collections.deque[str] = collections.deque(maxlen=_LINES)
        self._reader = asyncio.create_task(self._read(), name=f"log of {process.pid}")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """The exit status as a container shows it: 128 and the signal's number for one that was killed."""
        code = await self._process.wait()
        with contextlib.suppress(asyncio.TimeoutError):  # a child of it may keep the pipe open
            await asyncio.wait_for(asyncio.shield(self._reader), 1.0)
        return code if code >= 0 else 128 - code

    async def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL after ``grace`` real seconds, for its children too. Returns when it is gone."""
        if self.running and grace > 0:
            self._send(signal.SIGTERM)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace)
        self._send(signal.SIGKILL)
        await self._process.wait()
        self._reader.cancel()

    def last_words(self, number: int = 3) -> str:
        """For the message of a container that has failed."""
        return "\n".join(list(self.lines)[-number:])

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    async def _read(self) -> None:
        stream = self._process.stdout
        while stream is not None:
            try:
                line = await stream.readline()
            except ValueError:  # one line longer than the limit: it is dropped, the next one counts
                continue
            if not line:
                return
            self.lines.append(line.decode(errors="replace").rstrip())


async def probe(node: Namespace, address: str, container: Spec, which: str = "readinessProbe") -> bool:
    """Whether the container answers its probe; without one it does."""
    given = container.get(which) or {}
    if "httpGet" in given:
        return await _http(node, address, container, given["httpGet"], float(given.get("timeoutSeconds") or 1))
    if "tcpSocket" in given:
        return await _tcp(node, str(given["tcpSocket"].get("host") or address), _port(container, given["tcpSocket"]))
    return True


async def _tcp(node: Namespace, address: str, port: int) -> bool:
    try:
        (await node.connect(address, port, 1.0)).close()
    except (OSError, asyncio.TimeoutError):
        return False
    return True


async def _http(node: Namespace, address: str, container: Spec, given: Spec, timeout: float) -> bool:
    scheme = str(given.get("scheme") or "HTTP").lower()
    url = f"{scheme}://{given.get('host') or address}:{_port(container, given)}{given.get('path') or '/'}"
    headers = {str(one["name"]): str(one["value"]) for one in given.get("httpHeaders") or ()}

    def made(info: t.Any) -> t.Any:
        found = node.socket(info[0], info[1])
        found.setblocking(False)
        return found

    connector = aiohttp.TCPConnector(socket_factory=made, ssl=False)
    limit = aiohttp.ClientTimeout(total=max(timeout, 2.0))
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
            async with session.get(url, headers=headers, allow_redirects=False) as answer:
                return 200 <= answer.status < 400
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
        return False


def _port(container: Spec, given: Spec) -> int:
    wanted = given.get("port")
    for port in container.get("ports") or ():
        if port.get("name") == wanted:
            return int(port["containerPort"])
    return int(str(wanted))
