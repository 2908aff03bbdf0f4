# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that ``make simulated-proxmox`` starts, asked step by step: what it answers, in one line each."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import pathlib
import socket
import ssl
import threading
import time
import typing as t
import urllib.parse

from simlab.proxmox import standalone

PASSWORD = "of-what-is-asked-1"
#: Method, path below ``/nodes/pve1`` (or from the root, with two slashes), parameters, and what comes back: the outcome
#: (see ``Asked.outcome``), or a dictionary of what the answered data holds (None: has not).
Step = tuple[str, str, dict[str, t.Any], t.Any]
QCOW2 = "local:1,format=qcow2"


def vm(vmid: int, **options: t.Any) -> Step:
    return ("POST", "/qemu", {"vmid": vmid, "kvm": 0, "memory": 64, **options}, "task OK")


def gone(vmid: int) -> Step:
    return ("DELETE", f"/qemu/{vmid}", {}, "task OK")


class Asked:
    """root@pam, with a ticket."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._headers: dict[str, str] = {}
        login = self.send("POST", "//access/ticket", {"username": "root@pam", "password": PASSWORD})[2]["data"]
        ticket = urllib.parse.quote(login["ticket"], safe="")
        self._headers = {"Cookie": f"PVEAuthCookie={ticket}", "CSRFPreventionToken": login["CSRFPreventionToken"]}

    def send(self, method: str, path: str, params: t.Mapping[str, t.Any]) -> tuple[int, str, dict[str, t.Any]]:
        """Status, reason and body."""
        url = "/api2/json" + (path[1:] if path.startswith("//") else f"/nodes/pve1{path}")
        query = urllib.parse.urlencode(params)
        headers, body = dict(self._headers), None
        if method in ("GET", "DELETE"):
            url += f"?{query}" if query else ""
        else:
            body, headers["Content-Type"] = query, "application/x-www-form-urlencoded"
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=_UNCHECKED, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, url, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.reason, json.loads(answer.read() or b"{}")

    def text(self, path: str) -> str:
        """An answer that is not JSON."""
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=_UNCHECKED, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", f"/api2/json/nodes/pve1{path}", headers=self._headers)
            return connection.getresponse().read().decode()

    def data(self, method: str, path: str, **params: t.Any) -> t.Any:
        return self.send(method, path, params)[2]["data"]

    def outcome(self, method: str, path: str, params: t.Mapping[str, t.Any]) -> tuple[str, t.Any]:
        """``ok``, ``task EXIT STATUS``, ``PARAMETER: TEXT; …`` or ``STATUS REASON``; and the data."""
        status, reason, body = self.send(method, path, params)
        if status != 200:
            errors = [f"{name}: {text.strip()}" for name, text in sorted(body.get("errors", {}).items())]
            return ("; ".join(errors) or f"{status} {reason}"), None
        data = body["data"]
        if isinstance(data, str) and data.startswith("UPID:"):
            return f"task {self.end_of(data)}", data
        return "ok", data

    def end_of(self, upid: str) -> str:
        for _ in range(2000):
            state = self.data("GET", f"/tasks/{urllib.parse.quote(upid, safe='')}/status")
            if state["status"] == "stopped":
                return str(state["exitstatus"]).strip()
            time.sleep(0.01)
        raise AssertionError(f"{upid} does not end")

    def settle(self, vmid: int) -> None:
        """Wait for what other tasks have started."""
        for _ in range(2000):
            if not self.data("GET", "/tasks", vmid=vmid, source="active"):
                return
            time.sleep(0.01)
        raise AssertionError(f"tasks of {vmid} do not end")

    def walk(self, steps: t.Iterable[Step]) -> None:
        """Every step with its answer. Tasks that a step leaves behind are waited for."""
        for number, (method, path, params, wanted) in enumerate(steps, 1):
            outcome, data = self.outcome(method, path, params)
            where = f"step {number}: {method} {path} {params}"
            if isinstance(wanted, dict):
                found = {key: (data or {}).get(key) for key in wanted}
                assert (outcome, found) == ("ok", wanted), where
            else:
                assert outcome == wanted, where
            if outcome.startswith("task") and path.startswith("/qemu") and (params.get("vmid") or path[6:9].isdigit()):
                self.settle(int(params.get("vmid") or path[6:9]))


_UNCHECKED = ssl._create_unverified_context()


@contextlib.contextmanager
def listening(root: pathlib.Path) -> t.Iterator[int]:
    """A server of its own in a thread, while the block runs: its port."""
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    sock = socket.create_server(("127.0.0.1", 0))

    async def serve() -> None:
        async with standalone.serving(sock, PASSWORD, root, "127.0.0.1:0", time_scale=0.001):
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(20), "the server does not start"
    try:
        yield int(sock.getsockname()[1])
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(20)
