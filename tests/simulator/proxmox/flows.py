# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows as data: what a client sends in sequence to the server that ``make simulated-proxmox`` starts, and each answer."""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import socket
import typing as t
import urllib.parse

import aiohttp

from simlab.proxmox import standalone

PASSWORD = "of-the-flows-1"
NODE = "/nodes/pve1"
TEMPLATE = "local:vztmpl/mini_1.0_amd64.tar.gz"


@dataclasses.dataclass(frozen=True)
class Step:
    """``METHOD PATH`` (below the node when it begins without a slash), what is sent, and what comes back:

    a text that begins with a number is a status and its reason, ``task …`` the exit status of the task that was
    started, ``errors`` the texts of a 400; anything else is the data (of a dictionary: these keys, None: absent).
    """

    request: str
    sent: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    answer: t.Any = None
    errors: t.Mapping[str, str] | None = None


class Client:
    """One caller."""

    def __init__(self, session: aiohttp.ClientSession, base: str, headers: t.Mapping[str, str]) -> None:
        self._session, self._base, self._headers = session, base, headers

    async def send(self, method: str, path: str, sent: t.Mapping[str, t.Any]) -> tuple[int, str, t.Any]:
        pairs = [(key, str(v)) for key, value in sent.items() for v in (value if isinstance(value, list) else [value])]
        place: dict[str, t.Any] = {"params" if method in ("GET", "DELETE") else "data": pairs}
        url = f"{self._base}/api2/json{path}"
        async with self._session.request(method, url, headers=self._headers, ssl=False, **place) as response:
            text = await response.text()
            body = await response.json(content_type=None) if text.startswith("{") else {}
            return response.status, response.reason or "", body

    async def ends(self, upid: str) -> str:
        """The exit status of a task."""
        path = f"{NODE}/tasks/{urllib.parse.quote(upid)}/status"
        for _ in range(1000):
            state = (await self.send("GET", path, {}))[2]["data"]
            if state["status"] == "stopped":
                return str(state["exitstatus"])
            await asyncio.sleep(0.005)
        raise AssertionError(f"{upid} does not end")

    async def check(self, step: Step) -> None:
        method, _, path = step.request.partition(" ")
        path = path if path.startswith("/") else f"{NODE}/{path}"
        status, reason, body = await self.send(method, path, step.sent)
        found: t.Any = body.get("data")
        said = f"{status} {reason}"
        if step.errors is not None:
            assert (said, body.get("errors")) == ("400 Parameter verification failed.", step.errors), step
        elif isinstance(step.answer, str) and step.answer[:1].isdigit() and status != 200:
            assert said == step.answer, step
        elif isinstance(step.answer, str) and step.answer.startswith("task "):
            assert status == 200, (said, body.get("errors"), step)
            assert f"task {await self.ends(found)}" == step.answer, step
        else:
            assert status == 200, (said, body.get("errors"), step)
            assert _part(found, step.answer) == step.answer, step


def _part(found: t.Any, wanted: t.Any) -> t.Any:
    """What of an answer is compared."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return {key: _part(found.get(key), value) for key, value in wanted.items()}
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        return [_part(one, other) for one, other in zip(found, wanted, strict=True)]
    return found


def run(root: pathlib.Path, test: t.Callable[[t.Callable[..., t.Awaitable[Client]]], t.Awaitable[None]]) -> None:
    """``test`` is given a way to log in: ``await login()`` or ``await login("bob@pve", "password")`` or ``token=``."""

    async def whole() -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        base = f"https://127.0.0.1:{sock.getsockname()[1]}"
        async with (
            standalone.serving(sock, PASSWORD, root, "127.0.0.1:0", time_scale=0.001),
            aiohttp.ClientSession() as session,
        ):

            async def login(user: str = "root@pam", password: str = PASSWORD, token: str = "") -> Client:
                if token:
                    return Client(session, base, {"Authorization": f"PVEAPIToken={token}"})
                answer = await Client(session, base, {}).send(
                    "POST", "/access/ticket", {"username": user, "password": password}
                )
                data = answer[2]["data"]
                cookie = urllib.parse.quote(data["ticket"])
                headers = {"Cookie": f"PVEAuthCookie={cookie}", "CSRFPreventionToken": data["CSRFPreventionToken"]}
                return Client(session, base, headers)

            await test(login)

    asyncio.run(whole())


def walk(root: pathlib.Path, steps: t.Sequence[Step]) -> None:
    """All steps as root."""

    async def test(login: t.Callable[..., t.Awaitable[Client]]) -> None:
        client = await login()
        for step in steps:
            await client.check(step)

    run(root, test)
