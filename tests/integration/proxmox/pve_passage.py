# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the tests and a person's own Proxmox VE: names are changed there and back, requests written down, faults played.

Writes go only to guests, pools and files of the tests' own. Everything else that a test would write is not sent; the test is
skipped with that reason.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import socket
import ssl
import typing as t
import urllib.parse

import aiohttp
import aiohttp.web
import yarl
from pve_names import IDS, POOL, PREFIX, TOKEN, Names

from simlab.faults import Fault, Faults
from simlab.ledger import Ledger
from simlab.proxmox import bodies

_TOKEN = f"PVEAPIToken={TOKEN}=token-not-a-secret"
#: The tests' own reads and preparations, where only a token was given.
PREPARATIONS = ("ansible@pve!preparations", "token-of-preparations")
_PREPARING = "PVEAPIToken={}={}".format(*PREPARATIONS)
#: What may be written over there, by method and path.
_OURS = (
    re.compile(r"(POST) /nodes/[^/]+/(qemu|lxc)"),
    re.compile(r"(POST|PUT|DELETE) /nodes/[^/]+/(qemu|lxc)/90\d\d(/.*)?"),
    re.compile(r"(POST|PUT|DELETE) /pools(/.+)?"),
    re.compile(r"(POST) /nodes/[^/]+/storage/[^/]+/(upload|download-url|content)"),
    re.compile(r"(POST|PUT|DELETE) /nodes/[^/]+/storage/[^/]+/content/.+"),
    re.compile(r"(POST) /nodes/[^/]+/vzdump"),
    re.compile(r"(DELETE) /nodes/[^/]+/tasks/.+"),
    re.compile(r"(POST) /access/ticket"),
)


#: Types of what a VM's card may be on.
_BRIDGES = ("bridge", "OVSBridge", "vnet")


@dataclasses.dataclass
class Account:
    """Who the tests' token and the tests' root are over there. ``password`` empty: nothing that only root may do."""

    user: str = ""
    password: str = ""
    token: str = ""  # USER@REALM!NAME=SECRET


class Passage:
    def __init__(self, base: str, names: Names, account: Account, tls: ssl.SSLContext, ledger: Ledger, faults: Faults):
        self.base = base.rstrip("/")
        self.names = names
        self.account = account
        self.ledger = ledger
        self.faults = faults
        #: Why a test cannot be judged over there.
        self.beyond: list[str] = []
        #: False: VMs are emulated, because the node cannot virtualise; the tests do not see the option.
        self.kvm = True
        #: False: no container is started, because the node cannot run any.
        self.containers = True
        #: What lay on the storages before.
        self.before: set[str] = set()
        #: When the test began, by the node's clock: its guests had no tasks before, though their ids may have had some.
        self.since = 0
        self._tls = tls
        self._ticket: dict[str, str] = {}
        self._runner: aiohttp.web.ServerRunner | None = None

    async def start(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls), auto_decompress=True)
        self._runner = aiohttp.web.ServerRunner(aiohttp.web.Server(self._handle), handle_signals=False)
        await self._runner.setup()
        await aiohttp.web.SockSite(self._runner, sock, ssl_context=context).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await self._http.close()

    # -- the way there --------------------------------------------------------------------------------------------

    async def ask(self, method: str, path: str, params: t.Mapping[str, t.Any] | None = None) -> t.Any:
        """A request of the passage's own, with names as they are over there; the data, or RuntimeError."""
        status, reason, body = await self._send(method, path, dict(params or {}), await self._login())
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {reason}")
        return json.loads(body)["data"]

    async def _login(self) -> dict[str, str]:
        if self.account.token:
            return {"Authorization": f"PVEAPIToken={self.account.token}"}
        if not self._ticket:
            login = {"username": self.account.user, "password": self.account.password}
            status, reason, body = await self._send("POST", "/access/ticket", login, {})
            if status != 200:
                raise RuntimeError(f"login as {self.account.user}: {status} {reason}")
            data = json.loads(body)["data"]
            cookie = urllib.parse.quote(data["ticket"], safe="")
            self._ticket = {"Cookie": f"PVEAuthCookie={cookie}", "CSRFPreventionToken": data["CSRFPreventionToken"]}
        return self._ticket

    async def _send(
        self, method: str, path: str, params: dict[str, t.Any], headers: t.Mapping[str, str], raw: bytes | None = None
    ) -> tuple[int, str, bytes]:
        url = f"{self.base}/api2/json{urllib.parse.quote(path, safe='/')}"
        pairs = [
            (name, one) for name, value in params.items() for one in (value if isinstance(value, list) else [value])
        ]
        text = urllib.parse.urlencode([(name, "" if one is None else str(one)) for name, one in pairs])
        body = raw if raw is not None else text.encode() if method in ("POST", "PUT") else None
        if body is None and text:
            url += f"?{text}"
        kept = dict(headers)
        if raw is None and body is not None:
            kept["Content-Type"] = "application/x-www-form-urlencoded"
        async with self._http.request(method, yarl.URL(url, encoded=True), data=body, headers=kept) as answer:
            return answer.status, answer.reason or "", await answer.read()

    # -- one request ----------------------------------------------------------------------------------------------

    async def _handle(self, request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
        path = urllib.parse.unquote(request.path_qs.partition("?")[0]).removeprefix("/api2/json") or "/"
        write = request.method != "GET"
        fault = self.faults.meet(api="proxmox", verb=request.method, path=path, write=write, caller="")
        if fault is not None and fault.kind == "delay":
            await asyncio.sleep(float(fault.args.get("seconds", 1)))
        if fault is not None and fault.kind in ("drop-before", "answer"):
            self._record(request, path, fault.kind, True)
            return _answered(fault) if fault.kind == "answer" else _drop(request)
        status, reason, body = await self._pass(request, path)
        self._record(request, path, str(status), status >= 400)
        if fault is not None and fault.kind in ("drop-after", "cut"):
            return _drop(request)
        if fault is not None and fault.kind == "garbage":
            return aiohttp.web.Response(body=b"\x00\xff<html>it works</html>", content_type="text/html")
        line = reason.partition("\n")[0].replace("\r", " ")
        return aiohttp.web.Response(status=status, reason=line, body=body, content_type="application/json")

    def _record(self, request: aiohttp.web.BaseRequest, path: str, result: str, refused: bool) -> None:
        self.ledger.record(
            "proxmox", server="pve1", caller="", source="", verb=request.method, path=path,
            write=request.method != "GET", result=result, refused=refused,
        )  # fmt: skip

    async def _pass(self, request: aiohttp.web.BaseRequest, path: str) -> tuple[int, str, bytes]:
        try:
            there = self.names.path_there(path)
            headers = await self._headers(request, path)
            raw = await request.read()
            if request.headers.get("Content-Type", "").startswith("multipart/"):
                kept = {**headers, "Content-Type": request.headers["Content-Type"]}
                named = raw.replace(b'filename="', b'filename="' + PREFIX.encode(), 1)
                return self._back(request, path, *await self._send(request.method, there, {}, kept, named))
            params, _ = await bodies.read(request)
            if path == "/cluster/nextid" and "vmid" not in params:
                return 200, "OK", json.dumps({"data": str(self._next())}).encode()
            return await self._pass_params(request, path, there, headers, params)
        except LookupError as error:
            return self._refuse(str(error))

    def _next(self) -> int:
        return next(vmid for vmid in range(100, 10000) if vmid not in self.names.ids)

    async def _pass_params(
        self, request: aiohttp.web.BaseRequest, path: str, there: str, headers: dict[str, str], params: dict[str, t.Any]
    ) -> tuple[int, str, bytes]:
        if path == "/access/ticket" and params.get("password") == "root-not-a-secret":
            if not self.account.password:
                return self._refuse("no password of root@pam was given (PROXMOX_USER, PROXMOX_PASSWORD)")
            sent = {"username": self.account.user, "password": self.account.password}
            return self._back(request, path, *await self._send(request.method, there, sent, headers))
        sent = self.names.params_there(params)
        if request.method == "POST" and re.fullmatch(r"/nodes/pve1/(qemu|lxc)(/\d+/clone)?", path):
            sent.setdefault("pool", POOL)
            if not self.kvm and path == "/nodes/pve1/qemu" and "archive" not in sent:
                sent.setdefault("kvm", "0")
        wanted = f"{request.method} {there}"
        unfit = self._unfit(wanted, params)
        if unfit:
            return self._refuse(unfit)
        if request.method != "GET" and not any(one.fullmatch(wanted) for one in _OURS):
            return self._refuse(
                f"{request.method} {path} would change more than guests, pools and files of the tests' own"
            )
        moved = str(sent.get("vms", "")) if request.method == "PUT" and path.startswith("/pools") else ""
        if moved and not _on(sent.get("delete")):
            await self._out_of_our_pool(moved)
        answer = self._back(request, path, *await self._send(request.method, there, sent, headers))
        if moved:
            await self._into_our_pool(moved)
        if request.headers.get("Authorization") == _PREPARING and _more_than_a_token(answer):
            self.beyond.append(f"the token that was given may not prepare the test: {answer[1].strip()}")
        return answer

    def _unfit(self, wanted: str, params: t.Mapping[str, t.Any]) -> str:
        """Why this is not for a person's server, though it is about something of the tests' own."""
        if self.names.template and wanted.endswith(f"/content/{self.names.template}") and wanted[:4] != "GET ":
            return "the container template is not the tests' own"
        if re.fullmatch(r"PUT .*/lxc/\d+/config", wanted) and "lock" in params:
            return "a container that was locked through the API can only be unlocked on the node"
        starting = re.fullmatch(r"POST .*/lxc/\d+/status/(start|reboot|resume)", wanted)
        if not self.containers and (starting or (wanted.endswith("/lxc") and _on(params.get("start")))):
            return "the node cannot run containers (PVE_CONTAINERS=0)"
        return ""

    async def _out_of_our_pool(self, vmids: str) -> None:
        """Guests of no pool, to a test, are in one of ours: before a test puts them in a pool they leave it."""
        mine = {
            str(one.get("vmid")) for one in (await self.ask("GET", "/pools", {"poolid": POOL}))[0].get("members", [])
        }
        going = [vmid for vmid in vmids.split(",") if vmid in mine]
        if going:
            await self.ask("PUT", "/pools", {"poolid": POOL, "vms": ",".join(going), "delete": 1})

    async def _into_our_pool(self, vmids: str) -> None:
        """No guest of the tests is ever without a pool: it would not be removed."""
        guests = await self.ask("GET", "/cluster/resources", {"type": "vm"})
        there = {str(one["vmid"]): one.get("pool") for one in guests}
        homeless = [vmid for vmid in vmids.split(",") if vmid in there and not there[vmid]]
        if homeless:
            await self.ask("PUT", "/pools", {"poolid": POOL, "vms": ",".join(homeless)})

    def _refuse(self, why: str) -> tuple[int, str, bytes]:
        self.beyond.append(why)
        return 501, f"not sent: {why}", b'{"data":null}'

    async def _headers(self, request: aiohttp.web.BaseRequest, path: str) -> dict[str, str]:
        """The tests' token becomes the person's; what is wrong on purpose stays wrong."""
        if request.headers.get("Authorization") in (_TOKEN, _PREPARING):
            return dict(await self._login())
        names = ("Authorization", "Cookie", "CSRFPreventionToken")
        return {name: request.headers[name] for name in names if name in request.headers}

    # -- the way back ---------------------------------------------------------------------------------------------

    def _back(
        self, request: aiohttp.web.BaseRequest, path: str, status: int, reason: str, body: bytes
    ) -> tuple[int, str, bytes]:
        reason = self.names.text_here(reason)
        try:
            decoded = json.loads(body)
        except ValueError:
            return status, reason, body
        if isinstance(decoded, dict) and isinstance(decoded.get("data"), list):
            decoded["data"] = [one for one in decoded["data"] if self._is_ours(path, one)]
        if path == "/access/ticket":
            return status, reason, body
        task = decoded.get("data") if isinstance(decoded, dict) else None
        if isinstance(task, str) and task.startswith("UPID:") and request.headers.get("Authorization") == _TOKEN:
            self.names.begun.add(task)
        if (
            not self.kvm
            and isinstance(decoded, dict)
            and path.endswith("/config")
            and isinstance(decoded["data"], dict)
        ):
            decoded["data"].pop("kvm", None)
        return status, reason, json.dumps(self.names.data_here(decoded)).encode()

    def _is_ours(self, path: str, entry: t.Any) -> bool:
        """Whether a list's entry is shown to the tests: nothing of the person's guests, files, pools, other storages."""
        if not isinstance(entry, dict):
            return True
        if path == "/nodes" or (path == "/cluster/resources" and entry.get("type") == "node"):
            return entry.get("node") == self.names.node
        if path.endswith("/network") and entry.get("type") in _BRIDGES:
            return entry.get("iface") == self.names.bridge
        if "volid" in entry:
            template = entry["volid"] == self.names.template and self.names.template_here
            return entry["volid"] not in self.before or bool(template)
        if "upid" in entry and str(entry.get("id")).isdigit() and int(entry["id"]) in IDS:
            return int(entry.get("starttime") or 0) >= self.since
        if "vmid" in entry and not path.endswith(("/tasks", "/config", "/pending")):
            return int(entry["vmid"]) in self.names.ids.values()
        if "poolid" in entry or entry.get("type") == "pool":
            name = str(entry.get("poolid") or entry.get("pool"))
            return name.startswith(PREFIX) and name != POOL
        if "storage" in entry and (entry.get("type") == "storage" or path.endswith("/storage")):
            return entry["storage"] in self.names.storages.values()
        return True


def _more_than_a_token(answer: tuple[int, str, bytes]) -> bool:
    """Whether a refusal is for want of rights, or because only root may do it."""
    return answer[0] == 403 or (answer[0] >= 400 and "only root" in answer[1].lower())


def _on(value: t.Any) -> bool:
    return str(value or "0").lower() in ("1", "true", "yes", "on")


def _answered(fault: Fault) -> aiohttp.web.Response:
    status, text = int(fault.args.get("status", 500)), str(fault.args.get("text", "fault"))
    return bodies.respond({"data": None, "message": f"{text}\n"}, status, text)


def _drop(request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return aiohttp.web.Response(status=500)
